//! Rotary embeddings: what config.json says of them in any of its forms, and what a file says of them.
//!
//! transformers 5 has everything in `rope_parameters`, by the kinds of layers where they differ; files of transformers 4
//! have the base and the rotated part at the top and the scaling in `rope_scaling`. `max_position_embeddings` counts where
//! no original context length is said (transformers, `RotaryEmbeddingConfigMixin`).

use super::config::Config;
use super::error::Error;
use serde_json::{Map, Value as Json};

/// What llama.cpp's graph of an architecture does with rotary embeddings.
#[derive(Clone, Copy)]
pub struct Rope {
    /// The kinds of scaling that it computes; positions without scaling are always one.
    pub scaling: &'static [Scaling],
    /// What transformers calls the base at the top of config.json.
    pub base: &'static str,
    /// Whether a file says the base even if it is the usual one, as llama.cpp's converter has it.
    pub says_usual_base: bool,
    /// What the share of a head that is rotated is called at the top of config.json, and the usual share; nothing where
    /// heads are rotated as a whole.
    pub part: Option<(&'static [&'static str], f64)>,
    /// What layers with a window have of their own.
    pub layers: Layers,
    /// Which values of yarn are in the file.
    pub yarn: Yarn,
    /// Values in `rope_parameters` that other rows of the architecture read.
    pub more: &'static [&'static str],
}

/// What layers with a window have of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layers {
    /// Nothing.
    Same,
    /// Another base, and no scaling but that of scores.
    OwnBase,
    /// No scaling at all, and the same base.
    Unscaled,
}

/// Which values of yarn llama.cpp reads from a file for an architecture, besides factor and context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Yarn {
    /// None: it takes those of `YARN_ONLY` in `rope_keys.rs`.
    Plain,
    /// None either, and models of the architecture do not round the bounds of the steps: they are a little different in
    /// llama.cpp.
    Rounded,
    /// `beta_fast`, `beta_slow`, and `mscale_all_dim`, by whose scale it divides that of the rotated parts.
    Mistral,
    /// A tenth of `mscale_all_dim`, by whose scale it multiplies scores. The scale of the rotated parts is 1.
    DeepSeek,
}

/// A kind of scaling that changes what a model computes within its context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scaling {
    /// Positions are divided.
    Linear,
    /// Long waves are divided, with steps between, and scores are scaled.
    Yarn,
    /// Long waves are divided, with steps between: factors in a tensor.
    Llama3,
    /// A factor for every wave, in two tensors, and scores are scaled.
    LongRope,
}

/// The base of the frequencies where a file does not say it.
pub const USUAL_BASE: f64 = 10000.0;

/// What config.json says of the layers with full attention: `rope_type`, `rope_theta` and what the kind of scaling needs.
pub struct Parameters {
    /// The values by their names.
    pub values: Values,
}

impl Parameters {
    /// The kind of scaling, in lower case; `su` was the name of `longrope`.
    pub fn kind(&self) -> String {
        let name = self.values.get("rope_type").and_then(Json::as_str);
        match name.unwrap_or("default").to_lowercase().as_str() {
            "su" => "longrope".into(),
            kind => kind.into(),
        }
    }

    /// A value that is there.
    pub fn get(&self, name: &str) -> Option<&Json> {
        self.values.get(name).filter(|value| !value.is_null())
    }

    /// A number, if it is there.
    pub fn number(&self, name: &str) -> Result<Option<f64>, Error> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let other = || Error::NoNumber { name: name.into(), value: value.to_string() };
        value.as_f64().map(Some).ok_or_else(other)
    }

    /// A number that the scaling needs.
    pub fn needed(&self, parameter: &'static str) -> Result<f64, Error> {
        let lacks = || Error::ScalingLacks { scaling: self.kind(), parameter };
        self.number(parameter)?.ok_or_else(lacks)
    }
}

/// The names of kinds of layers in `rope_parameters`.
const LAYERS: [&str; 2] = ["full_attention", "sliding_attention"];

/// Values by their names.
pub type Values = Map<String, Json>;

