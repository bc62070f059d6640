//! Mixtral: llama with experts in place of the feed-forward matrices.

use super::llama::LLAMA;
use super::pieces::*;
use super::table::{Architecture, Conversion, Tensor, Width};

pub const MIXTRAL: Architecture = Architecture {
    hf: &["MixtralForCausalLM"],
    defaults: r#"{"num_key_value_heads": 8, "max_position_embeddings": 131072, "rope_theta": 1000000.0,
        "num_local_experts": 8, "num_experts_per_tok": 2}"#,
    fixed: r#"{"model_type": "mixtral", "hidden_act": "silu"}"#,
    shown: &[],
    tensors: &[
        &EMBEDDINGS,
        &NORMS,
        &PAIRED_ATTENTION,
        &BLOCK_SPARSE_EXPERTS,
        &FUSED_EXPERTS,
        // The routing as transformers 5 has it in memory.
        &[EXPERTS[0].only_read()],
    ],
    keys: &[BASICS, OPTIONAL, &[VOCABULARY_SIZE, ROTATED_HEADS]],
    ..LLAMA
};

const BLOCK_SPARSE_EXPERTS: [Tensor; 4] = [
    Tensor::new("layers.{b}.block_sparse_moe.gate", "blk.{b}.ffn_gate_inp", Width::Columns),
    expert("layers.{b}.block_sparse_moe.experts.{x}.w1", "blk.{b}.ffn_gate_exps", Width::Columns),
    expert("layers.{b}.block_sparse_moe.experts.{x}.w2", "blk.{b}.ffn_down_exps", Width::Rows),
    expert("layers.{b}.block_sparse_moe.experts.{x}.w3", "blk.{b}.ffn_up_exps", Width::Columns),
];

const fn expert(hf: &'static str, gguf: &'static str, width: Width) -> Tensor {
    Tensor::new(hf, gguf, width).converted(Conversion::Stacked)
}
