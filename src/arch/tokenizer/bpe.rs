//! Byte-level BPE from tokenizer.json.

use super::files::{Files, Problem, TOKENIZER_CONFIG, TOKENIZER_JSON};
use super::old_files;
use super::pre_tokenizer;
use super::special::{self, Special};
use super::tokens::{KeyList, Tokens, looks_special, token_type};
use serde_json::{Map, Value as Json};
use tokenizers::{AddedToken, Tokenizer};

/// Parses a tokenizer.json.
pub fn parse(json: &Map<String, Json>) -> Result<Tokenizer, String> {
    serde_json::from_value(Json::Object(json.clone())).map_err(|e| {
        format!("not a tokenizer ({e}); fetch it again, or save it with a current tokenizers library")
    })
}

/// Adds the tokens of tokenizer_config.json that tokenizer.json has not among its own, in the order of their ids there,
/// as transformers does: they get the next free ids.
fn add_tokens(tokenizer: &mut Tokenizer, config: &Map<String, Json>) -> Result<(), String> {
    let listed = config.get("added_tokens_decoder").and_then(Json::as_object);
    let mut listed: Vec<(u64, &Json)> =
        listed.into_iter().flatten().filter_map(|(id, token)| Some((id.parse().ok()?, token))).collect();
    listed.sort_by_key(|(id, _)| *id);
    let own = tokenizer.get_added_tokens_decoder();
    let missing = listed.into_iter().filter_map(|(_, token)| {
        let (content, flag) = (token["content"].as_str()?, |name: &str| token[name].as_bool());
        let special = flag("special").unwrap_or(false);
        let is_own = own.values().any(|t| t.content == content);
        (!is_own).then(|| AddedToken {
            content: content.to_owned(),
            single_word: flag("single_word").unwrap_or(false),
            lstrip: flag("lstrip").unwrap_or(false),
            rstrip: flag("rstrip").unwrap_or(false),
            normalized: flag("normalized").unwrap_or(!special),
            special,
        })
    });
    tokenizer.add_tokens(missing).map(drop).map_err(|e| e.to_string())
}

pub fn write(
    files: &Files,
    tokenizer_config: &Map<String, Json>,
    pre: Option<&str>,
    keys: &mut KeyList,
) -> Result<(), Problem> {
    let at = Problem::of(TOKENIZER_JSON);
    let json = old_files::tokenizer_json(files)?.unwrap_or_default();
    let kind = json.get("model").and_then(|m| m["type"].as_str()).unwrap_or("of an unknown kind");
    if kind != "BPE" || json["model"]["byte_fallback"] == true {
        return Err(at(format!(
            "the tokenizer is {kind} and not byte-level BPE as GPT-2's: not supported yet"
        )));
    }
    let mut tokenizer = parse(&json).map_err(&at)?;
    add_tokens(&mut tokenizer, tokenizer_config).map_err(Problem::of(TOKENIZER_CONFIG))?;
    let pre = match pre {
        Some(name) => name.to_owned(),
        None => pre_tokenizer::name(&tokenizer, &Json::Object(json.clone()), tokenizer_config)
            .map_err(&at)?
            .to_owned(),
    };
    let tokens = tokens(files, &tokenizer, tokenizer_config).map_err(&at)?;
    keys.put("ggml.model", "gpt2");
    keys.put("ggml.pre", pre);
    tokens.write(keys);
    special::write(files, tokenizer_config, Special { merges: true, tokens: None }, keys)
}

/// Texts and types of all tokens by id.
fn tokens(files: &Files, tokenizer: &Tokenizer, config: &Map<String, Json>) -> Result<Tokens, String> {
    let vocabulary = tokenizer.get_vocab(true);
    let size = match files.config.integer(&["vocab_size"]).map_err(|e| e.to_string())? {
        Some(size) => size as usize,
        None => vocabulary.len(),
    };
    let mut texts: Vec<Option<String>> = vec![None; size];
    for (text, id) in vocabulary {
        match texts.get_mut(id as usize) {
            Some(entry) => *entry = Some(text),
            None => return Err(format!("token {text:?} has id {id}, but vocab_size is {size}")),
        }
    }
    let mut types = Vec::with_capacity(size);
    let added = tokenizer.get_added_tokens_decoder();
    let named = special::named(config);
    let texts = texts.into_iter().enumerate().map(|(id, text)| {
        let Some(text) = text else {
            types.push(token_type::UNUSED);
            return Ok(format!("[PAD{id}]"));
        };
        let Some(token) = added.get(&(id as u32)) else {
            types.push(if named.contains(&text) { token_type::CONTROL } else { token_type::NORMAL });
            return Ok(text);
        };
        // llama.cpp looks for such tokens in text that is normalized already.
        let text = match token.normalized {
            true => text,
            false => there_and_back(tokenizer, &text)?,
        };
        if token.special || looks_special(&text) {
            types.push(token_type::CONTROL);
            Ok(text)
        } else {
            types.push(token_type::USER_DEFINED);
            Ok(text.replace('▁', " "))
        }
    });
    let texts = texts.collect::<Result<Vec<_>, String>>()?;
    Ok(Tokens { texts, types, scores: None })
}

/// A text after encoding and decoding.
fn there_and_back(tokenizer: &Tokenizer, text: &str) -> Result<String, String> {
    let encoding = tokenizer.encode(text, false).map_err(|e| e.to_string())?;
    tokenizer.decode(encoding.get_ids(), false).map_err(|e| e.to_string())
}
