//! Qwen 3 Next and Qwen 3.5, dense and with experts: a state in place of most attentions, and gates.

use super::blocks::{Block, Blocks};
use super::config::Config;
use super::error::Error;
use super::file_keys::FileKeys;
use super::keys::{Key, Keys, Only};
use super::pieces::*;
use super::rope::Rope;
use super::table::{
    Architecture, Conversion, Extent, Head, Linear, Tensor, Width, all, nothing_computed, nothing_settled, of,
};
use super::tokenizer::Vocabulary;
use crate::gguf::{Kind, Value};
use serde_json::{Value as Json, json};

pub const QWEN3_NEXT: Architecture = Architecture {
    name: "qwen3next",
    hf: &["Qwen3NextForCausalLM"],
    defaults: r#"{"num_key_value_heads": 2, "head_dim": 256, "max_position_embeddings": 32768, "rope_theta": 10000.0,
        "rms_norm_eps": 1e-6, "intermediate_size": 5632, "num_experts": 512, "num_experts_per_tok": 10,
        "moe_intermediate_size": 512, "shared_expert_intermediate_size": 512, "linear_conv_kernel_dim": 4,
        "linear_key_head_dim": 128, "linear_value_head_dim": 128, "linear_num_key_heads": 16,
        "linear_num_value_heads": 32, "norm_topk_prob": true, "tie_word_embeddings": false}"#,
    settled: nothing_settled,
    blocks: |config| blocks(config, true),
    fixed: r#"{"model_type": "qwen3_next", "hidden_act": "silu"}"#,
    shown: &[ATTENTION_BIAS],
    prefix: "model.",
    head: Head::Optional,
    tensors: &[
        &OUTSIDE,
        &NORMS_OF_BLOCKS,
        &of(GATED_ATTENTION, Blocks::Attention),
        &of(GROUPED_STATE, Blocks::Recurrent),
        &of(STATE, Blocks::Recurrent),
        &EXPERTS,
        &FUSED_EXPERTS,
        &SHARED_EXPERT,
    ],
    keys: &[
        &SIZES,
        &[
            Key::integer("expert_count", &["num_experts", "num_local_experts"]),
            Key::integer("expert_used_count", &["num_experts_per_tok"]),
            Key::integer("expert_feed_forward_length", &["moe_intermediate_size"]),
            Key::integer("expert_shared_feed_forward_length", &["shared_expert_intermediate_size"]),
            Key::only(
                &["norm_topk_prob"],
                Only::Flag(true),
                "divides the weights of the experts of a token by their sum",
            ),
        ],
        &EXPERTS_IN_EVERY_BLOCK,
        STATES,
    ],
    vocabulary: Vocabulary::PLAIN,
    computed: nothing_computed,
};

pub const QWEN35: Architecture = Architecture {
    name: "qwen35",
    hf: &["Qwen3_5ForCausalLM", "Qwen3_5ForConditionalGeneration"],
    defaults: r#"{"num_key_value_heads": 4, "head_dim": 256, "max_position_embeddings": 32768, "rope_theta": 10000.0,
        "rms_norm_eps": 1e-6, "intermediate_size": 12288, "linear_conv_kernel_dim": 4, "linear_key_head_dim": 128,
        "linear_value_head_dim": 128, "linear_num_key_heads": 16, "linear_num_value_heads": 32,
        "tie_word_embeddings": false}"#,
    blocks: |config| blocks(config, false),
    fixed: r#"{"model_type": "qwen3_5_text", "hidden_act": "silu"}"#,
    tensors: &[
        &OUTSIDE,
        &NORMS_OF_BLOCKS,
        &of(GATED_ATTENTION, Blocks::Attention),
        &of(TILED_STATE, Blocks::Recurrent),
        &GATED_MLP,
    ],
    keys: &[&SIZES, STATES, &[SECTIONS, EXPERTS_IN_EVERY_BLOCK[1]]],
    ..QWEN3_NEXT
};

