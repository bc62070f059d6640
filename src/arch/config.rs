//! config.json by name, with what transformers assumes where it says nothing.

use super::error::Error;
use serde_json::{Map, Value as Json};

/// The values of a config.json.
pub struct Config {
    values: Map<String, Json>,
    /// The names that config.json has, without those of defaults.
    names: Vec<String>,
}

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
    /// Refuses numbers that no attention can have.
    pub fn checked(self) -> Result<Shape, Error> {
        let even = self.head_dim > 0 && self.head_dim.is_multiple_of(2);
        if self.heads > 0 && self.kv_heads > 0 && even {
            Ok(self)
        } else {
            Err(Error::Attention(format!("{self:?}")))
        }
    }
}

/// No size of a model is larger; sums and products of a few such numbers cannot overflow.
const MAX_SIZE: u64 = 1 << 24;

/// Names of the same number in different architectures.
pub const BLOCKS: &[&str] = &["num_hidden_layers", "n_layer"];
/// See [`BLOCKS`].
pub const HEADS: &[&str] = &["num_attention_heads", "n_head"];
/// See [`BLOCKS`].
pub const KV_HEADS: &[&str] = &["num_key_value_heads", "num_kv_heads", "n_head_kv"];
/// See [`BLOCKS`].
pub const HIDDEN: &[&str] = &["hidden_size", "n_embd"];

impl Config {
    /// The values of config.json; those of a nested `text_config` come to the top. `defaults` is the JSON object of an
    /// architecture's table.
    pub fn new(json: &Map<String, Json>, defaults: &'static str) -> Config {
        let mut values: Map<String, Json> = serde_json::from_str(defaults).expect("a tested constant");
        let text = json.get("text_config").and_then(Json::as_object);
        let mut names = Vec::new();
        for (name, value) in json.iter().chain(text.into_iter().flatten()) {
            values.insert(name.clone(), value.clone());
            names.push(name.clone());
        }
        Config { values, names }
    }

    /// The names that config.json has, of values that are not `null`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &name[..]).filter(|name| self.get(name).is_some())
    }

    /// Sets a value that follows from others.
    pub fn set(&mut self, name: &str, value: impl Into<Json>) {
        self.values.insert(name.into(), value.into());
    }

    /// The value of the first of the names that config.json has; `null` counts as nothing.
    pub fn find(&self, names: &[&str]) -> Option<&Json> {
        names.iter().find_map(|name| self.values.get(*name).filter(|v| !v.is_null()))
    }

    /// A value as config.json says it, `null` too.
    pub fn said(&self, name: &str) -> Option<&Json> {
        self.values.get(name)
    }

    /// A value.
    pub fn get(&self, name: &str) -> Option<&Json> {
        self.find(&[name])
    }

    /// An integer, if it is there.
    pub fn integer(&self, names: &[&str]) -> Result<Option<u64>, Error> {
        let Some(value) = self.find(names) else { return Ok(None) };
        match value.as_u64() {
            Some(n) if n <= MAX_SIZE => Ok(Some(n)),
            Some(value) => Err(Error::TooLarge { name: names[0].into(), value }),
            None => Err(Error::NoSize { name: names[0].into(), value: value.to_string() }),
        }
    }

    /// An integer that must be there.
    pub fn needed_integer(&self, names: &[&str]) -> Result<u64, Error> {
        self.integer(names)?.ok_or_else(|| missing(names))
    }

    /// A number, if it is there.
    pub fn float(&self, names: &[&str]) -> Result<Option<f64>, Error> {
        let Some(value) = self.find(names) else { return Ok(None) };
        let other = || Error::NoNumber { name: names[0].into(), value: value.to_string() };
        value.as_f64().map(Some).ok_or_else(other)
    }

    /// A number that must be there.
    pub fn needed_float(&self, names: &[&str]) -> Result<f64, Error> {
        self.float(names)?.ok_or_else(|| missing(names))
    }

    /// Whether a value is `true`.
    pub fn is_true(&self, name: &str) -> bool {
        self.get(name).is_some_and(|v| v == true)
    }

    /// The parameters that tensors are interpreted with.
    pub fn shape(&self) -> Result<Shape, Error> {
        let heads = self.needed_integer(HEADS)?;
        let head_dim = match self.integer(&["head_dim"])? {
            Some(dim) => dim,
            None => self.needed_integer(HIDDEN)? / heads.max(1),
        };
        let shape = Shape {
            blocks: self.needed_integer(BLOCKS)?,
            heads,
            kv_heads: self.integer(KV_HEADS)?.unwrap_or(heads),
            head_dim,
        };
        shape.checked()
    }
}

/// See [`BLOCKS`].
pub const EXPERTS: &[&str] = &["num_local_experts", "num_experts", "n_routed_experts"];

fn missing(names: &[&str]) -> Error {
    Error::Missing(names.iter().map(|&name| name.into()).collect())
}
