//! Special tokens, what is put around a text, merges, chat templates.

use super::files::{Files, Problem, TOKENIZER_JSON};
use super::old_files;
use super::tokens::{KeyList, SPECIAL};
use crate::gguf::Value;
use serde_json::{Map, Value as Json};

/// What there is besides special tokens.
pub struct Special {
    /// Merges are written.
    pub merges: bool,
    /// Number of tokens, where ids beyond it do not count.
    pub tokens: Option<usize>,
}

/// Texts of tokens that tokenizer_config.json names as special.
pub fn named(config: &Map<String, Json>) -> Vec<String> {
    let text = |v: &Json| v.as_str().or_else(|| v["content"].as_str()).map(str::to_owned);
    let kinds = ["bos", "eos", "unk", "sep", "pad", "cls", "mask"];
    let single = kinds.iter().filter_map(|k| text(config.get(&format!("{k}_token"))?));
    let lists = ["additional_special_tokens", "extra_special_tokens"];
    let more = lists.iter().filter_map(|l| config.get(*l)?.as_array()).flatten().filter_map(text);
    single.chain(more).collect()
}

/// The kinds of special tokens with what the files say of each.
struct Kinds {
    names: Vec<&'static str>,
    /// tokenizer_config.json, completed from the post-processor of tokenizer.json.
    config: Map<String, Json>,
    /// Whether a token of the kind is put at its place around a text.
    add: Vec<(&'static str, bool)>,
}

pub fn write(
    files: &Files,
    tokenizer_config: &Map<String, Json>,
    what: Special,
    keys: &mut KeyList,
) -> Result<(), Problem> {
    let json = old_files::tokenizer_json(files)?;
    if what.merges {
        let merges = match &json {
            Some(json) => merges(&json["model"]).map_err(Problem::of(TOKENIZER_JSON))?,
            None => Vec::new(),
        };
        if !merges.is_empty() {
            keys.put("ggml.merges", Value::strings(merges));
        }
    }
    let mut kinds = Kinds {
        names: vec!["bos", "eos", "unk", "sep", "pad", "cls", "mask"],
        config: tokenizer_config.clone(),
        add: Vec::new(),
    };
    if let Some(json) = &json {
        kinds.read_post_processor(json);
    }
    kinds.read_flags();
    let added = json.as_ref().and_then(|j| j.get("added_tokens")?.as_array()).map_or(&[][..], Vec::as_slice);
    for (name, gguf) in SPECIAL {
        if kinds.names.contains(name)
            && let Some(id) = kinds.id(name, added, files.raw_config, what.tokens)
        {
            keys.put(&format!("ggml.{gguf}"), id as u32);
        }
    }
    for (name, add) in &kinds.add {
        if ["bos", "eos", "sep"].contains(name) {
            keys.put(&format!("ggml.add_{name}_token"), *add);
        }
    }
    if !tokenizer_config.is_empty() {
        write_templates(files, tokenizer_config, keys)?;
    }
    let normalizer = json.as_ref().and_then(|j| j.get("normalizer"));
    write_normalizer(normalizer.unwrap_or(&Json::Null), keys);
    Ok(())
}

impl Kinds {
    fn text(&self, kind: &str) -> Json {
        self.config.get(&format!("{kind}_token")).cloned().unwrap_or(Json::Null)
    }

    /// Sets the token of a kind; in a folder without tokenizer_config.json it is left unset, as in the converter.
    fn set(&mut self, kind: &str, token: Json) {
        if !self.config.is_empty() {
            self.config.insert(format!("{kind}_token"), token);
        }
    }

    fn add(&mut self, kind: &'static str, add: bool) {
        match self.add.iter_mut().find(|(k, _)| *k == kind) {
            Some((_, old)) => *old = add,
            None => self.add.push((kind, add)),
        }
    }

    fn is_set(&self, kind: &str) -> bool {
        self.add.iter().any(|(k, _)| *k == kind)
    }

    fn read_post_processor(&mut self, json: &Map<String, Json>) {
        for (kind, stand_in) in [("bos", "cls"), ("eos", "sep")] {
            if self.text(kind).is_null() && !self.text(stand_in).is_null() {
                self.set(kind, self.text(stand_in));
            }
        }
        let post = json.get("post_processor").unwrap_or(&Json::Null);
        let steps = post["processors"].as_array().cloned().unwrap_or_else(|| vec![post.clone()]);
        for step in &steps {
            match step["type"].as_str() {
                Some("ByteLevel") => {
                    for kind in ["bos", "eos"] {
                        if !self.is_set(kind) {
                            self.add(kind, false);
                        }
                    }
                }
                Some("RobertaProcessing") => {
                    for kind in ["bos", "eos", "sep"] {
                        self.add(kind, true);
                    }
                    for kind in ["cls", "sep"] {
                        if self.text(kind).is_null() {
                            self.set(kind, step[kind][0].clone());
                        }
                    }
                }
                Some("TemplateProcessing") => self.read_template(step),
                _ => {}
            }
        }
    }

