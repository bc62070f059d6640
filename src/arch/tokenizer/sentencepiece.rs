//! SentencePiece from tokenizer.model, a protobuf message, and the JSON files of added tokens.

use super::added::{self, Added};
use super::beyond::Beyond;
use super::files::{ADDED_TOKENS, Files, Problem, TOKENIZER_CONFIG, TOKENIZER_JSON, TOKENIZER_MODEL};
use super::sources::Sources;
use super::spaces::{Prefix, Spaces};
use super::special::{self, Special};
use super::token_keys::TokenKeys;
use super::tokens::{KeyList, Tokens, looks_special, token_type};
use prost::Message;
use serde_json::{Map, Value as Json};
use std::collections::HashSet;

#[derive(Clone, PartialEq, Message)]
struct Piece {
    #[prost(string, optional, tag = "1")]
    text: Option<String>,
    #[prost(float, optional, tag = "2")]
    score: Option<f32>,
    #[prost(int32, optional, tag = "3")]
    kind: Option<i32>,
}

/// Score of ids that no piece has.
const PAD_SCORE: f32 = -10000.0;
/// The only type of model that llama.cpp's tokenizer has scores of.
const BPE: i32 = 2;
/// Score of added tokens.
const ADDED_SCORE: f32 = -1000.0;

/// A tokenizer.model.
pub struct TokenizerModel {
    model: WholeModel,
}

/// What a file named tokenizer.model is.
pub enum Found {
    SentencePiece(TokenizerModel),
    /// A table of OpenAI's tiktoken, as Llama 3 has it: tokens in base64 with their ranks.
    Tiktoken,
}

impl TokenizerModel {
    /// Reads a tokenizer.model, if it is there.
    pub fn read(files: &Files) -> Result<Option<Found>, Problem> {
        let at = Problem::of(TOKENIZER_MODEL);
        let Some(bytes) = files.bytes(TOKENIZER_MODEL)? else { return Ok(None) };
        if is_tiktoken(&bytes) {
            return Ok(Some(Found::Tiktoken));
        }
        let model = WholeModel::decode(&bytes[..])
            .map_err(|e| at(format!("not a SentencePiece model ({e}): fetch it again")))?;
        if model.pieces.is_empty() {
            return Err(at("a SentencePiece model without pieces: fetch it again".into()));
        }
        Ok(Some(Found::SentencePiece(TokenizerModel { model })))
    }

    /// Whether a tokenizer.json has these pieces, but for bytes, and for what is replaced by added tokens or is one.
    pub fn has_the_pieces_of(&self, json: &Map<String, Json>) -> bool {
        let vocabulary = json.get("model").and_then(|model| model["vocab"].as_object());
        let Some(vocabulary) = vocabulary else { return false };
        let added = json.get("added_tokens").and_then(Json::as_array).into_iter().flatten();
        let added: HashSet<u64> = added.filter_map(|token| token["id"].as_u64()).collect();
        let pieces = &self.model.pieces;
        let is_same = |(text, id): (&String, &Json)| {
            let Some(id) = id.as_u64() else { return false };
            let piece = pieces.get(id as usize);
            added.contains(&id)
                || piece.is_some_and(|p| {
                    p.text.as_ref() == Some(text) || p.kind.is_some_and(|k| k != token_type::NORMAL)
                })
        };
        vocabulary.len() + added.len() >= pieces.len() && vocabulary.iter().all(is_same)
    }

    pub fn write(self, sources: &Sources, literal: bool, keys: &mut KeyList) -> Result<(), Problem> {
        let at = Problem::of(TOKENIZER_MODEL);
        let trainer = self.model.trainer.unwrap_or_default();
        if let Some(kind) = trainer.model_type.filter(|kind| *kind != BPE) {
            let name = ["", "unigram", "bpe", "word", "char"].get(kind as usize).unwrap_or(&"unknown");
            return Err(at(format!(
                "a SentencePiece model of the type {name}: llama.cpp's tokenizer of this kind merges as BPE does, and would \
                 cut text otherwise; not supported yet"
            )));
        }
        let normalizer = self.model.normalizer.unwrap_or_default();
        let size = sources.embeddings()?.unwrap_or(self.model.pieces.len());
        let mut beyond = Beyond::default();
        let mut table = Table::of(self.model.pieces, size, &mut beyond);
        let added = table.add_tokens(sources, literal, &mut beyond)?;
        keys.put("ggml.model", "llama");
        keys.put("ggml.pre", "default");
        Tokens { texts: table.texts, types: table.types, scores: Some(table.scores) }.write(keys);
        special::write(sources, Special { merges: false, tokens: Some(size) }, keys)?;
        beyond.settle(size, |text, keys| sources.needs(text, keys), keys).map_err(&at)?;
        keys.notes.extend(added::note(&added));
        if !normalizer.charsmap.unwrap_or_default().is_empty() {
            let name = normalizer.name.unwrap_or_default();
            keys.note(format!(
                "tokenizer.model normalizes characters ({name}); llama.cpp's tokenizer does not, and tokens differ where \
                 it would change some"
            ));
        }
        // transformers takes tokenizer.json where both are there. llama.cpp puts a space before a text unless told otherwise.
        let spaces = match &sources.json {
            Some(json) => Spaces::of(json).ok(),
            None => Spaces::of_class(&sources.config),
        };
        let puts_space =
            spaces.as_ref().map_or(normalizer.add_dummy_prefix != Some(false), |s| s.prefix != Prefix::Never);
        if !puts_space && keys.get("ggml.add_space_prefix").is_none() {
            keys.put("ggml.add_space_prefix", false);
        }
        if let Some(spaces) = spaces.filter(|_| keys.get("ggml.add_space_prefix") != Some(&false.into())) {
            spaces.write_scheme(keys);
        }
        Ok(())
    }
}

