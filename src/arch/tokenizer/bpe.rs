//! Byte-level BPE from tokenizer.json.

use super::added::{self, Added};
use super::beyond::Beyond;
use super::files::{Problem, TOKENIZER_CONFIG, TOKENIZER_JSON};
use super::growth;
use super::pre_tokenizer;
use super::sources::Sources;
use super::special::{self, Special};
use super::tokens::{KeyList, Tokens, looks_special, token_type};
use crate::guarded::guarded;
use serde_json::{Map, Value as Json};
use std::collections::HashSet;
use tokenizers::{AddedToken, Tokenizer};

/// The tokenizer of a tokenizer.json, with the tokens that tokenizer_config.json adds to it.
pub fn load(sources: &Sources) -> Result<Tokenizer, Problem> {
    let mut json = sources.json.clone().unwrap_or_default();
    // What a training run left: it is no part of how text is cut.
    for setting in ["padding", "truncation"] {
        json.insert(setting.into(), Json::Null);
    }
    growth::check(&json).map_err(Problem::of(TOKENIZER_JSON))?;
    let parsed =
        guarded(|| serde_json::from_value::<Tokenizer>(Json::Object(json)).map_err(|e| e.to_string()));
    let mut tokenizer = parsed.and_then(|parsed| parsed).map_err(|e| {
        let what =
            format!("not a tokenizer that is known here ({e}); save it with a current tokenizers library");
        Problem::of(TOKENIZER_JSON)(what)
    })?;
    let added = guarded(|| add_tokens(&mut tokenizer, sources)).and_then(|added| added);
    added.map_err(Problem::of(TOKENIZER_CONFIG))?;
    Ok(tokenizer)
}

/// Adds the tokens of tokenizer_config.json that tokenizer.json has not among its own, as transformers does: they get the
/// next free ids, those with an id there first, in the order of these ids, then the special ones.
fn add_tokens(tokenizer: &mut Tokenizer, sources: &Sources) -> Result<(), String> {
    let listed = sources.decoder().into_iter().filter_map(|(_, token)| {
        let (content, flag) = (token["content"].as_str()?, |name: &str| token[name].as_bool());
        let special = flag("special").unwrap_or(false);
        Some(AddedToken {
            content: content.to_owned(),
            single_word: flag("single_word").unwrap_or(false),
            lstrip: flag("lstrip").unwrap_or(false),
            rstrip: flag("rstrip").unwrap_or(false),
            normalized: flag("normalized").unwrap_or(!special),
            special,
        })
    });
    let own = tokenizer.get_added_tokens_decoder();
    let own: HashSet<&str> = own.values().map(|token| token.content.as_str()).collect();
    let missing: Vec<_> = listed.filter(|token| !own.contains(token.content.as_str())).collect();
    tokenizer.add_tokens(missing).map_err(|e| e.to_string())?;
    let named = special::named(&sources.config).into_iter();
    let unknown: Vec<_> = named
        .filter(|text| tokenizer.token_to_id(text).is_none())
        .map(|text| AddedToken::from(text, true))
        .collect();
    tokenizer.add_tokens(unknown).map_err(|e| e.to_string())?;
    Ok(())
}

/// The tokens that were added to a tokenizer, by id.
pub fn added(tokenizer: &Tokenizer) -> Vec<Added> {
    let entry = |(id, token): (u32, AddedToken)| Added {
        id: id as usize,
        takes_more: token.lstrip || token.rstrip || token.single_word,
        special: token.special,
        text: token.content,
    };
    let mut added: Vec<_> = tokenizer.get_added_tokens_decoder().into_iter().map(entry).collect();
    added.sort_by_key(|added| added.id);
    added
}

pub fn write(sources: &Sources, pre: Option<&str>, keys: &mut KeyList) -> Result<(), Problem> {
    let at = Problem::of(TOKENIZER_JSON);
    let json = Json::Object(sources.json.clone().unwrap_or_default());
    let kind = json["model"]["type"].as_str().unwrap_or("of an unknown kind");
    if kind != "BPE" || json["model"]["byte_fallback"] == true {
        return Err(at(format!(
            "the tokenizer is {kind} and not byte-level BPE as GPT-2's: not supported yet"
        )));
    }
    let tokenizer = load(sources)?;
    let pre = match pre {
        Some(name) => name.to_owned(),
        None => pre_tokenizer::name(&tokenizer, &json, &sources.config).map_err(&at)?.to_owned(),
    };
    let size = sources.embeddings()?.unwrap_or(tokenizer.get_vocab_size(true));
    let (tokens, beyond) = tokens(&tokenizer, size, &sources.config).map_err(&at)?;
    keys.put("ggml.model", "gpt2");
    keys.put("ggml.pre", pre);
    tokens.write(keys);
    special::write(sources, Special { merges: true, tokens: Some(size) }, keys)?;
    beyond.settle(size, |text, keys| sources.needs(text, keys), keys).map_err(&at)?;
    keys.notes.extend(added::note(&added(&tokenizer)));
    Ok(())
}

/// Texts and types of all tokens by id, and those beyond the embeddings.
fn tokens(
    tokenizer: &Tokenizer,
    size: usize,
    config: &Map<String, Json>,
) -> Result<(Tokens, Beyond), String> {
    let added = tokenizer.get_added_tokens_decoder();
    let (mut texts, mut beyond) = (vec![None; size], Beyond::default());
    for (text, id) in tokenizer.get_vocab(true) {
        match texts.get_mut(id as usize) {
            Some(entry) => *entry = Some(text),
            None => beyond.add(id as usize, &text, added.contains_key(&id)),
        }
    }
    let mut types = Vec::with_capacity(size);
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
    Ok((Tokens { texts, types, scores: None }, beyond))
}

/// A text after encoding and decoding.
fn there_and_back(tokenizer: &Tokenizer, text: &str) -> Result<String, String> {
    let both = guarded(|| tokenizer.decode(tokenizer.encode(text, false)?.get_ids(), false));
    both?.map_err(|e| e.to_string())
}
