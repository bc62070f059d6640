//! Mistral: llama with its own defaults.

use super::llama::LLAMA;
use super::pieces::*;
use super::table::Architecture;

pub const MISTRAL: Architecture = Architecture {
    hf: &["MistralForCausalLM"],
    defaults: r#"{"num_key_value_heads": 8, "max_position_embeddings": 131072, "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0, "sliding_window": 4096, "tie_word_embeddings": false}"#,
    fixed: r#"{"model_type": "mistral", "hidden_act": "silu", "sliding_window": null}"#,
    keys: &[FACTOR_BASICS, &[RMS_EPSILON, HEAD_SIZE, VOCABULARY_SIZE, ROTATED_HEADS, SILU, WINDOW_LEFT_OUT]],
    ..LLAMA
};
