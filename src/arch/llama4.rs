//! Llama 4, the language model alone: chunks of attention, layers without rotary embeddings, experts.

use super::blocks::{Block, Blocks};
use super::config::{BLOCKS, Config};
use super::error::Error;
use super::keys::{Key, Keys, Only};
use super::llama::LLAMA;
use super::pieces::*;
use super::rope::{Rope, Scaling};
use super::rope_factors;
use super::smollm3::check_rotated_layers;
use super::table::{Architecture, Conversion, Extent, Half, Tensor, Width, of};
use super::tokenizer::Vocabulary;
use serde_json::Value as Json;

pub const LLAMA4: Architecture = Architecture {
    name: "llama4",
    hf: &["Llama4ForCausalLM", "Llama4ForConditionalGeneration"],
    defaults: r#"{"num_key_value_heads": 8, "head_dim": 128, "max_position_embeddings": 131072, "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0, "intermediate_size": 8192, "intermediate_size_mlp": 16384, "num_local_experts": 16,
        "num_experts_per_tok": 1, "interleave_moe_layer_step": 1, "use_qk_norm": true, "no_rope_layer_interval": 4,
        "attention_chunk_size": 8192, "tie_word_embeddings": false}"#,
    blocks,
    fixed: r#"{"model_type": "llama4_text", "hidden_act": "silu"}"#,
    shown: &[ATTENTION_BIAS],
    tensors: &[
        &EMBEDDINGS,
        &NORMS,
        &ATTENTION,
        &of(DENSE, Blocks::Dense),
        &of(SHARED, Blocks::Experts),
        &of(CHOSEN, Blocks::Experts),
    ],
    keys: &[
        SIZES_BESIDE_MLP,
        &[
            Key::integer("feed_forward_length", &["intermediate_size_mlp"]),
            KV_HEAD_COUNT,
            Key::group(|keys| FREQUENCIES.write(keys), |file| FREQUENCIES.read(file)).reading(ROPE_NAMES),
            RMS_EPSILON,
            HEAD_SIZE,
            VOCABULARY_SIZE,
            ROTATED_HEADS,
            Key::integer("expert_count", &["num_local_experts", "num_experts"]),
            Key::integer("expert_used_count", &["num_experts_per_tok"]),
            Key::integer("interleave_moe_layer_step", &["interleave_moe_layer_step"]),
            Key::integer("expert_feed_forward_length", &["intermediate_size"]),
            Key::check(&["moe_layers"], check_expert_layers),
            Key::check(&["no_rope_layers", "no_rope_layer_interval"], check_rotated_layers),
            Key::check(&["layer_types"], check_chunks),
            Key::only(&["attention_chunk_size"], Only::Number(8192.0), "attends to chunks of 8192 tokens"),
            Key::only(
                &["attn_temperature_tuning"],
                Only::Flag(true),
                "has queries grow in layers without rotary embeddings",
            ),
            Key::only(&["floor_scale"], Only::Number(8192.0), "has queries grow every 8192 tokens"),
            Key::only(&["attn_scale"], Only::Number(0.1), "has queries grow by 0.1 of the logarithm"),
            Key::check(&["use_qk_norm"], check_norms),
            SILU,
        ],
    ],
    vocabulary: Vocabulary::PLAIN,
    computed: |config| rope_factors::factors(&FREQUENCIES, config),
    ..LLAMA
};

/// Of tensors with factors llama.cpp loads that of llama3 scaling.
const FREQUENCIES: Rope = Rope { scaling: &[Scaling::Linear, Scaling::Yarn, Scaling::Llama3], ..SCALED };

const DENSE: [Tensor; 3] = [
    mlp("layers.{b}.feed_forward.gate_proj", "blk.{b}.ffn_gate", Width::Columns, Extent::INNER),
    mlp("layers.{b}.feed_forward.up_proj", "blk.{b}.ffn_up", Width::Columns, Extent::INNER),
    mlp("layers.{b}.feed_forward.down_proj", "blk.{b}.ffn_down", Width::Rows, Extent::INNER),
];

