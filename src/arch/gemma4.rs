//! Gemma 4, the language model alone: layers with a window have heads of another size, and layers with full attention may have
//! keys that are values too; with experts, or with embeddings for each layer, or neither.

use super::blocks::{AttendsTo, Block, Blocks};
use super::config::{Config, KV_HEADS};
use super::error::Error;
use super::file_keys::FileKeys;
use super::gemma::SLIDING_WINDOW;
use super::gemma3n::*;
use super::keys::{Key, Keys, Only};
use super::pieces::*;
use super::rope::{Parameters, USUAL_BASE, Values, said};
use super::table::{Architecture, Computed, Extent, Head, Shown, Tensor, Width, of};
use super::tokenizer::Vocabulary;
use crate::gguf::{Kind, Value};
use serde_json::{Value as Json, json};

pub const GEMMA4: Architecture = Architecture {
    name: "gemma4",
    hf: &["Gemma4ForCausalLM", "Gemma4ForConditionalGeneration"],
    defaults: r#"{"hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 30, "num_attention_heads": 8,
        "num_key_value_heads": 4, "head_dim": 256, "global_head_dim": 512, "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-6, "sliding_window": 512, "vocab_size": 262144, "vocab_size_per_layer_input": 262144,
        "hidden_size_per_layer_input": 256, "attention_k_eq_v": false, "num_kv_shared_layers": 0,
        "enable_moe_block": false, "use_double_wide_mlp": false, "attention_bias": false,
        "tie_word_embeddings": true}"#,
    settled: settle,
    blocks,
    fixed: r#"{"model_type": "gemma4_text", "hidden_activation": "gelu_pytorch_tanh"}"#,
    shown: &[
        Shown::value("attention_k_eq_v", "blk.{b}.attn_v.weight", |_| true),
        Shown::value("hidden_size_per_layer_input", "per_layer_token_embd.weight", has_embeddings_for_layers),
        Shown::value("hidden_size_per_layer_input", "per_layer_model_proj.weight", has_embeddings_for_layers),
        Shown::value("hidden_size_per_layer_input", "per_layer_proj_norm.weight", has_embeddings_for_layers),
        Shown::value("hidden_size_per_layer_input", "blk.{b}.inp_gate.weight", has_embeddings_for_layers),
        Shown::value("hidden_size_per_layer_input", "blk.{b}.proj.weight", has_embeddings_for_layers),
        Shown::value("hidden_size_per_layer_input", "blk.{b}.post_norm.weight", has_embeddings_for_layers),
    ],
    prefix: "model.",
    head: Head::Optional,
    tensors: &[
        &KNOWN_EMBEDDINGS,
        &PLAIN_SANDWICH,
        &QUERIES,
        &OWN_KEYS,
        &UNREAD_KEYS,
        &GATED_MLP,
        &LAYER_SCALE,
        &of(EXPERTS_BESIDE_MLP, Blocks::Experts),
        &OPTIONAL_PER_LAYER,
    ],
    keys: &[
        SIZES_BESIDE_MLP,
        &[
            Key::group(write_widths, read_widths).reading(&["intermediate_size", "use_double_wide_mlp"]),
            RMS_EPSILON,
            Key::group(write_heads, read_heads).reading(&[
                "head_dim",
                "global_head_dim",
                "num_key_value_heads",
                "num_global_key_value_heads",
                "per_layer_config",
                "attention_k_eq_v",
            ]),
            Key::group(write_rope, read_rope).reading(&["rope_parameters", "rope_scaling"]),
            Key::group(write_experts, read_experts).reading(&[
                "enable_moe_block",
                "num_experts",
                "top_k_experts",
                "moe_intermediate_size",
            ]),
            Key::group(write_cap, read_cap).reading(&["final_logit_softcapping"]),
            SLIDING_WINDOW,
            WINDOWS,
            PER_LAYER_LENGTH,
            Key::integer("attention.shared_kv_layers", &["num_kv_shared_layers"]),
            Key::check(&["num_kv_shared_layers"], |keys| check_lenders(keys)),
            Key::only(
                &["use_bidirectional_attention"],
                Only::Word(&["vision"]),
                "attends to what came before alone, but for pictures",
            ),
            NO_ATTENTION_BIAS,
            // Tensors show it.
            Key::check(&["vocab_size_per_layer_input"], |_| Ok(())),
        ],
        &GELU_AS_HIDDEN_ACTIVATION,
    ],
    vocabulary: Vocabulary::GEMMA4,
    computed: factors,
};

