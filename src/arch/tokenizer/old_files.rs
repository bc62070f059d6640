//! vocab.json and merges.txt, as byte-level BPE was kept before tokenizer.json.

use super::files::{ADDED_TOKENS, Files, Problem, TOKENIZER_CONFIG, TOKENIZER_JSON};
use serde_json::{Map, Value as Json, json};

/// Texts and ids.
pub const VOCAB: &str = "vocab.json";
/// Pairs of texts, in the order in which they are merged.
pub const MERGES: &str = "merges.txt";

/// Entries of `tokenizer_class` that cut text as GPT-2 does. Others cut it otherwise, which none of the files says.
const GPT2: [&str; 4] = ["GPT2Tokenizer", "GPT2TokenizerFast", "GPTNeoXTokenizer", "GPTNeoXTokenizerFast"];

/// tokenizer.json or, in a folder that has none, what transformers would make of the old files, if they are there.
/// `config` is tokenizer_config.json.
pub fn tokenizer_json(
    files: &Files,
    config: &Map<String, Json>,
) -> Result<Option<Map<String, Json>>, Problem> {
    let new = files.json(TOKENIZER_JSON)?;
    if new.is_some() {
        return Ok(new);
    }
    let (Some(vocab), Some(merges)) = (files.json(VOCAB)?, files.text(MERGES)?) else { return Ok(None) };
    if let Some(class) = config.get("tokenizer_class").and_then(Json::as_str)
        && !GPT2.contains(&class)
    {
        return Err(Problem::of(TOKENIZER_CONFIG)(format!(
            "{class} without a tokenizer.json cannot be read: load it with transformers and save it, which writes one"
        )));
    }
    let mut added = Map::new();
    for (text, id) in files.json(ADDED_TOKENS)?.unwrap_or_default() {
        added.insert(text.clone(), token(&text, id, true));
    }
    for (id, entry) in config.get("added_tokens_decoder").and_then(Json::as_object).into_iter().flatten() {
        if let (Some(text), Ok(id)) = (entry["content"].as_str(), id.parse::<u64>()) {
            added.insert(text.to_owned(), token(text, json!(id), entry["special"] == true));
        }
    }
    // The one that GPT-2's class has without being told.
    const END: &str = "<|endoftext|>";
    if let Some(id) = vocab.get(END).filter(|_| !added.contains_key(END)) {
        added.insert(END.to_owned(), token(END, id.clone(), true));
    }
    let merges: Vec<&str> =
        merges.lines().filter(|line| !line.starts_with("#version") && !line.is_empty()).collect();
    let byte_level =
        json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    let tokenizer = json!({
        "version": "1.0",
        "added_tokens": added.into_iter().map(|(_, token)| token).collect::<Vec<_>>(),
        "pre_tokenizer": byte_level, "post_processor": null, "decoder": byte_level,
        "model": {"type": "BPE", "vocab": vocab, "merges": merges},
    });
    Ok(tokenizer.as_object().cloned())
}

fn token(text: &str, id: Json, special: bool) -> Json {
    json!({"id": id, "content": text, "special": special, "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false})
}
