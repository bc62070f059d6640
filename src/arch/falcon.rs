//! Falcon 7B and 40B.

use super::config::{BLOCKS, HEADS, HIDDEN, KV_HEADS};
use super::keys::Key;
use super::table::{Architecture, Conversion, Tensor, Width, nothing_computed};
use super::tokenizer::Vocabulary;

pub const FALCON: Architecture = Architecture {
    name: "falcon",
    hf: &["FalconForCausalLM", "RWForCausalLM"],
    // One head of keys and values where nothing is said, as in Falcon 7B.
    defaults: r#"{"n_head_kv": 1, "layer_norm_epsilon": 1e-5, "tie_word_embeddings": true}"#,
    fixed: r#"{"model_type": "falcon", "alibi": false, "parallel_attn": true, "multi_query": true}"#,
    shown: &[
        ("bias", "blk.0.attn_qkv.bias", false),
        ("new_decoder_architecture", "blk.0.attn_norm_2.weight", false),
    ],
    prefix: "transformer.",
    tensors: &[&[
        Tensor::new("word_embeddings", "token_embd", Width::Columns),
        Tensor::new("ln_f", "output_norm", Width::Columns),
        Tensor::new("lm_head", "output", Width::Columns).optional(),
        // 40B has a norm for the feed-forward matrices and one for attention; 7B has one for both.
        Tensor::new("h.{b}.ln_mlp", "blk.{b}.attn_norm", Width::Columns)
            .optional()
            .beside("blk.{b}.attn_norm_2"),
        Tensor::new("h.{b}.ln_attn", "blk.{b}.attn_norm_2", Width::Columns).optional(),
        Tensor::new("h.{b}.input_layernorm", "blk.{b}.attn_norm", Width::Columns).optional(),
        Tensor::new("h.{b}.self_attention.query_key_value", "blk.{b}.attn_qkv", Width::Columns)
            .converted(Conversion::Ungrouped),
        Tensor::new("h.{b}.self_attention.dense", "blk.{b}.attn_output", Width::Rows),
        Tensor::new("h.{b}.mlp.dense_h_to_4h", "blk.{b}.ffn_up", Width::Columns),
        Tensor::new("h.{b}.mlp.dense_4h_to_h", "blk.{b}.ffn_down", Width::Rows),
    ]],
    keys: &[&[
        // The context of all Falcon models; config.json does not say it.
        Key::number("context_length", 2048),
        Key::text("tensor_data_layout", "jploski"),
        Key::integer("embedding_length", &["hidden_size"]),
        INNER,
        Key::integer("block_count", BLOCKS),
        Key::integer("attention.head_count", HEADS),
        Key::integer("attention.head_count_kv", KV_HEADS)
            .or_else(|config| Ok(config.shape()?.heads), |_| Ok(Some(1)))
            .written_as("num_kv_heads"),
        Key::float("attention.layer_norm_epsilon", &["layer_norm_epsilon"]),
    ]],
    vocabulary: Vocabulary::PLAIN,
    computed: nothing_computed,
};

/// The feed-forward matrices are four times as wide as the model; config.json does not say it.
const INNER: Key = Key::group(
    |keys| {
        let width = keys.config.needed_integer(HIDDEN)?;
        keys.put("feed_forward_length", 4 * width as u32);
        Ok(())
    },
    |_| Ok(()),
);
