//! GPT-NeoX and Pythia.

use super::blocks::alike;
use super::config::Config;
use super::error::Error;
use super::keys::Key;
use super::pieces::*;
use super::rope::Rope;
use super::table::{
    Architecture, Conversion, Extent, Head, Shown, Tensor, Width, nothing_computed, with_biases,
};
use super::tokenizer::Vocabulary;

pub const GPT_NEOX: Architecture = Architecture {
    name: "gptneox",
    hf: &["GPTNeoXForCausalLM"],
    defaults: r#"{"rotary_pct": 0.25, "max_position_embeddings": 2048,
        "layer_norm_eps": 1e-5, "tie_word_embeddings": false}"#,
    settled: settle_base,
    blocks: alike,
    fixed: r#"{"model_type": "gpt_neox", "hidden_act": "gelu"}"#,
    shown: &[Shown::flag("attention_bias", "blk.{b}.attn_qkv.bias", true).or_zeros()],
    prefix: "gpt_neox.",
    head: Head::Needed,
    tensors: &[&EMBEDDINGS, &with_biases(BIASED), &[Tensor::ignored(MASK)]],
    keys: &[
        &SIZES,
        &[
            Key::group(
                |keys| write_rotated_part(keys, &ROTATED),
                |file| read_rotated_part(file, "rotary_pct"),
            )
            .reading(&["rotary_pct", "rotary_emb_base"]),
            Key::group(|keys| ROTATED.write(keys), |file| ROTATED.read(file)).reading(NAMES),
            Key::flag("use_parallel_residual", &["use_parallel_residual"], true),
            Key::float("attention.layer_norm_epsilon", &["layer_norm_eps"]),
            ONE_BASE,
            GELU,
            HEADS_FILL_WIDTH,
        ],
    ],
    vocabulary: Vocabulary::PLAIN,
    computed: nothing_computed,
};

/// What describes the embeddings besides; at the top there are other names than elsewhere for base and part.
const NAMES: &[&str] = &["rope_parameters", "rope_scaling", "original_max_position_embeddings"];

/// Files of transformers 4 may have the base under the name that other models have for it.
fn settle_base(config: &mut Config) {
    if config.get("rotary_emb_base").is_none()
        && let Some(base) = config.get("rope_theta").cloned()
    {
        config.set("rotary_emb_base", base);
    }
}

/// Both names of the base stand for one value.
const ONE_BASE: Key = Key::check(&["rope_theta"], |keys| {
    let bases = ["rope_theta", "rotary_emb_base"].map(|name| keys.config.float(&[name]));
    match bases {
        [Ok(Some(one)), Ok(Some(other))] if one != other => Err(Error::TwoBases),
        _ => Ok(()),
    }
});

/// A part of each head is rotated.
const ROTATED: Rope = Rope { base: "rotary_emb_base", part: Some((&["rotary_pct"], 0.25)), ..UNSAID };

const EMBEDDINGS: [Tensor; 2] = [
    Tensor::new("embed_in", "token_embd", Width::Columns),
    Tensor::new("embed_out", "output", Width::Columns).optional(),
];

const BIASED: [Tensor; 7] = [
    Tensor::new("final_layer_norm", "output_norm", Width::Columns),
    Tensor::new("layers.{b}.input_layernorm", "blk.{b}.attn_norm", Width::Columns),
    Tensor::new("layers.{b}.attention.query_key_value", "blk.{b}.attn_qkv", Width::Columns)
        .by(Extent::QueriesKeysValues)
        .converted(Conversion::Ungrouped),
    Tensor::new("layers.{b}.attention.dense", "blk.{b}.attn_output", Width::Rows).by(Extent::Queries),
    Tensor::new("layers.{b}.post_attention_layernorm", "blk.{b}.ffn_norm", Width::Columns),
    Tensor::new("layers.{b}.mlp.dense_h_to_4h", "blk.{b}.ffn_up", Width::Columns).by(Extent::INNER),
    Tensor::new("layers.{b}.mlp.dense_4h_to_h", "blk.{b}.ffn_down", Width::Rows).by(Extent::INNER),
];

/// A causal mask.
const MASK: &str = "layers.{b}.attention.bias";
