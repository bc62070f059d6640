//! Tokenizers: the files of a Hugging Face folder to GGUF keys, and back.
//!
//! Reference: what llama.cpp's converter writes for the same files (see [`super`]).

mod bpe;
mod byte_fallback;
mod exported;
mod json_files;
mod old_files;
mod pre_tokenizer;
mod sentencepiece;
mod special;

pub use exported::files;
pub use special::MORE_TEMPLATES;

use super::config::Config;
use crate::gguf::{Kind as ValueKind, Value};
use serde_json::{Map, Value as Json};
use std::path::Path;

/// Token types of GGUF.
mod token_type {
    pub const NORMAL: i32 = 1;
    pub const UNKNOWN: i32 = 2;
    pub const CONTROL: i32 = 3;
    pub const USER_DEFINED: i32 = 4;
    pub const UNUSED: i32 = 5;
    pub const BYTE: i32 = 6;
}

/// Special tokens: what tokenizer_config.json and config.json call them, and GGUF.
pub const SPECIAL: &[(&str, &str)] = &[
    ("bos", "bos_token_id"),
    ("eos", "eos_token_id"),
    ("unk", "unknown_token_id"),
    ("sep", "seperator_token_id"),
    ("pad", "padding_token_id"),
    ("mask", "mask_token_id"),
    ("eot", "eot_token_id"),
    ("eom", "eom_token_id"),
];

/// Where the tokens of an architecture come from.
#[derive(Clone, Copy, Debug)]
pub struct Vocabulary {
    /// Kinds of tokenizers, tried in order.
    kinds: &'static [Kind],
    /// Whether SentencePiece puts a space before a text, where that is not the tokenizer's to say.
    space_prefix: SpacePrefix,
    /// The end of a turn, where no file says another one.
    end_of_turn: Option<u32>,
    /// Added tokens are what the files say, whatever their text looks like, and tokenizer.json has a say too.
    literal: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// tokenizer.model
    SentencePiece,
    /// tokenizer.json with SentencePiece's pieces.
    ByteFallback,
    /// tokenizer.json with byte-level BPE.
    Bpe,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SpacePrefix {
    Unsaid,
    /// tokenizer_config.json may say.
    FromConfig,
    /// None with SentencePiece.
    No,
}

impl Vocabulary {
    /// Byte-level BPE alone.
    pub const BPE: Vocabulary = Vocabulary {
        kinds: &[Kind::Bpe],
        space_prefix: SpacePrefix::Unsaid,
        end_of_turn: None,
        literal: false,
    };
    /// SentencePiece if there is a tokenizer.model.
    pub const SENTENCEPIECE_OR_BPE: Vocabulary =
        Vocabulary { kinds: &[Kind::SentencePiece, Kind::Bpe], ..Vocabulary::BPE };
    /// Everything that llama's children have come with.
    pub const LLAMA: Vocabulary = Vocabulary {
        kinds: &[Kind::SentencePiece, Kind::ByteFallback, Kind::Bpe],
        space_prefix: SpacePrefix::FromConfig,
        ..Vocabulary::BPE
    };
    /// SentencePiece without a space before a text.
    pub const GEMMA: Vocabulary =
        Vocabulary { kinds: &[Kind::SentencePiece], space_prefix: SpacePrefix::No, ..Vocabulary::BPE };
    /// The same, or BPE.
    pub const GEMMA3: Vocabulary =
        Vocabulary { kinds: &[Kind::SentencePiece, Kind::Bpe], ..Vocabulary::GEMMA };
    /// SentencePiece with many added tokens; BPE in Phi 4.
    pub const PHI3: Vocabulary = Vocabulary { literal: true, ..Vocabulary::SENTENCEPIECE_OR_BPE };

    /// The same with an end of a turn.
    pub const fn with_end_of_turn(self, id: u32) -> Vocabulary {
        Vocabulary { end_of_turn: Some(id), ..self }
    }
}

/// What is wrong with a file.
#[derive(Debug)]
pub struct Problem {
    /// Its name in the folder.
    pub file: &'static str,
    /// What is wrong and what helps.
    pub what: String,
}

impl Problem {
    fn of(file: &'static str) -> impl Fn(String) -> Problem {
        move |what| Problem { file, what }
    }
}

/// The files of a folder that describe its tokenizer.
pub struct Files<'a> {
    /// The folder.
    pub folder: &'a Path,
    /// config.json as it is.
    pub raw_config: &'a Map<String, Json>,
    /// config.json with defaults.
    pub config: &'a Config,
}

const TOKENIZER_JSON: &str = "tokenizer.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
const TOKENIZER_MODEL: &str = "tokenizer.model";
const ADDED_TOKENS: &str = "added_tokens.json";

impl Files<'_> {
    fn bytes(&self, name: &'static str) -> Result<Option<Vec<u8>>, Problem> {
        let path = self.folder.join(name);
        match path.exists() {
            true => std::fs::read(&path).map(Some).map_err(|e| Problem::of(name)(e.to_string())),
            false => Ok(None),
        }
    }

    fn text(&self, name: &'static str) -> Result<Option<String>, Problem> {
        let Some(bytes) = self.bytes(name)? else { return Ok(None) };
        String::from_utf8(bytes).map(Some).map_err(|_| Problem::of(name)("is not UTF-8".into()))
    }

    /// A file, or what stands for tokenizer.json in folders that have none.
    fn json(&self, name: &'static str) -> Result<Option<Map<String, Json>>, Problem> {
        let Some(bytes) = self.bytes(name)? else {
            return if name == TOKENIZER_JSON { old_files::tokenizer_json(self) } else { Ok(None) };
        };
        let json = serde_json::from_slice(&bytes);
        json.map(Some).map_err(|e| Problem::of(name)(format!("not a JSON object: {e}; fetch it again")))
    }
}

