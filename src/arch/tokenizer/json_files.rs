//! tokenizer.json from GGUF keys, for GPT-2-style BPE and for SentencePiece's pieces with merges.

use super::pre_tokenizer::{Cut, PRE_TOKENIZERS};
use super::spaces::SPACE;
use super::token_keys::TokenKeys;
use super::tokens::token_type;
use serde_json::{Map, Value as Json, json};

/// tokenizer.json of a model with these GGUF keys.
pub fn tokenizer_json(keys: &TokenKeys) -> Result<Json, String> {
    let pre = keys.text("pre").unwrap_or("gpt-2");
    let cuts = PRE_TOKENIZERS.iter().find(|(name, _)| *name == pre);
    let (_, cuts) = cuts.ok_or_else(|| format!("pre-tokenizer {pre:?} is not supported yet"))?;
    let (vocab, added) = vocabulary(keys);
    let merges = keys.texts("merges")?;
    let byte_level = |regex: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": regex});
    let mut steps: Vec<Json> = cuts
        .iter()
        .map(|cut| match cut {
            Cut::Digits => json!({"type": "Digits", "individual_digits": true}),
            Cut::Gpt2 => byte_level(true),
            Cut::Regex(r) => {
                json!({"type": "Split", "pattern": {"Regex": r}, "behavior": "Isolated", "invert": false})
            }
        })
        .collect();
    if !cuts.contains(&Cut::Gpt2) {
        steps.push(byte_level(false));
    }
    Ok(json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": added,
        "normalizer": normalizer(keys, pre),
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps},
        "post_processor": post_processor(keys),
        "decoder": byte_level(true),
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "ignore_merges": pre == "llama-bpe",
            "vocab": vocab, "merges": merges,
        },
    }))
}

/// tokenizer.json of a model whose pieces are merged as Gemma 4's.
pub fn pieces_json(keys: &TokenKeys) -> Result<Json, String> {
    let (vocab, added) = vocabulary(keys);
    let unknown = keys.special("unknown_token_id").map(|(_, text)| text);
    let spaces =
        |from: &str, to: &str| json!({"type": "Replace", "pattern": {"String": from}, "content": to});
    Ok(json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": added,
        "normalizer": spaces(" ", SPACE),
        "pre_tokenizer": {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": false},
        "post_processor": post_processor(keys),
        "decoder": {"type": "Sequence", "decoders": [spaces(SPACE, " "), {"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": {
            "type": "BPE", "dropout": null, "unk_token": unknown, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
            "vocab": vocab, "merges": keys.texts("merges")?,
        },
    }))
}

/// Tokens by their texts, and those that were added.
fn vocabulary(keys: &TokenKeys) -> (Map<String, Json>, Vec<Map<String, Json>>) {
    let mut vocab = Map::new();
    let mut added = Vec::new();
    for (id, content) in keys.tokens.iter().enumerate() {
        match keys.kind(id) {
            token_type::UNUSED => continue,
            kind @ (token_type::CONTROL | token_type::USER_DEFINED) => {
                let mut token = Map::from_iter([("id".to_owned(), json!(id))]);
                token.extend(added_token(content, kind == token_type::CONTROL));
                added.push(token);
            }
            _ => {}
        }
        vocab.insert((*content).to_owned(), json!(id));
    }
    (vocab, added)
}

/// What is put around a text.
fn post_processor(keys: &TokenKeys) -> Json {
    match keys.special("bos_token_id") {
        Some((id, name)) if keys.flag("add_bos_token") == Some(true) => {
            let token = |text: u8| json!({"SpecialToken": {"id": name, "type_id": text}});
            let (a, b) = (
                json!({"Sequence": {"id": "A", "type_id": 0}}),
                json!({"Sequence": {"id": "B", "type_id": 1}}),
            );
            // A template that says what stands between two texts gives the flag of the separator.
            let pair = match keys.flag("add_sep_token") {
                Some(_) => json!([token(0), a, token(1), b]),
                None => json!([token(0), a, b]),
            };
            json!({"type": "TemplateProcessing", "single": [token(0), a], "pair": pair,
                "special_tokens": {name: {"id": name, "ids": [id], "tokens": [name]}}})
        }
        _ => Json::Null,
    }
}

/// What happens to text before it is cut.
fn normalizer(keys: &TokenKeys, pre: &str) -> Json {
    let steps = [
        (pre == "qwen2", "NFC"),
        (keys.flag("normalizer.lowercase") == Some(true), "Lowercase"),
        (keys.flag("normalizer.strip_accents") == Some(true), "StripAccents"),
    ];
    let steps: Vec<Json> =
        steps.iter().filter(|(there, _)| *there).map(|(_, name)| json!({"type": name})).collect();
    match &steps[..] {
        [] => Json::Null,
        [one] => one.clone(),
        _ => json!({"type": "Sequence", "normalizers": steps}),
    }
}

/// An added token as tokenizer.json and tokenizer_config.json describe it.
pub fn added_token(content: &str, special: bool) -> Map<String, Json> {
    let token = json!({"content": content, "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": special});
    token.as_object().cloned().expect("an object")
}
