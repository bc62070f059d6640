//! SentencePiece from tokenizer.model, a protobuf message, and the JSON files of added tokens.

use super::special::{self, Special};
use super::token_type;
use super::{
    Files, KeyList, Problem, TOKENIZER_CONFIG, TOKENIZER_JSON, TOKENIZER_MODEL, Tokens, looks_special,
};
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
const ADDED_TOKENS: &str = "added_tokens.json";

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
    let size = files.config.integer(&["vocab_size"]).map_err(Problem::of("config.json"))?;
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
        let json = files.json(TOKENIZER_JSON)?.unwrap_or_default();
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
