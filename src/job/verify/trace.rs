//! What a model computes of some ids, from the files of the two programs that computed it.

use super::error::VerifyError;
use crate::gguf;
use crate::mapped::{self, Map};
use safetensors::{Dtype, SafeTensors};
use std::path::{Path, PathBuf};

/// What goes into the first block.
pub(super) const EMBEDDINGS: &str = "embeddings";
/// What comes out of the last norm and the head.
pub(super) const LOGITS: &str = "logits";

/// What comes out of a block.
pub(super) fn block(number: u64) -> String {
    format!("block.{number}")
}

/// A table with a row for each id.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rows {
    pub columns: usize,
    pub values: Vec<f32>,
}

/// Tables by name.
pub(super) struct Trace {
    path: PathBuf,
    tables: Tables,
}

enum Tables {
    /// By the collector of llama.cpp's.
    Gguf(Box<gguf::File>),
    /// By transformers.
    Safetensors(Map),
}

impl Trace {
    /// What the collector wrote.
    pub fn of_llama(path: &Path) -> Result<Trace, gguf::Error> {
        let tables = Tables::Gguf(Box::new(gguf::File::open(path)?));
        Ok(Trace { path: path.to_owned(), tables })
    }

    /// What forward_pass.py wrote.
    pub fn of_transformers(path: &Path) -> Result<Trace, VerifyError> {
        let mapped = mapped::map(path).map_err(|e| answer(path, e))?;
        SafeTensors::deserialize(&mapped).map_err(|e| answer(path, e))?;
        Ok(Trace { path: path.to_owned(), tables: Tables::Safetensors(mapped) })
    }

    /// The error where a table that has to be there is not.
    pub fn lacks(&self, name: &str) -> VerifyError {
        answer(&self.path, format!("there is no `{name}`"))
    }

    /// A table with `ids` rows; `None` if it is not there.
    pub fn rows(&self, name: &str, ids: usize) -> Result<Option<Rows>, VerifyError> {
        let (count, columns, values) = match &self.tables {
            Tables::Gguf(file) => {
                let Some(t) = file.tensors().iter().find(|t| t.name == name) else { return Ok(None) };
                if t.kind != gguf::GgmlType::F32 {
                    return Err(answer(&self.path, format!("`{name}` is not F32")));
                }
                let bytes = file.data(t).map_err(|e| answer(&self.path, e))?;
                (t.elements() / t.columns().max(1), t.columns(), floats(bytes))
            }
            Tables::Safetensors(mapped) => {
                let file = SafeTensors::deserialize(mapped).map_err(|e| answer(&self.path, e))?;
                let Ok(t) = file.tensor(name) else { return Ok(None) };
                match (t.dtype(), t.shape()) {
                    (Dtype::F32, &[count, columns]) => (count as u64, columns as u64, floats(t.data())),
                    _ => return Err(answer(&self.path, format!("`{name}` is no table of F32"))),
                }
            }
        };
        match count == ids as u64 {
            true => Ok(Some(Rows { columns: columns as usize, values })),
            false => Err(answer(&self.path, format!("`{name}` has {count} rows for {ids} ids"))),
        }
    }
}

fn answer(path: &Path, problem: impl ToString) -> VerifyError {
    VerifyError::Answer { path: path.to_owned(), problem: problem.to_string() }
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("four bytes"))).collect()
}
