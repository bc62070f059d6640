//! The vocabulary of a file, as text.

use std::io::Write;
use tenpak_gguf::gguf::{File, Value};
use tenpak_gguf::printable;

const TOKENS: &str = "tokenizer.ggml.tokens";

/// Names of `tokenizer.ggml.token_type`.
const KINDS: [&str; 7] = ["", "normal", "unknown", "control", "user", "unused", "byte"];

/// A few lines about the tokenizer, then a line for every token: id, kind, score if there are scores, text.
pub fn print(file: &File, out: &mut impl Write) -> anyhow::Result<()> {
    let key = |name: &str| file.key(&format!("tokenizer.ggml.{name}"));
    let array = |name: &str| key(name).and_then(Value::as_array);
    let Some(tokens) = array("tokens") else {
        anyhow::bail!("{}: has no vocabulary ({TOKENS})", file.path().display());
    };
    let word = |name: &str| key(name).and_then(Value::as_str).map_or("none".into(), printable::line);
    let model = word("model");
    writeln!(out, "model {model}, pre-tokenizer {}, {} tokens", word("pre"), tokens.len())?;
    if let Some(merges) = array("merges") {
        writeln!(out, "{} merges", merges.len())?;
    }
    for (name, value) in file.keys() {
        let special = name.strip_prefix("tokenizer.ggml.").and_then(|name| name.strip_suffix("_token_id"));
        let (Some(special), Some(id)) = (special, value.as_u64()) else { continue };
        let token = tokens.get(id as usize).map_or("not in the vocabulary".into(), |t| text(t, &model));
        writeln!(out, "{}: {id} {token}", printable::line(special))?;
    }
    writeln!(out)?;
    let (kinds, scores) = (array("token_type"), array("scores"));
    for (id, token) in tokens.iter().enumerate() {
        let kind = kinds.and_then(|kinds| kinds.get(id)?.as_u64());
        let kind = kind.map_or("", |kind| KINDS.get(kind as usize).copied().unwrap_or("?"));
        write!(out, "{id:>7}  {kind:<8}")?;
        if let Some(score) = scores.and_then(|scores| scores.get(id)?.as_f64()) {
            write!(out, " {score:>10}")?;
        }
        writeln!(out, "  {}", text(token, &model))?;
    }
    Ok(())
}

/// What a token stands for, in quotes. The characters that GPT-2 writes for bytes are bytes again, and SentencePiece's
/// blanks are blanks.
fn text(token: &Value, model: &str) -> String {
    let bytes = match (token, model) {
        (Value::String(token), "gpt2") => {
            let bytes: Option<Vec<u8>> = token.chars().map(byte).collect();
            // Tokens that were added stand for themselves.
            bytes.unwrap_or_else(|| token.clone().into_bytes())
        }
        (Value::String(token), _) => token.replace('\u{2581}', " ").into_bytes(),
        (Value::Bytes(bytes), _) => bytes.clone(),
        (value, _) => return printable::line(&value.to_string()),
    };
    format!("\"{}\"", printable::bytes(&bytes))
}

/// The byte that GPT-2 writes as this character: printable ones of Latin 1 are themselves, the others follow from 256 on.
fn byte(c: char) -> Option<u8> {
    let is_itself = |c: u32| matches!(c, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    match c as u32 {
        c if is_itself(c) => Some(c as u8),
        c => (0..=255u32).filter(|b| !is_itself(*b)).nth(c.checked_sub(256)? as usize).map(|b| b as u8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_what_they_stand_for() {
        let shown = |token: &str, model| text(&Value::String(token.into()), model);
        assert_eq!(shown("ĠHello", "gpt2"), "\" Hello\"");
        assert_eq!(shown("ĊĠ", "gpt2"), "\"\\n \"");
        assert_eq!(shown("Ã©", "gpt2"), "\"é\"");
        assert_eq!(shown("Ã", "gpt2"), "\"\\xc3\"");
        assert_eq!(shown("<|中|>", "gpt2"), "\"<|中|>\"");
        assert_eq!(shown("▁Hello", "llama"), "\" Hello\"");
    }

    #[test]
    fn all_bytes_have_characters() {
        let found = (0..400).filter_map(char::from_u32).filter_map(byte);
        let mut found: Vec<u8> = found.collect();
        found.sort();
        assert_eq!(found, (0..=255).collect::<Vec<u8>>());
    }
}
