//! The keys of a GGUF file that describe its tokenizer.

use super::tokens::token_type;
use crate::gguf::Value;

/// The keys that describe a tokenizer.
pub struct TokenKeys<'a> {
    /// All keys of the file.
    pub keys: &'a [(String, Value)],
    /// Texts of tokens, by id.
    pub tokens: Vec<&'a str>,
}

impl<'a> TokenKeys<'a> {
    /// A value by its full name.
    pub fn key(&self, name: &str) -> Option<&'a Value> {
        self.keys.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// A value below `tokenizer.ggml`.
    fn get(&self, name: &str) -> Option<&'a Value> {
        self.key(&format!("tokenizer.ggml.{name}"))
    }

    /// A text.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.get(name)?.as_str()
    }

    /// A flag.
    pub fn flag(&self, name: &str) -> Option<bool> {
        self.get(name)?.as_bool()
    }

    /// A list of texts that has to be there.
    pub fn texts(&self, name: &str) -> Result<Vec<&'a str>, String> {
        let list = self.array(name)?.iter().map(|v| v.as_str().unwrap_or_default());
        Ok(list.collect())
    }

    /// A list that has to be there.
    pub fn array(&self, name: &str) -> Result<&'a [Value], String> {
        let list = self.get(name).and_then(Value::as_array);
        list.ok_or_else(|| format!("key `tokenizer.ggml.{name}` is not there or no list"))
    }

    /// Id and text of the token that a key names.
    pub fn special(&self, name: &str) -> Option<(usize, &'a str)> {
        let id = self.get(name)?.as_u64()? as usize;
        Some((id, *self.tokens.get(id)?))
    }

    /// The type of a token.
    pub fn kind(&self, id: usize) -> i32 {
        let kind = self.get("token_type").and_then(Value::as_array).and_then(|types| types.get(id));
        match kind {
            Some(Value::I32(kind)) => *kind,
            _ => token_type::NORMAL,
        }
    }
}