/// Tokens by id, as GGUF wants them.
#[derive(Debug)]
struct Tokens {
    texts: Vec<String>,
    types: Vec<i32>,
    scores: Option<Vec<f32>>,
}

impl Tokens {
    fn write(self, keys: &mut KeyList) {
        keys.put("ggml.tokens", Value::strings(self.texts));
        if let Some(scores) = self.scores {
            keys.put(
                "ggml.scores",
                Value::Array(ValueKind::F32, scores.into_iter().map(Value::F32).collect()),
            );
        }
        keys.put(
            "ggml.token_type",
            Value::Array(ValueKind::I32, self.types.into_iter().map(Value::I32).collect()),
        );
    }
}

/// Keys under `tokenizer.`; one that is put again replaces the old one.
#[derive(Default)]
struct KeyList(Vec<(String, Value)>);

impl KeyList {
    fn put(&mut self, name: &str, value: impl Into<Value>) {
        let (name, value) = (format!("tokenizer.{name}"), value.into());
        match self.0.iter_mut().find(|(k, _)| *k == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }
}

/// Vocabularies of this size are CodeLlama's, whose end of a turn no file says.
const CODE_LLAMA_TOKENS: u64 = 32016;
const CODE_LLAMA_END_OF_TURN: u32 = 32010;
/// Vocabularies of this size are those of small Granite models and SmolLM, which want no token before a text.
const GRANITE_TOKENS: u64 = 49152;

/// The GGUF keys of a folder's tokenizer; `pre` replaces the pre-tokenizer that its files show.
pub fn gguf_keys(files: &Files, v: &Vocabulary, pre: Option<&str>) -> Result<Vec<(String, Value)>, Problem> {
    let keys = &mut KeyList::default();
    let tokenizer_config = files.json(TOKENIZER_CONFIG)?.unwrap_or_default();
    if v.space_prefix == SpacePrefix::FromConfig
        && let Some(space) = tokenizer_config.get("add_prefix_space").and_then(Json::as_bool)
    {
        keys.put("ggml.add_space_prefix", space);
    }
    let kind = kind(files, v, &tokenizer_config)?;
    match kind {
        Kind::SentencePiece => sentencepiece::write(files, v.literal, &tokenizer_config, keys)?,
        Kind::ByteFallback => byte_fallback::write(files, &tokenizer_config, keys)?,
        Kind::Bpe => bpe::write(files, &tokenizer_config, pre, keys)?,
    }
    let end_of_turn = || keys.0.iter().any(|(k, _)| k == "tokenizer.ggml.eot_token_id");
    if let Some(id) = v.end_of_turn.filter(|_| !end_of_turn()) {
        keys.put("ggml.eot_token_id", id);
    }
    if v.space_prefix == SpacePrefix::No && kind == Kind::SentencePiece {
        keys.put("ggml.add_space_prefix", false);
    }
    if v.space_prefix == SpacePrefix::FromConfig {
        let size = files.config.get("vocab_size").and_then(Json::as_u64);
        if size == Some(CODE_LLAMA_TOKENS) {
            keys.put("ggml.eot_token_id", CODE_LLAMA_END_OF_TURN);
        }
        if size == Some(GRANITE_TOKENS) {
            keys.put("ggml.add_bos_token", false);
        }
    }
    Ok(std::mem::take(&mut keys.0))
}

/// Keys of a file without a tokenizer: programs may feed it ids only.
pub fn no_keys() -> Vec<(String, Value)> {
    vec![("tokenizer.ggml.model".into(), "none".into())]
}

/// The first kind that the files are of.
fn kind(files: &Files, v: &Vocabulary, tokenizer_config: &Map<String, Json>) -> Result<Kind, Problem> {
    // Phi 4 comes with both.
    if v.literal && tokenizer_config.get("tokenizer_class").is_some_and(|c| c == "GPT2Tokenizer") {
        return Ok(Kind::Bpe);
    }
    let there = |name: &str| files.folder.join(name).exists();
    for kind in v.kinds {
        let fits = match kind {
            Kind::SentencePiece => there(TOKENIZER_MODEL),
            Kind::ByteFallback => files.json(TOKENIZER_JSON)?.is_some_and(|j| byte_fallback::is_one(&j)),
            Kind::Bpe => there(TOKENIZER_JSON) || there(old_files::VOCAB) && there(old_files::MERGES),
        };
        if fits {
            return Ok(*kind);
        }
    }
    let names = match v.kinds {
        [Kind::SentencePiece] => TOKENIZER_MODEL,
        _ => TOKENIZER_JSON,
    };
    Err(Problem::of(names)(
        "is not there; a folder needs config.json, tokenizer.json and safetensors (Gemma and Phi 3 tokenizer.model): \
         fetch it, or give --no-tokenizer for a file that takes token ids only"
            .into(),
    ))
}

/// Whether an added token that is not marked special is one all the same, by llama.cpp's rule.
fn looks_special(text: &str) -> bool {
    ["<pad>", "<mask>", "<2mass>", "[@BOS@]"].contains(&text)
        || (text.starts_with("<|") && text.ends_with("|>"))
        || (text.starts_with("<｜") && text.ends_with("｜>"))
        || (text.starts_with("<unused") && text.ends_with('>'))
}
