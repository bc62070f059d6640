//! Qwen 3 with experts.

use super::pieces::*;
use super::qwen2_moe::QWEN2_MOE;
use super::table::Architecture;

pub const QWEN3_MOE: Architecture = Architecture {
    name: "qwen3moe",
    hf: &["Qwen3MoeForCausalLM"],
    defaults: r#"{"num_key_value_heads": 4, "max_position_embeddings": 32768, "rope_theta": 10000.0,
        "rms_norm_eps": 1e-6, "num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768}"#,
    fixed: r#"{"model_type": "qwen3_moe", "hidden_act": "silu", "use_sliding_window": false,
        "decoder_sparse_step": 1, "norm_topk_prob": true}"#,
    shown: &[ATTENTION_BIAS],
    tensors: &[&EMBEDDINGS, &NORMS, &ATTENTION, &QK_NORMS, &EXPERTS, &FUSED_EXPERTS],
    ..QWEN2_MOE
};
