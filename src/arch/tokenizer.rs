//! GPT-2-style BPE tokenizers: tokenizer.json to GGUF keys and back.

use crate::gguf::{Kind, Value};
use serde_json::{Map, Value as Json, json};

/// Token types of GGUF.
mod token_type {
    pub const NORMAL: i32 = 1;
    pub const CONTROL: i32 = 3;
    pub const USER_DEFINED: i32 = 4;
    pub const UNUSED: i32 = 5;
}

/// How text is cut before merging.
#[derive(Debug, PartialEq)]
enum Cut {
    /// Every digit alone.
    Digits,
    /// GPT-2's expression.
    Gpt2,
    /// A given expression.
    Regex(&'static str),
}

const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// llama.cpp's name of each sequence of cuts (`tokenizer.ggml.pre`).
const PRE_TOKENIZERS: &[(&str, &[Cut])] = &[
    ("gpt-2", &[Cut::Gpt2]),
    ("smollm", &[Cut::Digits, Cut::Gpt2]),
    ("llama-bpe", &[Cut::Regex(LLAMA3)]),
    ("qwen2", &[Cut::Regex(QWEN2)]),
];

/// Special tokens: what tokenizer_config.json and config.json call them, and GGUF.
const SPECIAL: &[(&str, &str)] = &[
    ("bos", "bos_token_id"),
    ("eos", "eos_token_id"),
    ("unk", "unknown_token_id"),
    ("sep", "seperator_token_id"),
    ("pad", "padding_token_id"),
    ("cls", "cls_token_id"),
    ("mask", "mask_token_id"),
];

/// The JSON files of a folder that describe its tokenizer.
pub struct Files<'a> {
    /// tokenizer.json
    pub tokenizer: &'a Json,
    /// tokenizer_config.json, or empty.
    pub tokenizer_config: &'a Map<String, Json>,
    /// config.json
    pub config: &'a Map<String, Json>,
    /// chat_template.jinja
    pub chat_template: Option<String>,
}

/// The GGUF keys of a tokenizer; `pre` replaces the pre-tokenizer that tokenizer.json shows.
pub fn gguf_keys(files: &Files, pre: Option<&str>) -> Result<Vec<(String, Value)>, String> {
    let model = &files.tokenizer["model"];
    if model["type"] != "BPE" || model["byte_fallback"] == true {
        return Err(format!(
            "the tokenizer is {} and not byte-level BPE as GPT-2's: not supported yet",
            model["type"].as_str().unwrap_or("of an unknown kind")
        ));
    }
    let pre = match pre {
        Some(name) => name.to_owned(),
        None => pre_tokenizer_name(&files.tokenizer["pre_tokenizer"])?.to_owned(),
    };
    let mut keys = Vec::new();
    let mut put = |name: &str, v: Value| keys.push((format!("tokenizer.{name}"), v));
    if let Some(space) = files.tokenizer_config.get("add_prefix_space").and_then(Json::as_bool) {
        put("ggml.add_space_prefix", space.into());
    }
    let (tokens, types) = tokens(files)?;
    put("ggml.model", "gpt2".into());
    put("ggml.pre", pre.into());
    put("ggml.tokens", Value::strings(tokens));
    put("ggml.token_type", Value::Array(Kind::I32, types.into_iter().map(Value::I32).collect()));
    put("ggml.merges", Value::strings(merges(model)?));
    for (name, gguf) in SPECIAL {
        if let Some(id) = special_id(files, name) {
            put(&format!("ggml.{gguf}"), (id as u32).into());
        }
    }
    let (bos, eos) = added_around(files);
    if let Some(bos) = bos {
        put("ggml.add_bos_token", bos.into());
    }
    if let Some(eos) = eos {
        put("ggml.add_eos_token", eos.into());
    }
    let in_config = || files.tokenizer_config.get("chat_template")?.as_str().map(str::to_owned);
    if let Some(template) = files.chat_template.clone().or_else(in_config) {
        put("chat_template", template.into());
    }
    Ok(keys)
}

/// Texts and types of all tokens by id.
fn tokens(files: &Files) -> Result<(Vec<String>, Vec<i32>), String> {
    let vocab = files.tokenizer["model"]["vocab"].as_object().ok_or("`model.vocab` is no table")?;
    let added = files.tokenizer["added_tokens"].as_array().map_or(&[][..], Vec::as_slice);
    let size = files.config.get("vocab_size").and_then(Json::as_u64);
    let size = size.unwrap_or((vocab.len() + added.len()) as u64) as usize;
    let mut texts: Vec<Option<String>> = vec![None; size];
    let mut types = vec![token_type::UNUSED; size];
    let mut set = |id: Option<u64>, text: &str, kind: i32| {
        let id = id.ok_or_else(|| format!("token {text:?} has no id"))? as usize;
        if id >= size {
            return Err(format!("token {text:?} has id {id}, but vocab_size is {size}"));
        }
        texts[id] = Some(text.to_owned());
        types[id] = kind;
        Ok(())
    };
    for (text, id) in vocab {
        set(id.as_u64(), text, token_type::NORMAL)?;
    }
    for token in added {
        let text = token["content"].as_str().ok_or("an added token has no content")?;
        let special = token["special"] == true || looks_special(text);
        let kind = if special { token_type::CONTROL } else { token_type::USER_DEFINED };
        set(token["id"].as_u64(), text, kind)?;
    }
    let texts = texts.into_iter().enumerate().map(|(i, t)| t.unwrap_or_else(|| format!("[PAD{i}]")));
    Ok((texts.collect(), types))
}

