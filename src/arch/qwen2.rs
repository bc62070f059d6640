//! Qwen 2 and 2.5.

use super::blocks::alike;
use super::pieces::*;
use super::table::{Architecture, Head, nothing_computed, nothing_settled};
use super::tokenizer::Vocabulary;

pub const QWEN2: Architecture = Architecture {
    name: "qwen2",
    hf: &["Qwen2ForCausalLM", "Qwen2Model"],
    defaults: r#"{"num_key_value_heads": 32, "max_position_embeddings": 32768, "rope_theta": 10000.0,
        "rms_norm_eps": 1e-6, "sliding_window": 4096, "max_window_layers": 28, "tie_word_embeddings": false}"#,
    settled: nothing_settled,
    blocks: alike,
    fixed: r#"{"model_type": "qwen2", "hidden_act": "silu", "use_sliding_window": false}"#,
    shown: &[],
    prefix: "model.",
    head: Head::Optional,
    tensors: &[&EMBEDDINGS, &NORMS, &ATTENTION, &GATED_MLP],
    keys: &[BASICS, OPTIONAL, &[SILU, HEADS_FILL_WIDTH, QWEN_WINDOW_LEFT_OUT]],
    vocabulary: Vocabulary::PLAIN,
    computed: nothing_computed,
};
