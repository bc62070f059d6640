//! OLMo 2: norms after attention and feed-forward only.

use super::How::Same;
use super::tokenizer::Vocabulary;
use super::{Architecture, maybe, nothing_computed, same};

pub const OLMO2: Architecture = Architecture {
    name: "olmo2",
    hf: &["Olmo2ForCausalLM"],
    defaults: r#"{"max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "rope_theta": 10000.0}"#,
    prefix: "model.",
    tensors: &[
        same("embed_tokens", "token_embd"),
        same("norm", "output_norm"),
        maybe("lm_head", "output", Same),
        same("layers.{b}.self_attn.q_proj", "blk.{b}.attn_q"),
        same("layers.{b}.self_attn.k_proj", "blk.{b}.attn_k"),
        same("layers.{b}.self_attn.v_proj", "blk.{b}.attn_v"),
        same("layers.{b}.self_attn.o_proj", "blk.{b}.attn_output"),
        same("layers.{b}.self_attn.q_norm", "blk.{b}.attn_q_norm"),
        same("layers.{b}.self_attn.k_norm", "blk.{b}.attn_k_norm"),
        same("layers.{b}.post_attention_layernorm", "blk.{b}.post_attention_norm"),
        same("layers.{b}.post_feedforward_layernorm", "blk.{b}.post_ffw_norm"),
        same("layers.{b}.mlp.gate_proj", "blk.{b}.ffn_gate"),
        same("layers.{b}.mlp.up_proj", "blk.{b}.ffn_up"),
        same("layers.{b}.mlp.down_proj", "blk.{b}.ffn_down"),
    ],
    vocabulary: Vocabulary::BPE,
    keys: |keys| keys.standard(),
    computed: nothing_computed,
};
