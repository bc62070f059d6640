//! Phi 3, 3.5 and 4: fused matrices stay fused.

use super::blocks::alike;
use super::config::Config;
use super::error::Error;
use super::file_keys::{FileKeys, decimal};
use super::keys::{Key, Keys};
use super::pieces::*;
use super::rope::{Parameters, Rope, Scaling, long_scale, original_context};
use super::rope_factors::{LONG, SHORT, long_factors};
use super::table::{Architecture, Computed, Extent, Head, Tensor, Width, nothing_settled};
use super::tokenizer::Vocabulary;
use serde_json::json;

pub const PHI3: Architecture = Architecture {
    name: "phi3",
    hf: &["Phi3ForCausalLM"],
    defaults: r#"{"max_position_embeddings": 4096, "original_max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": false}"#,
    settled: nothing_settled,
    blocks: alike,
    fixed: r#"{"model_type": "phi3", "hidden_act": "silu"}"#,
    shown: &[],
    prefix: "model.",
    head: Head::Optional,
    tensors: &[&EMBEDDINGS, &NORMS, &FUSED],
    keys: &[
        &SIZES,
        &[
            KV_HEAD_COUNT,
            RMS_EPSILON,
            Key::group(write_rope, read_rope).reading(ROPE_NAMES),
            SILU,
            HEADS_FILL_WIDTH,
            WINDOW_LEFT_OUT,
        ],
    ],
    vocabulary: Vocabulary::PHI3,
    computed: long_rope,
};

const FUSED: [Tensor; 4] = [
    Tensor::new("layers.{b}.self_attn.qkv_proj", "blk.{b}.attn_qkv", Width::Columns)
        .by(Extent::QueriesKeysValues)
        .may_have_bias(),
    ATTENTION_OUTPUT,
    Tensor::new("layers.{b}.mlp.gate_up_proj", "blk.{b}.ffn_up", Width::Columns)
        .by(Extent::Times(2, "feed_forward_length")),
    GATED_MLP[2],
];

/// Heads are rotated as a whole, or in part: Phi 4 mini.
const ROTATED: Rope =
    Rope { scaling: &[Scaling::LongRope], part: Some((&["partial_rotary_factor"], 1.0)), ..SCALED };

/// What transformers reads. It takes `yarn` for an older name of longrope here.
fn parameters(config: &Config) -> Result<Parameters, Error> {
    let mut rope = ROTATED.parameters(config)?;
    if rope.kind() == "yarn" {
        rope.values.insert("rope_type".into(), "longrope".into());
    }
    Ok(rope)
}

fn write_rope(keys: &mut Keys) -> Result<(), Error> {
    ROTATED.check_part(keys)?;
    write_rotated_part(keys, &ROTATED)?;
    let rope = parameters(keys.config)?;
    keys.put("rope.scaling.original_context_length", original_context(&rope)?);
    keys.put("rope.freq_base", rope.needed("rope_theta")? as f32);
    // Zero says that there is no window: llama.cpp takes a missing key for an old file.
    let window = keys.config.integer(&["sliding_window"])?.unwrap_or(0);
    keys.put("attention.sliding_window", window as u32);
    match rope.kind().as_str() {
        "default" => Ok(()),
        "longrope" => {
            keys.put("rope.scaling.attn_factor", long_scale(keys.config, &rope)? as f32);
            Ok(())
        }
        other => Err(Error::Scaling { scaling: other.into(), architecture: keys.architecture }),
    }
}

fn read_rope(file: &mut FileKeys) -> Result<(), Error> {
    read_rotated_part(file, "partial_rotary_factor")?;
    let needed = |name: &str| file.integer(name)?.ok_or_else(|| file.missing(name));
    let original = needed("rope.scaling.original_context_length")?;
    let base = file.float("rope.freq_base")?.ok_or_else(|| file.missing("rope.freq_base"))?;
    let window = file.integer("attention.sliding_window")?.filter(|window| *window > 0);
    file.set("original_max_position_embeddings", original);
    file.set("rope_theta", base);
    file.set("sliding_window", window);
    let mut scaling = json!({"type": "longrope", "rope_type": "longrope"});
    for (name, tensor) in [LONG, SHORT] {
        let Some(factors) = file.source.vector(tensor) else { return Ok(()) };
        scaling[name] = factors.into_iter().map(decimal).collect();
    }
    if let Some(scale) = file.float("rope.scaling.attn_factor")? {
        scaling["attention_factor"] = scale.into();
    }
    file.set("rope_scaling", scaling);
    Ok(())
}

fn long_rope(config: &Config) -> Result<Computed, Error> {
    let rope = parameters(config)?;
    match rope.kind().as_str() {
        "longrope" => long_factors(&rope, ROTATED.rotated_dimensions(config)?),
        _ => Ok(Vec::new()),
    }
}
