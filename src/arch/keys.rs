//! Rows of hyper-parameters: GGUF keys and what config.json calls them, in both directions, and the values of config.json
//! that no GGUF key says, which have to be what llama.cpp's graph computes.

use super::config::Config;
use super::error::Error;
use super::file_keys::FileKeys;
use crate::gguf::Value;
use serde_json::Value as Json;

/// A row of the table of hyper-parameters.
#[derive(Clone, Copy)]
pub struct Key {
    /// Name in GGUF, without the architecture's.
    gguf: &'static str,
    /// Names in config.json; the first that is there counts. Those that a group reads.
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
    /// A number that is 1 where config.json does not say it; llama.cpp takes zero for a key that is not there.
    Multiplier,
    /// The same number in every model.
    Number(u32),
    /// The same text in every model.
    Text(&'static str),
    /// No key says the value: llama.cpp does what the text says, whatever the file is.
    Only(Only, &'static str),
    /// Whatever two functions make of it.
    Group {
        write: Write,
        read: Read,
    },
}

/// The one value that llama.cpp's graph computes.
#[derive(Clone, Copy)]
pub enum Only {
    /// One of these names for it.
    Word(&'static [&'static str]),
    /// A flag; what Python takes for false is false.
    Flag(bool),
    /// A number.
    Number(f64),
}

impl Only {
    /// Whether config.json says this value. `null` is false, and else leaves a value open.
    pub fn is(self, value: &Json) -> bool {
        match self {
            Only::Word(words) => value.is_null() || value.as_str().is_some_and(|word| words.contains(&word)),
            Only::Flag(flag) => is_true(value) == flag,
            Only::Number(number) => value.is_null() || value.as_f64() == Some(number),
        }
    }
}

/// What Python takes a value for.
fn is_true(value: &Json) -> bool {
    match value {
        Json::Null => false,
        Json::Bool(flag) => *flag,
        Json::Number(n) => n.as_f64() != Some(0.0),
        Json::String(text) => !text.is_empty(),
        Json::Array(values) => !values.is_empty(),
        Json::Object(values) => !values.is_empty(),
    }
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

    /// A value that no key says, and what llama.cpp does, whatever it is.
    pub const fn only(hf: &'static [&'static str], only: Only, does: &'static str) -> Key {
        Key { gguf: "", hf, written: "", rule: Rule::Only(only, does) }
    }

    /// Values that no key says, which `check` compares with what llama.cpp does.
    pub const fn check(hf: &'static [&'static str], check: Write) -> Key {
        Key::group(check, |_| Ok(())).reading(hf)
    }

    /// The same group with the names of the values that it reads.
    pub const fn reading(self, hf: &'static [&'static str]) -> Key {
        Key { hf, ..self }
    }

    /// Name in GGUF, without the architecture's; nothing for groups.
    pub fn gguf(&self) -> &'static str {
        self.gguf
    }

    /// Names in config.json of the values that the row reads.
    pub fn names(&self) -> &'static [&'static str] {
        self.hf
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
            Rule::Number(_) | Rule::Text(_) | Rule::Only(..) => {}
            Rule::Group { read, .. } => read(file)?,
        }
        Ok(())
    }
}

/// Collects keys, each under the name of the architecture.
pub struct Keys<'a> {
    /// Where the numbers come from.
    pub config: &'a Config,
    /// The architecture's name.
    pub architecture: &'static str,
    keys: Vec<(String, Value)>,
    notes: Vec<String>,
}

impl<'a> Keys<'a> {
    /// No keys yet.
    pub fn new(config: &'a Config, architecture: &'static str) -> Keys<'a> {
        Keys { config, architecture, keys: Vec::new(), notes: Vec::new() }
    }

    /// The keys in the order in which they were first put, and what people should know of the values.
    pub fn finish(self) -> (Vec<(String, Value)>, Vec<String>) {
        (self.keys, self.notes)
    }

    /// Says something of the values to people: a whole sentence without a full stop.
    pub fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// The error for a value of config.json other than the one that llama.cpp computes.
    pub fn differs(&self, name: &str, value: &Json, does: &str) -> Error {
        Error::Differs {
            name: name.into(),
            value: value.to_string(),
            architecture: self.architecture,
            does: does.into(),
        }
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
                if value == 0.0 {
                    return Err(self.differs(
                        key.hf[0],
                        &value.into(),
                        "takes zero for a key that is not there",
                    ));
                }
                self.put(key.gguf, value);
            }
            Rule::Number(value) => self.put(key.gguf, value),
            Rule::Text(value) => self.put(key.gguf, value),
            Rule::Only(only, does) => {
                for name in key.hf {
                    if let Some(value) = config.said(name).filter(|value| !only.is(value)) {
                        return Err(self.differs(name, value, does));
                    }
                }
            }
            Rule::Group { write, .. } => write(self)?,
        }
        Ok(())
    }
}
