//! Qwen 3 with experts.

use super::keys::{Key, Only};
use super::pieces::*;
use super::qwen2_moe::{QWEN_EXPERTS, QWEN2_MOE};
use super::table::Architecture;

pub const QWEN3_MOE: Architecture = Architecture {
    name: "qwen3moe",
    hf: &["Qwen3MoeForCausalLM"],
    defaults: r#"{"num_key_value_heads": 4, "max_position_embeddings": 32768, "rope_theta": 10000.0,
        "rms_norm_eps": 1e-6, "num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768,
        "intermediate_size": 6144, "decoder_sparse_step": 1, "norm_topk_prob": false, "sliding_window": 4096, "tie_word_embeddings": false}"#,
    fixed: r#"{"model_type": "qwen3_moe", "hidden_act": "silu", "use_sliding_window": false,
        "decoder_sparse_step": 1, "norm_topk_prob": true}"#,
    shown: &[ATTENTION_BIAS],
    tensors: &[&EMBEDDINGS, &NORMS, &ATTENTION, &QK_NORMS, &EXPERTS, &FUSED_EXPERTS],
    keys: &[
        BASICS,
        QWEN_EXPERTS,
        &[
            Key::integer("expert_feed_forward_length", &["moe_intermediate_size"]).optional(),
            Key::only(
                &["norm_topk_prob"],
                Only::Flag(true),
                "divides the weights of the experts of a token by their sum",
            ),
            SILU,
            FLAGGED_WINDOW_LEFT_OUT,
        ],
        &EXPERTS_IN_EVERY_BLOCK,
    ],
    ..QWEN2_MOE
};
