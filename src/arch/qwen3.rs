//! Qwen 3: norms of queries and keys.

use super::How::Same;
use super::qwen2::QWEN2;
use super::{Architecture, Tensor, maybe, same};

pub const QWEN3: Architecture = Architecture {
    name: "qwen3",
    hf: &["Qwen3ForCausalLM", "Qwen3Model"],
    defaults: r#"{"num_key_value_heads": 32, "head_dim": 128, "max_position_embeddings": 32768,
        "rope_theta": 10000.0, "rms_norm_eps": 1e-6}"#,
    tensors: TENSORS,
    ..QWEN2
};

const TENSORS: &[Tensor] = &[
    same("embed_tokens", "token_embd"),
    same("norm", "output_norm"),
    maybe("lm_head", "output", Same),
    same("layers.{b}.input_layernorm", "blk.{b}.attn_norm"),
    same("layers.{b}.self_attn.q_proj", "blk.{b}.attn_q"),
    same("layers.{b}.self_attn.k_proj", "blk.{b}.attn_k"),
    same("layers.{b}.self_attn.v_proj", "blk.{b}.attn_v"),
    same("layers.{b}.self_attn.o_proj", "blk.{b}.attn_output"),
    same("layers.{b}.self_attn.q_norm", "blk.{b}.attn_q_norm"),
    same("layers.{b}.self_attn.k_norm", "blk.{b}.attn_k_norm"),
    same("layers.{b}.post_attention_layernorm", "blk.{b}.ffn_norm"),
    same("layers.{b}.mlp.gate_proj", "blk.{b}.ffn_gate"),
    same("layers.{b}.mlp.up_proj", "blk.{b}.ffn_up"),
    same("layers.{b}.mlp.down_proj", "blk.{b}.ffn_down"),
];
