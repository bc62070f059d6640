//! GPT-2: learned positions; matrices are stored with a row for each input.

use super::keys::Key;
use super::table::{Architecture, Conversion, Tensor, Width, nothing_computed};
use super::tokenizer::Vocabulary;

pub const GPT2: Architecture = Architecture {
    name: "gpt2",
    hf: &["GPT2LMHeadModel"],
    defaults: r#"{"layer_norm_epsilon": 1e-5, "tie_word_embeddings": true}"#,
    fixed: r#"{"model_type": "gpt2", "activation_function": "gelu_new"}"#,
    shown: &[],
    prefix: "transformer.",
    tensors: &[&[
        Tensor::new("wte", "token_embd", Width::Columns),
        Tensor::new("wpe", "position_embd", Width::Columns),
        Tensor::new("ln_f", "output_norm", Width::Columns),
        Tensor::new("lm_head", "output", Width::Columns).optional(),
        Tensor::new("h.{b}.ln_1", "blk.{b}.attn_norm", Width::Columns),
        Tensor::new("h.{b}.attn.c_attn", "blk.{b}.attn_qkv", Width::Columns)
            .converted(Conversion::Transposed),
        Tensor::new("h.{b}.attn.c_proj", "blk.{b}.attn_output", Width::Rows)
            .converted(Conversion::Transposed),
        Tensor::new("h.{b}.ln_2", "blk.{b}.ffn_norm", Width::Columns),
        Tensor::new("h.{b}.mlp.c_fc", "blk.{b}.ffn_up", Width::Columns).converted(Conversion::Transposed),
        Tensor::new("h.{b}.mlp.c_proj", "blk.{b}.ffn_down", Width::Rows).converted(Conversion::Transposed),
        // Causal masks.
        Tensor::ignored("h.{b}.attn"),
        Tensor::ignored("h.{b}.attn.masked_bias"),
    ]],
    keys: &[&[
        Key::integer("block_count", &["n_layer"]),
        Key::integer("context_length", &["n_ctx", "n_positions"]).written_as("n_positions"),
        Key::integer("embedding_length", &["n_embd"]),
        Key::integer("feed_forward_length", &["n_inner"])
            .or_else(|config| Ok(4 * config.needed_integer(&["n_embd"])?), |_| Ok(None)),
        Key::integer("attention.head_count", &["n_head"]),
        Key::float("attention.layer_norm_epsilon", &["layer_norm_epsilon"]),
    ]],
    vocabulary: Vocabulary::PLAIN,
    computed: nothing_computed,
};