pub const QWEN35_MOE: Architecture = Architecture {
    name: "qwen35moe",
    hf: &["Qwen3_5MoeForCausalLM", "Qwen3_5MoeForConditionalGeneration"],
    defaults: r#"{"num_key_value_heads": 2, "head_dim": 256, "max_position_embeddings": 32768, "rope_theta": 10000.0,
        "rms_norm_eps": 1e-6, "num_experts": 256, "num_experts_per_tok": 8, "moe_intermediate_size": 512,
        "shared_expert_intermediate_size": 512, "linear_conv_kernel_dim": 4, "linear_key_head_dim": 128,
        "linear_value_head_dim": 128, "linear_num_key_heads": 16, "linear_num_value_heads": 32,
        "tie_word_embeddings": false}"#,
    blocks: |config| blocks(config, true),
    fixed: r#"{"model_type": "qwen3_5_moe_text", "hidden_act": "silu"}"#,
    tensors: &[
        &OUTSIDE,
        &NORMS_OF_BLOCKS,
        &of(GATED_ATTENTION, Blocks::Attention),
        &of(TILED_STATE, Blocks::Recurrent),
        &EXPERTS,
        &FUSED_EXPERTS,
        &SHARED_EXPERT,
    ],
    keys: &[
        SIZES_BESIDE_MLP,
        &[
            Key::integer("expert_count", &["num_experts", "num_local_experts"]),
            Key::integer("expert_used_count", &["num_experts_per_tok"]),
            Key::integer("expert_feed_forward_length", &["moe_intermediate_size"]),
            Key::integer("expert_shared_feed_forward_length", &["shared_expert_intermediate_size"]),
        ],
        STATES,
        &[SECTIONS, EXPERTS_IN_EVERY_BLOCK[1]],
    ],
    ..QWEN3_NEXT
};

const OUTSIDE: [Tensor; 3] = [EMBEDDINGS[0], EMBEDDINGS[1].converted(Conversion::PlusOne), EMBEDDINGS[2]];

const NORMS_OF_BLOCKS: [Tensor; 2] = all([NORM_BEFORE_ATTENTION, NORMS_AFTER[0]], Conversion::PlusOne);

/// Queries stand beside gates of what attention gives.
const GATED_ATTENTION: [Tensor; 6] = [
    ATTENTION[0].by(Extent::GatedQueries),
    ATTENTION[1],
    ATTENTION[2],
    ATTENTION_OUTPUT,
    QK_NORMS[0].converted(Conversion::PlusOne),
    QK_NORMS[1].converted(Conversion::PlusOne),
];

/// What goes into the state, in groups of the heads that share a key.
const GROUPED_STATE: [Tensor; 3] = [
    Tensor::new("layers.{b}.linear_attn.in_proj_qkvz", "blk.{b}.attn_qkv", Width::Columns)
        .converted(Conversion::Linear(Linear::QueriesKeysValues))
        .part(),
    Tensor::new("layers.{b}.linear_attn.in_proj_qkvz", "blk.{b}.attn_gate", Width::Columns)
        .converted(Conversion::Linear(Linear::Gates))
        .part(),
    Tensor::new("layers.{b}.linear_attn.in_proj_ba", "blk.{b}.ssm_ba", Width::Columns)
        .by(Extent::Times(2, "ssm.time_step_rank")),
];

const STATE: [Tensor; 5] = [
    Tensor::new("layers.{b}.linear_attn.conv1d", "blk.{b}.ssm_conv1d", Width::None)
        .by(Extent::Is("ssm.conv_kernel"))
        .converted(Conversion::Squeezed),
    Tensor::whole("layers.{b}.linear_attn.dt_bias", "blk.{b}.ssm_dt.bias")
        .by(Extent::Is("ssm.time_step_rank")),
    Tensor::whole("layers.{b}.linear_attn.A_log", "blk.{b}.ssm_a")
        .by(Extent::Is("ssm.time_step_rank"))
        .converted(Conversion::NegativeExp),
    NORM_OF_STATE,
    Tensor::new("layers.{b}.linear_attn.out_proj", "blk.{b}.ssm_out", Width::Rows)
        .by(Extent::Is("ssm.inner_size")),
];