const SHARED: [Tensor; 4] = [
    mlp("layers.{b}.feed_forward.router", "blk.{b}.ffn_gate_inp", Width::Columns, Extent::EXPERTS),
    mlp(
        "layers.{b}.feed_forward.shared_expert.gate_proj",
        "blk.{b}.ffn_gate_shexp",
        Width::Columns,
        Extent::EXPERT_INNER,
    ),
    mlp(
        "layers.{b}.feed_forward.shared_expert.up_proj",
        "blk.{b}.ffn_up_shexp",
        Width::Columns,
        Extent::EXPERT_INNER,
    ),
    mlp(
        "layers.{b}.feed_forward.shared_expert.down_proj",
        "blk.{b}.ffn_down_shexp",
        Width::Rows,
        Extent::EXPERT_INNER,
    ),
];

/// All experts in one tensor, each with a row for each input.
const CHOSEN: [Tensor; 3] = [
    mlp(
        "layers.{b}.feed_forward.experts.gate_up_proj",
        "blk.{b}.ffn_gate_exps",
        Width::Columns,
        Extent::EXPERT_INNER,
    )
    .converted(Conversion::Columns(Half::First))
    .part(),
    mlp(
        "layers.{b}.feed_forward.experts.gate_up_proj",
        "blk.{b}.ffn_up_exps",
        Width::Columns,
        Extent::EXPERT_INNER,
    )
    .converted(Conversion::Columns(Half::Second))
    .part(),
    mlp(
        "layers.{b}.feed_forward.experts.down_proj",
        "blk.{b}.ffn_down_exps",
        Width::Rows,
        Extent::EXPERT_INNER,
    )
    .converted(Conversion::Transposed)
    .part(),
];

const fn mlp(hf: &'static str, gguf: &'static str, width: Width, extent: Extent) -> Tensor {
    Tensor::new(hf, gguf, width).by(extent)
}

/// Every so many layers one has experts.
fn step(config: &Config) -> Result<u64, Error> {
    config.needed_integer(&["interleave_moe_layer_step"])
}

fn blocks(config: &Config) -> Result<Vec<Block>, Error> {
    let (blocks, step) = (config.needed_integer(BLOCKS)?, step(config)?);
    let has_experts = |number: u64| step > 0 && number.is_multiple_of(step);
    let block = |number: u64| Block { has_experts: has_experts(number), ..Block::default() };
    Ok((1..=blocks).map(block).collect())
}

/// Layers with experts are listed, or follow from the step: llama.cpp knows the step alone.
fn check_expert_layers(keys: &mut Keys) -> Result<(), Error> {
    let Some(said) = keys.config.get("moe_layers") else { return Ok(()) };
    let experts = blocks(keys.config)?.into_iter().enumerate().filter(|(_, block)| block.has_experts);
    let numbers: Vec<Json> = experts.map(|(number, _)| number.into()).collect();
    match said.as_array() == Some(&numbers) {
        true => Ok(()),
        false => {
            Err(keys.differs("moe_layers", said, "has experts in every `interleave_moe_layer_step`-th layer"))
        }
    }
}

/// Three layers with chunks come before one with full attention.
fn check_chunks(keys: &mut Keys) -> Result<(), Error> {
    let Some(said) = keys.config.get("layer_types") else { return Ok(()) };
    let blocks = keys.config.needed_integer(BLOCKS)?;
    let kind = |number: u64| if number.is_multiple_of(4) { "full_attention" } else { "chunked_attention" };
    match said == &(1..=blocks).map(kind).collect::<Json>() {
        true => Ok(()),
        false => Err(keys.differs("layer_types", said, "attends to chunks in all layers but every fourth")),
    }
}

/// llama.cpp knows by the number of experts whether queries and keys have norms.
fn check_norms(keys: &mut Keys) -> Result<(), Error> {
    let config = keys.config;
    let has_norms = config.needed_integer(&["num_local_experts", "num_experts"])? != 128;
    let said = config.get("use_qk_norm").unwrap_or(&Json::Null);
    match said == has_norms {
        true => Ok(()),
        false => Err(keys.differs(
            "use_qk_norm",
            said,
            "has norms of queries and keys in models without 128 experts",
        )),
    }
}
