//! Checkpoints that are quantized already: every format is a file here, which finds its matrices among the tensors of
//! a folder and says what their weights are, exactly as the library that wrote them does.
//!
//! A matrix takes the place of the tensors that it is stored as, under the name that it would have unquantized; the
//! rest of the program reads its rows as floats and need not know. Some can be kept as they are: see
//! [`Packed::exact_type`].

mod awq;
mod bitsandbytes;
mod compressed_tensors;
mod gptq;
mod grouped;
mod scaled;

use super::Dtype;
use super::shards::{Entry, Shards, Span};
use crate::types::TensorType;
use half::{bf16, f16};
use serde_json::{Map, Value as Json};
use std::fmt::Debug;
use std::path::{Path, PathBuf};

/// A quantized matrix.
pub trait Packed: Debug + Send + Sync {
    /// Rows and columns.
    fn shape(&self) -> [usize; 2];

    /// The float type in which the library that wrote it has its weights.
    fn dtype(&self) -> Dtype;

    /// Format, bits and groups, for people.
    fn describe(&self) -> String;

    /// Writes the weights of a row to `out`, which is as long as a row.
    fn read_row(&self, files: &Shards, row: usize, out: &mut [f32]);

    /// The type that holds the weights without loss, if there is one for all of them.
    fn exact_type(&self, _: &Shards) -> Option<&'static TensorType> {
        None
    }

    /// Writes the blocks of a row in [`Packed::exact_type`] to `out`.
    fn read_blocks(&self, _files: &Shards, _row: usize, _out: &mut [u8]) {
        unreachable!("no type holds it")
    }
}

/// What holds the quantized matrices of a folder, and the names of what else belongs to them.
#[derive(Default)]
struct Matrices {
    /// Name of each, the file of one of its tensors, and what it is.
    found: Vec<(String, PathBuf, Box<dyn Packed>)>,
    /// Names of tensors that go.
    taken: Vec<String>,
}

/// What a format needs to know of a folder.
struct Folder<'a> {
    files: &'a Shards,
    /// `quantization_config`.
    config: &'a Map<String, Json>,
    /// The type of weights that have none of their own.
    dtype: Dtype,
}

/// Finds the matrices of a format; errors name the tensor.
type Find = fn(&Folder, &mut Matrices) -> Result<(), Problem>;

/// What is wrong with a file.
type Problem = (PathBuf, String);

/// Formats by `quant_method`.
const METHODS: &[(&str, Find)] = &[
    ("gptq", gptq::find),
    ("awq", awq::find),
    ("bitsandbytes", bitsandbytes::find),
    ("fp8", scaled::find),
    ("fbgemm_fp8", scaled::find),
    ("compressed-tensors", compressed_tensors::find),
];

/// Puts matrices in the place of the tensors that they are stored as. `config` is that of the model, `folder` where
/// it lies. Does nothing to a model that is not quantized.
pub fn unpack(config: &Map<String, Json>, folder: &Path, files: &mut Shards) -> Result<(), Problem> {
    let Some((quantization, path)) = quantization_config(config, folder)? else { return Ok(()) };
    let method = method(&quantization, &path);
    let Some((_, find)) = METHODS.iter().find(|(name, _)| *name == method) else {
        let known: Vec<_> = METHODS.iter().map(|(name, _)| *name).collect();
        let problem = format!(
            "the checkpoint is quantized by `{method}`, which cannot be read ({} can): start from the unquantized model",
            known.join(", ")
        );
        return Err((path, problem));
    };
    let dtype = ["dtype", "torch_dtype"].into_iter().find_map(|key| config.get(key)).and_then(Json::as_str);
    let folder = Folder { files, config: &quantization, dtype: dtype.and_then(float).unwrap_or(Dtype::BF16) };
    let mut matrices = Matrices::default();
    find(&folder, &mut matrices)?;
    if matrices.found.is_empty() {
        return Err((path, format!("it says that the weights are quantized by `{method}`, but none are")));
    }
    for name in &matrices.taken {
        files.remove(name);
    }
    for (name, path, packed) in matrices.found {
        files.put(name, path, packed);
    }
    Ok(())
}

/// How the weights are quantized, and the file that says it.
type Said = (Map<String, Json>, PathBuf);

/// What says how the weights are quantized.
fn quantization_config(config: &Map<String, Json>, folder: &Path) -> Result<Option<Said>, Problem> {
    let inner = config.get("text_config").and_then(Json::as_object);
    for config in [Some(config), inner].into_iter().flatten() {
        for key in ["quantization_config", "compression_config"] {
            if let Some(q) = config.get(key).and_then(Json::as_object) {
                return Ok(Some((q.clone(), folder.join("config.json"))));
            }
        }
    }
    // Before transformers knew of them, the libraries had files of their own.
    for name in ["quantize_config.json", "quant_config.json"] {
        let path = folder.join(name);
        if let Ok(text) = std::fs::read(&path) {
            let parsed = serde_json::from_slice(&text);
            return parsed
                .map(|q| Some((q, path.clone())))
                .map_err(|e| (path, format!("not a JSON object: {e}")));
        }
    }
    Ok(None)
}

