//! SentencePiece from tokenizer.model, a protobuf message, and the JSON files of added tokens.

use super::files::{ADDED_TOKENS, Files, Problem, TOKENIZER_CONFIG, TOKENIZER_JSON, TOKENIZER_MODEL};
use super::old_files;
use super::special::{self, Special};
use super::token_keys::TokenKeys;
use super::tokens::{KeyList, Tokens, looks_special, token_type};
use prost::Message;
use serde_json::{Map, Value as Json};

/// The part of `sentencepiece.ModelProto` that is of use here.
#[derive(Clone, PartialEq, Message)]
struct Model {
    #[prost(message, repeated, tag = "1")]
    pieces: Vec<Piece>,
}

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
/// Score of added tokens.
const ADDED_SCORE: f32 = -1000.0;

pub fn write(
    files: &Files,
    literal: bool,
    tokenizer_config: &Map<String, Json>,
    keys: &mut KeyList,
) -> Result<(), Problem> {
    let tokens = tokens(files, literal, tokenizer_config)?;
    let count = tokens.texts.len();
    keys.put("ggml.model", "llama");
    keys.put("ggml.pre", "default");
    tokens.write(keys);
    special::write(files, tokenizer_config, Special { merges: false, tokens: Some(count) }, keys)
}

fn tokens(files: &Files, literal: bool, tokenizer_config: &Map<String, Json>) -> Result<Tokens, Problem> {
    let at = Problem::of(TOKENIZER_MODEL);
    let bytes = files.bytes(TOKENIZER_MODEL)?.unwrap_or_default();
    let model = Model::decode(&bytes[..])
        .map_err(|e| at(format!("not a SentencePiece model ({e}): fetch it again")))?;
    if model.pieces.is_empty() {
        return Err(at("a SentencePiece model without pieces: fetch it again".into()));
    }
    let size =
        files.config.integer(&["vocab_size"]).map_err(|e| Problem::of("config.json")(e.to_string()))?;
    let size = size.map_or(model.pieces.len(), |n| n as usize);
    let mut table = Table {
        texts: (0..size).map(|id| format!("[PAD{id}]")).collect(),
        types: vec![token_type::UNUSED; size],
        scores: vec![PAD_SCORE; size],
    };
    for (id, piece) in model.pieces.into_iter().enumerate().take(size) {
        // GGUF has SentencePiece's numbers, but a user-defined piece is an ordinary one in llama.cpp.
        let kind = match piece.kind.unwrap_or(token_type::NORMAL) {
            token_type::USER_DEFINED => token_type::NORMAL,
            kind @ (token_type::UNKNOWN | token_type::CONTROL | token_type::UNUSED | token_type::BYTE) => {
                kind
            }
            _ => token_type::NORMAL,
        };
        table.set(id, piece.text.unwrap_or_default(), piece.score.unwrap_or_default(), kind);
    }
    for (text, id) in files.json(ADDED_TOKENS)?.unwrap_or_default() {
        let id = id.as_u64().ok_or_else(|| no_id(ADDED_TOKENS, &text))?;
        if (id as usize) < size {
            table.set(id as usize, text, ADDED_SCORE, token_type::USER_DEFINED);
        }
    }
    let decoder = tokenizer_config.get("added_tokens_decoder").and_then(Json::as_object);
    for (id, token) in decoder.into_iter().flatten() {
        let id = id.parse().map_err(|_| no_id(TOKENIZER_CONFIG, id))?;
        table.add(id, token, literal, TOKENIZER_CONFIG)?;
    }
    if literal {
        let json = old_files::tokenizer_json(files)?.unwrap_or_default();
        for token in json.get("added_tokens").and_then(Json::as_array).into_iter().flatten() {
            let id = token["id"].as_u64().ok_or_else(|| no_id(TOKENIZER_JSON, &token.to_string()))?;
            table.add(id as usize, token, literal, TOKENIZER_JSON)?;
        }
    }
    Ok(Tokens { texts: table.texts, types: table.types, scores: Some(table.scores) })
}

fn no_id(file: &'static str, token: &str) -> Problem {
    Problem::of(file)(format!("added token {token:?} has no id: fetch the file again"))
}

/// Tokens by id.
struct Table {
    texts: Vec<String>,
    types: Vec<i32>,
    scores: Vec<f32>,
}

impl Table {
    fn set(&mut self, id: usize, text: String, score: f32, kind: i32) {
        self.texts[id] = text;
        self.scores[id] = score;
        self.types[id] = kind;
    }

    /// Sets what an entry with `content` and `special` says.
    fn add(&mut self, id: usize, token: &Json, literal: bool, file: &'static str) -> Result<(), Problem> {
        let text = token["content"].as_str().ok_or_else(|| no_id(file, &token.to_string()))?;
        let size = self.texts.len();
        if id >= size {
            // Phi 3 models miss rows for nothing; elsewhere llama.cpp's converter leaves such tokens out.
            let what = format!("token {text:?} has id {id}, but vocab_size is {size}");
            return if literal { Err(Problem::of(file)(what)) } else { Ok(()) };
        }
        let special = token["special"] == true || (!literal && looks_special(text));
        let (text, kind) = match special {
            true => (text.to_owned(), token_type::CONTROL),
            false if literal => (text.to_owned(), token_type::USER_DEFINED),
            false => (text.replace('▁', " "), token_type::USER_DEFINED),
        };
        self.set(id, text, ADDED_SCORE, kind);
        Ok(())
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
    /// 2 is BPE, the only kind that llama.cpp's tokenizer has scores of.
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
            model_type: Some(2),
            vocab_size: Some(pieces.len() as i32),
            byte_fallback: Some(byte_fallback),
            unk_id: Some(unknown.unwrap_or(0)),
            bos_id: Some(id("bos_token_id").unwrap_or(-1)),
            eos_id: Some(id("eos_token_id").unwrap_or(-1)),
            pad_id: Some(id("padding_token_id").unwrap_or(-1)),
        };
        let normalizer = Normalizer {
            name: Some("identity".into()),
            add_dummy_prefix: Some(keys.flag("add_space_prefix").unwrap_or(true)),
            remove_extra_whitespaces: Some(false),
            escape_whitespaces: Some(true),
        };
        let model = WholeModel { pieces, trainer: Some(trainer), normalizer: Some(normalizer) };
        exported.bytes = model.encode_to_vec();
        Ok(exported)
    }
}
