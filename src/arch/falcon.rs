//! Falcon 7B, 40B and 2.

use super::blocks::alike;
use super::config::{BLOCKS, Config, HEADS, HIDDEN, KV_HEADS};
use super::keys::{Key, Only};
use super::pieces::*;
use super::table::{Architecture, Conversion, Extent, Head, Shown, Tensor, Width, nothing_computed};
use super::tokenizer::Vocabulary;
use serde_json::Value as Json;

pub const FALCON: Architecture = Architecture {
    name: "falcon",
    hf: &["FalconForCausalLM", "RWForCausalLM"],
    defaults: r#"{"layer_norm_epsilon": 1e-5, "max_position_embeddings": 2048, "rope_theta": 10000.0,
        "multi_query": true, "parallel_attn": true, "tie_word_embeddings": true}"#,
    settled: settle_heads,
    blocks: alike,
    fixed: r#"{"model_type": "falcon", "alibi": false, "parallel_attn": true, "multi_query": true}"#,
    shown: &[Shown::value(NORMS_BEFORE, "blk.{b}.attn_norm_2.weight", |config| {
        match config.get(NORMS_BEFORE) {
            Some(norms) => norms.as_u64() == Some(2),
            None => config.is_true(NEW),
        }
    })],
    prefix: "transformer.",
    head: Head::Optional,
    tensors: &[&[
        Tensor::new("word_embeddings", "token_embd", Width::Columns),
        Tensor::new("ln_f", "output_norm", Width::Columns).with_bias(),
        Tensor::new("lm_head", "output", Width::Columns).optional(),
        // 40B has a norm for the feed-forward matrices and one for attention; 7B has one for both.
        Tensor::new("h.{b}.ln_mlp", "blk.{b}.attn_norm", Width::Columns)
            .with_bias()
            .optional()
            .beside("blk.{b}.attn_norm_2"),
        Tensor::new("h.{b}.ln_attn", "blk.{b}.attn_norm_2", Width::Columns).may_have_bias().optional(),
        // One of the names has to be there.
        Tensor::new("h.{b}.input_layernorm", "blk.{b}.attn_norm", Width::Columns).with_bias(),
        Tensor::new("h.{b}.self_attention.query_key_value", "blk.{b}.attn_qkv", Width::Columns)
            .by(Extent::QueriesKeysValues)
            .converted(Conversion::Ungrouped),
        Tensor::new("h.{b}.self_attention.dense", "blk.{b}.attn_output", Width::Rows).by(Extent::Queries),
        Tensor::new("h.{b}.mlp.dense_h_to_4h", "blk.{b}.ffn_up", Width::Columns).by(Extent::INNER),
        Tensor::new("h.{b}.mlp.dense_4h_to_h", "blk.{b}.ffn_down", Width::Rows).by(Extent::INNER),
    ]],
    keys: &[&[
        Key::only(&["alibi"], Only::Flag(false), "has rotary embeddings in place of ALiBi"),
        Key::only(
            &["parallel_attn"],
            Only::Flag(true),
            "computes attention and the feed-forward matrices side by side",
        ),
        Key::only(&["bias"], Only::Flag(false), "has no biases but those of norms"),
        Key::only(
            &["apply_residual_connection_post_layernorm"],
            Only::Flag(false),
            "adds to what is not normalized",
        ),
        Key::integer("context_length", &["max_position_embeddings"]),
        Key::text("tensor_data_layout", "jploski"),
        Key::integer("embedding_length", &["hidden_size"]),
        Key::integer("feed_forward_length", &["ffn_hidden_size"])
            .or_else(|config| Ok(4 * config.needed_integer(HIDDEN)?), |_| Ok(None)),
        Key::integer("block_count", BLOCKS),
        Key::integer("attention.head_count", HEADS),
        Key::integer("attention.head_count_kv", KV_HEADS)
            .or_else(|config| Ok(config.shape()?.heads), |_| Ok(Some(1)))
            .written_as("num_kv_heads"),
        GROUPS,
        Key::float("attention.layer_norm_epsilon", &["layer_norm_epsilon"]),
        UNSAID_ROPE,
        GELU,
        HEADS_FILL_WIDTH,
    ]],
    vocabulary: Vocabulary::PLAIN,
    computed: nothing_computed,
};

const NEW: &str = "new_decoder_architecture";
const NORMS_BEFORE: &str = "num_ln_in_parallel_attn";

/// Heads of keys and values: one where `multi_query` says so, which `new_decoder_architecture` overrules. Old files have
/// the number under an old name, and no flag.
fn settle_heads(config: &mut Config) {
    if config.get("n_head_kv").and_then(Json::as_u64).is_some_and(|heads| heads > 1) {
        config.set(NEW, true);
    }
    if !config.is_true(NEW) {
        config.set("num_kv_heads", config.is_true("multi_query").then_some(1));
    }
}

/// Whether queries share keys and values in groups, each of which is stored together.
const GROUPS: Key = Key::group(
    |_| Ok(()),
    |file| {
        let has_two_norms = file.source.vector("blk.0.attn_norm_2.weight").is_some();
        let groups = file.integer("attention.head_count_kv")?.unwrap_or(1);
        if has_two_norms || groups > 1 {
            file.set(NEW, true);
            file.set(NORMS_BEFORE, if has_two_norms { 2 } else { 1 });
        }
        Ok(())
    },
)
.reading(&[NEW, NORMS_BEFORE, "multi_query"]);
