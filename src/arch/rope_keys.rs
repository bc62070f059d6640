//! Keys of rotary embeddings, from config.json and back.

use super::config::Config;
use super::error::Error;
use super::file_keys::{FileKeys, decimal};
use super::keys::Keys;
use super::rope::{Layers, Parameters, Rope, Scaling, USUAL_BASE, Yarn, long_scale, original_context, said};
use super::rope_factors::{LONG, SHORT, long_factors, says_llama3};
use serde_json::{Value as Json, json};

/// What yarn may have besides factor and context: the keys below `rope.scaling`, which llama.cpp's converter writes and
/// its graphs do not read, and their names in config.json.
const YARN: [(&str, &[&str]); 4] = [
    ("yarn_ext_factor", &["extrapolation_factor"]),
    ("yarn_attn_factor", &["attention_factor", "attn_factor"]),
    ("yarn_beta_fast", &["beta_fast"]),
    ("yarn_beta_slow", &["beta_slow"]),
];

/// Values of yarn that llama.cpp does not read from a file, and what it takes for them.
const YARN_ONLY: [(&str, f64); 4] =
    [("beta_fast", 32.0), ("beta_slow", 1.0), ("extrapolation_factor", 1.0), ("attn_factor", 1.0)];

/// All values that are known in `rope_parameters`. Fine-tuning programs write `finetuned`.
const KNOWN: [&str; 18] = [
    "rope_type",
    "finetuned",
    "rope_theta",
    "partial_rotary_factor",
    "factor",
    "original_max_position_embeddings",
    "attention_factor",
    "attn_factor",
    "extrapolation_factor",
    "beta_fast",
    "beta_slow",
    "mscale",
    "mscale_all_dim",
    "truncate",
    "long_factor",
    "short_factor",
    "low_freq_factor",
    "high_freq_factor",
];

/// What yarn multiplies scores by where nothing else is said: the square of this.
fn yarn_scale(factor: f64, mscale: f64) -> f64 {
    if factor <= 1.0 { 1.0 } else { 0.1 * mscale * factor.ln() + 1.0 }
}

/// The key of `mscale_all_dim`.
const LOG_MULTIPLIER: &str = "rope.scaling.yarn_log_multiplier";

/// How far a scale of scores may be from the one that llama.cpp computes anyway.
const SCALE_TOLERANCE: f64 = 1e-6;

impl Rope {
    /// Writes the keys of bases and scaling.
    pub fn write(&self, keys: &mut Keys) -> Result<(), Error> {
        let config = keys.config;
        let rope = self.parameters(config)?;
        self.check_part(keys)?;
        let is_known = |name: &str| KNOWN.contains(&name) || self.more.contains(&name);
        for name in rope.values.keys().filter(|name| !is_known(name)) {
            keys.note(format!("`{name}` of the rotary embeddings in config.json is unknown, and left out"));
        }
        match rope.kind().as_str() {
            "default" => {}
            "dynamic" => {
                let context = config.needed_integer(&["max_position_embeddings"])?;
                keys.note(format!(
                    "rope scaling `dynamic` begins beyond {context} tokens, and the file is for contexts up to that"
                ));
            }
            "linear" if self.computes(Scaling::Linear) => {
                keys.put("rope.scaling.type", "linear");
                keys.put("rope.scaling.factor", rope.needed("factor")? as f32);
            }
            "yarn" if self.computes(Scaling::Yarn) => self.write_yarn(keys, &rope)?,
            // The factors are a tensor.
            "llama3" if self.computes(Scaling::Llama3) => {}
            "longrope" if self.computes(Scaling::LongRope) => {
                long_factors(&rope, self.rotated_dimensions(config)?)?;
                keys.put("rope.scaling.type", "longrope");
                keys.put("rope.scaling.original_context_length", original_context(&rope)?);
                keys.put("rope.scaling.attn_factor", long_scale(config, &rope)? as f32);
            }
            other => {
                return Err(Error::Scaling { scaling: other.into(), architecture: keys.architecture });
            }
        }
        let theta = rope.number("rope_theta")?.unwrap_or(USUAL_BASE);
        if self.says_usual_base || theta != USUAL_BASE {
            keys.put("rope.freq_base", theta as f32);
        }
        if self.layers != Layers::Same {
            let sliding = sliding_base(config)?;
            if self.layers == Layers::Unscaled && sliding != theta {
                return Err(keys.differs(
                    "rope_theta",
                    &sliding.into(),
                    &format!("takes {theta} in all layers"),
                ));
            }
            keys.put("rope.freq_base_swa", sliding as f32);
        }
        Ok(())
    }

