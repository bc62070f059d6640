//! DeepSeek V3, V3.1 and R1: keys and values from a latent vector, experts in groups.

use super::blocks::{Blocks, FURTHER_BLOCKS, Predicts, dense_first};
use super::config::Config;
use super::error::Error;
use super::file_keys::FileKeys;
use super::keys::{Key, Keys, Only};
use super::pieces::*;
use super::rope::{Rope, Scaling, Yarn};
use super::table::{
    Architecture, Conversion, Extent, Head, Shown, Tensor, Width, nothing_computed, nothing_settled, of,
};
use super::tokenizer::Vocabulary;
use serde_json::Value as Json;

pub const DEEPSEEK3: Architecture = Architecture {
    name: "deepseek2",
    hf: &["DeepseekV3ForCausalLM"],
    defaults: r#"{"num_key_value_heads": 128, "max_position_embeddings": 4096, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "moe_intermediate_size": 2048,
        "n_shared_experts": 1, "n_routed_experts": 256, "routed_scaling_factor": 2.5, "kv_lora_rank": 512,
        "q_lora_rank": 1536, "qk_rope_head_dim": 64, "v_head_dim": 128, "qk_nope_head_dim": 128, "n_group": 8,
        "topk_group": 4, "num_experts_per_tok": 8, "first_k_dense_replace": 3, "norm_topk_prob": true,
        "num_nextn_predict_layers": 1, "tie_word_embeddings": false}"#,
    settled: nothing_settled,
    blocks: |config| dense_first(config, "first_k_dense_replace", Predicts::LeftOut),
    fixed: r#"{"model_type": "deepseek_v3", "hidden_act": "silu"}"#,
    shown: &[
        Shown::value("q_lora_rank", "blk.{b}.attn_q_a.weight", has_latent_queries),
        Shown::value("q_lora_rank", "blk.{b}.attn_q_b.weight", has_latent_queries),
        Shown::value("q_lora_rank", "blk.{b}.attn_q_a_norm.weight", has_latent_queries),
        Shown::value("q_lora_rank", "blk.{b}.attn_q.weight", |config| !has_latent_queries(config)),
        SHOWN_SHARED_EXPERTS[0],
        SHOWN_SHARED_EXPERTS[1],
        SHOWN_SHARED_EXPERTS[2],
    ],
    prefix: "model.",
    head: Head::Optional,
    tensors: &[
        &EMBEDDINGS,
        &NORMS,
        &LATENT_ATTENTION,
        &of(GATED_MLP, Blocks::Dense),
        &of(EXPERTS, Blocks::Experts),
        &of(FUSED_EXPERTS, Blocks::Experts),
        &of(SHARED_EXPERTS, Blocks::Experts),
        &[CORRECTION.of(Blocks::Experts)],
    ],
    keys: &[
        &SIZES,
        &[
            Key::number("attention.head_count_kv", 1),
            Key::group(check_heads, |file| {
                let heads = file.integer("attention.head_count")?;
                file.set("num_key_value_heads", heads);
                Ok(())
            })
            .reading(&["num_key_value_heads"]),
            Key::group(|keys| LATENT.write(keys), |file| LATENT.read(file)).reading(ROPE_NAMES),
            RMS_EPSILON,
            VOCABULARY_SIZE,
            Key::group(write_latent, read_latent).reading(LATENT_SIZES),
            SILU,
        ],
        GROUPED_EXPERTS,
        &[
            Key::integer("leading_dense_block_count", &["first_k_dense_replace"]),
            Key::number("expert_gating_func", SIGMOID),
            Key::multiplier("expert_weights_scale", &["routed_scaling_factor"]),
            Key::group(write_norm, |file| {
                file.set("norm_topk_prob", file.flag("expert_weights_norm")?.unwrap_or(false));
                Ok(())
            })
            .reading(&["norm_topk_prob"]),
            Key::only(&["scoring_func"], Only::Word(&["sigmoid"]), "takes the logistic function of scores"),
            Key::only(&["topk_method"], Only::Word(&["noaux_tc"]), "adds a bias when experts are chosen"),
            Key::only(
                &["moe_layer_freq"],
                Only::Number(1.0),
                "has experts in every block after the first ones",
            ),
            Key::only(&["rope_interleave"], Only::Flag(true), "rotates pairs that stand side by side"),
            Key::only(&["attention_bias"], Only::Flag(false), "has no biases of attention"),
            // They are left out.
            Key::check(FURTHER_BLOCKS, |_| Ok(())),
        ],
    ],
    vocabulary: Vocabulary::PLAIN,
    computed: nothing_computed,
};

/// One key, and rotary embeddings of a part of it.
const LATENT: Rope = Rope { scaling: &[Scaling::Yarn], yarn: Yarn::DeepSeek, ..SCALED };

