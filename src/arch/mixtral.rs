//! Mixtral: llama with experts in place of the feed-forward matrices.

use super::How::{FirstHalf, KeyPairs, QueryPairs, SecondHalf, Stacked};
use super::keys::Keys;
use super::llama::LLAMA;
use super::{Architecture, Tensor, made, maybe, same};

pub const MIXTRAL: Architecture = Architecture {
    hf: &["MixtralForCausalLM"],
    defaults: r#"{"num_key_value_heads": 8, "max_position_embeddings": 131072, "rope_theta": 1000000.0,
        "num_local_experts": 8, "num_experts_per_tok": 2}"#,
    tensors: TENSORS,
    keys,
    ..LLAMA
};

const TENSORS: &[Tensor] = &[
    same("embed_tokens", "token_embd"),
    same("norm", "output_norm"),
    maybe("lm_head", "output", super::How::Same),
    same("layers.{b}.input_layernorm", "blk.{b}.attn_norm"),
    made("layers.{b}.self_attn.q_proj", "blk.{b}.attn_q", QueryPairs),
    made("layers.{b}.self_attn.k_proj", "blk.{b}.attn_k", KeyPairs),
    same("layers.{b}.self_attn.v_proj", "blk.{b}.attn_v"),
    same("layers.{b}.self_attn.o_proj", "blk.{b}.attn_output"),
    same("layers.{b}.post_attention_layernorm", "blk.{b}.ffn_norm"),
    same("layers.{b}.block_sparse_moe.gate", "blk.{b}.ffn_gate_inp"),
    made("layers.{b}.block_sparse_moe.experts.{x}.w1", "blk.{b}.ffn_gate_exps", Stacked),
    made("layers.{b}.block_sparse_moe.experts.{x}.w2", "blk.{b}.ffn_down_exps", Stacked),
    made("layers.{b}.block_sparse_moe.experts.{x}.w3", "blk.{b}.ffn_up_exps", Stacked),
    // As transformers 5 has them in memory.
    maybe("layers.{b}.mlp.gate", "blk.{b}.ffn_gate_inp", super::How::Same),
    maybe("layers.{b}.mlp.experts.gate_up_proj", "blk.{b}.ffn_gate_exps", FirstHalf),
    maybe("layers.{b}.mlp.experts.gate_up_proj", "blk.{b}.ffn_up_exps", SecondHalf),
    maybe("layers.{b}.mlp.experts.down_proj", "blk.{b}.ffn_down_exps", super::How::Same),
];

fn keys(keys: &mut Keys) -> Result<(), String> {
    keys.standard()?;
    keys.integer("vocab_size", &["vocab_size"])?;
    let dim = keys.config.shape()?.head_dim as u32;
    keys.put("rope.dimension_count", dim);
    Ok(())
}
