//! How much longer a tokenizer.json makes a text.
//!
//! Rules that put something longer in place of what they find follow each other, so that a file of a few kilobytes could ask for
//! more than any memory holds.

use serde_json::{Map, Value as Json};

/// How many times as many characters a text may get. The rules of real files put a character in place of one or more, and one
/// before all.
const MAX_GROWTH: f64 = 1024.0;
/// Characters of a text that something is put before.
const TEXT: f64 = 1024.0;

/// Refuses a tokenizer.json whose rules could make a text longer than that.
pub fn check(json: &Map<String, Json>) -> Result<(), String> {
    for name in ["normalizer", "pre_tokenizer", "decoder"] {
        let growth = growth(json.get(name).unwrap_or(&Json::Null));
        if growth > MAX_GROWTH {
            return Err(format!(
                "the rules of `{name}` can make a text {growth:.0} times as long, and {MAX_GROWTH} times is the most that is \
                 converted: no vocabulary needs it"
            ));
        }
    }
    Ok(())
}

/// How many times as long the rules of an entry, one after the other, make a text.
fn growth(entry: &Json) -> f64 {
    let characters = |value: &Json| value.as_str().map_or(0, |text| text.chars().count()) as f64;
    let own = match entry["type"].as_str() {
        // An expression may match one character.
        Some("Replace") => characters(&entry["content"]) / characters(&entry["pattern"]["String"]).max(1.0),
        Some("Prepend") => 1.0 + characters(&entry["prepend"]) / TEXT,
        Some("Metaspace") => characters(&entry["replacement"]),
        _ => 1.0,
    };
    let lists = ["normalizers", "pretokenizers", "decoders"];
    let within = lists.iter().flat_map(|list| entry[*list].as_array().into_iter().flatten());
    own.max(1.0) * within.map(growth).product::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn checked(normalizer: Json) -> Result<(), String> {
        check(json!({ "normalizer": normalizer }).as_object().expect("an object"))
    }

    #[test]
    fn rules_of_real_files_pass() {
        let space = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
        let llama = json!({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, space]});
        assert_eq!(checked(llama), Ok(()));
        let one = json!({"type": "Replace", "pattern": {"Regex": "[\u{a0}\t]+"}, "content": " "});
        assert_eq!(checked(json!({"type": "Sequence", "normalizers": vec![one; 30]})), Ok(()));
        assert_eq!(checked(Json::Null), Ok(()));
    }

    #[test]
    fn growing_rules_are_refused() {
        let double = json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"});
        let error = checked(json!({"type": "Sequence", "normalizers": vec![double; 40]})).unwrap_err();
        assert!(error.contains("`normalizer`") && error.contains("times as long"), "{error}");
        let long = json!({"type": "Replace", "pattern": {"Regex": "."}, "content": "x".repeat(100_000)});
        assert!(checked(long).is_err());
        assert!(checked(json!({"type": "Prepend", "prepend": "x".repeat(1 << 26)})).is_err());
    }
}
