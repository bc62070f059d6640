//! GPT-2: learned positions; matrices are stored with a row for each input.

use super::How::{Same, Transposed};
use super::keys::Keys;
use super::tokenizer::Vocabulary;
use super::{Architecture, ignored, made, maybe, nothing_computed, same};

pub const GPT2: Architecture = Architecture {
    name: "gpt2",
    hf: &["GPT2LMHeadModel"],
    defaults: r#"{"layer_norm_epsilon": 1e-5, "tie_word_embeddings": true}"#,
    prefix: "transformer.",
    tensors: &[
        same("wte", "token_embd"),
        same("wpe", "position_embd"),
        same("ln_f", "output_norm"),
        maybe("lm_head", "output", Same),
        same("h.{b}.ln_1", "blk.{b}.attn_norm"),
        made("h.{b}.attn.c_attn", "blk.{b}.attn_qkv", Transposed),
        made("h.{b}.attn.c_proj", "blk.{b}.attn_output", Transposed),
        same("h.{b}.ln_2", "blk.{b}.ffn_norm"),
        made("h.{b}.mlp.c_fc", "blk.{b}.ffn_up", Transposed),
        made("h.{b}.mlp.c_proj", "blk.{b}.ffn_down", Transposed),
        // Causal masks.
        ignored("h.{b}.attn"),
        ignored("h.{b}.attn.masked_bias"),
    ],
    vocabulary: Vocabulary::BPE,
    keys,
    computed: nothing_computed,
};

fn keys(keys: &mut Keys) -> Result<(), String> {
    keys.integer("block_count", &["n_layer"])?;
    keys.integer("context_length", &["n_ctx", "n_positions"])?;
    keys.integer("embedding_length", &["n_embd"])?;
    let width = keys.config.needed_integer(&["n_embd"])?;
    let inner = keys.config.integer(&["n_inner"])?.unwrap_or(4 * width);
    keys.put("feed_forward_length", inner as u32);
    keys.integer("attention.head_count", &["n_head"])?;
    keys.float("attention.layer_norm_epsilon", &["layer_norm_epsilon"])
}
