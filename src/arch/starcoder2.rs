//! StarCoder 2.

use super::How::Same;
use super::tokenizer::Vocabulary;
use super::{Architecture, maybe, nothing_computed, same};

pub const STARCODER2: Architecture = Architecture {
    name: "starcoder2",
    hf: &["Starcoder2ForCausalLM"],
    defaults: r#"{"num_key_value_heads": 2, "max_position_embeddings": 4096, "norm_epsilon": 1e-5,
        "rope_theta": 10000.0, "tie_word_embeddings": true}"#,
    prefix: "model.",
    tensors: &[
        same("embed_tokens", "token_embd"),
        same("norm", "output_norm"),
        maybe("lm_head", "output", Same),
        same("layers.{b}.input_layernorm", "blk.{b}.attn_norm"),
        same("layers.{b}.self_attn.q_proj", "blk.{b}.attn_q"),
        same("layers.{b}.self_attn.k_proj", "blk.{b}.attn_k"),
        same("layers.{b}.self_attn.v_proj", "blk.{b}.attn_v"),
        same("layers.{b}.self_attn.o_proj", "blk.{b}.attn_output"),
        same("layers.{b}.post_attention_layernorm", "blk.{b}.ffn_norm"),
        same("layers.{b}.mlp.c_fc", "blk.{b}.ffn_up"),
        same("layers.{b}.mlp.c_proj", "blk.{b}.ffn_down"),
    ],
    vocabulary: Vocabulary::BPE,
    keys: |keys| keys.standard(),
    computed: nothing_computed,
};
