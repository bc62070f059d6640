//! JSON as Python writes it: NaN, Infinity and -Infinity may stand where a number does.

use serde::de::DeserializeOwned;
use std::borrow::Cow;

/// Parses JSON; the numbers that only Python's has become texts of their names, so that whoever wants a number refuses
/// them.
pub fn parse<T: DeserializeOwned>(text: &[u8]) -> serde_json::Result<T> {
    // Most texts have none, and those that are no JSON at all are best described as they are.
    serde_json::from_slice(text).or_else(|e| match quoted(text) {
        Cow::Borrowed(_) => Err(e),
        Cow::Owned(text) => serde_json::from_slice(&text),
    })
}

/// The text with Python's own numbers in quotes.
fn quoted(text: &[u8]) -> Cow<'_, [u8]> {
    const NAMES: [&str; 3] = ["NaN", "-Infinity", "Infinity"];
    let (mut out, mut copied, mut at, mut in_string) = (Vec::new(), 0, 0, false);
    while let Some(byte) = text.get(at) {
        let rest = &text[at..];
        match byte {
            b'\\' if in_string => at += 2,
            b'"' => (at, in_string) = (at + 1, !in_string),
            _ => match NAMES.iter().find(|name| !in_string && rest.starts_with(name.as_bytes())) {
                Some(name) => {
                    out.extend_from_slice(&text[copied..at]);
                    out.extend(format!("\"{name}\"").into_bytes());
                    at += name.len();
                    copied = at;
                }
                None => at += 1,
            },
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.extend_from_slice(&text[copied..]);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value as Json, json};

    #[test]
    fn numbers_that_only_python_has() {
        let text =
            br#"{"a": [0.0, Infinity], "b": -Infinity, "NaN \" NaN": "say NaN, Infinity\\", "c": NaN}"#;
        let expected = json!({"a": [0.0, "Infinity"], "b": "-Infinity", "NaN \" NaN": "say NaN, Infinity\\", "c": "NaN"});
        assert_eq!(parse::<Json>(text).unwrap(), expected);
        assert_eq!(parse::<Json>(b"[1, 2.5]").unwrap(), json!([1, 2.5]));
    }

    #[test]
    fn what_is_no_json_of_python_either_is_refused() {
        for text in ["", "{", "[NaN", "{\"a\": nan}", "[NaN1]", "\"\\"] {
            assert!(parse::<Json>(text.as_bytes()).is_err(), "{text}");
        }
    }
}