    /// Tokens around a single text and between two.
    fn read_template(&mut self, step: &Json) {
        let part = |t: Option<&Json>| t.map_or(Json::Null, |t| t["SpecialToken"]["id"].clone());
        let list = |name: &str| step[name].as_array().cloned().unwrap_or_default();
        let no_config = self.config.is_empty();
        let single = list("single");
        let (mut first, mut last) = (Json::Null, Json::Null);
        if single.len() > 1 {
            first = part(single.first());
            last = part(single.last());
            if !first.is_null() {
                let known = |s: &Self| no_config || first == s.text("bos") || first == s.text("cls");
                if !known(self) {
                    for kind in ["bos", "cls"] {
                        if self.text(kind).is_null() {
                            self.set(kind, first.clone());
                        }
                    }
                }
                self.add("bos", known(self));
            }
            if !last.is_null() {
                let eos = self.text("eos");
                if !no_config && last != eos {
                    // The named end stays as the end of a turn or, if that is taken, of a message.
                    for kind in ["eot", "eom"] {
                        if !self.names.contains(&kind) {
                            self.names.push(kind);
                            self.set(kind, eos);
                            break;
                        }
                    }
                    self.set("eos", last.clone());
                }
                self.add("eos", true);
            }
        }
        let mut pair = &list("pair")[..];
        if !first.is_null() && part(pair.first()) == first {
            pair = &pair[1..];
        }
        if !last.is_null() && part(pair.last()) == last {
            pair = &pair[..pair.len() - 1];
        }
        let sequence = |t: &Json, name: &str| t["Sequence"]["id"] == name;
        if let [a, between @ .., b] = pair
            && sequence(a, "A")
            && sequence(b, "B")
            && !between.is_empty()
        {
            let (sep, eos) = (self.text("sep"), self.text("eos"));
            let separates = |t: Option<&Json>| {
                let token = part(t);
                !token.is_null() && (token == sep || token == eos)
            };
            let add = (separates(between.first()) && last.is_null())
                || (between.len() == 2 && separates(between.get(1)));
            self.add("sep", add);
            if add && sep.is_null() {
                self.set("sep", eos);
            }
        }
    }

    /// `add_bos_token` and its like, where the post-processor has not said it.
    fn read_flags(&mut self) {
        for kind in self.names.clone() {
            let flag = self.config.get(&format!("add_{kind}_token")).and_then(Json::as_bool);
            if let Some(flag) = flag.filter(|_| !self.is_set(kind)) {
                self.add(kind, flag);
            }
        }
    }

    /// The id of a kind: that of the added token that is named, or else what config.json says.
    fn id(
        &self,
        kind: &str,
        added: &[Json],
        config: &Map<String, Json>,
        tokens: Option<usize>,
    ) -> Option<u64> {
        let inside = |id: &u64| tokens.is_none_or(|n| (*id as usize) < n);
        let text = self.text(kind);
        let text = text.as_str().or_else(|| text["content"].as_str());
        let by_text = text.and_then(|t| added.iter().find(|a| a["content"] == t)?["id"].as_u64());
        let name = format!("{kind}_token_id");
        let said = || {
            let at = |map: &Map<String, Json>| map.get(&name).filter(|v| !v.is_null()).cloned();
            at(config).or_else(|| at(config.get("text_config")?.as_object()?))?.as_u64()
        };
        by_text.filter(inside).or_else(|| said().filter(inside))
    }
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

const TEMPLATE: &str = "chat_template.jinja";
const TEMPLATE_JSON: &str = "chat_template.json";
/// Folder of templates beside the default one.
pub const MORE_TEMPLATES: &str = "additional_chat_templates";

/// Chat templates: tokenizer_config.json first, then the files of newer folders.
fn write_templates(files: &Files, config: &Map<String, Json>, keys: &mut KeyList) -> Result<(), Problem> {
    let template = match config.get("chat_template") {
        Some(template) => template.clone(),
        None => match (files.text(TEMPLATE)?, files.json(TEMPLATE_JSON)?) {
            (Some(text), _) => with_more(files, text)?,
            (None, Some(json)) => json.get("chat_template").cloned().unwrap_or_default(),
            (None, None) => Json::Null,
        },
    };
    let named = match template {
        Json::String(text) => {
            keys.put("chat_template", text);
            return Ok(());
        }
        Json::Array(named) => named,
        _ => return Ok(()),
    };
    let mut names = Vec::new();
    for entry in &named {
        let (Some(name), Some(text)) = (entry["name"].as_str(), entry["template"].as_str()) else { continue };
        let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        match name.as_str() {
            "" => {}
            "default" => keys.put("chat_template", text),
            _ => {
                keys.put(&format!("chat_template.{name}"), text);
                names.push(name);
            }
        }
    }
    if !names.is_empty() {
        names.sort();
        names.dedup();
        keys.put("chat_templates", Value::strings(names));
    }
    Ok(())
}

/// The default template with those of the folder beside it.
fn with_more(files: &Files, text: String) -> Result<Json, Problem> {
    let at = |e: std::io::Error| Problem::of(MORE_TEMPLATES)(e.to_string());
    let folder = files.folder.join(MORE_TEMPLATES);
    if !folder.is_dir() {
        return Ok(text.into());
    }
    let mut all = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(at)? {
        let path = entry.map_err(at)?.path();
        if path.extension().is_some_and(|e| e == "jinja") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            all.push((name, std::fs::read_to_string(&path).map_err(at)?));
        }
    }
    if all.is_empty() {
        return Ok(text.into());
    }
    all.sort();
    all.insert(0, ("default".into(), text));
    Ok(all.into_iter().map(|(name, text)| serde_json::json!({"name": name, "template": text})).collect())
}

/// Lower case and accents.
fn write_normalizer(normalizer: &Json, keys: &mut KeyList) {
    match normalizer["type"].as_str() {
        Some("Lowercase") => keys.put("ggml.normalizer.lowercase", true),
        Some("StripAccents") => keys.put("ggml.normalizer.strip_accents", true),
        Some("BertNormalizer") => {
            for name in ["lowercase", "strip_accents"] {
                if let Some(flag) = normalizer[name].as_bool() {
                    keys.put(&format!("ggml.normalizer.{name}"), flag);
                }
            }
        }
        Some("Sequence") => {
            for step in normalizer["normalizers"].as_array().into_iter().flatten() {
                write_normalizer(step, keys);
            }
        }
        _ => {}
    }
}