/// Whether a file is lines of base64 and numbers.
fn is_tiktoken(bytes: &[u8]) -> bool {
    let line = bytes.split(|b| *b == b'\n').next().unwrap_or_default();
    let Some(space) = line.iter().position(|b| *b == b' ') else { return false };
    let (token, rank) = (&line[..space], line[space + 1..].trim_ascii());
    let is_base64 = |b: &u8| b.is_ascii_alphanumeric() || b"+/=".contains(b);
    space > 0 && token.iter().all(is_base64) && !rank.is_empty() && rank.iter().all(u8::is_ascii_digit)
}

fn no_id(file: &'static str, token: &str) -> Problem {
    Problem::of(file)(format!("added token {token:?} has no id: give it that of its embedding"))
}

/// Tokens by id.
struct Table {
    texts: Vec<String>,
    types: Vec<i32>,
    scores: Vec<f32>,
}

impl Table {
    /// The first `size` pieces.
    fn of(pieces: Vec<Piece>, size: usize, beyond: &mut Beyond) -> Table {
        let mut table = Table {
            texts: (0..size).map(|id| format!("[PAD{id}]")).collect(),
            types: vec![token_type::UNUSED; size],
            scores: vec![PAD_SCORE; size],
        };
        for (id, piece) in pieces.into_iter().enumerate() {
            // GGUF has SentencePiece's numbers, but a user-defined piece is an ordinary one in llama.cpp.
            let kind = match piece.kind.unwrap_or(token_type::NORMAL) {
                token_type::USER_DEFINED => token_type::NORMAL,
                kind
                @ (token_type::UNKNOWN | token_type::CONTROL | token_type::UNUSED | token_type::BYTE) => kind,
                _ => token_type::NORMAL,
            };
            let (text, score) = (piece.text.unwrap_or_default(), piece.score.unwrap_or_default());
            match id < size {
                true => table.set(id, text, score, kind),
                false => beyond.add(id, &text, false),
            }
        }
        table
    }

    /// Adds the tokens that the files beside tokenizer.model add, the last one to have an id counting; returns them.
    fn add_tokens(
        &mut self,
        sources: &Sources,
        literal: bool,
        beyond: &mut Beyond,
    ) -> Result<Vec<Added>, Problem> {
        let size = self.texts.len();
        for (text, id) in sources.files.json(ADDED_TOKENS)?.unwrap_or_default() {
            let id = id.as_u64().ok_or_else(|| no_id(ADDED_TOKENS, &text))? as usize;
            match id < size {
                true => self.set(id, text, ADDED_SCORE, token_type::USER_DEFINED),
                false => beyond.add(id, &text, true),
            }
        }
        let mut all = Vec::new();
        let decoder = sources.config.get("added_tokens_decoder").and_then(Json::as_object);
        for (id, token) in decoder.into_iter().flatten() {
            let id = id.parse().map_err(|_| no_id(TOKENIZER_CONFIG, id))?;
            all.push(Added::new(id, token).ok_or_else(|| no_id(TOKENIZER_CONFIG, &token.to_string()))?);
        }
        let json = sources.json.as_ref().and_then(|j| j.get("added_tokens")?.as_array());
        let of_config = all.len();
        for token in json.into_iter().flatten() {
            let id = token["id"].as_u64().ok_or_else(|| no_id(TOKENIZER_JSON, &token.to_string()))? as usize;
            // What both say, tokenizer_config.json says; of literal tokens the last word counts.
            if literal || !all[..of_config].iter().any(|known| known.id == id) {
                all.push(Added::new(id, token).ok_or_else(|| no_id(TOKENIZER_JSON, &token.to_string()))?);
            }
        }
        for added in &all {
            if added.id < size {
                let (text, kind) = added.in_file(literal);
                self.set(added.id, text, ADDED_SCORE, kind);
            } else {
                beyond.add(added.id, &added.text, true);
            }
        }
        Ok(all)
    }

    fn set(&mut self, id: usize, text: String, score: f32, kind: i32) {
        self.texts[id] = text;
        self.scores[id] = score;
        self.types[id] = kind;
    }
}

