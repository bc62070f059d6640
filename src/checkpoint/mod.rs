//! Models to convert: Hugging Face folders and GGUF files, both as one [`Model`].

mod gguf_model;
mod hf_folder;
mod model_card;
mod model_name;
mod pickle;
mod pytorch;
mod quantized;
mod shards;
mod transform;

pub use transform::{permuted_row, unpermuted_row};

use crate::gguf::{self, GgmlType, Value};
use crate::types::TensorType;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use std::path::{Path, PathBuf};
use transform::{Order, Transform};

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
    Folder(shards::Shards),
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
    /// What happens to them.
    transform: Transform,
}

#[derive(Clone, Debug)]
enum Data {
    /// Index in the GGUF file.
    Gguf(usize),
    /// Names in the shards, of equal shapes; more than one are stacked.
    Stored(Vec<String>),
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
                // Many at a time: there are instructions for that.
                let mut halves = [f16::ZERO; 256];
                for (x, out) in x.chunks(256).zip(out.chunks_mut(512)) {
                    let halves = &mut halves[..x.len()];
                    halves.convert_from_f32_slice(x);
                    for (h, o) in halves.iter().zip(out.chunks_exact_mut(2)) {
                        o.copy_from_slice(&h.to_le_bytes());
                    }
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
            [_] if self.transform.order != Order::Stored => 1,
            [columns, ..] => columns as usize,
        }
    }

    /// Number of rows of [`SourceTensor::columns`].
    pub fn rows(&self) -> usize {
        self.elements() as usize / self.columns().max(1)
    }

    /// Its name in the checkpoint.
    fn source_name(&self) -> &str {
        match &self.data {
            Data::Stored(names) => &names[0],
            _ => &self.name,
        }
    }

    /// Number of stored tensors that it is made of.
    fn parts(&self) -> usize {
        match &self.data {
            Data::Stored(names) => names.len(),
            _ => 1,
        }
    }

    /// The part that holds row `row`, and its row there.
    fn stored_row(&self, row: usize) -> (usize, usize) {
        let row = self.transform.order.stored_row(row);
        match self.parts() {
            1 => (0, row),
            parts => (row / (self.rows() / parts), row % (self.rows() / parts)),
        }
    }

    /// Number of elements.
    pub fn elements(&self) -> u64 {
        self.shape.iter().product()
    }
}

/// Matrices that llama.cpp wants as F32 all the same: small, and decisive.
const PRECISE: [&str; 3] = ["position_embd.weight", ".ffn_gate_inp.weight", ".ffn_gate_inp_shexp.weight"];

/// Whether a tensor is stored in a chosen type: llama.cpp wants vectors, norms, learned positions and the routing to
/// experts as F32.
pub fn is_matrix(name: &str, shape: &[u64]) -> bool {
    let precise = name.ends_with("_norm.weight") || PRECISE.iter().any(|p| name.ends_with(p));
    shape.len() > 1 && name.ends_with(".weight") && !precise
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
    /// Leave the tokenizer out: the file takes token ids only.
    pub no_tokenizer: bool,
    /// Keep a stored head that is tied to the embeddings, as llama.cpp's converter does; else the embeddings serve.
    pub keep_tied_head: bool,
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

    /// The bytes of part `part` of a tensor of this model that is not computed.
    fn part(&self, t: &SourceTensor, part: usize) -> Result<&[u8], Error> {
        match (&t.data, &self.storage) {
            (Data::Gguf(i), Storage::Gguf(file)) => Ok(file.data(&file.tensors()[*i])?),
            (Data::Stored(names), Storage::Folder(shards)) => Ok(shards.data(&names[part])),
            _ => unreachable!("a tensor of another model"),
        }
    }

    /// What holds part `part` of a tensor, if it is quantized.
    fn packed(&self, t: &SourceTensor, part: usize) -> Option<(&shards::Shards, &dyn quantized::Packed)> {
        match (&t.data, &self.storage) {
            (Data::Stored(names), Storage::Folder(shards)) => Some((shards, shards.packed(&names[part])?)),
            _ => None,
        }
    }

    /// How a tensor is quantized, for people, if it is.
    pub fn quantization(&self, t: &SourceTensor) -> Option<String> {
        self.packed(t, 0).map(|(_, packed)| packed.describe())
    }

    /// The type of ours that holds a quantized tensor without loss.
    pub fn exact_type(&self, t: &SourceTensor) -> Option<&'static TensorType> {
        let exact = |part| self.packed(t, part).and_then(|(files, packed)| packed.exact_type(files));
        let first = exact(0).filter(|_| !t.transform.plus_one)?;
        (1..t.parts()).all(|part| exact(part).is_some_and(|other| other.id == first.id)).then_some(first)
    }

    /// Reads row `row` of a tensor as blocks of its [`Model::exact_type`].
    pub fn read_blocks(&self, t: &SourceTensor, row: usize, out: &mut [u8]) {
        let (part, row) = t.stored_row(row);
        let (files, packed) = self.packed(t, part).expect("a quantized tensor");
        packed.read_blocks(files, row, out);
    }

    /// Reads rows `first..` of a tensor, as many as fill `out`, as f32.
    pub fn read_rows(&self, t: &SourceTensor, first: usize, out: &mut [f32]) -> Result<(), Error> {
        let (columns, bytes) = (t.columns(), t.dtype.bytes());
        let mut gathered = Vec::new();
        for (i, out) in out.chunks_exact_mut(columns).enumerate() {
            let (part_number, row) = t.stored_row(first + i);
            if let Data::Computed(v) = &t.data {
                out.copy_from_slice(&v[row * columns..][..columns]);
                continue;
            }
            if let Some((files, packed)) = self.packed(t, part_number) {
                packed.read_row(files, row, out);
            } else if let Order::Columns { stored } = t.transform.order {
                let part = self.part(t, part_number)?;
                gathered.clear();
                for column in 0..columns {
                    gathered.extend_from_slice(&part[(column * stored + row) * bytes..][..bytes]);
                }
                t.dtype.widen(&gathered, out);
            } else {
                let part = self.part(t, part_number)?;
                t.dtype.widen(&part[row * columns * bytes..][..columns * bytes], out);
            }
            if t.transform.plus_one {
                out.iter_mut().for_each(|x| *x = transform::plus_one(*x, t.dtype == Dtype::F16));
            }
        }
        Ok(())
    }

    /// Lets go of the memory of what has been read. Pages of mapped files count as a program's memory until then.
    pub fn release(&self) {
        match &self.storage {
            Storage::Gguf(file) => file.maps().iter().for_each(shards::release),
            Storage::Folder(shards) => shards.release(),
        }
    }

    /// The bytes of a whole tensor as they are stored, if they are stored as they are written.
    pub fn stored_bytes(&self, t: &SourceTensor) -> Result<Option<&[u8]>, Error> {
        let as_stored = t.transform == Transform::NONE && t.parts() == 1 && self.packed(t, 0).is_none();
        match t.data {
            Data::Computed(_) => Ok(None),
            _ if !as_stored => Ok(None),
            _ => {
                let len = t.elements() as usize * t.dtype.bytes();
                Ok(Some(&self.part(t, 0)?[..len]))
            }
        }
    }
}
