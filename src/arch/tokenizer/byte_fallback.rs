//! SentencePiece's pieces in a tokenizer.json: BPE that falls back to bytes, whose merges become scores, or stay merges where
//! llama.cpp has a tokenizer that reads them (Gemma 4).

use super::added;
use super::beyond::Beyond;
use super::bpe;
use super::files::{Problem, TOKENIZER_JSON};
use super::merges::{Made, Merges};
use super::sources::Sources;
use super::spaces::{Prefix, SPACE, Spaces};
use super::special::{self, Special};
use super::tokens::{KeyList, Tokens, token_type};
use super::vocabulary;
use serde_json::{Map, Value as Json};
use std::collections::HashMap;
use tokenizers::Tokenizer;

/// Score of added tokens, as llama.cpp's converter has it.
const ADDED_SCORE: f32 = -1000.0;
/// Score of ids that no token has.
const PAD_SCORE: f32 = -10000.0;

/// Whether a tokenizer.json is of this kind.
pub fn is_one(json: &Map<String, Json>) -> bool {
    let model = json.get("model").unwrap_or(&Json::Null);
    let cuts = json.get("pre_tokenizer").map(Json::to_string).unwrap_or_default();
    model["type"] == "BPE" && model["byte_fallback"] == true && !cuts.contains("\"ByteLevel\"")
}

pub fn write(sources: &Sources, v: &vocabulary::Vocabulary, keys: &mut KeyList) -> Result<(), Problem> {
    let at = Problem::of(TOKENIZER_JSON);
    let json = sources.json.as_ref().ok_or_else(|| at("is not there".into()))?;
    let spaces = Spaces::of(json).map_err(&at)?;
    let tokenizer = bpe::load(sources)?;
    let size = sources.embeddings()?.unwrap_or(tokenizer.get_vocab_size(true));
    let vocabulary =
        Vocabulary { json, spaces: &spaces, tokenizer: &tokenizer, literal: v.literal, merged: v.merged };
    let (tokens, beyond) = vocabulary.tokens(size, &special::named(&sources.config)).map_err(&at)?;
    if v.merged {
        keys.put("ggml.model", "gemma4");
    } else {
        keys.put("ggml.model", "llama");
        keys.put("ggml.pre", "default");
    }
    tokens.write(keys);
    special::write(sources, Special { merges: v.merged, tokens: Some(size) }, keys)?;
    beyond.settle(size, |text, keys| sources.needs(text, keys), keys).map_err(&at)?;
    let puts_space = spaces.prefix != Prefix::Never;
    // llama.cpp puts one unless told otherwise.
    if !puts_space || keys.get("ggml.add_space_prefix").is_some() {
        keys.put("ggml.add_space_prefix", puts_space);
    }
    spaces.write_scheme(keys);
    if v.merged {
        if puts_space {
            return Err(
                at("puts a space before a text, and llama.cpp does not for this architecture".into()),
            );
        }
        if !keys.is_true("ggml.add_bos_token") {
            keys.note(
                "the tokenizer puts no token before a text, and llama.cpp puts the one for its begin for this architecture",
            );
        }
        keys.put("ggml.add_bos_token", true);
    } else if keys.get("ggml.add_bos_token").is_none() {
        // llama.cpp would put a token before the text that nothing says.
        keys.put("ggml.add_bos_token", false);
    }
    keys.notes.extend(added::note(&bpe::added(&tokenizer)));
    Ok(())
}

/// A vocabulary of this kind.
struct Vocabulary<'a> {
    json: &'a Map<String, Json>,
    spaces: &'a Spaces,
    tokenizer: &'a Tokenizer,
    literal: bool,
    /// Whether merges stay what they are.
    merged: bool,
}

/// Marks that llama.cpp's programs print, so that they can read calls of tools.
const PRINTED: [&str; 7] = [
    "<|channel>",
    "<channel|>",
    "<|tool_call>",
    "<tool_call|>",
    "<|tool_response>",
    "<tool_response|>",
    "<|\"|>",
];

