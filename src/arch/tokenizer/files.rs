//! The files of a folder that describe its tokenizer.

use crate::arch::config::Config;
use crate::{lfs, python_json, small_file};
use serde_json::{Map, Value as Json};
use std::path::Path;

/// What is wrong with a file.
#[derive(Debug)]
pub struct Problem {
    /// Its name in the folder.
    pub file: &'static str,
    /// What is wrong and what helps.
    pub what: String,
}

impl Problem {
    /// A problem of a file.
    pub fn of(file: &'static str) -> impl Fn(String) -> Problem {
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

pub const TOKENIZER_JSON: &str = "tokenizer.json";
pub const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
pub const TOKENIZER_MODEL: &str = "tokenizer.model";
pub const GENERATION_CONFIG: &str = "generation_config.json";
pub const ADDED_TOKENS: &str = "added_tokens.json";

impl Files<'_> {
    /// The bytes of a file, if it is there.
    pub fn bytes(&self, name: &'static str) -> Result<Option<Vec<u8>>, Problem> {
        let path = self.folder.join(name);
        if !path.exists() {
            return Ok(None);
        }
        let bytes = small_file::read(&path).map_err(|e| Problem::of(name)(e.to_string()))?;
        match lfs::is_pointer(&bytes) {
            true => Err(Problem::of(name)(lfs::PROBLEM.into())),
            false => Ok(Some(bytes)),
        }
    }

    /// A text, if the file is there.
    pub fn text(&self, name: &'static str) -> Result<Option<String>, Problem> {
        let Some(bytes) = self.bytes(name)? else { return Ok(None) };
        String::from_utf8(bytes).map(Some).map_err(|_| Problem::of(name)("is not UTF-8".into()))
    }

    /// A JSON object, if the file is there.
    pub fn json(&self, name: &'static str) -> Result<Option<Map<String, Json>>, Problem> {
        let Some(bytes) = self.bytes(name)? else { return Ok(None) };
        let json = python_json::parse(&bytes);
        json.map(Some).map_err(|e| Problem::of(name)(format!("not a JSON object: {e}; fetch it again")))
    }
}