    fn computes(&self, scaling: Scaling) -> bool {
        self.scaling.contains(&scaling)
    }

    /// llama.cpp computes the scale of scores from the factor, and multiplies it by a key for any architecture.
    fn write_yarn(&self, keys: &mut Keys, rope: &Parameters) -> Result<(), Error> {
        let config = keys.config;
        let original = original_context(rope)?;
        let factor = match rope.number("factor")? {
            Some(factor) => factor,
            None => config.needed_float(&["max_position_embeddings"])? / f64::from(original),
        };
        let is_read = |name: &str| self.yarn == Yarn::Mistral && name.starts_with("beta_");
        for (name, computed) in YARN_ONLY.into_iter().filter(|(name, _)| !is_read(name)) {
            if rope.number(name)?.is_some_and(|value| value != computed) {
                let does = format!("takes {computed} for it");
                return Err(keys.differs(name, &rope.values[name], &does));
            }
        }
        if rope.get("truncate") == Some(&Json::Bool(false)) && self.yarn == Yarn::Rounded {
            keys.note(
                "`truncate` of the rotary embeddings is false, and llama.cpp rounds the bounds of yarn's steps: some frequencies \
                 are a little different there"
                    .into(),
            );
        } else if rope.get("truncate") == Some(&Json::Bool(false)) {
            return Err(keys.differs("truncate", &Json::Bool(false), "rounds the bounds of the steps"));
        }
        let mscale = |name: &str| Ok(rope.number(name)?.filter(|scale| *scale != 0.0));
        let usual = yarn_scale(factor, 1.0);
        let scale = match (rope.number("attention_factor")?, mscale("mscale")?, mscale("mscale_all_dim")?) {
            (Some(scale), ..) => scale,
            (None, Some(scale), Some(all)) => yarn_scale(factor, scale) / yarn_scale(factor, all),
            _ => usual,
        };
        let all = mscale("mscale_all_dim")?;
        let computed = self.computed_scale(factor, all);
        keys.put("rope.scaling.type", "yarn");
        keys.put("rope.scaling.factor", factor as f32);
        keys.put("rope.scaling.original_context_length", original);
        for (key, names) in YARN {
            if let Some(name) = names.iter().find(|name| rope.get(name).is_some()) {
                keys.put(&format!("rope.scaling.{key}"), rope.needed(name)? as f32);
            }
        }
        match (self.yarn, all) {
            (Yarn::Plain | Yarn::Rounded, _) => {}
            (Yarn::Mistral, all) => {
                all.into_iter().for_each(|all| keys.put(LOG_MULTIPLIER, all as f32));
            }
            (Yarn::DeepSeek, Some(all)) => keys.put(LOG_MULTIPLIER, (0.1 * all) as f32),
            (Yarn::DeepSeek, None) => {
                return Err(Error::ScalingLacks { scaling: rope.kind(), parameter: "mscale_all_dim" });
            }
        }
        if (scale / computed - 1.0).abs() > SCALE_TOLERANCE {
            let does = match (self.yarn, self.layers) {
                (Yarn::DeepSeek, _) => "scales all of the scores by it, not the rotated part alone",
                (_, Layers::OwnBase) => "scales the scores of layers with a window too",
                _ => {
                    keys.put("rope.scaling.attn_factor", (scale / computed) as f32);
                    return Ok(());
                }
            };
            return Err(keys.differs("attention_factor", &scale.into(), does));
        }
        Ok(())
    }

    /// What llama.cpp scales the rotated parts by where no key says more.
    fn computed_scale(&self, factor: f64, all: Option<f64>) -> f64 {
        match self.yarn {
            Yarn::Plain | Yarn::Rounded => yarn_scale(factor, 1.0),
            Yarn::Mistral => yarn_scale(factor, 1.0) / yarn_scale(factor, all.unwrap_or(0.0)),
            Yarn::DeepSeek => 1.0,
        }
    }

