//! Models to convert: Hugging Face folders and GGUF files, both as one [`Model`].

mod gguf_model;
mod hf_folder;
pub mod safetensors;

use crate::gguf::{self, GgmlType, Value};
use half::{bf16, f16};
use std::path::{Path, PathBuf};

/// A model: GGUF keys and tensors under their GGUF names, with unquantized data.
pub struct Model {
    /// Where it came from.
    pub path: PathBuf,
    /// Keys, without `general.file_type` and `general.quantization_version`.
    pub keys: Vec<(String, Value)>,
    /// Tensors in the order in which they are written.
    pub tensors: Vec<SourceTensor>,
    storage: Storage,
}

/// What holds the bytes.
enum Storage {
    Gguf(gguf::File),
    Folder(safetensors::Shards),
}

/// A tensor of a model.
#[derive(Clone, Debug)]
pub struct SourceTensor {
    /// GGUF name.
    pub name: String,
    /// Extents, innermost (columns) first.
    pub shape: Vec<u64>,
    /// Type of the stored elements.
    pub dtype: Dtype,
    /// Where the elements are.
    data: Data,
    /// For q and k of the llama architecture: the number of heads whose rows are reordered, see [`permuted_row`].
    heads: Option<u64>,
}

#[derive(Clone, Debug)]
enum Data {
    /// Index in the GGUF file or name in the shards.
    Gguf(usize),
    Shard(String),
    Computed(Vec<f32>),
}

/// Element types of unquantized tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Dtype {
    F32,
    F16,
    BF16,
}

impl Dtype {
    /// Bytes per element.
    pub fn bytes(self) -> usize {
        match self {
            Dtype::F32 => 4,
            Dtype::F16 | Dtype::BF16 => 2,
        }
    }

    /// The ggml type.
    pub fn ggml(self) -> GgmlType {
        match self {
            Dtype::F32 => GgmlType::F32,
            Dtype::F16 => GgmlType::F16,
            Dtype::BF16 => GgmlType::BF16,
        }
    }

    /// `general.file_type` of plain files, as in llama.cpp.
    pub fn file_type(self) -> u32 {
        match self {
            Dtype::F32 => 0,
            Dtype::F16 => 1,
            Dtype::BF16 => 32,
        }
    }

    fn from_ggml(kind: GgmlType) -> Option<Dtype> {
        [Dtype::F32, Dtype::F16, Dtype::BF16].into_iter().find(|d| d.ggml() == kind)
    }

    /// Widens elements to f32, exactly.
    pub fn widen(self, bytes: &[u8], out: &mut [f32]) {
        match self {
            Dtype::F32 => {
                for (b, o) in bytes.chunks_exact(4).zip(out) {
                    *o = f32::from_le_bytes(b.try_into().expect("4 bytes"));
                }
            }
            Dtype::F16 => {
                for (b, o) in bytes.chunks_exact(2).zip(out) {
                    *o = f16::from_le_bytes(b.try_into().expect("2 bytes")).to_f32();
                }
            }
            Dtype::BF16 => {
                for (b, o) in bytes.chunks_exact(2).zip(out) {
                    *o = bf16::from_le_bytes(b.try_into().expect("2 bytes")).to_f32();
                }
            }
        }
    }

    /// Rounds f32 to nearest, ties to even.
    pub fn narrow(self, x: &[f32], out: &mut [u8]) {
        match self {
            Dtype::F32 => {
                for (x, o) in x.iter().zip(out.chunks_exact_mut(4)) {
                    o.copy_from_slice(&x.to_le_bytes());
                }
            }
            Dtype::F16 => {
                for (x, o) in x.iter().zip(out.chunks_exact_mut(2)) {
                    o.copy_from_slice(&f16::from_f32(*x).to_le_bytes());
                }
            }
            Dtype::BF16 => {
                for (x, o) in x.iter().zip(out.chunks_exact_mut(2)) {
                    o.copy_from_slice(&bf16::from_f32(*x).to_le_bytes());
                }
            }
        }
    }
}

impl SourceTensor {
    /// Elements that stay together: those of a row, or one of a vector whose elements are reordered.
    pub fn columns(&self) -> usize {
        match self.shape[..] {
            [] => 1,
            [_] if self.heads.is_some() => 1,
            [columns, ..] => columns as usize,
        }
    }

    /// Number of rows of [`SourceTensor::columns`].
    pub fn rows(&self) -> usize {
        self.elements() as usize / self.columns().max(1)
    }

    /// Number of elements.
    pub fn elements(&self) -> u64 {
        self.shape.iter().product()
    }
}