/// `sentencepiece.ModelProto` as far as the library needs it to load a model.
#[derive(Clone, PartialEq, Message)]
struct WholeModel {
    #[prost(message, repeated, tag = "1")]
    pieces: Vec<Piece>,
    #[prost(message, optional, tag = "2")]
    trainer: Option<Trainer>,
    #[prost(message, optional, tag = "3")]
    normalizer: Option<Normalizer>,
}

#[derive(Clone, PartialEq, Message)]
struct Trainer {
    /// See [`BPE`].
    #[prost(int32, optional, tag = "3")]
    model_type: Option<i32>,
    #[prost(int32, optional, tag = "4")]
    vocab_size: Option<i32>,
    #[prost(bool, optional, tag = "35")]
    byte_fallback: Option<bool>,
    #[prost(int32, optional, tag = "40")]
    unk_id: Option<i32>,
    #[prost(int32, optional, tag = "41")]
    bos_id: Option<i32>,
    #[prost(int32, optional, tag = "42")]
    eos_id: Option<i32>,
    #[prost(int32, optional, tag = "43")]
    pad_id: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct Normalizer {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(bytes = "vec", optional, tag = "2")]
    charsmap: Option<Vec<u8>>,
    #[prost(bool, optional, tag = "3")]
    add_dummy_prefix: Option<bool>,
    #[prost(bool, optional, tag = "4")]
    remove_extra_whitespaces: Option<bool>,
    #[prost(bool, optional, tag = "5")]
    escape_whitespaces: Option<bool>,
}

/// A tokenizer.model made of GGUF keys, and the added tokens that it has no words for.
pub struct Exported {
    /// The file.
    pub bytes: Vec<u8>,
    /// Id, text and whether it is special, for `added_tokens_decoder` of tokenizer_config.json.
    pub added: Vec<(usize, String, bool)>,
    /// Texts and ids for added_tokens.json: those that would count as special in tokenizer_config.json.
    pub literal: Map<String, Json>,
}

impl Exported {
    pub fn new(keys: &TokenKeys, literal: bool) -> Result<Exported, String> {
        let scores: Vec<f32> =
            keys.array("scores")?.iter().filter_map(|v| Some(v.as_f64()? as f32)).collect();
        if scores.len() != keys.tokens.len() {
            return Err("key `tokenizer.ggml.scores` does not have a number for each token".into());
        }
        let id = |name: &str| keys.special(name).map(|(id, _)| id as i32);
        let unknown =
            id("unknown_token_id").or(keys.tokens.iter().position(|t| *t == "<unk>").map(|i| i as i32));
        let mut exported = Exported { bytes: Vec::new(), added: Vec::new(), literal: Map::new() };
        let mut pieces = Vec::new();
        for (i, (text, score)) in keys.tokens.iter().zip(scores).enumerate() {
            let kind = keys.kind(i);
            let mut piece = Piece { text: Some((*text).into()), score: Some(score), kind: Some(kind) };
            match kind {
                token_type::CONTROL if score == ADDED_SCORE => exported.added.push((i, (*text).into(), true)),
                token_type::USER_DEFINED if looks_special(text) && !literal => {
                    exported.literal.insert((*text).into(), i.into());
                }
                token_type::USER_DEFINED => exported.added.push((i, (*text).into(), false)),
                _ => {}
            }
            if unknown == Some(i as i32) {
                // The library wants one piece of this type. If the token is special, the added tokens say so.
                piece.kind = Some(token_type::UNKNOWN);
            }
            pieces.push(piece);
        }
        // vocab_size in config.json stands for the ids at the end that no piece has.
        let is_padding = |i: usize, piece: &Piece| {
            piece.kind == Some(token_type::UNUSED) && piece.text.as_deref() == Some(&format!("[PAD{i}]"))
        };
        while pieces.last().is_some_and(|piece| is_padding(pieces.len() - 1, piece)) {
            pieces.pop();
        }
        let byte_fallback = pieces.iter().any(|piece| piece.kind == Some(token_type::BYTE));
        let trainer = Trainer {
            model_type: Some(BPE),
            vocab_size: Some(pieces.len() as i32),
            byte_fallback: Some(byte_fallback),
            unk_id: Some(unknown.unwrap_or(0)),
            bos_id: Some(id("bos_token_id").unwrap_or(-1)),
            eos_id: Some(id("eos_token_id").unwrap_or(-1)),
            pad_id: Some(id("padding_token_id").unwrap_or(-1)),
        };
        let normalizer = Normalizer {
            name: Some("identity".into()),
            charsmap: None,
            add_dummy_prefix: Some(keys.flag("add_space_prefix").unwrap_or(true)),
            remove_extra_whitespaces: Some(false),
            escape_whitespaces: Some(true),
        };
        let model = WholeModel { pieces, trainer: Some(trainer), normalizer: Some(normalizer) };
        exported.bytes = model.encode_to_vec();
        Ok(exported)
    }
}
