//! LFM 2, dense and with experts: short convolutions in place of most attentions.

use super::blocks::{Block, Blocks, alike};
use super::config::Config;
use super::error::Error;
use super::file_keys::FileKeys;
use super::keys::{Key, Keys, Only};
use super::kv_heads;
use super::pieces::*;
use super::table::{Architecture, Conversion, Extent, Head, Tensor, Width, nothing_computed, of};
use super::tokenizer::Vocabulary;
use serde_json::Value as Json;

pub const LFM2: Architecture = Architecture {
    name: "lfm2",
    hf: &["Lfm2ForCausalLM", "LFM2ForCausalLM"],
    defaults: r#"{"num_key_value_heads": 8, "max_position_embeddings": 128000, "norm_eps": 1e-5,
        "rope_theta": 1000000.0, "intermediate_size": 12288, "conv_L_cache": 3, "block_multiple_of": 256,
        "block_ffn_dim_multiplier": 1.0, "block_auto_adjust_ff_dim": true, "tie_word_embeddings": true}"#,
    settled: settle,
    blocks: |config| {
        let recurrent = convolutions(config)?.into_iter();
        Ok(recurrent.map(|is_recurrent| Block { is_recurrent, ..Block::default() }).collect())
    },
    fixed: r#"{"model_type": "lfm2"}"#,
    shown: &[],
    prefix: "model.",
    head: Head::Optional,
    tensors: &[
        &OUTSIDE,
        &NORMS_BEFORE,
        &of(HEADS, Blocks::Attention),
        &of(CONVOLUTION, Blocks::Recurrent),
        &MLP,
    ],
    keys: &[
        SIZES_BESIDE_MLP,
        &[Key::group(write_mlp_width, read_mlp_width).reading(MLP_WIDTH)],
        CONVOLUTIONS,
        &[Key::check(IGNORED, |_| Ok(()))],
    ],
    vocabulary: Vocabulary::PLAIN,
    computed: nothing_computed,
};

pub const LFM2_MOE: Architecture = Architecture {
    name: "lfm2moe",
    hf: &["Lfm2MoeForCausalLM"],
    defaults: r#"{"num_key_value_heads": 8, "max_position_embeddings": 128000, "norm_eps": 1e-5,
        "rope_theta": 1000000.0, "intermediate_size": 7168, "conv_L_cache": 3, "moe_intermediate_size": 1792,
        "num_dense_layers": 2, "num_experts_per_tok": 4, "num_experts": 32, "tie_word_embeddings": true}"#,
    blocks: |config| {
        let dense = config.integer(&["num_dense_layers"])?.unwrap_or(0);
        let recurrent = convolutions(config)?.into_iter().enumerate();
        let block = |(number, is_recurrent)| Block {
            is_recurrent,
            has_experts: number as u64 >= dense,
            ..Block::default()
        };
        Ok(recurrent.map(block).collect())
    },
    fixed: r#"{"model_type": "lfm2_moe"}"#,
    tensors: &[
        &OUTSIDE,
        &NORMS_BEFORE,
        &of(HEADS, Blocks::Attention),
        &of(CONVOLUTION, Blocks::Recurrent),
        &of(MLP, Blocks::Dense),
        &of(EXPERTS_OF_MLP, Blocks::Experts),
    ],
    keys: &[
        SIZES_BESIDE_MLP,
        &[
            Key::integer("feed_forward_length", &["intermediate_size"]),
            Key::integer("expert_count", &["num_experts", "num_local_experts"]),
            Key::integer("expert_used_count", &["num_experts_per_tok"]),
            Key::integer("expert_feed_forward_length", &["moe_intermediate_size"]),
            Key::integer("leading_dense_block_count", &["num_dense_layers"]),
            Key::number("expert_gating_func", SIGMOID),
            Key::only(&["use_expert_bias"], Only::Flag(true), "adds a bias to the scores of experts"),
            Key::only(
                &["norm_topk_prob"],
                Only::Flag(true),
                "divides the weights of the experts of a token by their sum",
            ),
            Key::only(&["routed_scaling_factor"], Only::Number(1.0), "does not scale the weights of experts"),
        ],
        CONVOLUTIONS,
    ],
    ..LFM2
};

