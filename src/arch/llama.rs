//! The llama architecture.

use crate::gguf::Value;
use serde_json::{Map, Value as Json, json};

/// `architectures` entries of config.json that are this architecture.
pub const HF_ARCHITECTURES: &[&str] = &["LlamaForCausalLM", "MistralForCausalLM"];

/// Parameters that tensors are interpreted with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// Transformer blocks.
    pub blocks: u64,
    /// Attention heads.
    pub heads: u64,
    /// Key-value heads.
    pub kv_heads: u64,
    /// Size of a head.
    pub head_dim: u64,
}

impl Shape {
    /// Refuses what no attention can have.
    fn checked(self) -> Result<Shape, String> {
        let even = self.head_dim > 0 && self.head_dim.is_multiple_of(2);
        if self.heads > 0 && self.kv_heads > 0 && even {
            Ok(self)
        } else {
            Err(format!("attention cannot have the shape {self:?}"))
        }
    }
}

/// Pairs of names, Hugging Face's and GGUF's, outside and inside of blocks.
const OUTER: &[(&str, &str)] = &[
    ("model.embed_tokens.weight", "token_embd.weight"),
    ("model.norm.weight", "output_norm.weight"),
    ("lm_head.weight", "output.weight"),
];
const INNER: &[(&str, &str)] = &[
    ("input_layernorm", "attn_norm"),
    ("mlp.down_proj", "ffn_down"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("post_attention_layernorm", "ffn_norm"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.o_proj", "attn_output"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.v_proj", "attn_v"),
];

/// Name of the extra tensor of llama3 rope scaling.
pub const ROPE_FREQS: &str = "rope_freqs.weight";

/// The GGUF name of a Hugging Face tensor.
pub fn gguf_name(hf: &str) -> Option<String> {
    if let Some((_, gguf)) = OUTER.iter().find(|(name, _)| *name == hf) {
        return Some((*gguf).to_owned());
    }
    let (block, rest) = hf.strip_prefix("model.layers.")?.split_once('.')?;
    let block: u64 = block.parse().ok()?;
    let (stem, suffix) = rest.rsplit_once('.')?;
    let (_, gguf) = INNER.iter().find(|(name, _)| *name == stem)?;
    ["weight", "bias"].contains(&suffix).then(|| format!("blk.{block}.{gguf}.{suffix}"))
}

/// The Hugging Face name of a GGUF tensor.
pub fn hf_name(gguf: &str) -> Option<String> {
    if let Some((hf, _)) = OUTER.iter().find(|(_, name)| *name == gguf) {
        return Some((*hf).to_owned());
    }
    let (block, rest) = gguf.strip_prefix("blk.")?.split_once('.')?;
    let block: u64 = block.parse().ok()?;
    let (stem, suffix) = rest.rsplit_once('.')?;
    let (hf, _) = INNER.iter().find(|(_, name)| *name == stem)?;
    ["weight", "bias"].contains(&suffix).then(|| format!("model.layers.{block}.{hf}.{suffix}"))
}

/// The block that a GGUF tensor belongs to.
pub fn block(gguf: &str) -> Option<u64> {
    gguf.strip_prefix("blk.")?.split_once('.')?.0.parse().ok()
}

/// GGUF names of what a model with so many blocks cannot do without.
pub fn needed_tensors(blocks: u64) -> impl Iterator<Item = String> {
    let inner = |b: u64| INNER.iter().map(move |(_, name)| format!("blk.{b}.{name}.weight"));
    ["token_embd.weight", "output_norm.weight"]
        .map(str::to_owned)
        .into_iter()
        .chain((0..blocks).flat_map(inner))
}

/// Tensors of checkpoints that llama.cpp computes itself.
pub fn is_ignored(hf: &str) -> bool {
    hf.ends_with(".rotary_emb.inv_freq")
}

/// The number of heads whose rows change order, for q and k tensors by their GGUF name.
pub fn permuted_heads(gguf: &str, shape: &Shape) -> Option<u64> {
    let stem = gguf.rsplit_once('.')?.0;
    if stem.ends_with(".attn_q") {
        Some(shape.heads)
    } else if stem.ends_with(".attn_k") {
        Some(shape.kv_heads)
    } else {
        None
    }
}

/// Reads numbers of a config.json by name.
pub struct Config<'a>(pub &'a Map<String, Json>);

