//! What the files of a folder say about its tokenizer, read once.

use super::files::{Files, Problem, TOKENIZER_CONFIG};
use super::old_files;
use super::templates::Templates;
use super::tokens::KeyList;
use serde_json::{Map, Value as Json};

/// Tokens of a vocabulary: sixteen times as many as the largest have. Those that no file names are written too.
const MAX_TOKENS: u64 = 1 << 22;

/// The files of a tokenizer.
pub struct Sources<'a> {
    pub files: &'a Files<'a>,
    /// tokenizer_config.json; empty if it is not there.
    pub config: Map<String, Json>,
    /// tokenizer.json, or what older files say in its words.
    pub json: Option<Map<String, Json>>,
    pub templates: Templates,
}

impl<'a> Sources<'a> {
    pub fn read(files: &'a Files<'a>) -> Result<Sources<'a>, Problem> {
        let config = files.json(TOKENIZER_CONFIG)?.unwrap_or_default();
        let json = old_files::tokenizer_json(files, &config)?;
        let templates = Templates::read(files, &config)?;
        Ok(Sources { files, config, json, templates })
    }

    /// The number of embeddings, if config.json says it.
    pub fn embeddings(&self) -> Result<Option<usize>, Problem> {
        let at = Problem::of("config.json");
        let size = self.files.config.integer(&["vocab_size"]).map_err(|e| at(e.to_string()))?;
        match size {
            Some(size) if size > MAX_TOKENS => {
                Err(at(format!("vocab_size {size} is more than any vocabulary has ({MAX_TOKENS} at most)")))
            }
            size => Ok(size.map(|n| n as usize)),
        }
    }

    /// What needs a token of this text: without it, a prompt or the end of an answer would be another one. `keys` say
    /// whether texts begin with a token.
    pub fn needs(&self, text: &str, keys: &KeyList) -> Option<&'static str> {
        let is = |name: &str| {
            let said = self.config.get(name).unwrap_or(&Json::Null);
            said == text || said["content"] == text
        };
        let begins = keys.is_true("ggml.add_bos_token") && is("bos_token");
        if begins || is("eos_token") {
            Some("tokenizer_config.json")
        } else {
            self.templates.mention(text).then_some("the chat template")
        }
    }

    /// Entries of `added_tokens_decoder` of tokenizer_config.json, by id.
    pub fn decoder(&self) -> Vec<(usize, &Json)> {
        let listed = self.config.get("added_tokens_decoder").and_then(Json::as_object);
        let numbered = listed.into_iter().flatten().filter_map(|(id, token)| Some((id.parse().ok()?, token)));
        let mut listed: Vec<_> = numbered.collect();
        listed.sort_by_key(|(id, _)| *id);
        listed
    }
}
