//! Phi 3, 3.5 and 4: fused matrices stay fused.

use super::config::Config;
use super::error::Error;
use super::file_keys::{FileKeys, decimal};
use super::keys::{Key, Keys};
use super::pieces::*;
use super::rope;
use super::table::{Architecture, Computed, Tensor, Width};
use super::tokenizer::Vocabulary;
use serde_json::{Value as Json, json};

pub const PHI3: Architecture = Architecture {
    name: "phi3",
    hf: &["Phi3ForCausalLM"],
    defaults: r#"{"max_position_embeddings": 4096, "original_max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "num_key_value_heads": 32}"#,
    fixed: r#"{"model_type": "phi3", "hidden_act": "silu"}"#,
    shown: &[],
    prefix: "model.",
    tensors: &[&EMBEDDINGS, &NORMS, &FUSED],
    keys: &[&SIZES, &[KV_HEAD_COUNT, RMS_EPSILON, Key::group(write_rope, read_rope)]],
    vocabulary: Vocabulary::PHI3,
    computed: long_rope,
};

const FUSED: [Tensor; 4] = [
    Tensor::new("layers.{b}.self_attn.qkv_proj", "blk.{b}.attn_qkv", Width::Columns),
    ATTENTION_OUTPUT,
    Tensor::new("layers.{b}.mlp.gate_up_proj", "blk.{b}.ffn_up", Width::Columns),
    GATED_MLP[2],
];

/// Factors for contexts beyond the original length and within it: config.json's names and the tensors.
const FACTORS: [(&str, &str); 2] =
    [("long_factor", "rope_factors_long.weight"), ("short_factor", "rope_factors_short.weight")];

fn write_rope(keys: &mut Keys) -> Result<(), Error> {
    write_rotated_part(keys, 1.0)?;
    let rope = rope::parameters(keys.config);
    let number = |name: &str| rope.get(name).and_then(Json::as_f64);
    let original = number("original_max_position_embeddings").ok_or(Error::NoOriginalContext)?;
    keys.put("rope.scaling.original_context_length", original as u32);
    let theta = number("rope_theta").ok_or_else(|| Error::Missing(vec!["rope_theta".into()]))?;
    keys.put("rope.freq_base", theta as f32);
    // Zero says that there is no window: llama.cpp takes a missing key for an old file.
    let window = keys.config.integer(&["sliding_window"])?.unwrap_or(0);
    keys.put("attention.sliding_window", window as u32);
    if rope.get("long_factor").is_some_and(|f| !f.is_null()) {
        let scale = keys.config.needed_float(&["max_position_embeddings"])? / original;
        let kind = rope.get("rope_type").or(rope.get("type")).and_then(Json::as_str).unwrap_or_default();
        let attention = match kind {
            _ if scale <= 1.0 => 1.0,
            "su" | "longrope" => (1.0 + scale.ln() / original.ln()).sqrt(),
            "yarn" => 0.1 * scale.ln() + 1.0,
            other => return Err(Error::Scaling(other.into())),
        };
        keys.put("rope.scaling.attn_factor", attention as f32);
    }
    Ok(())
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
    for (name, tensor) in FACTORS {
        let Some(factors) = file.source.vector(tensor) else { return Ok(()) };
        scaling[name] = factors.into_iter().map(decimal).collect();
    }
    file.set("rope_scaling", scaling);
    Ok(())
}

/// The tensors of [`FACTORS`].
fn long_rope(config: &Config) -> Result<Computed, Error> {
    let rope = rope::parameters(config);
    let pairs = rope::rotated_dimensions(config, 1.0)? as usize / 2;
    let mut tensors = Vec::new();
    for (name, tensor) in FACTORS {
        let Some(factors) = rope.get(name).and_then(Json::as_array) else { continue };
        let factors: Option<Vec<f32>> = factors.iter().map(|f| f.as_f64().map(|f| f as f32)).collect();
        let factors = factors.filter(|f| f.len() == pairs);
        tensors.push((tensor, factors.ok_or(Error::Factors { name, pairs })?));
    }
    match tensors.len() {
        1 => Err(Error::OneFactor),
        _ => Ok(tensors),
    }
}