impl Config<'_> {
    fn integer(&self, name: &str) -> Result<u64, String> {
        self.0.get(name).and_then(Json::as_u64).ok_or_else(|| format!("`{name}` is not there or no integer"))
    }

    fn rope(&self) -> Map<String, Json> {
        ["rope_scaling", "rope_parameters"]
            .iter()
            .find_map(|name| self.0.get(*name).and_then(Json::as_object))
            .cloned()
            .unwrap_or_default()
    }

    fn rope_type(&self) -> String {
        let rope = self.rope();
        let name = rope.get("rope_type").or(rope.get("type")).and_then(Json::as_str);
        name.unwrap_or("default").to_lowercase()
    }

    fn rope_theta(&self) -> Option<f64> {
        let inside = self.rope().get("rope_theta").and_then(Json::as_f64);
        self.0.get("rope_theta").and_then(Json::as_f64).or(inside)
    }

    /// The parameters that tensors are interpreted with.
    pub fn shape(&self) -> Result<Shape, String> {
        let heads = self.integer("num_attention_heads")?;
        let shape = Shape {
            blocks: self.integer("num_hidden_layers")?,
            heads,
            kv_heads: self.integer("num_key_value_heads").unwrap_or(heads),
            head_dim: match self.integer("head_dim") {
                Ok(dim) => dim,
                Err(_) => self.integer("hidden_size")? / heads.max(1),
            },
        };
        shape.checked()
    }

    /// The GGUF keys of the hyper-parameters.
    pub fn gguf_keys(&self) -> Result<Vec<(String, Value)>, String> {
        let shape = self.shape()?;
        let mut keys = Vec::new();
        let mut put = |name: &str, v: Value| keys.push((format!("llama.{name}"), v));
        let small = |name: &str, v: u64| u32::try_from(v).map_err(|_| format!("`{name}` is {v}"));
        let integer = |name: &str| small(name, self.integer(name)?);
        put("block_count", small("num_hidden_layers", shape.blocks)?.into());
        put("context_length", integer("max_position_embeddings")?.into());
        put("embedding_length", integer("hidden_size")?.into());
        put("feed_forward_length", integer("intermediate_size")?.into());
        put("attention.head_count", small("num_attention_heads", shape.heads)?.into());
        put("attention.head_count_kv", small("num_key_value_heads", shape.kv_heads)?.into());
        match self.rope_type().as_str() {
            "default" | "llama3" => {}
            "linear" => {
                let factor = self.rope().get("factor").and_then(Json::as_f64);
                let factor = factor.ok_or("rope scaling `linear` has no factor")?;
                put("rope.scaling.type", "linear".into());
                put("rope.scaling.factor", (factor as f32).into());
            }
            other => return Err(format!("rope scaling `{other}` is not supported yet")),
        }
        if let Some(theta) = self.rope_theta() {
            put("rope.freq_base", (theta as f32).into());
        }
        let eps = self.0.get("rms_norm_eps").and_then(Json::as_f64).ok_or("`rms_norm_eps` is not there")?;
        put("attention.layer_norm_rms_epsilon", (eps as f32).into());
        let head_dim = small("head_dim", shape.head_dim)?;
        put("attention.key_length", head_dim.into());
        put("attention.value_length", head_dim.into());
        put("vocab_size", integer("vocab_size")?.into());
        put("rope.dimension_count", head_dim.into());
        Ok(keys)
    }

    /// The factors of llama3 rope scaling, one for each pair of a head: wavelengths up to
    /// `original / high_freq_factor` stay, those above `original / low_freq_factor` are divided by
    /// `factor`, with a smooth step between (transformers, `_compute_llama3_parameters`).
    pub fn rope_factors(&self) -> Result<Option<Vec<f32>>, String> {
        if self.rope_type() != "llama3" {
            return Ok(None);
        }
        let rope = self.rope();
        let number =
            |name: &str, default: f64| rope.get(name).and_then(Json::as_f64).unwrap_or(default) as f32;
        let dim = self.shape()?.head_dim;
        let base = self.rope_theta().unwrap_or(10000.0) as f32;
        let (factor, low, high) =
            (number("factor", 8.0), number("low_freq_factor", 1.0), number("high_freq_factor", 4.0));
        let original = number("original_max_position_embeddings", 8192.0);
        let factors = (0..dim).step_by(2).map(|i| {
            let frequency = 1.0 / base.powf(i as f32 / dim as f32);
            let wavelength = std::f32::consts::TAU / frequency;
            if wavelength < original / high {
                1.0
            } else if wavelength > original / low {
                factor
            } else {
                let smooth = (original / wavelength - low) / (high - low);
                1.0 / ((1.0 - smooth) / factor + smooth)
            }
        });
        Ok(Some(factors.collect()))
    }
}