    /// Refuses a part of heads where llama.cpp rotates them as a whole, and halves of pairs.
    pub fn check_part(&self, keys: &Keys) -> Result<(), Error> {
        let rope = self.parameters(keys.config)?;
        let name = "partial_rotary_factor";
        match (self.part, rope.number(name)?) {
            (None, Some(share)) if share != 1.0 => {
                Err(keys.differs(name, &rope.values[name], "rotates heads as a whole"))
            }
            (Some(_), Some(share)) if self.rotated_dimensions(keys.config)? % 2 != 0 => {
                Err(keys.differs(name, &share.into(), "rotates an even number of dimensions"))
            }
            _ => Ok(()),
        }
    }

    /// Says bases and scaling in config.json.
    pub fn read(&self, file: &mut FileKeys) -> Result<(), Error> {
        let theta = file.float("rope.freq_base")?.unwrap_or(USUAL_BASE);
        if self.layers == Layers::Unscaled {
            let mut full = self.scaling(file)?.unwrap_or(json!({"rope_type": "default"}));
            full["rope_theta"] = theta.into();
            let sliding = json!({"rope_type": "default", "rope_theta": theta});
            file.set("rope_parameters", json!({"full_attention": full, "sliding_attention": sliding}));
            return Ok(());
        }
        file.set(self.base, theta);
        if let Some(theta) = file.float("rope.freq_base_swa")? {
            file.set("rope_local_base_freq", theta);
        }
        self.scaling(file)?.into_iter().for_each(|scaling| file.set("rope_scaling", scaling));
        Ok(())
    }

    /// The scaling that a file says.
    fn scaling(&self, file: &FileKeys) -> Result<Option<Json>, Error> {
        let factor = |file: &FileKeys| {
            file.float("rope.scaling.factor")?.ok_or_else(|| file.missing("rope.scaling.factor"))
        };
        let context = |file: &FileKeys| {
            let original = "rope.scaling.original_context_length";
            file.integer(original)?.ok_or_else(|| file.missing(original))
        };
        let scale = file.float("rope.scaling.attn_factor")?;
        let scaling = match file.text("rope.scaling.type")?.unwrap_or("none") {
            "none" => return says_llama3(file),
            "linear" => json!({"rope_type": "linear", "factor": factor(file)?}),
            "yarn" => {
                let factor = factor(file)?;
                let mut scaling = json!({"rope_type": "yarn", "factor": factor,
                    "original_max_position_embeddings": context(file)?});
                for (key, names) in YARN {
                    if let Some(value) = file.float(&format!("rope.scaling.{key}"))? {
                        scaling[names[0]] = json!(value);
                    }
                }
                let multiplier = file.float(LOG_MULTIPLIER)?;
                let all = match self.yarn {
                    Yarn::DeepSeek => multiplier.map(|m| decimal((10.0 * m) as f32)),
                    _ => multiplier,
                };
                if let Some(all) = all {
                    scaling["mscale_all_dim"] = json!(all);
                    scaling["mscale"] = json!(if self.yarn == Yarn::DeepSeek { all } else { 1.0 });
                }
                if let Some(scale) = scale {
                    scaling["attention_factor"] = json!(scale * self.computed_scale(factor, all));
                }
                scaling
            }
            "longrope" if file.source.vector(LONG.1).is_some() => {
                let factors = |(_, tensor): (&str, &str)| file.source.vector(tensor).unwrap_or_default();
                json!({"rope_type": "longrope", "original_max_position_embeddings": context(file)?,
                    "long_factor": decimals(factors(LONG)), "short_factor": decimals(factors(SHORT)),
                    "attention_factor": scale.unwrap_or(1.0)})
            }
            other => return Err(Error::ScalingNotSaid(other.into())),
        };
        Ok(Some(scaling))
    }
}

/// Each as the shortest decimal that is the same f32.
pub fn decimals(values: Vec<f32>) -> Vec<f64> {
    values.into_iter().map(decimal).collect()
}

/// Base of the frequencies of layers with a window. They have no scaling.
fn sliding_base(config: &Config) -> Result<f64, Error> {
    let [_, values] = said(config)?;
    let sliding = Parameters { values };
    if sliding.kind() != "default" || sliding.get("partial_rotary_factor").is_some() {
        return Err(Error::RopeOfLayers);
    }
    match sliding.number("rope_theta")? {
        Some(theta) => Ok(theta),
        None => config.needed_float(&["rope_local_base_freq"]),
    }
}
