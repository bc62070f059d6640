//! Hyper-parameters of a GGUF file on their way back into a config.json.

use super::error::Error;
use crate::gguf::Value;
use serde_json::{Map, Value as Json};

/// What a GGUF file says of its model.
pub trait Source {
    /// The value of a key, by its full name.
    fn key(&self, name: &str) -> Option<&Value>;

    /// Whether the file has a tensor.
    fn has(&self, name: &str) -> bool;

    /// The elements of a vector, if the file has it and stores it as floats.
    fn vector(&self, name: &str) -> Option<Vec<f32>>;
}

/// Reads the keys of an architecture and collects the values of a config.json.
pub struct FileKeys<'a> {
    /// The file.
    pub source: &'a dyn Source,
    architecture: &'static str,
    json: Map<String, Json>,
}

impl<'a> FileKeys<'a> {
    /// Nothing said yet but what `json` says.
    pub fn new(source: &'a dyn Source, architecture: &'static str, json: Map<String, Json>) -> FileKeys<'a> {
        FileKeys { source, architecture, json }
    }

    /// What config.json says so far.
    pub fn json(&self) -> &Map<String, Json> {
        &self.json
    }

    /// What config.json says.
    pub fn finish(self) -> Map<String, Json> {
        self.json
    }

    /// Sets a value of config.json.
    pub fn set(&mut self, name: &str, value: impl Into<Json>) {
        self.json.insert(name.into(), value.into());
    }

    /// Whether a value of config.json is set.
    pub fn is_set(&self, name: &str) -> bool {
        self.json.contains_key(name)
    }

    /// The value of a key, by its name without the architecture's.
    pub fn key(&self, name: &str) -> Option<&'a Value> {
        self.source.key(&format!("{}.{name}", self.architecture))
    }

    /// An integer, if the key is there.
    pub fn integer(&self, name: &str) -> Result<Option<u64>, Error> {
        let Some(value) = self.key(name) else { return Ok(None) };
        value.as_u64().map(Some).ok_or_else(|| self.other(name, "integer"))
    }

    /// A number, if the key is there, as the shortest decimal that is the same f32: 1e-5, not 9.999999747378752e-06.
    pub fn float(&self, name: &str) -> Result<Option<f64>, Error> {
        let Some(value) = self.key(name) else { return Ok(None) };
        value.as_f64().map(|v| Some(decimal(v as f32))).ok_or_else(|| self.other(name, "float"))
    }

    /// A flag, if the key is there.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, Error> {
        let Some(value) = self.key(name) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| self.other(name, "flag"))
    }

    /// A text, if the key is there.
    pub fn text(&self, name: &str) -> Result<Option<&'a str>, Error> {
        let Some(value) = self.key(name) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| self.other(name, "text"))
    }

    /// The error for a key that is not there.
    pub fn missing(&self, name: &str) -> Error {
        Error::MissingKey(format!("{}.{name}", self.architecture))
    }

    /// The error for a key of another kind.
    pub fn other(&self, name: &str, kind: &'static str) -> Error {
        Error::OtherKind { key: format!("{}.{name}", self.architecture), kind }
    }
}

/// The shortest decimal that is the same f32.
pub fn decimal(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(value.into())
}
