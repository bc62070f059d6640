//! Mistral: llama with its own defaults.

use super::llama::LLAMA;
use super::table::Architecture;

pub const MISTRAL: Architecture = Architecture {
    hf: &["MistralForCausalLM"],
    defaults: r#"{"num_key_value_heads": 8, "max_position_embeddings": 131072, "rope_theta": 10000.0}"#,
    fixed: r#"{"model_type": "mistral", "hidden_act": "silu"}"#,
    ..LLAMA
};
