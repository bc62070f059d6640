//! Rotary embeddings: parameters, keys, factors.

use super::config::Config;
use super::error::Error;
use super::file_keys::{FileKeys, decimal};
use super::keys::Keys;
use super::table::Computed;
use serde_json::{Map, Value as Json, json};

/// Name of the extra tensor of llama3 scaling.
const FREQS: &str = "rope_freqs.weight";

/// The parameters, wherever config.json has them: new files in `rope_parameters`, old ones in `rope_scaling` and at the
/// top. Where full attention and attention in a window have parameters of their own, these are those of full attention.
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

/// The kind of scaling, in lower case.
fn kind(rope: &Map<String, Json>) -> String {
    let name = rope.get("rope_type").or(rope.get("type")).and_then(Json::as_str);
    name.unwrap_or("default").to_lowercase()
}

/// What yarn has besides factor and context: the keys below `rope.scaling` and their names in config.json, of which the
/// first that is there counts.
const YARN: [(&str, &[&str]); 4] = [
    ("yarn_ext_factor", &["extrapolation_factor"]),
    ("yarn_attn_factor", &["attention_factor", "attn_factor"]),
    ("yarn_beta_fast", &["beta_fast"]),
    ("yarn_beta_slow", &["beta_slow"]),
];

/// The base of the frequencies where a file does not say it.
const USUAL_BASE: f64 = 10000.0;

/// Writes the keys of bases and scaling.
pub fn write(keys: &mut Keys) -> Result<(), Error> {
    let rope = parameters(keys.config);
    let number = |name: &str| rope.get(name).and_then(Json::as_f64).map(|v| v as f32);
    let kind = kind(&rope);
    let lacks = |parameter| Error::ScalingLacks { scaling: kind.clone(), parameter };
    let factor = || number("factor").ok_or_else(|| lacks("factor"));
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
            let original = original.ok_or_else(|| lacks("original_max_position_embeddings"))?;
            keys.put("rope.scaling.original_context_length", original);
            for (key, names) in YARN {
                if let Some(value) = names.iter().find_map(|name| number(name)) {
                    keys.put(&format!("rope.scaling.{key}"), value);
                }
            }
        }
        "su" | "longrope" => keys.put("rope.scaling.type", "longrope"),
        other => return Err(Error::Scaling(other.into())),
    }
    if let Some(theta) = number("rope_theta") {
        keys.put("rope.freq_base", theta);
    }
    if let Some(theta) = sliding_theta(keys.config) {
        keys.put("rope.freq_base_swa", theta as f32);
    }
    Ok(())
}

/// Says bases and scaling in config.json.
pub fn read(file: &mut FileKeys) -> Result<(), Error> {
    file.set("rope_theta", file.float("rope.freq_base")?.unwrap_or(USUAL_BASE));
    if let Some(theta) = file.float("rope.freq_base_swa")? {
        file.set("rope_local_base_freq", theta);
    }
    let factor = |file: &FileKeys| {
        file.float("rope.scaling.factor")?.ok_or_else(|| file.missing("rope.scaling.factor"))
    };
    let scaling = match file.text("rope.scaling.type")?.unwrap_or("none") {
        "none" => {
            let Some(factors) = file.source.vector(FREQS) else { return Ok(()) };
            llama3_parameters(file, &factors)?
        }
        "linear" => json!({"rope_type": "linear", "factor": factor(file)?}),
        "yarn" => {
            let original = "rope.scaling.original_context_length";
            let context = file.integer(original)?.ok_or_else(|| file.missing(original))?;
            let mut scaling = json!({"rope_type": "yarn", "factor": factor(file)?,
                "original_max_position_embeddings": context});
            for (key, names) in YARN {
                if let Some(value) = file.float(&format!("rope.scaling.{key}"))? {
                    scaling[names[0]] = json!(value);
                }
            }
            scaling
        }
        other => return Err(Error::ScalingNotSaid(other.into())),
    };
    file.set("rope_scaling", scaling);
    Ok(())
}

/// How far a factor of llama3 scaling may be from the formula's: other programs round its steps otherwise.
const FACTOR_TOLERANCE: f32 = 1e-4;

/// The parameters of llama3 scaling that these factors come from. A file has the factors only, so parameters are tried:
/// the thresholds that every Llama has, and contexts that models were trained with.
fn llama3_parameters(file: &FileKeys, factors: &[f32]) -> Result<Json, Error> {
    let factor = factors.iter().copied().fold(1.0, f32::max);
    for original in [8192u32, 4096, 2048, 16384, 32768, 65536, 131072] {
        let scaling = json!({"rope_type": "llama3", "factor": decimal(factor), "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": original});
        let mut json = file.json().clone();
        json.insert("rope_scaling".into(), scaling.clone());
        json.insert("head_dim".into(), (2 * factors.len()).into());
        let computed = llama3_factors(&Config::new(&json, "{}"))?;
        let is_near = |(a, b): (&f32, &f32)| (a - b).abs() <= FACTOR_TOLERANCE * b;
        let fits =
            |values: &Vec<f32>| values.len() == factors.len() && values.iter().zip(factors).all(is_near);
        if computed.first().is_some_and(|(_, values)| fits(values)) {
            return Ok(scaling);
        }
    }
    Err(Error::UnknownFactors(FREQS))
}

/// The part of a head that is rotated.
pub fn rotated_dimensions(config: &Config, default: f64) -> Result<u32, Error> {
    let share = parameters(config).get("partial_rotary_factor").and_then(Json::as_f64).unwrap_or(default);
    Ok((share * config.shape()?.head_dim as f64) as u32)
}

/// The factors of llama3 scaling, one for each pair of a head: wavelengths up to `original / high_freq_factor` stay,
/// those above `original / low_freq_factor` are divided by `factor`, with a smooth step between (transformers,
/// `_compute_llama3_parameters`).
pub fn llama3_factors(config: &Config) -> Result<Computed, Error> {
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
