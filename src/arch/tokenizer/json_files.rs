//! tokenizer.json and tokenizer_config.json from GGUF keys, for GPT-2-style BPE.

use super::pre_tokenizer::{Cut, PRE_TOKENIZERS};
use super::{SPECIAL, token_type};
use crate::gguf::Value;
use serde_json::{Map, Value as Json, json};

/// tokenizer.json and tokenizer_config.json of a model with these GGUF keys.
pub fn json_files(key: impl Fn(&str) -> Option<Value>) -> Result<(Json, Json), String> {
    let ggml = |name: &str| key(&format!("tokenizer.ggml.{name}"));
    let need = |name: &str| ggml(name).ok_or_else(|| format!("key `tokenizer.ggml.{name}` is not there"));
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    if need("model")?.as_str() != Some("gpt2") {
        return Err(format!("tokenizer model {} is not gpt2: not supported yet", need("model")?));
    }
    let pre = ggml("pre").map_or_else(|| "gpt-2".to_owned(), |v| text(&v));
    let cuts = PRE_TOKENIZERS.iter().find(|(name, _)| *name == pre);
    let (_, cuts) = cuts.ok_or_else(|| format!("pre-tokenizer {pre:?} is not supported yet"))?;
    let tokens: Vec<String> = need("tokens")?.as_array().unwrap_or_default().iter().map(text).collect();
    let types = ggml("token_type");
    let types = types.as_ref().and_then(Value::as_array).unwrap_or_default();
    let mut vocab = Map::new();
    let mut added = Vec::new();
    for (id, content) in tokens.iter().enumerate() {
        let kind = types.get(id).and_then(|v| match v {
            Value::I32(kind) => Some(*kind),
            _ => None,
        });
        match kind.unwrap_or(token_type::NORMAL) {
            token_type::UNUSED => continue,
            kind @ (token_type::CONTROL | token_type::USER_DEFINED) => added.push(json!({
                "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": kind == token_type::CONTROL,
            })),
            _ => {}
        }
        vocab.insert(content.clone(), json!(id));
    }
    let merges: Vec<String> = need("merges")?.as_array().unwrap_or_default().iter().map(text).collect();
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
    let flag = |name: &str| ggml(name).and_then(|v| v.as_bool());
    let special = |gguf: &str| {
        let id = ggml(gguf)?.as_u64()? as usize;
        Some((id, tokens.get(id)?.clone()))
    };
    let template = |name: &str, id: usize| {
        json!({"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": name, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"SpecialToken": {"id": name, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": name, "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {name: {"id": name, "ids": [id], "tokens": [name]}}})
    };
    let post = match special("bos_token_id") {
        Some((id, name)) if flag("add_bos_token") == Some(true) => template(&name, id),
        _ => Json::Null,
    };
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": added,
        "normalizer": if pre == "qwen2" { json!({"type": "NFC"}) } else { Json::Null },
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps},
        "post_processor": post,
        "decoder": byte_level(true),
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "ignore_merges": pre == "llama-bpe",
            "vocab": vocab, "merges": merges,
        },
    });
    let mut config =
        json!({"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": false});
    for (name, gguf) in SPECIAL {
        if let Some((_, content)) = special(gguf) {
            config[format!("{name}_token")] = json!(content);
        }
    }
    for (name, gguf) in [
        ("add_bos_token", "add_bos_token"),
        ("add_eos_token", "add_eos_token"),
        ("add_prefix_space", "add_space_prefix"),
    ] {
        if let Some(v) = flag(gguf) {
            config[name] = json!(v);
        }
    }
    if let Some(template) = key("tokenizer.chat_template") {
        config["chat_template"] = json!(text(&template));
    }
    Ok((tokenizer, config))
}
