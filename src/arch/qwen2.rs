//! Qwen 2 and 2.5.

use super::How::Same;
use super::tokenizer::Vocabulary;
use super::{Architecture, Tensor, maybe, nothing_computed, same};

pub const QWEN2: Architecture = Architecture {
    name: "qwen2",
    hf: &["Qwen2ForCausalLM", "Qwen2Model"],
    defaults: r#"{"num_key_value_heads": 32, "max_position_embeddings": 32768, "rope_theta": 10000.0,
        "rms_norm_eps": 1e-6}"#,
    prefix: "model.",
    tensors: TENSORS,
    vocabulary: Vocabulary::SENTENCEPIECE_OR_BPE,
    keys: |keys| keys.standard(),
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
    same("layers.{b}.mlp.gate_proj", "blk.{b}.ffn_gate"),
    same("layers.{b}.mlp.up_proj", "blk.{b}.ffn_up"),
    same("layers.{b}.mlp.down_proj", "blk.{b}.ffn_down"),
];
