//! Tokenizers: the files of a Hugging Face folder to GGUF keys, and back.
//!
//! Reference: what llama.cpp's converter writes for the same files (see [`super`]).

mod bpe;
mod byte_fallback;
mod exported;
mod files;
mod json_files;
mod old_files;
mod pre_tokenizer;
mod sentencepiece;
mod special;
mod token_keys;
mod tokens;
mod vocabulary;

pub use exported::files;
pub use files::Files;
pub use special::MORE_TEMPLATES;
pub use tokens::SPECIAL;
pub use vocabulary::Vocabulary;

use crate::gguf::Value;
use files::{Problem, TOKENIZER_CONFIG, TOKENIZER_JSON, TOKENIZER_MODEL};
use serde_json::{Map, Value as Json};
use tokens::KeyList;
use vocabulary::{Kind, SpacePrefix};

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
            Kind::ByteFallback => {
                old_files::tokenizer_json(files)?.is_some_and(|j| byte_fallback::is_one(&j))
            }
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
