//! All that config.json says of an architecture, in both directions.

use super::config::Config;
use super::error::Error;
use super::file_keys::FileKeys;
use super::harmless::is_harmless;
use super::keys::{Key, Keys};
use super::pieces::CAUSAL;
use super::table::Architecture;
use crate::gguf::Value;
use std::collections::BTreeSet;

/// Keys, and what people should know of the values that they come from.
pub type Written = (Vec<(String, Value)>, Vec<String>);

/// Rows of every architecture, whose key any graph of llama.cpp reads.
const EVERY: &[Key] = &[CAUSAL];

impl Architecture {
    fn all_keys(&self) -> impl Iterator<Item = &'static Key> {
        self.keys.iter().copied().chain([EVERY]).flatten()
    }

    /// The keys of its tables and of `more`, and what people should know of config.json.
    pub fn write(&self, config: &Config, more: &[&'static Key]) -> Result<Written, Error> {
        let mut keys = Keys::new(config, self.name);
        self.all_keys().chain(more.iter().copied()).try_for_each(|key| keys.write(key))?;
        let unknown: BTreeSet<_> = config.names().filter(|name| !self.knows(name)).collect();
        if !unknown.is_empty() {
            let (names, class) = (Vec::from_iter(unknown).join("`, `"), self.hf[0]);
            keys.note(format!(
                "config.json says `{names}`, which no {class} of transformers reads: if it changes what the model computes, \
                 the file computes something else"
            ));
        }
        Ok(keys.finish())
    }

    /// Says in config.json what the keys of a file say.
    pub fn read(&self, file: &mut FileKeys) -> Result<(), Error> {
        self.all_keys().try_for_each(|key| key.read(file))
    }

    /// Whether a value of config.json is known: read, compared with what llama.cpp computes, or of no consequence.
    pub fn knows(&self, name: &str) -> bool {
        self.all_keys().any(|key| key.names().contains(&name))
            || self.shown.iter().any(|shown| shown.name == name)
            || is_harmless(name)
    }
}
