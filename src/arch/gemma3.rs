//! Gemma 3, the language model alone.

use super::How::{KnownTokens, PlusOne, Same};
use super::keys::Keys;
use super::tokenizer::Vocabulary;
use super::{Architecture, Tensor, made, maybe, nothing_computed, same};

pub const GEMMA3: Architecture = Architecture {
    name: "gemma3",
    hf: &["Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"],
    defaults: r#"{"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256,
        "max_position_embeddings": 131072, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0,
        "rope_local_base_freq": 10000.0, "sliding_window": 4096, "vocab_size": 262208,
        "tie_word_embeddings": true}"#,
    prefix: "model.",
    tensors: TENSORS,
    vocabulary: Vocabulary::GEMMA3,
    keys,
    computed: nothing_computed,
};

const TENSORS: &[Tensor] = &[
    made("embed_tokens", "token_embd", KnownTokens),
    maybe("lm_head", "output", Same),
    made("norm", "output_norm", PlusOne),
    made("layers.{b}.input_layernorm", "blk.{b}.attn_norm", PlusOne),
    same("layers.{b}.self_attn.q_proj", "blk.{b}.attn_q"),
    same("layers.{b}.self_attn.k_proj", "blk.{b}.attn_k"),
    same("layers.{b}.self_attn.v_proj", "blk.{b}.attn_v"),
    same("layers.{b}.self_attn.o_proj", "blk.{b}.attn_output"),
    made("layers.{b}.self_attn.q_norm", "blk.{b}.attn_q_norm", PlusOne),
    made("layers.{b}.self_attn.k_norm", "blk.{b}.attn_k_norm", PlusOne),
    made("layers.{b}.post_attention_layernorm", "blk.{b}.post_attention_norm", PlusOne),
    made("layers.{b}.pre_feedforward_layernorm", "blk.{b}.ffn_norm", PlusOne),
    made("layers.{b}.post_feedforward_layernorm", "blk.{b}.post_ffw_norm", PlusOne),
    same("layers.{b}.mlp.gate_proj", "blk.{b}.ffn_gate"),
    same("layers.{b}.mlp.up_proj", "blk.{b}.ffn_up"),
    same("layers.{b}.mlp.down_proj", "blk.{b}.ffn_down"),
];

fn keys(keys: &mut Keys) -> Result<(), String> {
    keys.standard()?;
    keys.float_if_said("final_logit_softcapping", &["final_logit_softcapping"])?;
    if keys.config.integer(&["sliding_window_pattern"])? != Some(1) {
        keys.integer("attention.sliding_window", &["sliding_window"])?;
    }
    Ok(())
}