impl Vocabulary<'_> {
    /// The first `size` tokens by id, and those beyond; `named` are texts of special tokens.
    fn tokens(&self, size: usize, named: &[String]) -> Result<(Tokens, Beyond), String> {
        let model = &self.json["model"];
        for setting in ["dropout", "continuing_subword_prefix", "end_of_word_suffix"] {
            let value = &model[setting];
            if !value.is_null() && value != "" && value.as_f64() != Some(0.0) {
                return Err(format!("`model.{setting}` is {value}, which llama.cpp has nothing like"));
            }
        }
        let vocabulary = self.tokenizer.get_vocab(false);
        let merges = Merges::new(&vocabulary, &special::pairs(model)?)?;
        let added: HashMap<usize, _> = bpe::added(self.tokenizer).into_iter().map(|a| (a.id, a)).collect();
        let mut beyond = Beyond::default();
        let mut by_id = vec![None; size];
        for (text, id) in self.tokenizer.get_vocab(true) {
            let id = id as usize;
            match by_id.get_mut(id) {
                Some(place) => *place = Some(text),
                None => beyond.add(id, &text, added.contains_key(&id)),
            }
        }
        check_bytes(&by_id)?;
        let texts: Vec<String> = by_id.iter().map(|text| text.clone().unwrap_or_default()).collect();
        let mut scores = match self.merged {
            true => vec![ADDED_SCORE; size],
            false => merges.scores(&texts, |id| added.contains_key(&id))?,
        };
        let is_made = |text: &str| matches!(merges.made_of(text), Made::Piece(_));
        let (mut in_file, mut types) = (Vec::new(), Vec::new());
        for (id, text) in by_id.into_iter().enumerate() {
            let (text, kind) = match (text, added.get(&id)) {
                (None, _) => {
                    scores[id] = if self.merged { ADDED_SCORE } else { PAD_SCORE };
                    (format!("[PAD{id}]"), token_type::UNUSED)
                }
                (Some(text), _) if is_byte(&text) => (text, token_type::BYTE),
                (Some(text), _) if self.merged && PRINTED.contains(&&text[..]) => {
                    (text, token_type::USER_DEFINED)
                }
                // Runs of spaces: merges make them, and a program that prints an ordinary token prints spaces.
                (Some(text), Some(added)) if !added.special && text.contains(SPACE) && is_made(&text) => {
                    (text, token_type::NORMAL)
                }
                (Some(_), Some(added)) => {
                    scores[id] = ADDED_SCORE;
                    added.in_file(self.literal)
                }
                (Some(text), None) if named.contains(&text) => (text, token_type::CONTROL),
                (Some(text), None) => (text, token_type::NORMAL),
            };
            in_file.push(text);
            types.push(kind);
        }
        self.check_pieces(&merges, &texts, &types)?;
        Ok((Tokens { texts: in_file, types, scores: Some(scores) }, beyond))
    }

    /// Refuses pieces that llama.cpp would make of a text that is cut here.
    fn check_pieces(&self, merges: &Merges, texts: &[String], types: &[i32]) -> Result<(), String> {
        let whole = self.json["model"]["ignore_merges"] == true;
        if !whole && !self.spaces.cuts {
            return Ok(());
        }
        let ordinary = texts.iter().zip(types).filter(|(_, kind)| **kind == token_type::NORMAL);
        for (text, _) in ordinary {
            let is_made = matches!(merges.made_of(text), Made::Piece(_));
            if whole && !is_made {
                return Err(format!(
                    "`model.ignore_merges` makes {text:?} one token that no merges make, and llama.cpp's tokenizer would not"
                ));
            }
            let spaced = text.chars().skip(1).any(|c| SPACE.starts_with(c));
            if self.spaces.cuts && spaced && is_made {
                return Err(format!(
                    "text is cut before every space here, so that {text:?} is never made, but llama.cpp would make it"
                ));
            }
        }
        Ok(())
    }
}

/// `<0x0A>`
fn is_byte(text: &str) -> bool {
    let hex = text.strip_prefix("<0x").and_then(|t| t.strip_suffix('>'));
    hex.is_some_and(|h| h.len() == 2 && u8::from_str_radix(h, 16).is_ok())
}

/// llama.cpp stops at text that it has no token for: every byte must have one, or be a character with one.
fn check_bytes(texts: &[Option<String>]) -> Result<(), String> {
    let texts: std::collections::HashSet<&str> = texts.iter().flatten().map(String::as_str).collect();
    for byte in 0..=u8::MAX {
        let piece = format!("<0x{byte:02X}>");
        let is_character = byte.is_ascii() && texts.contains(char::from(byte).to_string().as_str());
        if !texts.contains(piece.as_str()) && !is_character {
            return Err(format!(
                "there is no token `{piece}`, and llama.cpp stops at text that has no tokens"
            ));
        }
    }
    Ok(())
}
