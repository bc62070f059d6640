//! The files of a tokenizer from the keys of a GGUF file.

use super::files::{ADDED_TOKENS, TOKENIZER_CONFIG, TOKENIZER_JSON, TOKENIZER_MODEL};
use super::json_files::{added_token, pieces_json, tokenizer_json};
use super::sentencepiece;
use super::spaces::PREPEND_SCHEME;
use super::token_keys::TokenKeys;
use super::tokens::SPECIAL;
use super::vocabulary::Vocabulary;
use crate::gguf::Value;
use serde_json::{Value as Json, json};

/// Names and contents of the files of a tokenizer; none for a file that takes token ids only.
pub fn files(
    keys: &[(String, Value)],
    vocabulary: &Vocabulary,
) -> Result<Vec<(&'static str, Vec<u8>)>, String> {
    let mut keys = TokenKeys { keys, tokens: Vec::new() };
    let model = keys.text("model").ok_or("key `tokenizer.ggml.model` is not there")?;
    if model == "none" {
        return Ok(Vec::new());
    }
    keys.tokens = keys.texts("tokens")?;
    let class = if model == "gpt2" { "PreTrainedTokenizerFast" } else { vocabulary.class };
    let mut config = tokenizer_config(&keys, class);
    let mut files = Vec::new();
    match model {
        "gpt2" => {
            files.push((TOKENIZER_JSON, bytes(&tokenizer_json(&keys)?)));
        }
        "gemma4" => {
            files.push((TOKENIZER_JSON, bytes(&pieces_json(&keys)?)));
        }
        "llama" => {
            let model = sentencepiece::Exported::new(&keys, vocabulary.literal)?;
            config["added_tokens_decoder"] = model
                .added
                .iter()
                .map(|(id, text, special)| (id.to_string(), Json::Object(added_token(text, *special))))
                .collect();
            // So transformers calls the tokenizers that put a space after special tokens too.
            let scheme = keys.key(&format!("tokenizer.{PREPEND_SCHEME}")).and_then(Value::as_str);
            config["legacy"] = json!(scheme != Some("first"));
            files.push((TOKENIZER_MODEL, model.bytes));
            if !model.literal.is_empty() {
                files.push((ADDED_TOKENS, bytes(&Json::Object(model.literal))));
            }
        }
        other => {
            return Err(format!(
                "tokenizer model `{other}` is not supported yet (gpt2, llama and gemma4 are): export the file to a plain GGUF \
                 instead, with a name that ends in .gguf"
            ));
        }
    }
    files.push((TOKENIZER_CONFIG, bytes(&config)));
    Ok(files)
}

fn bytes(json: &Json) -> Vec<u8> {
    serde_json::to_vec_pretty(json).expect("JSON of our own making")
}

/// tokenizer_config.json: the class, special tokens, flags, chat templates.
fn tokenizer_config(keys: &TokenKeys, class: &str) -> Json {
    let mut config = json!({"tokenizer_class": class, "clean_up_tokenization_spaces": false});
    for (name, gguf) in SPECIAL {
        if let Some((_, content)) = keys.special(gguf) {
            config[format!("{name}_token")] = json!(content);
        }
    }
    for (name, gguf) in [
        ("add_bos_token", "add_bos_token"),
        ("add_eos_token", "add_eos_token"),
        ("add_sep_token", "add_sep_token"),
        ("add_prefix_space", "add_space_prefix"),
    ] {
        if let Some(v) = keys.flag(gguf) {
            config[name] = json!(v);
        }
    }
    let template = |name: &str| keys.key(&format!("tokenizer.chat_template{name}")).and_then(Value::as_str);
    let names = keys.key("tokenizer.chat_templates").and_then(Value::as_array).unwrap_or_default();
    let named = names.iter().filter_map(Value::as_str).filter_map(|name| {
        let template = template(&format!(".{name}"))?;
        Some(json!({"name": name, "template": template}))
    });
    let named: Vec<Json> = named.collect();
    match (template(""), named.is_empty()) {
        (Some(only), true) => config["chat_template"] = json!(only),
        (default, false) => {
            let default = default.map(|template| json!({"name": "default", "template": template}));
            config["chat_template"] = default.into_iter().chain(named).collect();
        }
        (None, true) => {}
    }
    config
}