/// Whether a tensor is stored in a chosen type: llama.cpp wants vectors and norms as F32.
pub fn is_matrix(name: &str, shape: &[u64]) -> bool {
    shape.len() > 1 && !name.ends_with("_norm.weight")
}

/// What is wrong with a checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A GGUF file.
    #[error(transparent)]
    Gguf(#[from] gguf::Error),
    /// Anything else, said in full.
    #[error("{}: {problem}", path.display())]
    Checkpoint {
        /// File or folder.
        path: PathBuf,
        /// What is wrong and what helps.
        problem: String,
    },
}

/// An [`Error::Checkpoint`].
pub(crate) fn problem(path: &Path, problem: impl Into<String>) -> Error {
    Error::Checkpoint { path: path.to_owned(), problem: problem.into() }
}

/// How to read a checkpoint.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Pre-tokenizer name to write instead of the one that tokenizer.json shows.
    pub tokenizer_pre: Option<String>,
}

impl Model {
    /// Opens a Hugging Face folder or a GGUF file.
    pub fn open(path: &Path, options: &Options) -> Result<Model, Error> {
        let metadata = std::fs::metadata(path).map_err(|e| problem(path, e.to_string()))?;
        if metadata.is_dir() {
            hf_folder::open(path, options)
        } else if path.extension().is_some_and(|e| e == "safetensors") {
            Err(problem(path, "give the folder that holds it, with config.json and tokenizer.json"))
        } else {
            gguf_model::open(path)
        }
    }

    /// The value of a key.
    pub fn key(&self, name: &str) -> Option<&Value> {
        self.keys.iter().find(|(k, _)| k == name).map(|(_, v)| v)
    }

    /// Bytes of stored row `row` of a tensor of this model that is not computed.
    fn row_bytes(&self, t: &SourceTensor, row: usize) -> Result<&[u8], Error> {
        let all = match (&t.data, &self.storage) {
            (Data::Gguf(i), Storage::Gguf(file)) => file.data(&file.tensors()[*i])?,
            (Data::Shard(name), Storage::Folder(shards)) => shards.data(name),
            _ => unreachable!("a tensor of another model"),
        };
        let row_len = t.columns() * t.dtype.bytes();
        Ok(&all[row * row_len..][..row_len])
    }

    /// Reads rows `first..` of a tensor, as many as fill `out`, as f32.
    pub fn read_rows(&self, t: &SourceTensor, first: usize, out: &mut [f32]) -> Result<(), Error> {
        for (i, out) in out.chunks_exact_mut(t.columns()).enumerate() {
            let row = match t.heads {
                Some(heads) => permuted_row(first + i, t.rows() / heads as usize),
                None => first + i,
            };
            match &t.data {
                Data::Computed(v) => out.copy_from_slice(&v[row * t.columns()..][..t.columns()]),
                _ => t.dtype.widen(self.row_bytes(t, row)?, out),
            }
        }
        Ok(())
    }

    /// The bytes of a whole tensor as they are stored, if rows are stored in order.
    pub fn stored_bytes(&self, t: &SourceTensor) -> Result<Option<&[u8]>, Error> {
        match (&t.data, &self.storage, t.heads) {
            (Data::Gguf(i), Storage::Gguf(file), None) => Ok(Some(file.data(&file.tensors()[*i])?)),
            (Data::Shard(name), Storage::Folder(shards), None) => Ok(Some(shards.data(name))),
            _ => Ok(None),
        }
    }
}

/// The stored row that becomes row `row`, with heads of `head_rows` rows.
///
/// Hugging Face keeps the two halves of each rotary pair `head_rows / 2` apart; llama.cpp wants the
/// pair side by side. Row `2 i + half` of a head comes from row `half * head_rows / 2 + i`.
pub fn permuted_row(row: usize, head_rows: usize) -> usize {
    let (head, within) = (row / head_rows, row % head_rows);
    head * head_rows + within % 2 * (head_rows / 2) + within / 2
}

/// The inverse of [`permuted_row`].
pub fn unpermuted_row(row: usize, head_rows: usize) -> usize {
    let (head, within) = (row / head_rows, row % head_rows);
    let half = head_rows / 2;
    head * head_rows + within % half * 2 + within / half
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permutation_is_undone() {
        for row in 0..192 {
            assert_eq!(unpermuted_row(permuted_row(row, 64), 64), row);
        }
        assert_eq!((0..8).map(|r| permuted_row(r, 8)).collect::<Vec<_>>(), [0, 4, 1, 5, 2, 6, 3, 7]);
    }
}
