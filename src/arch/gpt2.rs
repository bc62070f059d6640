//! GPT-2: learned positions; matrices are stored with a row for each input.

use super::blocks::alike;
use super::config::HIDDEN;
use super::keys::{Key, Only};
use super::pieces::GELU;
use super::table::{
    Architecture, Conversion, Extent, Head, Tensor, Width, nothing_computed, nothing_settled, with_biases,
};
use super::tokenizer::Vocabulary;

pub const GPT2: Architecture = Architecture {
    name: "gpt2",
    hf: &["GPT2LMHeadModel"],
    defaults: r#"{"layer_norm_epsilon": 1e-5, "scale_attn_weights": true, "tie_word_embeddings": true}"#,
    settled: nothing_settled,
    blocks: alike,
    fixed: r#"{"model_type": "gpt2", "activation_function": "gelu_new"}"#,
    shown: &[],
    prefix: "transformer.",
    head: Head::Optional,
    tensors: &[&EMBEDDINGS, &with_biases(BIASED), &[Tensor::ignored(MASK)]],
    keys: &[&[
        Key::integer("block_count", &["n_layer", "num_hidden_layers"]),
        Key::integer("context_length", &["n_positions", "max_position_embeddings", "n_ctx"]),
        Key::integer("embedding_length", &["n_embd", "hidden_size"]),
        Key::integer("feed_forward_length", &["n_inner"])
            .or_else(|config| Ok(4 * config.needed_integer(HIDDEN)?), |_| Ok(None)),
        Key::integer("attention.head_count", &["n_head", "num_attention_heads"]),
        Key::float("attention.layer_norm_epsilon", &["layer_norm_epsilon"]),
        GELU,
        Key::only(
            &["scale_attn_weights"],
            Only::Flag(true),
            "divides the scores by the root of the size of a head",
        ),
        Key::only(
            &["scale_attn_by_inverse_layer_idx"],
            Only::Flag(false),
            "scales the scores of all blocks alike",
        ),
        Key::only(&["add_cross_attention"], Only::Flag(false), "has no cross-attention"),
    ]],
    vocabulary: Vocabulary::PLAIN,
    computed: nothing_computed,
};

const EMBEDDINGS: [Tensor; 3] = [
    Tensor::new("wte", "token_embd", Width::Columns),
    Tensor::new("wpe", "position_embd", Width::Columns).by(Extent::Is("context_length")),
    Tensor::new("lm_head", "output", Width::Columns).optional(),
];

const BIASED: [Tensor; 7] = [
    Tensor::new("ln_f", "output_norm", Width::Columns),
    Tensor::new("h.{b}.ln_1", "blk.{b}.attn_norm", Width::Columns),
    Tensor::new("h.{b}.attn.c_attn", "blk.{b}.attn_qkv", Width::Columns)
        .by(Extent::QueriesKeysValues)
        .converted(Conversion::Transposed),
    Tensor::new("h.{b}.attn.c_proj", "blk.{b}.attn_output", Width::Rows)
        .by(Extent::Queries)
        .converted(Conversion::Transposed),
    Tensor::new("h.{b}.ln_2", "blk.{b}.ffn_norm", Width::Columns),
    Tensor::new("h.{b}.mlp.c_fc", "blk.{b}.ffn_up", Width::Columns)
        .by(Extent::INNER)
        .converted(Conversion::Transposed),
    Tensor::new("h.{b}.mlp.c_proj", "blk.{b}.ffn_down", Width::Rows)
        .by(Extent::INNER)
        .converted(Conversion::Transposed),
];

/// A causal mask.
const MASK: &str = "h.{b}.attn.bias";
