//! Qwen 3 with experts.

use super::How::{FirstHalf, Same, SecondHalf, Stacked};
use super::qwen2_moe::QWEN2_MOE;
use super::{Architecture, Tensor, made, maybe, same};

pub const QWEN3_MOE: Architecture = Architecture {
    name: "qwen3moe",
    hf: &["Qwen3MoeForCausalLM"],
    defaults: r#"{"num_key_value_heads": 4, "max_position_embeddings": 32768, "rope_theta": 10000.0,
        "rms_norm_eps": 1e-6, "num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768}"#,
    tensors: TENSORS,
    ..QWEN2_MOE
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
    same("layers.{b}.mlp.gate", "blk.{b}.ffn_gate_inp"),
    made("layers.{b}.mlp.experts.{x}.gate_proj", "blk.{b}.ffn_gate_exps", Stacked),
    made("layers.{b}.mlp.experts.{x}.up_proj", "blk.{b}.ffn_up_exps", Stacked),
    made("layers.{b}.mlp.experts.{x}.down_proj", "blk.{b}.ffn_down_exps", Stacked),
    maybe("layers.{b}.mlp.experts.gate_up_proj", "blk.{b}.ffn_gate_exps", FirstHalf),
    maybe("layers.{b}.mlp.experts.gate_up_proj", "blk.{b}.ffn_up_exps", SecondHalf),
    maybe("layers.{b}.mlp.experts.down_proj", "blk.{b}.ffn_down_exps", Same),
];
