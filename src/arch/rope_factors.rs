//! Factors of rotary frequencies, one for each pair of a head, which files have as tensors.

use super::config::Config;
use super::error::Error;
use super::file_keys::{FileKeys, decimal};
use super::pieces::SCALED;
use super::rope::{Parameters, Rope, Scaling};
use super::table::Computed;
use serde_json::{Value as Json, json};

/// Name of the tensor of llama3 scaling.
const FREQS: &str = "rope_freqs.weight";

/// Factors for contexts beyond the original length: config.json's name and the tensor.
pub const LONG: (&str, &str) = ("long_factor", "rope_factors_long.weight");
/// Factors for contexts within the original length.
pub const SHORT: (&str, &str) = ("short_factor", "rope_factors_short.weight");

/// The tensors of longrope, for so many rotated dimensions.
pub fn long_factors(rope: &Parameters, dimensions: u32) -> Result<Computed, Error> {
    let pairs = dimensions as usize / 2;
    let mut tensors = Vec::new();
    for (name, tensor) in [LONG, SHORT] {
        let factors = rope.get(name).and_then(Json::as_array).into_iter().flatten();
        let factors: Option<Vec<f32>> = factors.map(|f| f.as_f64().map(|f| f as f32)).collect();
        let factors = factors.filter(|f| f.len() == pairs);
        tensors.push((tensor, factors.ok_or(Error::Factors { name, pairs })?));
    }
    Ok(tensors)
}

/// The factors of scalings that have some.
pub fn factors(rope: &Rope, config: &Config) -> Result<Computed, Error> {
    let parameters = rope.parameters(config)?;
    match parameters.kind().as_str() {
        "llama3" if rope.scaling.contains(&Scaling::Llama3) => llama3_factors(&parameters, config),
        "longrope" if rope.scaling.contains(&Scaling::LongRope) => {
            long_factors(&parameters, rope.rotated_dimensions(config)?)
        }
        _ => Ok(Vec::new()),
    }
}

/// The factors of llama3 scaling: wavelengths up to `original / high_freq_factor` stay, those above
/// `original / low_freq_factor` are divided by `factor`, with a smooth step between (transformers,
/// `_compute_llama3_parameters`).
fn llama3_factors(rope: &Parameters, config: &Config) -> Result<Computed, Error> {
    let number = |name| rope.needed(name).map(|value| value as f32);
    let dim = config.shape()?.head_dim;
    let base = rope.number("rope_theta")?.unwrap_or(10000.0) as f32;
    let (factor, low, high) = (number("factor")?, number("low_freq_factor")?, number("high_freq_factor")?);
    let original = number("original_max_position_embeddings")?;
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

/// How far a factor of llama3 scaling may be from the formula's: other programs round its steps otherwise.
const FACTOR_TOLERANCE: f32 = 1e-4;

/// The parameters of llama3 scaling that a file's factors come from, if it has some. A file has the factors only, so
/// parameters are tried: the thresholds that every Llama has, and contexts that models were trained with.
pub fn says_llama3(file: &FileKeys) -> Result<Option<Json>, Error> {
    let Some(factors) = file.source.vector(FREQS) else { return Ok(None) };
    let factor = factors.iter().copied().fold(1.0, f32::max);
    for original in [8192u32, 4096, 2048, 16384, 32768, 65536, 131072] {
        let scaling = json!({"rope_type": "llama3", "factor": decimal(factor), "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": original});
        let mut json = file.json().clone();
        json.insert("rope_scaling".into(), scaling.clone());
        json.insert("head_dim".into(), (2 * factors.len()).into());
        let config = Config::new(&json, "{}");
        let computed = llama3_factors(&LLAMA3.parameters(&config)?, &config)?;
        let is_near = |(a, b): (&f32, &f32)| (a - b).abs() <= FACTOR_TOLERANCE * b;
        let fits =
            |values: &Vec<f32>| values.len() == factors.len() && values.iter().zip(&factors).all(is_near);
        if computed.first().is_some_and(|(_, values)| fits(values)) {
            return Ok(Some(scaling));
        }
    }
    Err(Error::UnknownFactors(FREQS))
}

/// The embeddings of the models that llama3 scaling is tried for.
const LLAMA3: Rope = Rope { scaling: &[Scaling::Llama3], ..SCALED };
