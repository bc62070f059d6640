//! SentencePiece's pieces in a tokenizer.json, as BPE that falls back to bytes.

use super::bpe;
use super::files::{Files, Problem, TOKENIZER_JSON};
use super::old_files;
use super::special::{self, Special};
use super::tokens::{KeyList, Tokens, token_type};
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;

/// Score of all tokens: the file has none.
const SCORE: f32 = -1000.0;

/// Whether a tokenizer.json is of this kind.
pub fn is_one(json: &Map<String, Json>) -> bool {
    let model = json.get("model").unwrap_or(&Json::Null);
    let decoder = json.get("decoder").unwrap_or(&Json::Null);
    model["type"] == "BPE" && model["byte_fallback"] == true && decoder["type"] == "Sequence"
}

pub fn write(files: &Files, tokenizer_config: &Map<String, Json>, keys: &mut KeyList) -> Result<(), Problem> {
    let at = Problem::of(TOKENIZER_JSON);
    let json = old_files::tokenizer_json(files)?.unwrap_or_default();
    let tokenizer = bpe::parse(&json).map_err(&at)?;
    let size = tokenizer.get_vocab_size(false);
    let special = special::named(tokenizer_config);
    let is_byte = |text: &str| {
        let hex = text.strip_prefix("<0x").and_then(|t| t.strip_suffix('>'));
        hex.is_some_and(|h| h.len() == 2 && u8::from_str_radix(h, 16).is_ok())
    };
    let (mut texts, mut types) = (Vec::new(), Vec::new());
    let vocabulary = tokenizer.get_vocab(true);
    let by_id: BTreeMap<u32, String> = vocabulary.into_iter().map(|(text, id)| (id, text)).collect();
    for id in 0..size as u32 {
        if !by_id.contains_key(&id) {
            return Err(at(format!("no token has the id {id}, though there are {size}: fetch it again")));
        }
    }
    for (id, text) in by_id {
        types.push(match () {
            _ if is_byte(&text) => token_type::BYTE,
            _ if special.contains(&text) => token_type::CONTROL,
            _ if id as usize >= size => token_type::USER_DEFINED,
            _ => token_type::NORMAL,
        });
        texts.push(text);
    }
    let count = texts.len();
    keys.put("ggml.model", "llama");
    keys.put("ggml.pre", "default");
    Tokens { texts, types, scores: Some(vec![SCORE; count]) }.write(keys);
    special::write(files, tokenizer_config, Special { merges: false, tokens: Some(count) }, keys)
}
