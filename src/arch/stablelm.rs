//! StableLM and StableLM 2.

use super::keys::Key;
use super::pieces::*;
use super::table::{Architecture, Conversion, Tensor, Width, nothing_computed};
use super::tokenizer::Vocabulary;

pub const STABLELM: Architecture = Architecture {
    name: "stablelm",
    hf: &["StableLmForCausalLM", "StableLMEpochForCausalLM"],
    defaults: r#"{"num_key_value_heads": 32, "max_position_embeddings": 4096, "layer_norm_eps": 1e-5,
        "use_parallel_residual": false}"#,
    fixed: r#"{"model_type": "stablelm", "hidden_act": "silu"}"#,
    shown: &[
        ("use_qkv_bias", "blk.0.attn_q.bias", false),
        ("qk_layernorm", "blk.0.attn_q_norm.weight", false),
    ],
    prefix: "model.",
    tensors: &[
        &EMBEDDINGS,
        &[NORM_BEFORE_ATTENTION, NORMS[1].optional()],
        &ATTENTION,
        &NORMS_OF_HEADS,
        &GATED_MLP,
    ],
    keys: &[
        &SIZES,
        &[
            KV_HEAD_COUNT,
            Key::group(
                |keys| write_rotated_part(keys, 0.25),
                |file| read_rotated_part(file, "partial_rotary_factor"),
            ),
            Key::flag("use_parallel_residual", &["use_parallel_residual"], false),
            Key::float("attention.layer_norm_epsilon", &["layer_norm_eps", "norm_eps"]),
        ],
    ],
    vocabulary: Vocabulary::PLAIN,
    computed: nothing_computed,
};

/// A norm for every head.
const NORMS_OF_HEADS: [Tensor; 2] = [
    Tensor::new("layers.{b}.self_attn.q_layernorm.norms.{x}", "blk.{b}.attn_q_norm", Width::None)
        .converted(Conversion::Stacked)
        .optional(),
    Tensor::new("layers.{b}.self_attn.k_layernorm.norms.{x}", "blk.{b}.attn_k_norm", Width::None)
        .converted(Conversion::Stacked)
        .optional(),
];