const OUTSIDE: [Tensor; 3] =
    [EMBEDDINGS[0], Tensor::new("embedding_norm", "token_embd_norm", Width::Columns), EMBEDDINGS[2]];

const NORMS_BEFORE: [Tensor; 2] = [
    Tensor::new("layers.{b}.operator_norm", "blk.{b}.attn_norm", Width::Columns),
    Tensor::new("layers.{b}.ffn_norm", "blk.{b}.ffn_norm", Width::Columns),
];

const HEADS: [Tensor; 6] = [
    ATTENTION[0],
    ATTENTION[1],
    ATTENTION[2],
    Tensor::new("layers.{b}.self_attn.out_proj", "blk.{b}.attn_output", Width::Rows).by(Extent::Queries),
    Tensor::new("layers.{b}.self_attn.q_layernorm", "blk.{b}.attn_q_norm", Width::None).by(Extent::Head),
    Tensor::new("layers.{b}.self_attn.k_layernorm", "blk.{b}.attn_k_norm", Width::None).by(Extent::Head),
];

const CONVOLUTION: [Tensor; 3] = [
    Tensor::new("layers.{b}.conv.conv", "blk.{b}.shortconv.conv", Width::Rows)
        .by(Extent::Is("shortconv.l_cache"))
        .converted(Conversion::Squeezed),
    Tensor::new("layers.{b}.conv.in_proj", "blk.{b}.shortconv.in_proj", Width::Columns)
        .by(Extent::Times(3, "embedding_length")),
    Tensor::new("layers.{b}.conv.out_proj", "blk.{b}.shortconv.out_proj", Width::Columns)
        .by(Extent::Is("embedding_length")),
];

const MLP: [Tensor; 3] = [
    Tensor::new("layers.{b}.feed_forward.w1", "blk.{b}.ffn_gate", Width::Columns).by(Extent::INNER),
    Tensor::new("layers.{b}.feed_forward.w3", "blk.{b}.ffn_up", Width::Columns).by(Extent::INNER),
    Tensor::new("layers.{b}.feed_forward.w2", "blk.{b}.ffn_down", Width::Rows).by(Extent::INNER),
];

const EXPERTS_OF_MLP: [Tensor; 8] = [
    Tensor::new("layers.{b}.feed_forward.gate", "blk.{b}.ffn_gate_inp", Width::Columns).by(Extent::EXPERTS),
    expert("layers.{b}.feed_forward.experts.{x}.w1", "blk.{b}.ffn_gate_exps", Width::Columns),
    expert("layers.{b}.feed_forward.experts.{x}.w3", "blk.{b}.ffn_up_exps", Width::Columns),
    expert("layers.{b}.feed_forward.experts.{x}.w2", "blk.{b}.ffn_down_exps", Width::Rows),
    Tensor { hf: "layers.{b}.feed_forward.experts.gate_up_proj", ..FUSED_EXPERTS[0] },
    Tensor { hf: "layers.{b}.feed_forward.experts.gate_up_proj", ..FUSED_EXPERTS[1] },
    Tensor { hf: "layers.{b}.feed_forward.experts.down_proj", ..FUSED_EXPERTS[2] },
    Tensor::whole("layers.{b}.feed_forward.expert_bias", "blk.{b}.exp_probs_b.bias").by(Extent::EXPERTS),
];

const fn expert(hf: &'static str, gguf: &'static str, width: Width) -> Tensor {
    Tensor::new(hf, gguf, width).by(Extent::EXPERT_INNER).converted(Conversion::Stacked)
}