fn method(quantization: &Map<String, Json>, path: &Path) -> String {
    let said = |key: &str| quantization.get(key).and_then(Json::as_str).map(str::to_lowercase);
    let own = || {
        let name = path.file_name().unwrap_or_default();
        if name == "quantize_config.json" {
            "gptq".into()
        } else if name == "quant_config.json" {
            "awq".into()
        } else {
            "(no quant_method)".into()
        }
    };
    said("quant_method").unwrap_or_else(own)
}

/// A float type by its name in torch.
fn float(name: &str) -> Option<Dtype> {
    match name {
        "float32" => Some(Dtype::F32),
        "float16" => Some(Dtype::F16),
        "bfloat16" => Some(Dtype::BF16),
        _ => None,
    }
}

impl Folder<'_> {
    /// Names without `suffix` of the tensors that end in it.
    fn ending_in(&self, suffix: &str) -> Vec<String> {
        self.files.iter().filter_map(|(name, _)| Some(name.strip_suffix(suffix)?.to_owned())).collect()
    }

    /// A tensor that has to be there.
    fn tensor(&self, name: &str, beside: &str) -> Result<&Entry, Problem> {
        self.files.get(name).ok_or_else(|| {
            let path = self.files.get(beside).map(|e| e.path.clone()).unwrap_or_default();
            (path, format!("tensor `{beside}` is there, but not `{name}`: a shard may be missing"))
        })
    }
}

/// A problem with a tensor.
fn wrong(entry: &Entry, name: &str, what: impl std::fmt::Display) -> Problem {
    (entry.path.clone(), format!("tensor `{name}` {what}"))
}

/// The name of the type of the elements.
fn kind(entry: &Entry) -> &str {
    match &entry.dtype {
        Ok(Dtype::F32) => "F32",
        Ok(Dtype::F16) => "F16",
        Ok(Dtype::BF16) => "BF16",
        Ok(Dtype::F64) => "F64",
        Err(other) => other,
    }
}

/// Checks the type and the extents of a tensor.
fn expect(entry: &Entry, name: &str, types: &[&str], shape: &[usize]) -> Result<(), Problem> {
    if !types.contains(&kind(entry)) {
        return Err(wrong(entry, name, format!("is {}, not {}", kind(entry), types.join(" or "))));
    }
    match entry.shape.iter().map(|&n| n as usize).eq(shape.iter().copied()) {
        true => Ok(()),
        false => Err(wrong(entry, name, format!("has the shape {:?}, not {shape:?}", entry.shape))),
    }
}

/// The extents of a matrix.
fn matrix(entry: &Entry, name: &str) -> Result<[usize; 2], Problem> {
    match entry.shape[..] {
        [rows, columns] if rows > 0 && columns > 0 => Ok([rows as usize, columns as usize]),
        _ => Err(wrong(entry, name, format!("has the shape {:?}: not a matrix", entry.shape))),
    }
}

/// Types of scales.
const FLOATS: &[&str] = &["F32", "F16", "BF16"];

/// Floats of any type in a file.
#[derive(Clone, Copy, Debug)]
struct Floats {
    span: Span,
    dtype: Dtype,
}

impl Floats {
    fn new(entry: &Entry, name: &str) -> Result<Floats, Problem> {
        match entry.dtype {
            Ok(dtype) if FLOATS.contains(&kind(entry)) => Ok(Floats { span: entry.span, dtype }),
            _ => Err(wrong(entry, name, format!("is {}, not {}", kind(entry), FLOATS.join(" or ")))),
        }
    }

    /// Element `i`.
    fn get(&self, files: &Shards, i: usize) -> f32 {
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
fn word(bytes: &[u8], i: usize) -> u32 {
    u32::from_le_bytes(*bytes[4 * i..].first_chunk().expect("4 bytes"))
}

/// Fields of a few bits, one after the other in words of 32 bits, lowest first; a field may begin in one word and end
/// in the next. The words are a column of a matrix of words: `stride` apart.
#[derive(Clone, Copy, Debug)]
struct Fields<'a> {
    words: &'a [u8],
    first: usize,
    stride: usize,
    bits: usize,
}

impl Fields<'_> {
    /// Field `i`.
    fn get(&self, i: usize) -> u32 {
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
    fn words(n: usize, bits: usize) -> usize {
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
