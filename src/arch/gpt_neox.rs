//! GPT-NeoX and Pythia.

use super::keys::Key;
use super::pieces::*;
use super::table::{Architecture, Conversion, Tensor, Width, nothing_computed};
use super::tokenizer::Vocabulary;

pub const GPT_NEOX: Architecture = Architecture {
    name: "gptneox",
    hf: &["GPTNeoXForCausalLM"],
    defaults: r#"{"rotary_pct": 0.25, "max_position_embeddings": 2048, "layer_norm_eps": 1e-5}"#,
    fixed: r#"{"model_type": "gpt_neox", "hidden_act": "gelu"}"#,
    shown: &[("attention_bias", "blk.0.attn_qkv.bias", true)],
    prefix: "gpt_neox.",
    tensors: &[&[
        Tensor::new("embed_in", "token_embd", Width::Columns),
        Tensor::new("embed_out", "output", Width::Columns),
        Tensor::new("final_layer_norm", "output_norm", Width::Columns),
        Tensor::new("layers.{b}.input_layernorm", "blk.{b}.attn_norm", Width::Columns),
        Tensor::new("layers.{b}.attention.query_key_value", "blk.{b}.attn_qkv", Width::Columns)
            .converted(Conversion::Ungrouped),
        Tensor::new("layers.{b}.attention.dense", "blk.{b}.attn_output", Width::Rows),
        Tensor::new("layers.{b}.post_attention_layernorm", "blk.{b}.ffn_norm", Width::Columns),
        Tensor::new("layers.{b}.mlp.dense_h_to_4h", "blk.{b}.ffn_up", Width::Columns),
        Tensor::new("layers.{b}.mlp.dense_4h_to_h", "blk.{b}.ffn_down", Width::Rows),
        // Causal masks.
        Tensor::ignored("layers.{b}.attention"),
        Tensor::ignored("layers.{b}.attention.masked_bias"),
    ]],
    keys: &[
        &SIZES,
        &[
            Key::group(|keys| write_rotated_part(keys, 0.25), |file| read_rotated_part(file, "rotary_pct")),
            Key::flag("use_parallel_residual", &["use_parallel_residual"], true),
            Key::float("attention.layer_norm_epsilon", &["layer_norm_eps"]),
        ],
    ],
    vocabulary: Vocabulary::PLAIN,
    computed: nothing_computed,
};
