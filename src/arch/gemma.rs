//! Gemma and Gemma 2: norms multiply by one more than their weight.

use super::How::PlusOne;
use super::keys::Keys;
use super::tokenizer::Vocabulary;
use super::{Architecture, Tensor, ignored, made, nothing_computed, same};

pub const GEMMA: Architecture = Architecture {
    name: "gemma",
    hf: &["GemmaForCausalLM"],
    defaults: r#"{"num_key_value_heads": 16, "head_dim": 256, "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-6, "tie_word_embeddings": true}"#,
    prefix: "model.",
    tensors: &[
        same("embed_tokens", "token_embd"),
        ignored("lm_head"),
        made("norm", "output_norm", PlusOne),
        made("layers.{b}.input_layernorm", "blk.{b}.attn_norm", PlusOne),
        same("layers.{b}.self_attn.q_proj", "blk.{b}.attn_q"),
        same("layers.{b}.self_attn.k_proj", "blk.{b}.attn_k"),
        same("layers.{b}.self_attn.v_proj", "blk.{b}.attn_v"),
        same("layers.{b}.self_attn.o_proj", "blk.{b}.attn_output"),
        made("layers.{b}.post_attention_layernorm", "blk.{b}.ffn_norm", PlusOne),
        same("layers.{b}.mlp.gate_proj", "blk.{b}.ffn_gate"),
        same("layers.{b}.mlp.up_proj", "blk.{b}.ffn_up"),
        same("layers.{b}.mlp.down_proj", "blk.{b}.ffn_down"),
    ],
    vocabulary: Vocabulary::GEMMA.with_end_of_turn(107),
    keys,
    computed: nothing_computed,
};

pub const GEMMA2: Architecture = Architecture {
    name: "gemma2",
    hf: &["Gemma2ForCausalLM"],
    defaults: r#"{"num_key_value_heads": 4, "head_dim": 256, "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-6, "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0,
        "sliding_window": 4096, "tie_word_embeddings": true}"#,
    tensors: SANDWICHED,
    vocabulary: Vocabulary::GEMMA,
    keys: |k| {
        keys(k)?;
        k.float("attn_logit_softcapping", &["attn_logit_softcapping"])?;
        k.float("final_logit_softcapping", &["final_logit_softcapping"])?;
        k.integer("attention.sliding_window", &["sliding_window"])
    },
    ..GEMMA
};

/// Norms before and after attention and feed-forward.
const SANDWICHED: &[Tensor] = &[
    same("embed_tokens", "token_embd"),
    ignored("lm_head"),
    made("norm", "output_norm", PlusOne),
    made("layers.{b}.input_layernorm", "blk.{b}.attn_norm", PlusOne),
    same("layers.{b}.self_attn.q_proj", "blk.{b}.attn_q"),
    same("layers.{b}.self_attn.k_proj", "blk.{b}.attn_k"),
    same("layers.{b}.self_attn.v_proj", "blk.{b}.attn_v"),
    same("layers.{b}.self_attn.o_proj", "blk.{b}.attn_output"),
    made("layers.{b}.post_attention_layernorm", "blk.{b}.post_attention_norm", PlusOne),
    made("layers.{b}.pre_feedforward_layernorm", "blk.{b}.ffn_norm", PlusOne),
    made("layers.{b}.post_feedforward_layernorm", "blk.{b}.post_ffw_norm", PlusOne),
    same("layers.{b}.mlp.gate_proj", "blk.{b}.ffn_gate"),
    same("layers.{b}.mlp.up_proj", "blk.{b}.ffn_up"),
    same("layers.{b}.mlp.down_proj", "blk.{b}.ffn_down"),
];

fn keys(keys: &mut Keys) -> Result<(), String> {
    keys.sizes()?;
    keys.kv_heads()?;
    keys.float("attention.layer_norm_rms_epsilon", &["rms_norm_eps"])?;
    keys.head_size(true)
}
