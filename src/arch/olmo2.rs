//! OLMo 2: norms after attention and feed-forward only.

use super::pieces::*;
use super::table::{Architecture, nothing_computed};
use super::tokenizer::Vocabulary;

pub const OLMO2: Architecture = Architecture {
    name: "olmo2",
    hf: &["Olmo2ForCausalLM"],
    defaults: r#"{"max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "rope_theta": 10000.0}"#,
    fixed: r#"{"model_type": "olmo2", "hidden_act": "silu"}"#,
    shown: &[ATTENTION_BIAS],
    prefix: "model.",
    tensors: &[&EMBEDDINGS, &NORMS_AFTER, &ATTENTION, &QK_NORMS, &GATED_MLP],
    keys: &[BASICS, OPTIONAL],
    vocabulary: Vocabulary::PLAIN,
    computed: nothing_computed,
};
