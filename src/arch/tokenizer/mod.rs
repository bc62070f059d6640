//! Tokenizers: the files of a Hugging Face folder to GGUF keys, and back.
//!
//! Reference: what llama.cpp's converter writes for the same files (see [`super`]).

mod added;
mod beyond;
mod bpe;
mod byte_fallback;
mod exported;
mod files;
mod growth;
mod json_files;
mod merges;
mod old_files;
mod pre_tokenizer;
mod reference;
mod sentencepiece;
mod sources;
mod spaces;
mod special;
mod templates;
mod token_keys;
mod tokens;
mod vocabulary;

pub use exported::files;
pub use files::Files;
pub use reference::{Mark, Reference, Stands, reference};
pub use templates::MORE_TEMPLATES;
pub use tokens::{KeyList, SPECIAL};
pub use vocabulary::Vocabulary;

use crate::gguf::{Kind, Value};
use files::{GENERATION_CONFIG, Problem, TOKENIZER_JSON, TOKENIZER_MODEL};
use sentencepiece::{Found, TokenizerModel};
use serde_json::Value as Json;
use sources::Sources;
use vocabulary::SpacePrefix;

/// Vocabularies of this size are CodeLlama's, whose end of a turn no file says.
const CODE_LLAMA_TOKENS: u64 = 32016;
const CODE_LLAMA_END_OF_TURN: u32 = 32010;
/// Vocabularies of this size are those of small Granite models and SmolLM, which want no token before a text.
const GRANITE_TOKENS: u64 = 49152;

/// The GGUF keys of a folder's tokenizer; `pre` replaces the pre-tokenizer that its files show.
pub fn gguf_keys(files: &Files, v: &Vocabulary, pre: Option<&str>) -> Result<KeyList, Problem> {
    let mut keys = KeyList::default();
    let sources = Sources::read(files)?;
    if v.space_prefix == SpacePrefix::FromConfig
        && let Some(space) = sources.config.get("add_prefix_space").and_then(Json::as_bool)
    {
        keys.put("ggml.add_space_prefix", space);
    }
    match kind(&sources, v)? {
        Source::SentencePiece(model) => {
            model.write(&sources, v.literal, &mut keys)?;
            if v.space_prefix == SpacePrefix::No {
                keys.put("ggml.add_space_prefix", false);
            }
        }
        Source::ByteFallback => byte_fallback::write(&sources, v, &mut keys)?,
        Source::Bpe => bpe::write(&sources, pre, &mut keys)?,
    }
    for (name, text) in v.placed {
        let tokens = keys.get("ggml.tokens").and_then(Value::as_array).into_iter().flatten();
        if let Some(id) = tokens.into_iter().position(|token| token.as_str() == Some(text)) {
            keys.put(name, id as u32);
        }
    }
    if v.suppresses {
        suppress(&sources, &mut keys)?;
    }
    if let Some(id) = v.end_of_turn.filter(|_| keys.get("ggml.eot_token_id").is_none()) {
        keys.put("ggml.eot_token_id", id);
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
    Ok(keys)
}

/// Writes which tokens are never chosen.
fn suppress(sources: &Sources, keys: &mut KeyList) -> Result<(), Problem> {
    let said = sources.files.json(GENERATION_CONFIG)?.and_then(|mut json| json.remove("suppress_tokens"));
    if let Some(said) = said.filter(|said| !said.is_null()) {
        let wrong =
            || Problem::of(GENERATION_CONFIG)(format!("`suppress_tokens` is {said}, no list of tokens"));
        let id = |id: &Json| id.as_u64().and_then(|id| i32::try_from(id).ok()).map(Value::I32);
        let ids = said.as_array().ok_or_else(wrong)?.iter().map(id).collect::<Option<Vec<_>>>();
        keys.put("ggml.suppress_tokens", Value::Array(Kind::I32, ids.ok_or_else(wrong)?));
    }
    Ok(())
}

/// Keys of a file without a tokenizer: programs may feed it ids only.
pub fn no_keys() -> KeyList {
    KeyList { keys: vec![("tokenizer.ggml.model".into(), Value::from("none"))], notes: Vec::new() }
}

/// Kinds of tokenizers.
enum Source {
    /// tokenizer.model
    SentencePiece(TokenizerModel),
    /// tokenizer.json with SentencePiece's pieces.
    ByteFallback,
    /// tokenizer.json with byte-level BPE, or the files of GPT-2's.
    Bpe,
}

/// The kind of the files. tokenizer.json is what transformers reads; where tokenizer.model has the same pieces, its
/// scores are those that they were trained with.
fn kind(sources: &Sources, v: &Vocabulary) -> Result<Source, Problem> {
    let of_json = |json| if byte_fallback::is_one(json) { Source::ByteFallback } else { Source::Bpe };
    match (TokenizerModel::read(sources.files)?, &sources.json) {
        (_, Some(json)) if v.merged => match byte_fallback::is_one(json) {
            true => Ok(Source::ByteFallback),
            false => Err(Problem::of(TOKENIZER_JSON)(NO_PIECES.into())),
        },
        (Some(Found::SentencePiece(_)), None) if v.merged => Err(Problem::of(TOKENIZER_JSON)(
            "is not there, and llama.cpp merges pieces of this architecture as it says: fetch it from the same repository".into(),
        )),
        (Some(Found::SentencePiece(model)), None) => Ok(Source::SentencePiece(model)),
        (Some(Found::SentencePiece(model)), Some(json)) => Ok(match model.has_the_pieces_of(json) {
            true => Source::SentencePiece(model),
            false => of_json(json),
        }),
        (_, Some(json)) => Ok(of_json(json)),
        (Some(Found::Tiktoken), None) => Err(Problem::of(TOKENIZER_MODEL)(
            "is a table of tiktoken, which says nothing of how text is cut: fetch tokenizer.json of the same repository, or have \
             transformers make it (AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)), and take this file away"
                .into(),
        )),
        (None, None) => Err(Problem::of(TOKENIZER_JSON)(missing(sources).into())),
    }
}

const NO_PIECES: &str = "is no BPE that falls back to bytes, which llama.cpp has for this architecture alone: fetch the one of its repository";

/// What helps where no file has a vocabulary.
fn missing(sources: &Sources) -> &'static str {
    match sources.files.folder.join("tekken.json").exists() {
        true => {
            "is not there, and tekken.json, Mistral's own format, is not read: fetch tokenizer.json of the same repository, \
             or have transformers make it (AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER))"
        }
        false => {
            "is not there; a folder needs config.json, tokenizer.json and safetensors (or a tokenizer.model): fetch it, or \
             give --no-tokenizer for a file that takes token ids only"
        }
    }
}
