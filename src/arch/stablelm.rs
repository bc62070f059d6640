//! StableLM and StableLM 2.

use super::blocks::alike;
use super::keys::Key;
use super::pieces::*;
use super::rope::Rope;
use super::table::{Architecture, Conversion, Head, Shown, Tensor, Width, nothing_computed, nothing_settled};
use super::tokenizer::Vocabulary;

pub const STABLELM: Architecture = Architecture {
    name: "stablelm",
    hf: &["StableLmForCausalLM", "StableLMEpochForCausalLM"],
    defaults: r#"{"num_key_value_heads": 32, "max_position_embeddings": 4096, "layer_norm_eps": 1e-5,
        "rope_theta": 10000.0, "use_parallel_residual": false, "tie_word_embeddings": false}"#,
    settled: nothing_settled,
    blocks: alike,
    fixed: r#"{"model_type": "stablelm", "hidden_act": "silu"}"#,
    shown: &[
        Shown::flag("use_qkv_bias", "blk.{b}.attn_q.bias", false),
        Shown::value("use_parallel_residual", "blk.{b}.ffn_norm.weight", |config| {
            !config.is_true("use_parallel_residual")
        }),
        Shown::flag("qk_layernorm", "blk.{b}.attn_q_norm.weight", false),
    ],
    prefix: "model.",
    head: Head::Needed,
    tensors: &[
        &BIASED_EMBEDDINGS,
        &[NORM_BEFORE_ATTENTION.with_bias(), NORMS[1].may_have_bias().optional()],
        &ATTENTION,
        &NORMS_OF_HEADS,
        &GATED_MLP,
    ],
    keys: &[
        &SIZES,
        &[
            KV_HEAD_COUNT,
            Key::group(
                |keys| write_rotated_part(keys, &ROTATED),
                |file| read_rotated_part(file, "partial_rotary_factor"),
            )
            .reading(&["partial_rotary_factor", "rope_pct"]),
            Key::group(|keys| ROTATED.write(keys), |file| ROTATED.read(file)).reading(ROPE_NAMES),
            Key::flag("use_parallel_residual", &["use_parallel_residual"], false),
            Key::float("attention.layer_norm_epsilon", &["layer_norm_eps", "norm_eps"]),
            SILU,
            HEADS_FILL_WIDTH,
        ],
    ],
    vocabulary: Vocabulary::PLAIN,
    computed: nothing_computed,
};

/// A quarter of each head is rotated.
const ROTATED: Rope = Rope { part: Some((&["partial_rotary_factor", "rope_pct"], 0.25)), ..UNSAID };

/// A norm for every head.
const NORMS_OF_HEADS: [Tensor; 2] = [
    Tensor::new("layers.{b}.self_attn.q_layernorm.norms.{x}", "blk.{b}.attn_q_norm", Width::None)
        .converted(Conversion::Stacked)
        .optional(),
    Tensor::new("layers.{b}.self_attn.k_layernorm.norms.{x}", "blk.{b}.attn_k_norm", Width::None)
        .converted(Conversion::Stacked)
        .optional(),
];