/// The same of a model that sees and hears without towers, which has neither experts nor embeddings for each layer.
pub const GEMMA4_UNIFIED: Architecture = Architecture {
    hf: &["Gemma4UnifiedForConditionalGeneration", "Gemma4UnifiedForCausalLM"],
    defaults: r#"{"hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 30, "num_attention_heads": 8,
        "num_key_value_heads": 4, "head_dim": 256, "global_head_dim": 512, "max_position_embeddings": 262144,
        "rms_norm_eps": 1e-6, "sliding_window": 1024, "vocab_size": 262144, "hidden_size_per_layer_input": 0,
        "use_bidirectional_attention": "vision", "attention_k_eq_v": false, "num_kv_shared_layers": 0,
        "enable_moe_block": false, "use_double_wide_mlp": false, "attention_bias": false,
        "tie_word_embeddings": true}"#,
    fixed: r#"{"model_type": "gemma4_unified_text", "hidden_activation": "gelu_pytorch_tanh"}"#,
    vocabulary: Vocabulary::GEMMA4.with_suppressed_tokens(),
    ..GEMMA4
};

/// Keys may be values too.
const OWN_KEYS: [Tensor; 3] = {
    let [keys, norm, values] = KEYS;
    [keys.of(Blocks::OwnKeys), norm.of(Blocks::OwnKeys), values.of(Blocks::OwnValues)]
};

/// What all of the result of a layer is multiplied by.
const LAYER_SCALE: [Tensor; 1] =
    [Tensor::whole("layers.{b}.layer_scalar", "blk.{b}.layer_output_scale.weight")
        .by(Extent::Exactly(1))
        .optional()];

/// Experts, whose results are added to those of the feed-forward matrices, and the norms of both.
const EXPERTS_BESIDE_MLP: [Tensor; 8] = [
    Tensor::new("layers.{b}.router.proj", "blk.{b}.ffn_gate_inp", Width::Columns).by(Extent::EXPERTS),
    Tensor::whole("layers.{b}.router.scale", "blk.{b}.ffn_gate_inp.scale").by(Extent::Is("embedding_length")),
    Tensor::whole("layers.{b}.router.per_expert_scale", "blk.{b}.ffn_down_exps.scale").by(Extent::EXPERTS),
    Tensor {
        width: Width::Columns,
        ..Tensor::whole("layers.{b}.experts.gate_up_proj", "blk.{b}.ffn_gate_up_exps.weight")
    }
    .by(Extent::Times(2, "expert_feed_forward_length")),
    Tensor {
        width: Width::Rows,
        ..Tensor::whole("layers.{b}.experts.down_proj", "blk.{b}.ffn_down_exps.weight")
    }
    .by(Extent::EXPERT_INNER),
    Tensor::new("layers.{b}.post_feedforward_layernorm_1", "blk.{b}.post_ffw_norm_1", Width::Columns),
    Tensor::new("layers.{b}.post_feedforward_layernorm_2", "blk.{b}.post_ffw_norm_2", Width::Columns),
    Tensor::new("layers.{b}.pre_feedforward_layernorm_2", "blk.{b}.pre_ffw_norm_2", Width::Columns),
];

const OPTIONAL_PER_LAYER: [Tensor; 6] = {
    let [embeddings, matrix, norm, gate, projection, after] = PER_LAYER_EMBEDDINGS;
    [
        embeddings.optional(),
        matrix.optional(),
        norm.optional(),
        gate.optional(),
        projection.optional(),
        after.optional(),
    ]
};

