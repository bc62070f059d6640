//! Qwen 1.5 and 2 with experts, some of them shared by all tokens.

use super::How::{FirstHalf, Same, SecondHalf, Stacked};
use super::keys::Keys;
use super::tokenizer::Vocabulary;
use super::{Architecture, Tensor, made, maybe, nothing_computed, same};

pub const QWEN2_MOE: Architecture = Architecture {
    name: "qwen2moe",
    hf: &["Qwen2MoeForCausalLM"],
    defaults: r#"{"num_key_value_heads": 16, "max_position_embeddings": 32768, "rope_theta": 10000.0,
        "rms_norm_eps": 1e-6, "num_experts": 60, "num_experts_per_tok": 4, "moe_intermediate_size": 1408,
        "shared_expert_intermediate_size": 5632}"#,
    prefix: "model.",
    tensors: TENSORS,
    vocabulary: Vocabulary::BPE,
    keys,
    computed: nothing_computed,
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
    same("layers.{b}.post_attention_layernorm", "blk.{b}.ffn_norm"),
    same("layers.{b}.mlp.gate", "blk.{b}.ffn_gate_inp"),
    made("layers.{b}.mlp.experts.{x}.gate_proj", "blk.{b}.ffn_gate_exps", Stacked),
    made("layers.{b}.mlp.experts.{x}.up_proj", "blk.{b}.ffn_up_exps", Stacked),
    made("layers.{b}.mlp.experts.{x}.down_proj", "blk.{b}.ffn_down_exps", Stacked),
    maybe("layers.{b}.mlp.experts.gate_up_proj", "blk.{b}.ffn_gate_exps", FirstHalf),
    maybe("layers.{b}.mlp.experts.gate_up_proj", "blk.{b}.ffn_up_exps", SecondHalf),
    maybe("layers.{b}.mlp.experts.down_proj", "blk.{b}.ffn_down_exps", Same),
    same("layers.{b}.mlp.shared_expert_gate", "blk.{b}.ffn_gate_inp_shexp"),
    same("layers.{b}.mlp.shared_expert.gate_proj", "blk.{b}.ffn_gate_shexp"),
    same("layers.{b}.mlp.shared_expert.up_proj", "blk.{b}.ffn_up_shexp"),
    same("layers.{b}.mlp.shared_expert.down_proj", "blk.{b}.ffn_down_shexp"),
];

/// Keys of both generations with experts.
pub fn keys(keys: &mut Keys) -> Result<(), String> {
    keys.standard()?;
    keys.integer_if_said("expert_feed_forward_length", &["moe_intermediate_size"])?;
    keys.integer_if_said("expert_shared_feed_forward_length", &["shared_expert_intermediate_size"])
}
