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
mod packed;
mod scaled;

pub use packed::Packed;

use super::dtype::Dtype;
use super::error::Error;
use super::shards::Shards;
use super::stored::{Entry, Span};
use packed::{Folder, Matrices, float};
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Finds the matrices of a format; errors name the tensor.
type FindMatrices = fn(&Folder, &mut Matrices) -> Result<(), Error>;

/// Formats by `quant_method`.
const METHODS: &[(&str, FindMatrices)] = &[
    ("gptq", gptq::find),
    ("awq", awq::find),
    ("bitsandbytes", bitsandbytes::find),
    ("fp8", scaled::find),
    ("fbgemm_fp8", scaled::find),
    ("compressed-tensors", compressed_tensors::find),
];

/// Quantized matrices by the names that they would have unquantized.
pub type PackedMatrices = BTreeMap<String, Box<dyn Packed>>;

/// Takes the tensors that quantized matrices are stored as out of `shards`, puts entries of whole matrices in their
/// place, and returns what reads these. `config` is that of the model, `folder` where it lies. A model that is not
/// quantized stays as it is.
pub fn unpack(
    config: &Map<String, Json>,
    folder: &Path,
    shards: &mut Shards,
) -> Result<PackedMatrices, Error> {
    let Some((quantization, path)) = quantization_config(config, folder)? else {
        return Ok(PackedMatrices::new());
    };
    let method = method(&quantization, &path);
    let Some((_, find)) = METHODS.iter().find(|(name, _)| *name == method) else {
        let known: Vec<_> = METHODS.iter().map(|(name, _)| *name).collect();
        let problem = format!(
            "the checkpoint is quantized by `{method}`, which cannot be read ({} can): start from the unquantized model",
            known.join(", ")
        );
        return Err(Error::unsupported(&path, problem));
    };
    let dtype = ["dtype", "torch_dtype"].into_iter().find_map(|key| config.get(key)).and_then(Json::as_str);
    let folder =
        Folder { shards, config: &quantization, dtype: dtype.and_then(float).unwrap_or(Dtype::BF16) };
    let mut matrices = Matrices::default();
    find(&folder, &mut matrices)?;
    if matrices.found.is_empty() {
        let problem = format!("it says that the weights are quantized by `{method}`, but none are");
        return Err(Error::config(&path, problem));
    }
    for name in &matrices.taken {
        shards.tensors.remove(name);
    }
    let mut packed = PackedMatrices::new();
    for (name, path, matrix) in matrices.found {
        let shape = matrix.shape().map(|n| n as u64).to_vec();
        let entry = Entry { dtype: Ok(matrix.dtype()), shape, path, span: Span::default() };
        shards.tensors.insert(name.clone(), entry);
        packed.insert(name, matrix);
    }
    Ok(packed)
}

/// How the weights are quantized, and the file that says it.
type QuantizationConfig = (Map<String, Json>, PathBuf);

/// What says how the weights are quantized.
fn quantization_config(
    config: &Map<String, Json>,
    folder: &Path,
) -> Result<Option<QuantizationConfig>, Error> {
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
                .map_err(|e| Error::damaged(&path, format!("not a JSON object: {e}")));
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
