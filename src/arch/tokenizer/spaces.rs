//! What a tokenizer.json with SentencePiece's pieces does to spaces, as its normalizer and its pre-tokenizer say it.

use super::tokens::KeyList;
use serde_json::{Map, Value as Json};

/// Key, below `tokenizer.`, of where a space is put before a text, by the names that Metaspace of the tokenizers library has
/// for it. llama.cpp with our patches reads it.
pub const PREPEND_SCHEME: &str = "tenpak.prepend_scheme";

/// What SentencePiece has for a space.
pub const SPACE: &str = "▁";

/// Where a space is put before a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefix {
    /// Nowhere.
    Never,
    /// Before every part of a text: at its begin and after special tokens. llama.cpp does it so unless told otherwise.
    Always,
    /// Before every part that does not begin with a space.
    UnlessThere,
    /// At the begin of a text that does not begin with a space.
    First,
}

/// What happens to spaces.
#[derive(Debug, PartialEq, Eq)]
pub struct Spaces {
    /// Where one is put before a text.
    pub prefix: Prefix,
    /// Whether a text is cut before every one, so that no piece has one but at its begin.
    pub cuts: bool,
}

impl Spaces {
    /// What a tokenizer.json says; an error if it does to text what llama.cpp has nothing like.
    pub fn of(json: &Map<String, Json>) -> Result<Spaces, String> {
        let mut spaces = Spaces { prefix: Prefix::Never, cuts: false };
        let mut replaced = false;
        for step in steps(json, "normalizer", "normalizers") {
            match step["type"].as_str() {
                Some("Prepend") if step["prepend"] == SPACE || step["prepend"] == " " => {
                    spaces.prefix = Prefix::Always;
                }
                Some("Replace") if step["pattern"]["String"] == " " && step["content"] == SPACE => {
                    replaced = true;
                }
                _ => return Err(unknown("normalizer", step)),
            }
        }
        for step in steps(json, "pre_tokenizer", "pretokenizers") {
            match step["type"].as_str() {
                Some("Metaspace") if step["replacement"] == SPACE => {
                    replaced = true;
                    spaces.cuts |= step["split"] != false;
                    // Before there were schemes there was a flag.
                    let scheme = match step["add_prefix_space"].as_bool() {
                        Some(false) => "never",
                        _ => step["prepend_scheme"].as_str().unwrap_or("always"),
                    };
                    spaces.prefix = match (scheme, spaces.prefix) {
                        (_, prefix @ Prefix::Always) => prefix,
                        ("never", prefix) => prefix,
                        ("first", _) => Prefix::First,
                        _ => Prefix::UnlessThere,
                    };
                }
                // No space is left to cut at.
                Some("Split") if step["pattern"]["String"] == " " && replaced => {}
                _ => return Err(unknown("pre_tokenizer", step)),
            }
        }
        if !replaced {
            return Err("nothing makes spaces SentencePiece's `▁`: neither `normalizer` nor `pre_tokenizer`, and llama.cpp \
                        does it always"
                .into());
        }
        Ok(spaces)
    }

    /// What transformers makes of tokenizer.model alone, if tokenizer_config.json says something about it.
    pub fn of_class(config: &Map<String, Json>) -> Option<Spaces> {
        let class = config.get("tokenizer_class").and_then(Json::as_str)?;
        let is_new = class.starts_with("Llama") && config.get("legacy") == Some(&Json::Bool(false));
        is_new.then_some(Spaces { prefix: Prefix::First, cuts: false })
    }

    /// Writes where spaces are put before text if llama.cpp, which puts some, would put others.
    pub fn write_scheme(&self, keys: &mut KeyList) {
        let (scheme, differs) = match self.prefix {
            Prefix::Never | Prefix::Always => return,
            Prefix::UnlessThere => ("always", "before text that begins with one"),
            Prefix::First => ("first", "after special tokens and before text that begins with one"),
        };
        keys.put(PREPEND_SCHEME, scheme);
        keys.note(format!(
            "the tokenizer puts a space before a text; a llama.cpp without tenpak-gguf's patches puts one {differs} as well, \
             and tokens differ there"
        ));
    }
}

/// The steps of an entry, one or a sequence.
fn steps<'a>(json: &'a Map<String, Json>, entry: &str, of_sequence: &str) -> Vec<&'a Json> {
    match json.get(entry).filter(|entry| !entry.is_null()) {
        None => Vec::new(),
        Some(entry) if entry["type"] == "Sequence" => {
            entry[of_sequence].as_array().into_iter().flatten().collect()
        }
        Some(entry) => vec![entry],
    }
}

fn unknown(entry: &str, step: &Json) -> String {
    format!(
        "`{entry}` has {step}, and llama.cpp does nothing like it to the text of a vocabulary of SentencePiece's"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn spaces(normalizer: Json, pre_tokenizer: Json) -> Result<(Prefix, bool), String> {
        let json = json!({"normalizer": normalizer, "pre_tokenizer": pre_tokenizer});
        Spaces::of(json.as_object().unwrap()).map(|s| (s.prefix, s.cuts))
    }

    #[test]
    fn what_transformers_writes() {
        let replace = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
        let prepend = json!({"type": "Prepend", "prepend": "▁"});
        let both = json!({"type": "Sequence", "normalizers": [prepend, replace]});
        let split = json!({"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": false});
        let metaspace = |scheme: &str, split: bool| json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": split});
        assert_eq!(spaces(both.clone(), Json::Null), Ok((Prefix::Always, false)));
        assert_eq!(spaces(replace.clone(), split.clone()), Ok((Prefix::Never, false)));
        assert_eq!(spaces(Json::Null, metaspace("first", false)), Ok((Prefix::First, false)));
        assert_eq!(spaces(Json::Null, metaspace("always", true)), Ok((Prefix::UnlessThere, true)));
        assert_eq!(spaces(Json::Null, metaspace("never", false)), Ok((Prefix::Never, false)));
        let old = json!({"type": "Metaspace", "replacement": "▁", "add_prefix_space": true});
        assert_eq!(spaces(Json::Null, old), Ok((Prefix::UnlessThere, true)));
    }

    #[test]
    fn what_transformers_makes_of_a_model_alone() {
        let of_class =
            |config: Json| Spaces::of_class(config.as_object().unwrap()).map(|spaces| spaces.prefix);
        assert_eq!(
            of_class(json!({"tokenizer_class": "LlamaTokenizer", "legacy": false})),
            Some(Prefix::First)
        );
        assert_eq!(of_class(json!({"tokenizer_class": "LlamaTokenizer", "legacy": true})), None);
        assert_eq!(of_class(json!({"tokenizer_class": "LlamaTokenizerFast"})), None);
        assert_eq!(of_class(json!({"tokenizer_class": "GemmaTokenizer", "legacy": false})), None);
    }

    #[test]
    fn what_llama_cpp_has_nothing_like_is_refused() {
        let replace = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
        let nfkc = json!({"type": "Sequence", "normalizers": [{"type": "NFKC"}, replace]});
        assert!(spaces(nfkc, Json::Null).unwrap_err().contains("NFKC"));
        let digits = json!({"type": "Digits", "individual_digits": true});
        assert!(spaces(replace, digits).unwrap_err().contains("Digits"));
        assert!(spaces(Json::Null, Json::Null).unwrap_err().contains("▁"));
    }
}