/// The config.json of a model with these GGUF keys, and the shape it describes.
pub fn config_json(
    key: impl Fn(&str) -> Option<Value>,
    tied: bool,
    dtype: &str,
) -> Result<(Json, Shape), String> {
    let integer = |name: &str| {
        let name = format!("llama.{name}");
        key(&name).and_then(|v| v.as_u64()).ok_or_else(|| format!("key `{name}` is not there or no integer"))
    };
    let heads = integer("attention.head_count")?;
    let hidden = integer("embedding_length")?;
    let head_dim = integer("rope.dimension_count").unwrap_or(hidden / heads.max(1));
    let shape = Shape {
        blocks: integer("block_count")?,
        heads,
        kv_heads: integer("attention.head_count_kv").unwrap_or(heads),
        head_dim,
    }
    .checked()?;
    let float = |name: &str| key(&format!("llama.{name}")).and_then(|v| v.as_f64());
    // Through the shortest decimal that gives the same f32: 1e-5, not 9.999999747378752e-06.
    let decimal = |v: f64| (v as f32).to_string().parse::<f64>().unwrap_or(v);
    let eps = float("attention.layer_norm_rms_epsilon")
        .ok_or("key `llama.attention.layer_norm_rms_epsilon` is not there")?;
    let tokens = key("tokenizer.ggml.tokens").and_then(|v| v.as_array().map(|a| a.len() as u64));
    let mut config = json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": hidden,
        "intermediate_size": integer("feed_forward_length")?,
        "max_position_embeddings": integer("context_length")?,
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.blocks,
        "num_key_value_heads": shape.kv_heads,
        "rms_norm_eps": decimal(eps),
        "rope_theta": decimal(float("rope.freq_base").unwrap_or(10000.0)),
        "tie_word_embeddings": tied,
        "torch_dtype": dtype,
        "vocab_size": integer("vocab_size").ok().or(tokens).ok_or("the vocabulary has no size")?,
    });
    if integer("attention.key_length").is_ok() {
        config["head_dim"] = json!(head_dim);
    }
    for (name, id) in [("bos", "bos_token_id"), ("eos", "eos_token_id"), ("padding", "pad_token_id")] {
        if let Some(token) = key(&format!("tokenizer.ggml.{name}_token_id")).and_then(|v| v.as_u64()) {
            config[id] = json!(token);
        }
    }
    Ok((config, shape))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways() {
        for hf in [
            "model.embed_tokens.weight",
            "lm_head.weight",
            "model.layers.11.self_attn.q_proj.weight",
            "model.layers.0.mlp.down_proj.bias",
        ] {
            assert_eq!(hf_name(&gguf_name(hf).unwrap()).as_deref(), Some(hf));
        }
        assert_eq!(gguf_name("model.layers.x.mlp.down_proj.weight"), None);
        assert_eq!(gguf_name("vision_tower.weight"), None);
    }
}
