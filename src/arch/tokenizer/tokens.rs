//! Tokens and keys as GGUF has them.

use crate::gguf::{Kind, Value};

/// Token types of GGUF.
pub mod token_type {
    pub const NORMAL: i32 = 1;
    pub const UNKNOWN: i32 = 2;
    pub const CONTROL: i32 = 3;
    pub const USER_DEFINED: i32 = 4;
    pub const UNUSED: i32 = 5;
    pub const BYTE: i32 = 6;
}

/// Special tokens: what tokenizer_config.json and config.json call them, and GGUF.
pub const SPECIAL: &[(&str, &str)] = &[
    ("bos", "bos_token_id"),
    ("eos", "eos_token_id"),
    ("unk", "unknown_token_id"),
    ("sep", "seperator_token_id"),
    ("pad", "padding_token_id"),
    ("mask", "mask_token_id"),
    ("eot", "eot_token_id"),
    ("eom", "eom_token_id"),
];

/// Tokens by id, as GGUF wants them.
#[derive(Debug)]
pub struct Tokens {
    pub texts: Vec<String>,
    pub types: Vec<i32>,
    pub scores: Option<Vec<f32>>,
}

impl Tokens {
    /// Writes the keys.
    pub fn write(self, keys: &mut KeyList) {
        keys.put("ggml.tokens", Value::strings(self.texts));
        if let Some(scores) = self.scores {
            keys.put("ggml.scores", Value::Array(Kind::F32, scores.into_iter().map(Value::F32).collect()));
        }
        keys.put(
            "ggml.token_type",
            Value::Array(Kind::I32, self.types.into_iter().map(Value::I32).collect()),
        );
    }
}

/// Keys under `tokenizer.`; one that is put again replaces the old one.
#[derive(Debug, Default)]
pub struct KeyList {
    /// Names and values.
    pub keys: Vec<(String, Value)>,
    /// What people should know of them.
    pub notes: Vec<String>,
}

impl KeyList {
    /// Sets a key.
    pub fn put(&mut self, name: &str, value: impl Into<Value>) {
        let (name, value) = (format!("tokenizer.{name}"), value.into());
        match self.keys.iter_mut().find(|(k, _)| *k == name) {
            Some((_, old)) => *old = value,
            None => self.keys.push((name, value)),
        }
    }

    /// The value of a key.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let (_, value) = self.keys.iter().find(|(key, _)| key.strip_prefix("tokenizer.") == Some(name))?;
        Some(value)
    }

    /// Whether a key is there and true.
    pub fn is_true(&self, name: &str) -> bool {
        self.get(name).and_then(Value::as_bool) == Some(true)
    }

    /// Adds a note.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }
}

/// Whether an added token that is not marked special is one all the same, by llama.cpp's rule.
pub fn looks_special(text: &str) -> bool {
    ["<pad>", "<mask>", "<2mass>", "[@BOS@]"].contains(&text)
        || (text.starts_with("<|") && text.ends_with("|>"))
        || (text.starts_with("<｜") && text.ends_with("｜>"))
        || (text.starts_with("<unused") && text.ends_with('>'))
}
