//! Qwen 1.5 and 2 with experts, some of them shared by all tokens.

use super::blocks::alike;
use super::keys::{Key, Only};
use super::pieces::*;
use super::table::{Architecture, Head, Shown, nothing_computed, nothing_settled};
use super::tokenizer::Vocabulary;

pub const QWEN2_MOE: Architecture = Architecture {
    name: "qwen2moe",
    hf: &["Qwen2MoeForCausalLM"],
    defaults: r#"{"num_key_value_heads": 16, "max_position_embeddings": 32768, "rope_theta": 10000.0,
        "rms_norm_eps": 1e-6, "num_experts": 60, "num_experts_per_tok": 4, "moe_intermediate_size": 1408,
        "shared_expert_intermediate_size": 5632, "intermediate_size": 5632, "decoder_sparse_step": 1,
        "norm_topk_prob": false, "sliding_window": 4096, "tie_word_embeddings": false}"#,
    settled: nothing_settled,
    blocks: alike,
    fixed: r#"{"model_type": "qwen2_moe", "hidden_act": "silu", "use_sliding_window": false,
        "decoder_sparse_step": 1, "norm_topk_prob": false}"#,
    shown: &[Shown::flag("qkv_bias", "blk.{b}.attn_q.bias", true)],
    prefix: "model.",
    head: Head::Needed,
    tensors: &[&EMBEDDINGS, &NORMS, &ATTENTION, &EXPERTS, &FUSED_EXPERTS, &SHARED_EXPERT],
    keys: &[
        BASICS,
        QWEN_EXPERTS,
        &[
            Key::integer("expert_feed_forward_length", &["moe_intermediate_size"]).optional(),
            Key::integer("expert_shared_feed_forward_length", &["shared_expert_intermediate_size"])
                .optional(),
            Key::only(
                &["norm_topk_prob"],
                Only::Flag(false),
                "takes the weights of the experts as the softmax over all of them gives them",
            ),
            SILU,
            HEADS_FILL_WIDTH,
            FLAGGED_WINDOW_LEFT_OUT,
        ],
        &EXPERTS_IN_EVERY_BLOCK,
    ],
    vocabulary: Vocabulary::PLAIN,
    computed: nothing_computed,
};

/// [`OPTIONAL`], with Qwen's name for the number of experts.
pub const QWEN_EXPERTS: &[Key] = &{
    let [rms, epsilon, count, used, head] = OPTIONAL_ROWS;
    [rms, epsilon, count.written_as("num_experts"), used, head]
};
