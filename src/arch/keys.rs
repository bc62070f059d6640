//! Rows of hyper-parameters: GGUF keys and what config.json calls them, in both directions.

use super::config::Config;
use super::error::Error;
use super::file_keys::FileKeys;
use crate::gguf::Value;

/// A row of the table of hyper-parameters.
#[derive(Clone, Copy)]
pub struct Key {
    /// Name in GGUF, without the architecture's.
    gguf: &'static str,
    /// Names in config.json; the first that is there counts.
    hf: &'static [&'static str],
    /// The one of these names that export writes.
    written: &'static str,
    rule: Rule,
}

#[derive(Clone, Copy)]
enum Rule {
    Integer(Absent),
    Float(Absent),
    /// A flag, and its value where config.json does not say it.
    Flag(bool),
    /// A number that is 1 where config.json does not say it; zero is no multiplier and is left out.
    Multiplier,
    /// The same number in every model.
    Number(u32),
    /// The same text in every model.
    Text(&'static str),
    /// Whatever two functions make of it.
    Group {
        write: Write,
        read: Read,
    },
}

/// What becomes of a key whose value config.json does not say.
#[derive(Clone, Copy)]
enum Absent {
    /// The model is refused.
    Refused,
    /// The key is left out.
    LeftOut,
    /// The value follows from others; so it does where a file does not have the key.
    Follows(fn(&Config) -> Result<u64, Error>, fn(&FileKeys) -> Result<Option<u64>, Error>),
}

type Write = fn(&mut Keys) -> Result<(), Error>;
type Read = fn(&mut FileKeys) -> Result<(), Error>;

impl Key {
    /// An integer that config.json has to say.
    pub const fn integer(gguf: &'static str, hf: &'static [&'static str]) -> Key {
        Key { gguf, hf, written: hf[0], rule: Rule::Integer(Absent::Refused) }
    }

    /// A number that config.json has to say.
    pub const fn float(gguf: &'static str, hf: &'static [&'static str]) -> Key {
        Key { gguf, hf, written: hf[0], rule: Rule::Float(Absent::Refused) }
    }

    /// A flag, which is `unsaid` where config.json does not say it.
    pub const fn flag(gguf: &'static str, hf: &'static [&'static str], unsaid: bool) -> Key {
        Key { gguf, hf, written: hf[0], rule: Rule::Flag(unsaid) }
    }

    /// What something is multiplied by: 1 where config.json does not say it.
    pub const fn multiplier(gguf: &'static str, hf: &'static [&'static str]) -> Key {
        Key { gguf, hf, written: hf[0], rule: Rule::Multiplier }
    }

    /// A number that no config.json says.
    pub const fn number(gguf: &'static str, value: u32) -> Key {
        Key { gguf, hf: &[], written: "", rule: Rule::Number(value) }
    }

    /// A text that no config.json says.
    pub const fn text(gguf: &'static str, value: &'static str) -> Key {
        Key { gguf, hf: &[], written: "", rule: Rule::Text(value) }
    }

    /// Keys that do not stand for one value each: `write` puts them, and `read` says what they say in config.json.
    pub const fn group(write: Write, read: Read) -> Key {
        Key { gguf: "", hf: &[], written: "", rule: Rule::Group { write, read } }
    }

    /// The same row of a value that config.json may leave open; the file then does not have the key.
    pub const fn optional(self) -> Key {
        let rule = match self.rule {
            Rule::Float(_) => Rule::Float(Absent::LeftOut),
            Rule::Integer(_) => Rule::Integer(Absent::LeftOut),
            _ => panic!("a value that is always there"),
        };
        Key { rule, ..self }
    }

    /// The same row of an integer that follows from others: by `config` where config.json does not say it, by `file`
    /// where a file does not have the key.
    pub const fn or_else(
        self,
        config: fn(&Config) -> Result<u64, Error>,
        file: fn(&FileKeys) -> Result<Option<u64>, Error>,
    ) -> Key {
        Key { rule: Rule::Integer(Absent::Follows(config, file)), ..self }
    }

    /// The same row with another name for export.
    pub const fn written_as(self, written: &'static str) -> Key {
        Key { written, ..self }
    }

    /// Says in config.json what a file says. What no key of the file says is left out.
    pub fn read(&self, file: &mut FileKeys) -> Result<(), Error> {
        match self.rule {
            Rule::Integer(unsaid) => {
                let value = match (file.integer(self.gguf)?, unsaid) {
                    (None, Absent::Follows(_, follows)) => follows(file)?,
                    (None, Absent::Refused) => return Err(file.missing(self.gguf)),
                    (value, _) => value,
                };
                value.into_iter().for_each(|v| file.set(self.written, v));
            }
            Rule::Float(unsaid) => {
                let value = file.float(self.gguf)?;
                if value.is_none() && matches!(unsaid, Absent::Refused) {
                    return Err(file.missing(self.gguf));
                }
                value.into_iter().for_each(|v| file.set(self.written, v));
            }
            Rule::Flag(_) => file.flag(self.gguf)?.into_iter().for_each(|v| file.set(self.written, v)),
            Rule::Multiplier => file.float(self.gguf)?.into_iter().for_each(|v| file.set(self.written, v)),
            Rule::Number(_) | Rule::Text(_) => {}
            Rule::Group { read, .. } => read(file)?,
        }
        Ok(())
    }
}

/// Collects keys, each under the name of the architecture.
pub struct Keys<'a> {
    /// Where the numbers come from.
    pub config: &'a Config,
    architecture: &'static str,
    keys: Vec<(String, Value)>,
}

impl<'a> Keys<'a> {
    /// No keys yet.
    pub fn new(config: &'a Config, architecture: &'static str) -> Keys<'a> {
        Keys { config, architecture, keys: Vec::new() }
    }

    /// The keys in the order in which they were first put.
    pub fn finish(self) -> Vec<(String, Value)> {
        self.keys
    }

    /// Sets a key, without the name of the architecture.
    pub fn put(&mut self, name: &str, value: impl Into<Value>) {
        let (name, value) = (format!("{}.{name}", self.architecture), value.into());
        match self.keys.iter_mut().find(|(k, _)| *k == name) {
            Some((_, old)) => *old = value,
            None => self.keys.push((name, value)),
        }
    }

    /// Puts the key of a row.
    pub fn write(&mut self, key: &Key) -> Result<(), Error> {
        let config = self.config;
        match key.rule {
            Rule::Integer(unsaid) => {
                let value = match (config.find(key.hf), unsaid) {
                    (None, Absent::LeftOut) => return Ok(()),
                    (None, Absent::Follows(follows, _)) => follows(config)?,
                    _ => config.needed_integer(key.hf)?,
                };
                self.put(key.gguf, value as u32);
            }
            Rule::Float(unsaid) => {
                if config.find(key.hf).is_some() || !matches!(unsaid, Absent::LeftOut) {
                    self.put(key.gguf, config.needed_float(key.hf)? as f32);
                }
            }
            Rule::Flag(unsaid) => {
                self.put(key.gguf, config.find(key.hf).and_then(|v| v.as_bool()).unwrap_or(unsaid));
            }
            Rule::Multiplier => {
                let value = config.float(key.hf)?.unwrap_or(1.0) as f32;
                if value != 0.0 {
                    self.put(key.gguf, value);
                }
            }
            Rule::Number(value) => self.put(key.gguf, value),
            Rule::Text(value) => self.put(key.gguf, value),
            Rule::Group { write, .. } => write(self)?,
        }
        Ok(())
    }
}
