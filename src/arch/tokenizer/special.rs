//! Special tokens, what is put around a text, merges.

use super::files::{Problem, TOKENIZER_JSON};
use super::sources::Sources;
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

pub fn write(sources: &Sources, what: Special, keys: &mut KeyList) -> Result<(), Problem> {
    let (json, tokenizer_config) = (sources.json.as_ref(), &sources.config);
    if what.merges {
        let merges = match json {
            Some(json) => pairs(&json["model"]).map_err(Problem::of(TOKENIZER_JSON))?,
            None => Vec::new(),
        };
        if !merges.is_empty() {
            // A space within a part is written as Ġ.
            let line = |(a, b): (String, String)| format!("{} {}", a.replace(' ', "Ġ"), b.replace(' ', "Ġ"));
            keys.put("ggml.merges", Value::strings(merges.into_iter().map(line).collect::<Vec<_>>()));
        }
    }
    let mut kinds = Kinds {
        names: vec!["bos", "eos", "unk", "sep", "pad", "cls", "mask"],
        config: tokenizer_config.clone(),
        add: Vec::new(),
    };
    if let Some(json) = json {
        kinds.read_post_processor(json);
    }
    kinds.read_flags(keys);
    let added = json.and_then(|j| j.get("added_tokens")?.as_array()).map_or(&[][..], Vec::as_slice);
    for (name, gguf) in SPECIAL {
        if kinds.names.contains(name)
            && let Some(id) = kinds.id(name, added, sources.files.raw_config, what.tokens)
        {
            keys.put(&format!("ggml.{gguf}"), id as u32);
        }
    }
    for (name, add) in &kinds.add {
        if ["bos", "eos", "sep"].contains(name) {
            keys.put(&format!("ggml.add_{name}_token"), *add);
        }
    }
    sources.templates.write(keys);
    let normalizer = json.and_then(|j| j.get("normalizer"));
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
    fn read_flags(&mut self, keys: &mut KeyList) {
        for kind in self.names.clone() {
            let name = format!("add_{kind}_token");
            let Some(flag) = self.config.get(&name).and_then(Json::as_bool) else { continue };
            match self.add.iter().find(|(k, _)| *k == kind) {
                None => self.add(kind, flag),
                Some((_, said)) if *said != flag => keys.note(format!(
                    "tokenizer_config.json says `{name}` {flag}, but `post_processor` of tokenizer.json does the \
                     opposite, and the file has that"
                )),
                Some(_) => {}
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

/// The merges of a model, which files have as texts with a space between or as lists of two.
pub fn pairs(model: &Json) -> Result<Vec<(String, String)>, String> {
    let merges = model["merges"].as_array().ok_or("`model.merges` is no list")?;
    let pair = |m: &Json| match m {
        Json::String(s) => s.split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned())),
        Json::Array(pair) => match &pair[..] {
            [Json::String(a), Json::String(b)] => Some((a.clone(), b.clone())),
            _ => None,
        },
        _ => None,
    };
    merges.iter().map(|m| pair(m).ok_or_else(|| format!("merge {m} is no pair"))).collect()
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
