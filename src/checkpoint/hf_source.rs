//! What the tensors of a Hugging Face folder are made from, and what was made of them.

use super::model::SourceTensor;
use super::quantized::PackedMatrices;
use super::shards::Shards;
use super::stored::Entry;
use crate::arch::config::{Config, Shape};
use crate::arch::{self, Architecture, Block};
use crate::gguf::Value;
use std::path::{Path, PathBuf};

/// What tensors are made from.
pub struct Source<'a> {
    pub folder: &'a Path,
    pub shards: &'a Shards,
    pub packed: &'a PackedMatrices,
    pub architecture: &'static Architecture,
    pub config: &'a Config,
    pub shape: Shape,
    /// What each block is.
    pub blocks: Vec<Block>,
    /// The keys that config.json gives.
    pub keys: &'a [(String, Value)],
    /// Number of tokens, if there is a tokenizer.
    pub tokens: Option<usize>,
    /// See [`super::Options::keep_tied_head`].
    pub keep_tied_head: bool,
    /// Whether it is a model that predicts tokens.
    pub has_head: bool,
}

/// A tensor of the file, and the row of the table that it comes from.
pub struct Placed {
    pub row: &'static arch::Tensor,
    pub tensor: SourceTensor,
}

/// What helps where config.json and tensors contradict each other.
pub const NOT_OF_ONE_MODEL: &str = "they are not of one model, take both from one repository";

/// Elements that are compared at a time.
const CHUNK: usize = 1 << 16;

impl Source<'_> {
    /// The value of a key that config.json gives, without the architecture's name.
    pub fn key(&self, name: &str) -> Option<u64> {
        self.key_in(name, None)
    }

    /// The same in a block, of a key that may have a value for each.
    pub fn key_in(&self, name: &str, block: Option<u64>) -> Option<u64> {
        let full = format!("{}.{name}", self.architecture.name);
        let (_, value) = self.keys.iter().find(|(key, _)| *key == full)?;
        match (value.as_array(), block) {
            (Some(values), Some(block)) => values.get(block as usize)?.as_u64(),
            _ => value.as_u64(),
        }
    }

    /// What config.json calls the value of a key.
    pub fn name_of(&self, key: &str) -> &'static str {
        let rows = self.architecture.keys.iter().copied().flatten();
        let names = rows.filter(|row| row.gguf() == key).flat_map(|row| row.names());
        names.copied().find(|name| self.config.get(name).is_some()).unwrap_or("its sizes")
    }

    /// The file of a tensor, or of the first part of it.
    pub fn file(&self, t: &SourceTensor) -> PathBuf {
        self.shards.tensors.get(t.source_name()).map_or(self.folder.to_owned(), |entry| entry.path.clone())
    }

    /// The elements of a stored tensor that is not quantized, a chunk after the other, until one is refused. Whether none
    /// was.
    fn all_chunks(&self, hf: &str, accept: &mut dyn FnMut(&[f32]) -> bool) -> bool {
        let Some(entry) = self.shards.tensors.get(hf).filter(|_| !self.packed.contains_key(hf)) else {
            return false;
        };
        let Ok(dtype) = &entry.dtype else { return false };
        let bytes = self.shards.files.bytes(entry.span);
        let mut values = Vec::new();
        bytes.chunks(CHUNK * dtype.bytes()).all(|chunk| {
            values.resize(chunk.len() / dtype.bytes(), 0.0);
            dtype.widen(chunk, &mut values);
            accept(&values)
        })
    }

    /// Whether all elements of a stored tensor are zero.
    pub fn is_zero(&self, hf: &str) -> bool {
        self.all_chunks(hf, &mut |values| values.iter().all(|value| *value == 0.0))
    }

    /// Whether two stored tensors hold the same.
    pub fn is_same(&self, a: &str, b: &str) -> bool {
        let entries = [a, b].map(|hf| self.shards.tensors.get(hf).filter(|_| !self.packed.contains_key(hf)));
        let [Some(Entry { shape, dtype, span, .. }), Some(other)] = entries else { return false };
        if *shape != other.shape {
            return false;
        }
        let bytes = [span, &other.span].map(|span| self.shards.files.bytes(*span));
        match (dtype, &other.dtype) {
            (Ok(one), Ok(two)) if one == two => bytes[0] == bytes[1],
            (Ok(_), Ok(two)) => {
                let (mut rest, mut values) = (bytes[1], Vec::new());
                self.all_chunks(a, &mut |chunk| {
                    let (now, later) = rest.split_at(chunk.len() * two.bytes());
                    rest = later;
                    values.resize(chunk.len(), 0.0);
                    two.widen(now, &mut values);
                    values == chunk
                })
            }
            _ => false,
        }
    }
}