/// What is said of layers with full attention, and of those with a window where it is said apart. The values may be in
/// `rope_scaling`, in `rope_parameters`, or in both if these do not contradict each other.
pub fn said(config: &Config) -> Result<[Values; 2], Error> {
    let mut all = [Values::new(), Values::new()];
    for name in ["rope_parameters", "rope_scaling"] {
        let Some(value) = config.get(name) else { continue };
        let no_object = |value: &Json| Error::NoScaling { name: name.into(), value: value.to_string() };
        let map = value.as_object().ok_or_else(|| no_object(value))?;
        let by_layer = map.keys().any(|key| LAYERS.contains(&key.as_str()));
        let parts = match by_layer {
            false => vec![(0, map)],
            true => {
                let mut parts = Vec::new();
                for (key, value) in map {
                    let layer = LAYERS.iter().position(|name| name == key);
                    let values = value.as_object().ok_or_else(|| no_object(value))?;
                    parts.push((layer.ok_or_else(|| no_object(value))?, values));
                }
                parts
            }
        };
        for (layer, values) in parts {
            for (name, value) in values {
                // The older name; where both are there, transformers takes the newer.
                let name = match name.as_str() {
                    "type" if values.contains_key("rope_type") => continue,
                    "type" => "rope_type",
                    name => name,
                };
                if all[layer].get(name).is_some_and(|other| other != value) {
                    return Err(Error::TwoScalings { name: name.into() });
                }
                all[layer].insert(name.into(), value.clone());
            }
        }
    }
    Ok(all)
}

impl Rope {
    /// What config.json says of the layers with full attention.
    pub fn parameters(&self, config: &Config) -> Result<Parameters, Error> {
        let [mut values, sliding] = said(config)?;
        let flat = config.get("rope_parameters").and_then(Json::as_object);
        if self.layers != Layers::Same
            && flat.is_some_and(|flat| !LAYERS.iter().any(|layer| flat.contains_key(*layer)))
        {
            return Err(Error::RopeWithoutLayers);
        }
        if self.layers == Layers::Same && !sliding.is_empty() {
            if !values.is_empty() && values != sliding {
                return Err(Error::RopeOfLayers);
            }
            values = sliding;
        }
        let part = self.part.map_or(&["partial_rotary_factor"][..], |(names, _)| names);
        for (name, names) in [("rope_theta", &[self.base][..]), ("partial_rotary_factor", part)] {
            if values.get(name).is_none_or(Json::is_null)
                && let Some(value) = config.find(names)
            {
                values.insert(name.into(), value.clone());
            }
        }
        let original = "original_max_position_embeddings";
        let outer = config.get(original);
        let inner = values.get(original).filter(|value| !value.is_null());
        if let Some(value) = outer.or(inner).or_else(|| config.get("max_position_embeddings")) {
            values.insert(original.into(), value.clone());
        }
        Ok(Parameters { values })
    }

    /// The part of a head that is rotated.
    pub fn rotated_dimensions(&self, config: &Config) -> Result<u32, Error> {
        let Some((_, usual)) = self.part else { return Ok(config.shape()?.head_dim as u32) };
        let share = self.parameters(config)?.number("partial_rotary_factor")?.unwrap_or(usual);
        Ok((share * config.shape()?.head_dim as f64) as u32)
    }
}

/// The context length that a model was trained with at first.
pub fn original_context(rope: &Parameters) -> Result<u32, Error> {
    let original = rope.needed("original_max_position_embeddings")?;
    let is_size = original >= 1.0 && original <= f64::from(u32::MAX) && original.fract() == 0.0;
    let other =
        || Error::NoSize { name: "original_max_position_embeddings".into(), value: original.to_string() };
    if is_size { Ok(original as u32) } else { Err(other()) }
}

/// What longrope multiplies scores by: the square of this (transformers, `_compute_longrope_parameters`).
pub fn long_scale(config: &Config, rope: &Parameters) -> Result<f64, Error> {
    if let Some(scale) = rope.number("attention_factor")? {
        return Ok(scale);
    }
    let original = f64::from(original_context(rope)?);
    let factor = match rope.number("factor")? {
        Some(factor) => factor,
        None => config.needed_float(&["max_position_embeddings"])? / original,
    };
    Ok(if factor <= 1.0 { 1.0 } else { (1.0 + factor.ln() / original.ln()).sqrt() })
}
