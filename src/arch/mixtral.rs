//! Mixtral: llama with experts in place of the feed-forward matrices.

use super::llama::LLAMA;
use super::pieces::*;
use super::table::{Architecture, Conversion, Extent, Tensor, Width};

pub const MIXTRAL: Architecture = Architecture {
    hf: &["MixtralForCausalLM"],
    defaults: r#"{"num_key_value_heads": 8, "max_position_embeddings": 131072, "rms_norm_eps": 1e-5,
        "rope_theta": 1000000.0, "num_local_experts": 8, "num_experts_per_tok": 2, "tie_word_embeddings": false}"#,
    fixed: r#"{"model_type": "mixtral", "hidden_act": "silu"}"#,
    shown: &[],
    tensors: &[
        &EMBEDDINGS,
        &NORMS,
        &PAIRED_ATTENTION,
        &BLOCK_SPARSE_EXPERTS,
        &FUSED,
        // The routing as transformers 5 has it in memory.
        &[EXPERTS[0].only_read()],
    ],
    keys: &[FACTOR_BASICS, OPTIONAL, &[VOCABULARY_SIZE, ROTATED_HEADS, SILU, WINDOW_LEFT_OUT]],
    ..LLAMA
};

/// [`FUSED_EXPERTS`], as wide as the matrices of other models.
const FUSED: [Tensor; 3] = {
    let [gate, up, down] = FUSED_EXPERTS;
    [gate.by(Extent::INNER), up.by(Extent::INNER), down.by(Extent::INNER)]
};

const BLOCK_SPARSE_EXPERTS: [Tensor; 4] = [
    Tensor::new("layers.{b}.block_sparse_moe.gate", "blk.{b}.ffn_gate_inp", Width::Columns)
        .by(Extent::EXPERTS),
    expert("layers.{b}.block_sparse_moe.experts.{x}.w1", "blk.{b}.ffn_gate_exps", Width::Columns),
    expert("layers.{b}.block_sparse_moe.experts.{x}.w2", "blk.{b}.ffn_down_exps", Width::Rows),
    expert("layers.{b}.block_sparse_moe.experts.{x}.w3", "blk.{b}.ffn_up_exps", Width::Columns),
];

const fn expert(hf: &'static str, gguf: &'static str, width: Width) -> Tensor {
    Tensor::new(hf, gguf, width).by(Extent::INNER).converted(Conversion::Stacked)
}
