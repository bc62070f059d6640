//! Gemma and Gemma 2: norms multiply by one more than their weight.

use super::blocks::alike;
use super::config::HIDDEN;
use super::error::Error;
use super::file_keys::FileKeys;
use super::keys::{Key, Keys};
use super::pieces::*;
use super::table::{Architecture, Conversion, Head, Tensor, all, nothing_computed, nothing_settled};
use super::tokenizer::Vocabulary;
use crate::gguf::{Kind, Value};
use serde_json::Value as Json;

pub const GEMMA: Architecture = Architecture {
    name: "gemma",
    hf: &["GemmaForCausalLM"],
    defaults: r#"{"num_key_value_heads": 16, "head_dim": 256, "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": true}"#,
    settled: nothing_settled,
    blocks: alike,
    fixed: r#"{"model_type": "gemma", "hidden_act": "gelu_pytorch_tanh",
        "hidden_activation": "gelu_pytorch_tanh"}"#,
    shown: &[ATTENTION_BIAS],
    prefix: "model.",
    head: Head::Embeddings,
    tensors: &[&TIED_EMBEDDINGS, &all(NORMS, Conversion::PlusOne), &ATTENTION, &GATED_MLP],
    keys: &[&SIZES, &[KV_HEAD_COUNT, RMS_EPSILON, HEAD_SIZE, UNSAID_ROPE, GELU, ONE_WAY]],
    vocabulary: Vocabulary::GEMMA.with_end_of_turn(107),
    computed: nothing_computed,
};

pub const GEMMA2: Architecture = Architecture {
    name: "gemma2",
    hf: &["Gemma2ForCausalLM"],
    defaults: r#"{"num_key_value_heads": 4, "head_dim": 256, "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-6, "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0,
        "sliding_window": 4096, "query_pre_attn_scalar": 256, "rope_theta": 10000.0,
        "tie_word_embeddings": true}"#,
    fixed: r#"{"model_type": "gemma2", "hidden_act": "gelu_pytorch_tanh",
        "hidden_activation": "gelu_pytorch_tanh"}"#,
    tensors: &[&TIED_EMBEDDINGS, &SANDWICH, &ATTENTION, &GATED_MLP],
    keys: &[
        &SIZES,
        &[
            KV_HEAD_COUNT,
            RMS_EPSILON,
            HEAD_SIZE,
            ALWAYS_CAPPED,
            Key::float("attn_logit_softcapping", &["attn_logit_softcapping"]),
            Key::float("final_logit_softcapping", &["final_logit_softcapping"]),
            SLIDING_WINDOW,
            Key::group(write_every_second, read_layers).reading(&["layer_types"]),
            Key::group(|keys| check_attention_scale(keys, 46), |file| say_attention_scale(file, 46))
                .reading(&["query_pre_attn_scalar"]),
            UNSAID_ROPE,
            ONE_WAY,
        ],
        &GELU_AS_HIDDEN_ACTIVATION,
    ],
    vocabulary: Vocabulary::GEMMA,
    ..GEMMA
};

/// Places that attention looks back to.
pub const SLIDING_WINDOW: Key = Key::integer("attention.sliding_window", &["sliding_window"]);

/// Scores and logits are capped in all models.
const ALWAYS_CAPPED: Key = Key::check(&["attn_logit_softcapping", "final_logit_softcapping"], |keys| {
    for name in ["attn_logit_softcapping", "final_logit_softcapping"] {
        let value = keys.config.said(name).unwrap_or(&Json::Null);
        if value.as_f64().is_none_or(|cap| cap <= 0.0) {
            return Err(keys.differs(name, value, "divides by it"));
        }
    }
    Ok(())
});

/// Writes which blocks have a window, if not every second one from the first on has.
pub fn write_every_second(keys: &mut Keys) -> Result<(), Error> {
    match layer_types(keys)? {
        Some(layers) => write_layers(keys, layers, 2),
        None => Ok(()),
    }
}

/// Writes which blocks have a window, if it is not what llama.cpp takes for granted: all but each `usual`-th.
pub fn write_layers(keys: &mut Keys, layers: Vec<bool>, usual: usize) -> Result<(), Error> {
    if layers.iter().enumerate().any(|(block, has_window)| *has_window == (block + 1).is_multiple_of(usual)) {
        let layers = layers.into_iter().map(Value::Bool).collect();
        keys.put("attention.sliding_window_pattern", Value::Array(Kind::Bool, layers));
    }
    Ok(())
}

/// Says which blocks have a window.
pub fn read_layers(file: &mut FileKeys) -> Result<(), Error> {
    let name = |has_window: bool| if has_window { "sliding_attention" } else { "full_attention" };
    let Some(pattern) = file.key("attention.sliding_window_pattern") else { return Ok(()) };
    let layers: Vec<&str> = match (pattern.as_array(), pattern.as_u64()) {
        (Some(layers), _) => {
            layers.iter().map(|v| name(v.as_bool().unwrap_or(v.as_u64() != Some(0)))).collect()
        }
        (None, Some(every)) => {
            let blocks = file.integer("block_count")?.unwrap_or(0);
            (1..=blocks).map(|block| name(every == 0 || !block.is_multiple_of(every))).collect()
        }
        (None, None) => return Err(file.other("attention.sliding_window_pattern", "array")),
    };
    file.set("layer_types", layers);
    Ok(())
}

/// The head is the embeddings, even where it is stored: it has to be the same then.
const TIED_EMBEDDINGS: [Tensor; 3] = {
    let [tokens, norm, _] = EMBEDDINGS;
    [tokens, norm.converted(Conversion::PlusOne), Tensor::ignored("lm_head.weight")]
};

/// Norms before and after attention and feed-forward.
pub const SANDWICH: [Tensor; 4] = {
    let [after_attention, after_mlp] = NORMS_AFTER;
    let [_, before_mlp] = NORMS;
    let before_mlp = Tensor { hf: "layers.{b}.pre_feedforward_layernorm", ..before_mlp };
    all([NORM_BEFORE_ATTENTION, after_attention, before_mlp, after_mlp], Conversion::PlusOne)
};

/// Compares what scores are divided by the root of with what llama.cpp takes for it.
pub fn check_attention_scale(keys: &mut Keys, blocks_of_27b: u64) -> Result<(), Error> {
    let config = keys.config;
    let Some(scalar) = config.get("query_pre_attn_scalar") else { return Ok(()) };
    let shape = config.shape()?;
    let (taken, what) = match shape.blocks == blocks_of_27b {
        true => (config.needed_integer(HIDDEN)? / shape.heads, "the width of the model by its heads"),
        false => (shape.head_dim, "the size of a head"),
    };
    match scalar.as_f64() == Some(taken as f64) {
        true => Ok(()),
        false => Err(keys.differs("query_pre_attn_scalar", scalar, &format!("takes {what}, {taken}"))),
    }
}

/// Says what scores are divided by the root of. No key has it: llama.cpp takes the size of a head, but for models of
/// 27 billion weights, which it tells by their number of blocks, the width by heads.
pub fn say_attention_scale(file: &mut FileKeys, blocks_of_27b: u64) -> Result<(), Error> {
    let integer = |name: &str| file.integer(name)?.ok_or_else(|| file.missing(name));
    let scalar = match integer("block_count")? == blocks_of_27b {
        true => integer("embedding_length")? / integer("attention.head_count")?.max(1),
        false => integer("attention.key_length")?,
    };
    file.set("query_pre_attn_scalar", scalar);
    Ok(())
}
