//! Qwen 1.5 and 2 with experts, some of them shared by all tokens.

use super::keys::Key;
use super::pieces::*;
use super::table::{Architecture, nothing_computed};
use super::tokenizer::Vocabulary;

pub const QWEN2_MOE: Architecture = Architecture {
    name: "qwen2moe",
    hf: &["Qwen2MoeForCausalLM"],
    defaults: r#"{"num_key_value_heads": 16, "max_position_embeddings": 32768, "rope_theta": 10000.0,
        "rms_norm_eps": 1e-6, "num_experts": 60, "num_experts_per_tok": 4, "moe_intermediate_size": 1408,
        "shared_expert_intermediate_size": 5632}"#,
    fixed: r#"{"model_type": "qwen2_moe", "hidden_act": "silu", "use_sliding_window": false,
        "decoder_sparse_step": 1, "norm_topk_prob": false}"#,
    shown: &[],
    prefix: "model.",
    tensors: &[&EMBEDDINGS, &NORMS, &ATTENTION, &EXPERTS, &FUSED_EXPERTS, &SHARED_EXPERT],
    keys: &[
        BASICS,
        QWEN_EXPERTS,
        &[
            Key::integer("expert_feed_forward_length", &["moe_intermediate_size"]).optional(),
            Key::integer("expert_shared_feed_forward_length", &["shared_expert_intermediate_size"])
                .optional(),
        ],
    ],
    vocabulary: Vocabulary::PLAIN,
    computed: nothing_computed,
};

/// [`OPTIONAL`], with Qwen's name for the number of experts.
const QWEN_EXPERTS: &[Key] = &{
    let [rms, epsilon, count, used, head] = OPTIONAL_ROWS;
    [rms, epsilon, count.written_as("num_experts"), used, head]
};
