//! Tokens that were added to a vocabulary: what files say of them, and what llama.cpp makes of that.

use super::tokens::{looks_special, token_type};
use serde_json::Value as Json;

/// A token that was added to a vocabulary.
#[derive(Clone, Debug)]
pub struct Added {
    pub id: usize,
    pub text: String,
    pub special: bool,
    /// Whether spaces around it go with it, or letters next to it make it none.
    pub takes_more: bool,
}

impl Added {
    /// What an entry of `added_tokens` or `added_tokens_decoder` says; `None` if it has no text.
    pub fn new(id: usize, entry: &Json) -> Option<Added> {
        let text = entry["content"].as_str()?.to_owned();
        let takes_more = ["lstrip", "rstrip", "single_word"].iter().any(|flag| entry[*flag] == true);
        Some(Added { id, text, special: entry["special"] == true, takes_more })
    }

    /// Its text and type in a GGUF file. A literal one is what the files say, whatever its text looks like.
    pub fn in_file(&self, literal: bool) -> (String, i32) {
        match self.special || (!literal && looks_special(&self.text)) {
            true => (self.text.clone(), token_type::CONTROL),
            false if literal => (self.text.clone(), token_type::USER_DEFINED),
            // llama.cpp looks for them in text whose spaces are still spaces.
            false => (self.text.replace('▁', " "), token_type::USER_DEFINED),
        }
    }
}

/// What llama.cpp does not know of added tokens, for people.
pub fn note(added: &[Added]) -> Option<String> {
    let more: Vec<&str> = added.iter().filter(|a| a.takes_more).map(|a| a.text.as_str()).collect();
    let first = more.first()?;
    let others = match more.len() {
        1 => String::new(),
        n => format!(" and {} others", n - 1),
    };
    Some(format!(
        "added token `{first}`{others} takes spaces next to it away (lstrip, rstrip) or has to be a word of its own \
         (single_word); a GGUF file has no such flags, and tokens may differ next to it"
    ))
}