const CONVOLUTIONS: &[Key] = &[
    Key::group(write_kv_heads, read_kv_heads).reading(&[
        "num_key_value_heads",
        "layer_types",
        "full_attn_idxs",
    ]),
    ROPE,
    Key::float("attention.layer_norm_rms_epsilon", &["norm_eps"]),
    VOCABULARY_SIZE,
    Key::integer("shortconv.l_cache", &["conv_L_cache"]),
    Key::only(&["conv_bias"], Only::Flag(false), "has no biases of convolutions"),
    HEADS_FILL_WIDTH,
    Key::check(&["tie_embedding", "block_ff_dim"], |_| Ok(())),
];

/// Values of the program that the first models were trained with; transformers does not read them.
const IGNORED: &[&str] = &[
    "block_dim",
    "block_mlp_init_scale",
    "block_norm_eps",
    "block_out_init_scale",
    "block_use_swiglu",
    "block_use_xavier_init",
    "conv_dim",
    "conv_dim_out",
    "conv_use_xavier_init",
    "num_heads",
    "theta",
    "use_pos_enc",
];

/// Older names count more.
fn settle(config: &mut Config) {
    for (old, new) in [("tie_embedding", "tie_word_embeddings"), ("block_ff_dim", "intermediate_size")] {
        if let Some(value) = config.get(old).cloned() {
            config.set(new, value);
        }
    }
}

/// Of every block whether it has a convolution in place of attention. Attention is everywhere where nothing is said.
fn convolutions(config: &Config) -> Result<Vec<bool>, Error> {
    let blocks = config.shape()?.blocks;
    let lacks = || Error::Missing(vec!["layer_types".into()]);
    if let Some(said) = config.get("layer_types") {
        let kind = |layer: &Json| match layer.as_str() {
            Some("full_attention") => Ok(false),
            Some("conv") => Ok(true),
            _ => Err(Error::Layers { value: said.to_string(), kinds: "`conv` and `full_attention`" }),
        };
        let layers = said.as_array().ok_or_else(lacks)?.iter().map(kind).collect::<Result<Vec<_>, _>>()?;
        return match layers.len() as u64 == blocks {
            true => Ok(layers),
            false => Err(Error::Layers { value: said.to_string(), kinds: "a kind for each block" }),
        };
    }
    let Some(full) = config.get("full_attn_idxs").and_then(Json::as_array) else {
        return Ok(alike(config)?.iter().map(|_| false).collect());
    };
    Ok((0..blocks).map(|block| !full.iter().any(|number| number.as_u64() == Some(block))).collect())
}

/// Blocks with a convolution have no heads of keys.
fn write_kv_heads(keys: &mut Keys) -> Result<(), Error> {
    let without = convolutions(keys.config)?;
    kv_heads::write(keys, &without)
}

fn read_kv_heads(file: &mut FileKeys) -> Result<(), Error> {
    kv_heads::read(file, "conv", "full_attention")
}

const MLP_WIDTH: &[&str] =
    &["intermediate_size", "block_auto_adjust_ff_dim", "block_ffn_dim_multiplier", "block_multiple_of"];

/// Two thirds of the width that config.json says, times a factor, rounded up, if it says so.
fn write_mlp_width(keys: &mut Keys) -> Result<(), Error> {
    let config = keys.config;
    let mut width = config.needed_integer(&["intermediate_size"])?;
    if config.is_true("block_auto_adjust_ff_dim") {
        let factor = config.float(&["block_ffn_dim_multiplier"])?.unwrap_or(1.0);
        let multiple = config.needed_integer(&["block_multiple_of"])?.max(1);
        width = ((factor * (2 * width / 3) as f64) as u64).next_multiple_of(multiple);
    }
    keys.put("feed_forward_length", width as u32);
    Ok(())
}

fn read_mlp_width(file: &mut FileKeys) -> Result<(), Error> {
    file.set("intermediate_size", file.integer("feed_forward_length")?);
    file.set("block_auto_adjust_ff_dim", false);
    Ok(())
}