/// Whether config.json says that there are embeddings for each layer.
fn has_embeddings_for_layers(config: &Config) -> bool {
    config.get("hidden_size_per_layer_input").and_then(Json::as_u64).is_some_and(|size| size > 0)
}

/// The last layer has full attention whatever is said. Nothing is no embeddings for each layer.
fn settle(config: &mut Config) {
    settle_layers(config, 6);
    if let Some(Json::Array(layers)) = config.get("layer_types")
        && layers.last().is_some_and(|last| last == "sliding_attention")
    {
        let mut layers = layers.clone();
        layers.pop();
        layers.push("full_attention".into());
        config.set("layer_types", layers);
    }
    if config.get("hidden_size_per_layer_input").is_none() {
        config.set("hidden_size_per_layer_input", 0);
    }
}

fn blocks(config: &Config) -> Result<Vec<Block>, Error> {
    let has_experts = config.is_true("enable_moe_block");
    let keys_alone = config.is_true("attention_k_eq_v");
    borrowing_blocks(config, |has_window| Block {
        has_experts,
        attends_to: if keys_alone && !has_window { AttendsTo::OwnKeysAlone } else { AttendsTo::Own },
        ..Block::PLAIN
    })
}

/// The size of the heads of a layer, and the number of those of its keys.
#[derive(Clone, Copy, PartialEq)]
struct Heads {
    size: u64,
    of_keys: u64,
}

/// The heads of layers with a window, and of those with full attention. They are said for each kind, or for each layer
/// that differs.
fn heads(keys: &Keys) -> Result<[Heads; 2], Error> {
    let config = keys.config;
    let windowed =
        Heads { size: config.needed_integer(&["head_dim"])?, of_keys: config.needed_integer(KV_HEADS)? };
    let Some(said) = config.get("per_layer_config") else {
        let number =
            config.integer(&["num_global_key_value_heads"])?.filter(|_| config.is_true("attention_k_eq_v"));
        let full = Heads {
            size: config.needed_integer(&["global_head_dim"])?,
            of_keys: number.unwrap_or(windowed.of_keys),
        };
        return Ok([windowed, full]);
    };
    let does =
        "has one size and one number of heads in layers with a window, and one in those with full attention";
    let differs = || keys.differs("per_layer_config", said, does);
    let mut all = vec![windowed; windows(config)?.len()];
    for (number, values) in said.as_object().ok_or_else(differs)? {
        let layer = number.parse().ok().and_then(|number: usize| all.get_mut(number)).ok_or_else(differs)?;
        for (name, value) in values.as_object().ok_or_else(differs)? {
            let place = match &name[..] {
                "head_dim" => &mut layer.size,
                "num_key_value_heads" => &mut layer.of_keys,
                _ => return Err(differs()),
            };
            *place = value.as_u64().filter(|n| (1..1 << 24).contains(n)).ok_or_else(differs)?;
        }
    }
    let full = all.last().copied().ok_or_else(differs)?;
    let fits = |(has_window, heads): (bool, &Heads)| *heads == if has_window { windowed } else { full };
    if windows(config)?.into_iter().zip(&all).all(fits) { Ok([windowed, full]) } else { Err(differs()) }
}

fn write_heads(keys: &mut Keys) -> Result<(), Error> {
    let [windowed, full] = heads(keys)?;
    for (name, value) in [
        ("attention.key_length", full.size),
        ("attention.value_length", full.size),
        ("attention.key_length_swa", windowed.size),
        ("attention.value_length_swa", windowed.size),
        ("rope.dimension_count", full.size),
        ("rope.dimension_count_swa", windowed.size),
    ] {
        keys.put(name, value as u32);
    }
    if windowed.of_keys == full.of_keys {
        keys.put("attention.head_count_kv", full.of_keys as u32);
        return Ok(());
    }
    let number = |has_window| Value::I32(if has_window { windowed.of_keys } else { full.of_keys } as i32);
    let numbers = windows(keys.config)?.into_iter().map(number).collect();
    keys.put("attention.head_count_kv", Value::Array(Kind::I32, numbers));
    Ok(())
}

