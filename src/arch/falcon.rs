//! Falcon 7B and 40B.

use super::How::{Same, Ungrouped};
use super::config::{BLOCKS, HEADS};
use super::keys::Keys;
use super::tokenizer::Vocabulary;
use super::{Architecture, made, maybe, nothing_computed, same};

/// Context of all Falcon models; config.json does not say it.
const CONTEXT: u32 = 2048;

pub const FALCON: Architecture = Architecture {
    name: "falcon",
    hf: &["FalconForCausalLM", "RWForCausalLM"],
    // One head of keys and values where nothing is said, as in Falcon 7B.
    defaults: r#"{"n_head_kv": 1, "layer_norm_epsilon": 1e-5, "tie_word_embeddings": true}"#,
    prefix: "transformer.",
    tensors: &[
        same("word_embeddings", "token_embd"),
        same("ln_f", "output_norm"),
        maybe("lm_head", "output", Same),
        maybe("h.{b}.input_layernorm", "blk.{b}.attn_norm", Same),
        maybe("h.{b}.ln_mlp", "blk.{b}.attn_norm", Same),
        maybe("h.{b}.ln_attn", "blk.{b}.attn_norm_2", Same),
        made("h.{b}.self_attention.query_key_value", "blk.{b}.attn_qkv", Ungrouped),
        same("h.{b}.self_attention.dense", "blk.{b}.attn_output"),
        same("h.{b}.mlp.dense_h_to_4h", "blk.{b}.ffn_up"),
        same("h.{b}.mlp.dense_4h_to_h", "blk.{b}.ffn_down"),
    ],
    vocabulary: Vocabulary::BPE,
    keys,
    computed: nothing_computed,
};

fn keys(keys: &mut Keys) -> Result<(), String> {
    keys.put("context_length", CONTEXT);
    keys.put("tensor_data_layout", "jploski");
    keys.integer("embedding_length", &["hidden_size"])?;
    let width = keys.config.needed_integer(&["hidden_size"])?;
    keys.put("feed_forward_length", 4 * width as u32);
    keys.integer("block_count", BLOCKS)?;
    keys.integer("attention.head_count", HEADS)?;
    let kv_heads = keys.config.shape()?.kv_heads;
    keys.put("attention.head_count_kv", kv_heads as u32);
    keys.float("attention.layer_norm_epsilon", &["layer_norm_epsilon"])
}
