//! Rotary embeddings: parameters, keys, factors.

use super::Computed;
use super::config::Config;
use super::keys::Keys;
use serde_json::{Map, Value as Json};

/// Name of the extra tensor of llama3 scaling.
pub const FREQS: &str = "rope_freqs.weight";

/// The parameters, wherever config.json has them: `rope_parameters` of new files, `rope_scaling` and names at the top
/// of old ones. With kinds of attention that differ, those of full attention.
pub fn parameters(config: &Config) -> Map<String, Json> {
    let inner = ["rope_parameters", "rope_scaling"].iter().find_map(|name| config.get(name)?.as_object());
    let mut rope = inner.cloned().unwrap_or_default();
    if let Some(full) = rope.get("full_attention").and_then(Json::as_object) {
        rope = full.clone();
    }
    let outer: [(&str, &[&str]); 4] = [
        ("rope_type", &[]),
        ("rope_theta", &["rope_theta", "rotary_emb_base"]),
        ("partial_rotary_factor", &["partial_rotary_factor", "rope_pct", "rotary_pct"]),
        ("original_max_position_embeddings", &["original_max_position_embeddings"]),
    ];
    for (name, names) in outer {
        if rope.get(name).is_none_or(Json::is_null)
            && let Some(value) = config.find(names)
        {
            rope.insert(name.into(), value.clone());
        }
    }
    rope
}

/// Base of the frequencies of layers with a sliding window, where it is another one.
fn sliding_theta(config: &Config) -> Option<f64> {
    let inner = || config.get("rope_parameters")?.get("sliding_attention")?.get("rope_theta")?.as_f64();
    inner().or_else(|| config.get("rope_local_base_freq")?.as_f64())
}

fn kind(rope: &Map<String, Json>) -> String {
    let name = rope.get("rope_type").or(rope.get("type")).and_then(Json::as_str);
    name.unwrap_or("default").to_lowercase()
}

/// Writes the keys of bases and scaling.
pub fn write(keys: &mut Keys) -> Result<(), String> {
    let rope = parameters(keys.config);
    let number = |name: &str| rope.get(name).and_then(Json::as_f64).map(|v| v as f32);
    let kind = kind(&rope);
    let factor = || number("factor").ok_or_else(|| format!("rope scaling `{kind}` has no `factor`"));
    match kind.as_str() {
        // llama3's is a tensor; dynamic scaling is none as long as the context is the trained one.
        "default" | "llama3" | "dynamic" => {}
        "linear" => {
            keys.put("rope.scaling.type", "linear");
            keys.put("rope.scaling.factor", factor()?);
        }
        "yarn" => {
            keys.put("rope.scaling.type", "yarn");
            keys.put("rope.scaling.factor", factor()?);
            let original = rope.get("original_max_position_embeddings").and_then(Json::as_u64);
            let original = original.and_then(|n| u32::try_from(n).ok());
            let missing = "rope scaling `yarn` has no `original_max_position_embeddings`";
            keys.put("rope.scaling.original_context_length", original.ok_or(missing)?);
            for (name, key) in [
                ("extrapolation_factor", "yarn_ext_factor"),
                ("attn_factor", "yarn_attn_factor"),
                ("attention_factor", "yarn_attn_factor"),
                ("beta_fast", "yarn_beta_fast"),
                ("beta_slow", "yarn_beta_slow"),
            ] {
                if let Some(value) = number(name) {
                    keys.put(&format!("rope.scaling.{key}"), value);
                }
            }
        }
        "su" | "longrope" => keys.put("rope.scaling.type", "longrope"),
        other => return Err(format!("rope scaling `{other}` is not supported yet")),
    }
    if let Some(theta) = number("rope_theta") {
        keys.put("rope.freq_base", theta);
    }
    if let Some(theta) = sliding_theta(keys.config) {
        keys.put("rope.freq_base_swa", theta as f32);
    }
    Ok(())
}

/// The part of a head that is rotated.
pub fn rotated_dimensions(config: &Config, default: f64) -> Result<u32, String> {
    let share = parameters(config).get("partial_rotary_factor").and_then(Json::as_f64).unwrap_or(default);
    Ok((share * config.shape()?.head_dim as f64) as u32)
}

/// The factors of llama3 scaling, one for each pair of a head: wavelengths up to `original / high_freq_factor` stay,
/// those above `original / low_freq_factor` are divided by `factor`, with a smooth step between (transformers,
/// `_compute_llama3_parameters`).
pub fn llama3_factors(config: &Config) -> Result<Computed, String> {
    let rope = parameters(config);
    if kind(&rope) != "llama3" {
        return Ok(Vec::new());
    }
    let number = |name: &str, default: f64| rope.get(name).and_then(Json::as_f64).unwrap_or(default) as f32;
    let dim = config.shape()?.head_dim;
    let base = number("rope_theta", 10000.0);
    let (factor, low, high) =
        (number("factor", 8.0), number("low_freq_factor", 1.0), number("high_freq_factor", 4.0));
    let original = number("original_max_position_embeddings", 8192.0);
    let factors = (0..dim).step_by(2).map(|i| {
        let frequency = base.powf(i as f32 / dim as f32).recip();
        let wavelength = frequency.recip() * std::f32::consts::TAU;
        if wavelength < original / high {
            1.0
        } else if wavelength > original / low {
            factor
        } else {
            let smooth = (wavelength.recip() * original - low) / (high - low);
            ((1.0 - smooth) / factor + smooth).recip()
        }
    });
    Ok(vec![(FREQS, factors.collect())])
}