fn read_heads(file: &mut FileKeys) -> Result<(), Error> {
    let keys_alone = (0..file.integer("block_count")?.unwrap_or(0)).any(|block| {
        let has = |layer: &str| file.source.has(&format!("blk.{block}.{layer}.weight"));
        has("attn_k") && !has("attn_v")
    });
    file.set("attention_k_eq_v", keys_alone);
    for (name, key) in [("global_head_dim", "attention.key_length"), ("head_dim", "attention.key_length_swa")]
    {
        file.set(name, file.integer(key)?.ok_or_else(|| file.missing(key))?);
    }
    let (name, pattern) = ("attention.head_count_kv", "attention.sliding_window_pattern");
    let list = |key| file.key(key).and_then(Value::as_array);
    match (list(name), list(pattern)) {
        (Some(numbers), Some(windows)) => {
            let of = |kind: bool| {
                let mut both = numbers.iter().zip(windows);
                both.find(|(_, has_window)| has_window.as_bool() == Some(kind)).and_then(|(n, _)| n.as_u64())
            };
            file.set("num_key_value_heads", of(true));
            file.set("num_global_key_value_heads", of(false));
        }
        _ => file.set("num_key_value_heads", file.integer(name)?),
    }
    Ok(())
}

/// Twice the width where layers attend to keys of others, if config.json says so.
fn write_widths(keys: &mut Keys) -> Result<(), Error> {
    let (config, name) = (keys.config, "feed_forward_length");
    let width = config.needed_integer(&["intermediate_size"])?;
    if !config.is_true("use_double_wide_mlp") {
        keys.put(name, width as u32);
        return Ok(());
    }
    let first = first_borrowing(config)?;
    let blocks = windows(config)?.len() as u64;
    let widths = (0..blocks).map(|block| Value::I32(if block < first { width } else { 2 * width } as i32));
    keys.put(name, Value::Array(Kind::I32, widths.collect()));
    Ok(())
}

fn read_widths(file: &mut FileKeys) -> Result<(), Error> {
    let name = "feed_forward_length";
    let said = file.key(name).ok_or_else(|| file.missing(name))?;
    let first = said.as_array().and_then(|widths| widths.first());
    file.set("use_double_wide_mlp", first.is_some());
    file.set("intermediate_size", first.unwrap_or(said).as_u64());
    Ok(())
}

/// Experts are beside the feed-forward matrices of every layer, or of none.
fn write_experts(keys: &mut Keys) -> Result<(), Error> {
    let config = keys.config;
    if !config.is_true("enable_moe_block") {
        return Ok(());
    }
    for (key, name) in EXPERT_KEYS {
        keys.put(key, config.needed_integer(&[name])? as u32);
    }
    Ok(())
}

const EXPERT_KEYS: [(&str, &str); 3] = [
    ("expert_count", "num_experts"),
    ("expert_used_count", "top_k_experts"),
    ("expert_feed_forward_length", "moe_intermediate_size"),
];

fn read_experts(file: &mut FileKeys) -> Result<(), Error> {
    let count = file.integer("expert_count")?;
    file.set("enable_moe_block", count.is_some());
    for (key, name) in EXPERT_KEYS.into_iter().filter(|_| count.is_some()) {
        file.set(name, file.integer(key)?);
    }
    Ok(())
}

/// llama.cpp caps logits at 30 where a file says nothing, and does not where it says 0.
fn write_cap(keys: &mut Keys) -> Result<(), Error> {
    let name = "final_logit_softcapping";
    keys.put(name, keys.config.float(&[name])?.unwrap_or(0.0) as f32);
    Ok(())
}

fn read_cap(file: &mut FileKeys) -> Result<(), Error> {
    let name = "final_logit_softcapping";
    file.set(name, file.float(name)?.filter(|cap| *cap != 0.0));
    Ok(())
}

