//! Granite: llama with multipliers.

use super::keys::Key;
use super::llama::LLAMA;
use super::pieces::*;
use super::table::Architecture;

pub const GRANITE: Architecture = Architecture {
    name: "granite",
    hf: &["GraniteForCausalLM"],
    fixed: r#"{"model_type": "granite", "hidden_act": "silu"}"#,
    keys: &[
        FACTOR_BASICS,
        &[RMS_EPSILON, VOCABULARY_SIZE, OPTIONAL_HEAD_SIZE, ROTATED_HEADS, SILU],
        MULTIPLIERS,
    ],
    ..LLAMA
};

/// What embeddings, scores, what blocks add, and logits are multiplied or divided by.
pub const MULTIPLIERS: &[Key] = &[
    Key::multiplier("attention.scale", &["attention_multiplier"]),
    Key::multiplier("embedding_scale", &["embedding_multiplier"]),
    Key::multiplier("residual_scale", &["residual_multiplier"]),
    Key::multiplier("logit_scale", &["logits_scaling"]),
];