const LATENT_ATTENTION: [Tensor; 9] = [
    Tensor::new("layers.{b}.self_attn.q_proj", "blk.{b}.attn_q", Width::Columns)
        .by(Extent::Heads("attention.key_length_mla"))
        .optional(),
    Tensor::new("layers.{b}.self_attn.q_a_proj", "blk.{b}.attn_q_a", Width::Columns)
        .by(Extent::Is("attention.q_lora_rank"))
        .optional(),
    Tensor::new("layers.{b}.self_attn.q_a_layernorm", "blk.{b}.attn_q_a_norm", Width::None)
        .by(Extent::Is("attention.q_lora_rank"))
        .optional(),
    Tensor::new("layers.{b}.self_attn.q_b_proj", "blk.{b}.attn_q_b", Width::None)
        .by(Extent::Is("attention.q_lora_rank"))
        .optional(),
    Tensor::new("layers.{b}.self_attn.kv_a_proj_with_mqa", "blk.{b}.attn_kv_a_mqa", Width::Columns)
        .by(Extent::Is("attention.key_length")),
    Tensor::new("layers.{b}.self_attn.kv_a_layernorm", "blk.{b}.attn_kv_a_norm", Width::None)
        .by(Extent::Is("attention.kv_lora_rank")),
    Tensor::new("layers.{b}.self_attn.kv_b_proj", "blk.{b}.attn_k_b", Width::None)
        .converted(Conversion::LatentKeys)
        .part(),
    Tensor::new("layers.{b}.self_attn.kv_b_proj", "blk.{b}.attn_v_b", Width::None)
        .by(Extent::Is("attention.kv_lora_rank"))
        .converted(Conversion::LatentValues)
        .part(),
    Tensor::new("layers.{b}.self_attn.o_proj", "blk.{b}.attn_output", Width::Rows)
        .by(Extent::Heads("attention.value_length_mla")),
];

fn has_latent_queries(config: &Config) -> bool {
    config.get("q_lora_rank").is_some()
}

/// All heads share one key, from which their own are made.
fn check_heads(keys: &mut Keys) -> Result<(), Error> {
    let shape = keys.config.shape()?;
    match keys.config.get("num_key_value_heads") {
        Some(said) if shape.kv_heads != shape.heads => {
            Err(keys.differs("num_key_value_heads", said, "has as many heads of keys as of queries"))
        }
        _ => Ok(()),
    }
}

const LATENT_SIZES: &[&str] = &[
    "q_lora_rank",
    "kv_lora_rank",
    "qk_rope_head_dim",
    "qk_nope_head_dim",
    "v_head_dim",
    "head_dim",
    "qk_head_dim",
];

/// Models with so many blocks have no latent queries, and all others have, in llama.cpp.
fn has_latent_queries_there(config: &Config) -> Result<bool, Error> {
    let blocks = config.shape()?.blocks;
    let is_of_kanana = config.integer(&["vocab_size"])? == Some(128_256);
    Ok(!(matches!(blocks, 26 | 27) || blocks == 48 && is_of_kanana))
}

fn write_latent(keys: &mut Keys) -> Result<(), Error> {
    let config = keys.config;
    let size = |name: &str| config.needed_integer(&[name]);
    let (rank, rotated, own) = (size("kv_lora_rank")?, size("qk_rope_head_dim")?, size("qk_nope_head_dim")?);
    // transformers says both again when it saves a model.
    for (name, computed, what) in [
        ("head_dim", rotated, "`qk_rope_head_dim`"),
        ("qk_head_dim", own + rotated, "the sum of `qk_nope_head_dim` and `qk_rope_head_dim`"),
    ] {
        if let Some(said) = config.get(name).filter(|said| said.as_u64() != Some(computed)) {
            let does = format!("takes {what} for it, {computed}, as transformers does");
            return Err(keys.differs(name, said, &does));
        }
    }
    if has_latent_queries(config) != has_latent_queries_there(config)? {
        let said = config.get("q_lora_rank").unwrap_or(&Json::Null);
        return Err(keys.differs("q_lora_rank", said, "tells by the number of blocks whether it is there"));
    }
    if let Some(queries) = config.integer(&["q_lora_rank"])? {
        keys.put("attention.q_lora_rank", queries as u32);
    }
    for (key, value) in [
        ("attention.kv_lora_rank", rank),
        ("attention.key_length", rank + rotated),
        ("attention.value_length", rank),
        ("attention.key_length_mla", own + rotated),
        ("attention.value_length_mla", size("v_head_dim")?),
        ("rope.dimension_count", rotated),
    ] {
        keys.put(key, value as u32);
    }
    Ok(())
}

fn read_latent(file: &mut FileKeys) -> Result<(), Error> {
    let size = |name: &str| file.integer(name)?.ok_or_else(|| file.missing(name));
    let (rank, rotated) = (size("attention.kv_lora_rank")?, size("rope.dimension_count")?);
    let (own, values) = (size("attention.key_length_mla")?, size("attention.value_length_mla")?);
    let queries = file.integer("attention.q_lora_rank")?;
    for (name, value) in [
        ("kv_lora_rank", Some(rank)),
        ("qk_rope_head_dim", Some(rotated)),
        ("qk_nope_head_dim", own.checked_sub(rotated)),
        ("v_head_dim", Some(values)),
        ("q_lora_rank", queries),
    ] {
        file.set(name, value);
    }
    Ok(())
}

/// llama.cpp's converter has the key only where it is true.
fn write_norm(keys: &mut Keys) -> Result<(), Error> {
    if keys.config.is_true("norm_topk_prob") {
        keys.put("expert_weights_norm", true);
    }
    Ok(())
}