/// What a share of the pairs of a head is multiplied by that is not rotated: its angles are 0.
const STILL: f32 = 1e30;

/// Rotary embeddings of layers with full attention, and of those with a window.
fn rope(config: &Config) -> Result<[Parameters; 2], Error> {
    if config.get("rope_parameters").is_none() {
        let usual = json!({"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1e6});
        let full = usual.as_object().cloned().expect("an object");
        return Ok([Parameters { values: full }, Parameters { values: Values::new() }]);
    }
    let [full, windowed] = said(config)?;
    if full.is_empty() || windowed.is_empty() {
        return Err(Error::RopeWithoutLayers);
    }
    Ok([Parameters { values: full }, Parameters { values: windowed }])
}

/// The pairs of a head that are rotated in layers with full attention, and all.
fn pairs(keys: &Keys) -> Result<(usize, usize), Error> {
    let [full, _] = rope(keys.config)?;
    let [_, heads] = heads(keys)?;
    let share = full.number("partial_rotary_factor")?.unwrap_or(1.0);
    let all = heads.size as usize / 2;
    Ok(((all as f64 * share) as usize, all))
}

fn write_rope(keys: &mut Keys) -> Result<(), Error> {
    if let Some(said) = keys.config.get("rope_scaling") {
        return Err(keys.differs(
            "rope_scaling",
            said,
            "has the rotary embeddings of `rope_parameters` alone",
        ));
    }
    let [full, windowed] = rope(keys.config)?;
    for (parameters, expected) in [(&full, "proportional"), (&windowed, "default")] {
        if parameters.kind() != expected {
            return Err(Error::Scaling { scaling: parameters.kind(), architecture: keys.architecture });
        }
        let known = ["rope_type", "rope_theta", "partial_rotary_factor", "factor"];
        for name in parameters.values.keys().filter(|name| !known.contains(&&name[..])) {
            keys.note(format!("`{name}` of the rotary embeddings in config.json is unknown, and left out"));
        }
    }
    if let Some(factor) = full.get("factor").filter(|factor| factor.as_f64() != Some(1.0)) {
        return Err(keys.differs("factor", factor, "rotates without a factor"));
    }
    let (rotated, all) = pairs(keys)?;
    if rotated > all {
        let share = full.values["partial_rotary_factor"].clone();
        return Err(keys.differs("partial_rotary_factor", &share, "rotates a head at most"));
    }
    for (key, parameters) in [("rope.freq_base", full), ("rope.freq_base_swa", windowed)] {
        keys.put(key, parameters.number("rope_theta")?.unwrap_or(USUAL_BASE) as f32);
    }
    Ok(())
}

fn read_rope(file: &mut FileKeys) -> Result<(), Error> {
    let base = |key: &str| file.float(key)?.ok_or_else(|| file.missing(key));
    let factors = file.source.vector(FACTORS).ok_or(Error::UnknownFactors(FACTORS))?;
    let rotated = factors.iter().take_while(|factor| **factor == 1.0).count();
    let share = rotated as f64 / factors.len().max(1) as f64;
    // Reading rounds the product down.
    let share = if (share * factors.len() as f64) as usize == rotated { share } else { share.next_up() };
    let rope = json!({
        "full_attention": {"rope_type": "proportional", "partial_rotary_factor": share, "rope_theta": base("rope.freq_base")?},
        "sliding_attention": {"rope_type": "default", "rope_theta": base("rope.freq_base_swa")?},
    });
    file.set("rope_parameters", rope);
    Ok(())
}

const FACTORS: &str = "rope_freqs.weight";

/// Layers with full attention rotate the first pairs of a head.
fn factors(config: &Config) -> Result<Computed, Error> {
    let (rotated, all) = pairs(&Keys::new(config, GEMMA4.name))?;
    let factor = |pair: usize| if pair < rotated { 1.0 } else { STILL };
    Ok(vec![(FACTORS, (0..all).map(factor).collect())])
}
