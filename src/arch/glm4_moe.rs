//! GLM 4.5, 4.6 and 4.7: experts after the first layers, and a layer that predicts a further token.

use super::blocks::{Blocks, FURTHER_BLOCKS, Predicts, dense_first};
use super::config::BLOCKS;
use super::error::Error;
use super::file_keys::FileKeys;
use super::keys::{Key, Keys};
use super::pieces::*;
use super::rope::Rope;
use super::table::{Architecture, Extent, Head, Shown, Tensor, Width, nothing_computed, nothing_settled, of};
use super::tokenizer::Vocabulary;

pub const GLM4_MOE: Architecture = Architecture {
    name: "glm4moe",
    hf: &["Glm4MoeForCausalLM"],
    defaults: r#"{"num_key_value_heads": 8, "max_position_embeddings": 131072, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "moe_intermediate_size": 1408, "num_experts_per_tok": 8, "n_shared_experts": 1,
        "n_routed_experts": 128, "routed_scaling_factor": 1.0, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1,
        "norm_topk_prob": true, "num_nextn_predict_layers": 1, "tie_word_embeddings": false}"#,
    settled: nothing_settled,
    blocks: |config| dense_first(config, "first_k_dense_replace", Predicts::Further),
    fixed: r#"{"model_type": "glm4_moe", "hidden_act": "silu"}"#,
    shown: &[
        ATTENTION_BIAS,
        Shown::flag("use_qk_norm", "blk.{b}.attn_q_norm.weight", false),
        Shown::flag("use_qk_norm", "blk.{b}.attn_k_norm.weight", false),
        SHOWN_SHARED_EXPERTS[0],
        SHOWN_SHARED_EXPERTS[1],
        SHOWN_SHARED_EXPERTS[2],
    ],
    prefix: "model.",
    head: Head::Optional,
    tensors: &[
        &EMBEDDINGS,
        &[NORM_BEFORE_ATTENTION, NORMS_AFTER[0]],
        &ATTENTION,
        &[QK_NORMS[0].optional(), QK_NORMS[1].optional()],
        &of(GATED_MLP, Blocks::Dense),
        &of(EXPERTS, Blocks::Experts),
        &of(FUSED_EXPERTS, Blocks::Experts),
        &of(SHARED_EXPERTS, Blocks::Experts),
        &[CORRECTION.of(Blocks::Experts)],
        &of(FURTHER_TOKENS, Blocks::Further),
    ],
    keys: &[
        &[Key::group(write_blocks, read_blocks).reading(ALL_BLOCKS)],
        SIZES_BESIDE_BLOCKS,
        &[
            KV_HEAD_COUNT,
            OPTIONAL_HEAD_SIZE,
            Key::group(|keys| HALF_ROTATED.write(keys), |file| HALF_ROTATED.read(file)).reading(ROPE_NAMES),
            Key::group(
                |keys| write_rotated_part(keys, &HALF_ROTATED),
                |file| read_rotated_part(file, "partial_rotary_factor"),
            ),
            RMS_EPSILON,
            SILU,
        ],
        GROUPED_EXPERTS,
        &[
            Key::integer("leading_dense_block_count", &["first_k_dense_replace"]),
            Key::number("expert_gating_func", SIGMOID),
            Key::multiplier("expert_weights_scale", &["routed_scaling_factor"]),
            Key::flag("expert_weights_norm", &["norm_topk_prob"], true),
        ],
    ],
    vocabulary: Vocabulary::GLM,
    computed: nothing_computed,
};

const ALL_BLOCKS: &[&str] = &[BLOCKS[0], FURTHER_BLOCKS[0], FURTHER_BLOCKS[1]];

/// Half of each head is rotated.
const HALF_ROTATED: Rope = Rope { part: Some((&["partial_rotary_factor"], 0.5)), ..SCALED };

/// What a layer that predicts a further token has besides.
const FURTHER_TOKENS: [Tensor; 6] = [
    Tensor::new("layers.{b}.eh_proj", "blk.{b}.nextn.eh_proj", Width::Rows)
        .by(Extent::Times(2, "embedding_length")),
    Tensor::new("layers.{b}.enorm", "blk.{b}.nextn.enorm", Width::Columns),
    Tensor::new("layers.{b}.hnorm", "blk.{b}.nextn.hnorm", Width::Columns),
    Tensor::new("layers.{b}.embed_tokens", "blk.{b}.nextn.embed_tokens", Width::Columns).optional(),
    Tensor::new("layers.{b}.shared_head.norm", "blk.{b}.nextn.shared_head_norm", Width::Columns).optional(),
    Tensor::new("layers.{b}.shared_head.head", "blk.{b}.nextn.shared_head_head", Width::Columns).optional(),
];

/// Writes how many blocks there are, those that predict further tokens among them.
fn write_blocks(keys: &mut Keys) -> Result<(), Error> {
    let further = keys.config.integer(FURTHER_BLOCKS)?;
    let blocks = keys.config.needed_integer(BLOCKS)? + further.unwrap_or(0);
    keys.put("block_count", blocks as u32);
    further.into_iter().for_each(|further| keys.put("nextn_predict_layers", further as u32));
    Ok(())
}

fn read_blocks(file: &mut FileKeys) -> Result<(), Error> {
    let blocks = file.integer("block_count")?.ok_or_else(|| file.missing("block_count"))?;
    let further = file.integer("nextn_predict_layers")?;
    file.set(BLOCKS[0], blocks.saturating_sub(further.unwrap_or(0)));
    file.set(FURTHER_BLOCKS[0], further);
    Ok(())
}
