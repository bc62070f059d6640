//! Qwen 3: norms of queries and keys.

use super::pieces::*;
use super::qwen2::QWEN2;
use super::table::Architecture;

pub const QWEN3: Architecture = Architecture {
    name: "qwen3",
    hf: &["Qwen3ForCausalLM", "Qwen3Model"],
    defaults: r#"{"num_key_value_heads": 32, "head_dim": 128, "max_position_embeddings": 32768,
        "rope_theta": 10000.0, "rms_norm_eps": 1e-6, "sliding_window": 4096,
        "max_window_layers": 28, "tie_word_embeddings": false}"#,
    fixed: r#"{"model_type": "qwen3", "hidden_act": "silu", "use_sliding_window": false}"#,
    shown: &[ATTENTION_BIAS],
    tensors: &[&EMBEDDINGS, &NORMS, &ATTENTION, &QK_NORMS, &GATED_MLP],
    keys: &[BASICS, OPTIONAL, &[SILU, QWEN_WINDOW_LEFT_OUT]],
    ..QWEN2
};