const NORM_OF_STATE: Tensor = Tensor::new("layers.{b}.linear_attn.norm", "blk.{b}.ssm_norm", Width::None)
    .by(Extent::Is("ssm.state_size"));

/// The same where matrices are apart and values take turns.
const TILED_STATE: [Tensor; 9] = [
    linear("layers.{b}.linear_attn.in_proj_qkv", "blk.{b}.attn_qkv", Width::Columns, Linear::ValuesLast),
    linear("layers.{b}.linear_attn.in_proj_z", "blk.{b}.attn_gate", Width::Columns, Linear::Values),
    linear("layers.{b}.linear_attn.in_proj_b", "blk.{b}.ssm_beta", Width::Columns, Linear::Single),
    linear("layers.{b}.linear_attn.in_proj_a", "blk.{b}.ssm_alpha", Width::Columns, Linear::Single),
    linear("layers.{b}.linear_attn.conv1d", "blk.{b}.ssm_conv1d", Width::None, Linear::Convolution)
        .by(Extent::Is("ssm.conv_kernel")),
    Tensor {
        is_whole: true,
        ..linear("layers.{b}.linear_attn.dt_bias", "blk.{b}.ssm_dt.bias", Width::None, Linear::Single)
    },
    Tensor {
        is_whole: true,
        ..linear("layers.{b}.linear_attn.A_log", "blk.{b}.ssm_a", Width::None, Linear::Decay)
    },
    NORM_OF_STATE,
    linear("layers.{b}.linear_attn.out_proj", "blk.{b}.ssm_out", Width::Rows, Linear::Columns),
];

const fn linear(hf: &'static str, gguf: &'static str, width: Width, part: Linear) -> Tensor {
    Tensor::new(hf, gguf, width).converted(Conversion::Linear(part)).part()
}

/// A quarter of each head is rotated. What is seen has positions of its own, which are all the same for text.
const QUARTER: Rope = Rope {
    part: Some((&["partial_rotary_factor"], 0.25)),
    more: &["mrope_section", "mrope_interleaved"],
    ..SCALED
};

const STATES: &[Key] = &[
    KV_HEAD_COUNT,
    HEAD_SIZE,
    Key::group(|keys| QUARTER.write(keys), |file| QUARTER.read(file)).reading(ROPE_NAMES),
    Key::group(
        |keys| write_rotated_part(keys, &QUARTER),
        |file| read_rotated_part(file, "partial_rotary_factor"),
    ),
    RMS_EPSILON,
    Key::integer("ssm.conv_kernel", &["linear_conv_kernel_dim"]),
    Key::integer("ssm.state_size", &["linear_key_head_dim"]),
    Key::integer("ssm.group_count", &["linear_num_key_heads"]),
    Key::integer("ssm.time_step_rank", &["linear_num_value_heads"]),
    Key::group(write_inner_size, read_inner_size).reading(&["linear_value_head_dim"]),
    Key::group(write_layers, read_layers).reading(&["layer_types", "full_attention_interval"]),
    SILU,
    Key::only(&["attn_output_gate"], Only::Flag(true), "has gates of what attention gives"),
    // What predicts further tokens is left out.
    Key::check(&["mtp_num_hidden_layers", "mtp_use_dedicated_embeddings"], |_| Ok(())),
];

/// Every so many layers one has attention where nothing is said.
const INTERVAL: u64 = 4;

/// Of every block whether it has a state in place of attention.
fn states(config: &Config) -> Result<Vec<bool>, Error> {
    let blocks = config.shape()?.blocks;
    let Some(said) = config.get("layer_types") else {
        let interval = config.integer(&["full_attention_interval"])?.unwrap_or(INTERVAL);
        return Ok((1..=blocks).map(|block| interval == 0 || !block.is_multiple_of(interval)).collect());
    };
    let other = |kinds| Error::Layers { value: said.to_string(), kinds };
    let kind = |layer: &Json| match layer.as_str() {
        Some("full_attention") => Ok(false),
        Some("linear_attention") => Ok(true),
        _ => Err(other("`linear_attention` and `full_attention`")),
    };
    let layers = said.as_array().into_iter().flatten().map(kind).collect::<Result<Vec<_>, _>>()?;
    if layers.len() as u64 == blocks { Ok(layers) } else { Err(other("a kind for each block")) }
}

