//! What the formats share: what a quantized matrix is, what a format finds in a folder, checks, packed fields.

use crate::checkpoint::dtype::Dtype;
use crate::checkpoint::error::Error;
use crate::checkpoint::shards::Shards;
use crate::checkpoint::stored::{Entry, Files, Span};
use crate::gguf::GgmlType;
use half::{bf16, f16};
use serde_json::{Map, Value as Json};
use std::fmt::Debug;
use std::path::PathBuf;

/// A quantized matrix.
pub trait Packed: Debug + Send + Sync {
    /// Rows and columns.
    fn shape(&self) -> [usize; 2];

    /// The extents of the tensor as it would be unquantized, outermost first, where its rows are those of several matrices.
    fn extents(&self) -> Vec<u64> {
        self.shape().map(|extent| extent as u64).to_vec()
    }

    /// The float type in which the library that wrote it has its weights.
    fn dtype(&self) -> Dtype;

    /// Format, bits and groups, for people.
    fn describe(&self) -> String;

    /// Writes the weights of a row to `out`, which is as long as a row.
    fn read_row(&self, files: &Files, row: usize, out: &mut [f32]);

    /// The type that holds the weights without loss, if there is one for all of them.
    fn exact_type(&self, _: &Files) -> Option<GgmlType> {
        None
    }

    /// Writes the blocks of a row in [`Packed::exact_type`] to `out`.
    fn read_blocks(&self, _files: &Files, _row: usize, _out: &mut [u8]) {
        unreachable!("no type holds it")
    }
}

/// What holds the quantized matrices of a folder, and the names of what else belongs to them.
#[derive(Default)]
pub struct Matrices {
    /// Name of each, the file of one of its tensors, and what it is.
    pub found: Vec<(String, PathBuf, Box<dyn Packed>)>,
    /// Names of tensors that go.
    pub taken: Vec<String>,
}

/// What a format needs to know of a folder.
pub struct Folder<'a> {
    /// Its tensors and the files that hold them.
    pub shards: &'a Shards,
    /// `quantization_config`.
    pub config: &'a Map<String, Json>,
    /// The type of weights that have none of their own.
    pub dtype: Dtype,
}

/// A float type by its name in torch.
pub fn float(name: &str) -> Option<Dtype> {
    match name {
        "float32" => Some(Dtype::F32),
        "float16" => Some(Dtype::F16),
        "bfloat16" => Some(Dtype::BF16),
        _ => None,
    }
}

impl Folder<'_> {
    /// Names without `suffix` of the tensors that end in it.
    pub fn ending_in(&self, suffix: &str) -> Vec<String> {
        let names = self.shards.tensors.keys();
        names.filter_map(|name| Some(name.strip_suffix(suffix)?.to_owned())).collect()
    }

    /// A tensor that has to be there.
    pub fn tensor(&self, name: &str, beside: &str) -> Result<&Entry, Error> {
        self.shards.tensors.get(name).ok_or_else(|| {
            let path = self.shards.tensors.get(beside).map(|e| e.path.clone()).unwrap_or_default();
            let problem = format!("is not there, but `{beside}` is: a shard may be missing");
            Error::MissingTensor { path, tensor: name.to_owned(), problem }
        })
    }
}

/// A problem with a tensor.
pub fn wrong(entry: &Entry, name: &str, what: impl std::fmt::Display) -> Error {
    Error::tensor(&entry.path, name, what.to_string())
}

/// The name of the type of the elements.
pub fn type_name(entry: &Entry) -> &str {
    match &entry.dtype {
        Ok(Dtype::F32) => "F32",
        Ok(Dtype::F16) => "F16",
        Ok(Dtype::BF16) => "BF16",
        Ok(Dtype::F64) => "F64",
        Err(other) => other,
    }
}

/// Checks the type and the extents of a tensor.
pub fn expect(entry: &Entry, name: &str, types: &[&str], shape: &[usize]) -> Result<(), Error> {
    if !types.contains(&type_name(entry)) {
        return Err(wrong(entry, name, format!("is {}, not {}", type_name(entry), types.join(" or "))));
    }
    match entry.shape.iter().map(|&n| n as usize).eq(shape.iter().copied()) {
        true => Ok(()),
        false => Err(wrong(entry, name, format!("has the shape {:?}, not {shape:?}", entry.shape))),
    }
}

/// The extents of a matrix.
pub fn matrix(entry: &Entry, name: &str) -> Result<[usize; 2], Error> {
    match entry.shape[..] {
        [rows, columns] if rows > 0 && columns > 0 => Ok([rows as usize, columns as usize]),
        _ => Err(wrong(entry, name, format!("has the shape {:?}: not a matrix", entry.shape))),
    }
}

/// Types of scales.
pub const FLOATS: &[&str] = &["F32", "F16", "BF16"];

/// Floats of any type in a file.
#[derive(Clone, Copy, Debug)]
pub struct Floats {
    span: Span,
    pub dtype: Dtype,
}

impl Floats {
    pub fn new(entry: &Entry, name: &str) -> Result<Floats, Error> {
        match entry.dtype {
            Ok(dtype) if FLOATS.contains(&type_name(entry)) => Ok(Floats { span: entry.span, dtype }),
            _ => Err(wrong(entry, name, format!("is {}, not {}", type_name(entry), FLOATS.join(" or ")))),
        }
    }

    /// Element `i`.
    pub fn get(&self, files: &Files, i: usize) -> f32 {
        let bytes = files.bytes(self.span);
        let two = || [bytes[2 * i], bytes[2 * i + 1]];
        match self.dtype {
            Dtype::F32 => f32::from_bits(word(bytes, i)),
            Dtype::F64 => unreachable!("no type of scales"),
            Dtype::F16 => f16::from_le_bytes(two()).to_f32(),
            Dtype::BF16 => bf16::from_le_bytes(two()).to_f32(),
        }
    }
}

/// Word `i` of 32 bits.
pub fn word(bytes: &[u8], i: usize) -> u32 {
    u32::from_le_bytes(*bytes[4 * i..].first_chunk().expect("4 bytes"))
}

/// Fields of a few bits, one after the other in words of 32 bits, lowest first; a field may begin in one word and end
/// in the next. The words are a column of a matrix of words: `stride` apart.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    pub words: &'a [u8],
    pub first: usize,
    pub stride: usize,
    pub bits: usize,
}

impl Fields<'_> {
    /// Field `i`.
    pub fn get(&self, i: usize) -> u32 {
        let bit = i * self.bits;
        let (at, shift) = (self.first + bit / 32 * self.stride, bit % 32);
        let low = word(self.words, at) >> shift;
        let high = match shift + self.bits > 32 {
            true => word(self.words, at + self.stride) << (32 - shift),
            false => 0,
        };
        (low | high) & ((1 << self.bits) - 1)
    }

    /// Words that `n` fields take.
    pub fn words(n: usize, bits: usize) -> usize {
        (n * bits).div_ceil(32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_cross_words() {
        // Eleven fields of 3 bits: 0 1 2 3 4 5 6 7 0 1 and a last one, 6, of which two bits are in the first word.
        let value: u64 = [0u64, 1, 2, 3, 4, 5, 6, 7, 0, 1, 6].iter().rev().fold(0, |v, f| v << 3 | f);
        let bytes = value.to_le_bytes();
        let fields = Fields { words: &bytes, first: 0, stride: 1, bits: 3 };
        assert_eq!((0..11).map(|i| fields.get(i)).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 6]);
        assert_eq!(Fields::words(11, 3), 2);
    }
}
