//! Mistral: llama with its own defaults.

use super::Architecture;
use super::llama::LLAMA;

pub const MISTRAL: Architecture = Architecture {
    hf: &["MistralForCausalLM"],
    defaults: r#"{"num_key_value_heads": 8, "max_position_embeddings": 131072, "rope_theta": 10000.0}"#,
    ..LLAMA
};