fn blocks(config: &Config, has_experts: bool) -> Result<Vec<Block>, Error> {
    let block = |is_recurrent| Block { has_experts, is_recurrent, ..Block::default() };
    Ok(states(config)?.into_iter().map(block).collect())
}

/// llama.cpp takes one size for the heads of keys and of values.
fn write_inner_size(keys: &mut Keys) -> Result<(), Error> {
    let config = keys.config;
    let (size, heads) = ("linear_value_head_dim", config.needed_integer(&["linear_num_value_heads"])?);
    let (values, of_keys) =
        (config.needed_integer(&[size])?, config.needed_integer(&["linear_key_head_dim"])?);
    if values != of_keys {
        return Err(keys.differs(
            size,
            &values.into(),
            &format!("takes `linear_key_head_dim`, {of_keys}, for it"),
        ));
    }
    keys.put("ssm.inner_size", (values * heads) as u32);
    Ok(())
}

fn read_inner_size(file: &mut FileKeys) -> Result<(), Error> {
    let size = file.integer("ssm.state_size")?;
    file.set("linear_value_head_dim", size);
    Ok(())
}

/// Writes which blocks have a state, and the usual interval, as llama.cpp's converter does.
fn write_layers(keys: &mut Keys) -> Result<(), Error> {
    let states = states(keys.config)?.into_iter().map(Value::Bool).collect();
    keys.put("attention.recurrent_layers", Value::Array(Kind::Bool, states));
    // transformers forgets the interval when the layers follow from it.
    let said = keys.config.integer(&["full_attention_interval"])?;
    let interval = said.filter(|_| keys.config.get("layer_types").is_some()).unwrap_or(INTERVAL);
    keys.put("full_attention_interval", interval as u32);
    Ok(())
}

fn read_layers(file: &mut FileKeys) -> Result<(), Error> {
    let interval = file.integer("full_attention_interval")?.unwrap_or(INTERVAL);
    let states: Vec<bool> = match file.key("attention.recurrent_layers").and_then(Value::as_array) {
        Some(layers) => layers.iter().map(|layer| layer.as_bool() == Some(true)).collect(),
        None => {
            let blocks = file.integer("block_count")?.unwrap_or(0);
            (1..=blocks).map(|block| !block.is_multiple_of(interval.max(1))).collect()
        }
    };
    let kind = |is_state| if is_state { "linear_attention" } else { "full_attention" };
    file.set("layer_types", states.into_iter().map(kind).collect::<Vec<_>>());
    file.set("full_attention_interval", interval);
    Ok(())
}

/// Parts of the rotated pairs that time, height and width of what is seen turn.
const SECTIONS: Key = Key::group(
    |keys| {
        let rope = QUARTER.parameters(keys.config)?;
        let usual = json!([11, 11, 10]);
        let said = rope.get("mrope_section").unwrap_or(&usual);
        let other = || Error::NoNumber { name: "mrope_section".into(), value: said.to_string() };
        let sections = said.as_array().ok_or_else(other)?.iter();
        let mut sections = sections
            .map(|n| n.as_u64().map(|n| Value::I32(n as i32)).ok_or_else(other))
            .collect::<Result<Vec<_>, _>>()?;
        sections.resize(4, Value::I32(0));
        keys.put("rope.dimension_sections", Value::Array(Kind::I32, sections));
        Ok(())
    },
    |file| {
        let name = "rope.dimension_sections";
        let sections = file.key(name).and_then(Value::as_array).ok_or_else(|| file.missing(name))?;
        let sections: Vec<u64> = sections.iter().take(3).filter_map(Value::as_u64).collect();
        let mut rope = file.json().get("rope_scaling").cloned().unwrap_or(json!({"rope_type": "default"}));
        rope["mrope_section"] = json!(sections);
        file.set("rope_scaling", rope);
        Ok(())
    },
);