/// Whether an added token that is not marked special is one all the same, by llama.cpp's rule.
fn looks_special(text: &str) -> bool {
    ["<pad>", "<mask>", "<2mass>", "[@BOS@]"].contains(&text)
        || (text.starts_with("<|") && text.ends_with("|>"))
        || (text.starts_with("<｜") && text.ends_with("｜>"))
        || (text.starts_with("<unused") && text.ends_with('>'))
}

/// Merges as `left right`; a space within a part is written as Ġ.
fn merges(model: &Json) -> Result<Vec<String>, String> {
    let merges = model["merges"].as_array().ok_or("`model.merges` is no list")?;
    let line = |m: &Json| match m {
        Json::String(s) => Some(s.clone()),
        Json::Array(pair) => {
            let part = |i: usize| Some(pair.get(i)?.as_str()?.replace(' ', "Ġ"));
            Some(format!("{} {}", part(0)?, part(1)?))
        }
        _ => None,
    };
    merges.iter().map(|m| line(m).ok_or_else(|| format!("merge {m} is no pair"))).collect()
}

/// The id of a special token, by tokenizer_config.json or else config.json.
fn special_id(files: &Files, name: &str) -> Option<u64> {
    let entry = files.tokenizer_config.get(&format!("{name}_token"));
    let text = entry.and_then(|e| e.as_str().or_else(|| e["content"].as_str()));
    let added = files.tokenizer["added_tokens"].as_array();
    let by_text = text.and_then(|t| added?.iter().find(|a| a["content"] == *t)?["id"].as_u64());
    by_text.or_else(|| files.config.get(&format!("{name}_token_id"))?.as_u64())
}

/// Whether the tokenizer adds a token before and after a text; `None` where nothing is said.
fn added_around(files: &Files) -> (Option<bool>, Option<bool>) {
    let says = |name: &str| files.tokenizer_config.get(name).and_then(Json::as_bool);
    let (mut bos, mut eos) = (None, None);
    let post = &files.tokenizer["post_processor"];
    let processors = post["processors"].as_array().cloned().unwrap_or_else(|| vec![post.clone()]);
    for p in processors {
        match p["type"].as_str() {
            Some("ByteLevel") => {
                bos = bos.or(Some(false));
                eos = eos.or(Some(false));
            }
            Some("TemplateProcessing") => {
                let single = p["single"].as_array().map_or(&[][..], Vec::as_slice);
                let is = |token: Option<&Json>, name: &str| {
                    let text = token?["SpecialToken"]["id"].as_str()?;
                    let known = files.tokenizer_config.get(&format!("{name}_token"))?;
                    Some(known == text || known["content"] == text)
                };
                if single.len() > 1 {
                    bos = is(single.first(), "bos").or(bos);
                    eos = is(single.last(), "eos").or(eos);
                }
            }
            _ => {}
        }
    }
    (says("add_bos_token").or(bos), says("add_eos_token").or(eos))
}

/// llama.cpp's name for the cuts of a `pre_tokenizer` entry.
fn pre_tokenizer_name(entry: &Json) -> Result<&'static str, String> {
    let unknown = || {
        let known: Vec<_> = PRE_TOKENIZERS.iter().map(|(name, _)| *name).collect();
        format!(
            "`pre_tokenizer` of tokenizer.json is none of those known ({}); if llama.cpp has a name for it, \
             give it with --tokenizer-pre",
            known.join(", ")
        )
    };
    let steps = match entry["type"].as_str() {
        Some("Sequence") => entry["pretokenizers"].as_array().cloned().unwrap_or_default(),
        _ => vec![entry.clone()],
    };
    let mut cuts = Vec::new();
    for step in &steps {
        match step["type"].as_str() {
            Some("Digits") if step["individual_digits"] == true => cuts.push(Cut::Digits),
            Some("ByteLevel") if step["use_regex"] != false => cuts.push(Cut::Gpt2),
            Some("ByteLevel") => {}
            Some("Split") => {
                let pattern = step["pattern"]["Regex"].as_str();
                let known = [LLAMA3, QWEN2].into_iter().find(|k| Some(*k) == pattern);
                cuts.push(Cut::Regex(known.ok_or_else(unknown)?));
            }
            _ => return Err(unknown()),
        }
    }
    let known = PRE_TOKENIZERS.iter().find(|(_, c)| *c == cuts);
    known.map(|(name, _)| *name).ok_or_else(unknown)
}

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
