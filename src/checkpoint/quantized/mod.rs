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
mod mlx;
mod mxfp4;
mod packed;
mod scaled;

pub use packed::Packed;

use super::dtype::Dtype;
use super::error::Error;
use super::shards::Shards;
use super::stored::{Entry, Span};
use crate::{python_json, small_file};
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
    ("mlx", mlx::find),
    ("mxfp4", mxfp4::find),
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
    let Some((quantization, path, method)) = quantization(config, folder, shards)? else {
        return Ok(PackedMatrices::new());
    };
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
        let entry = Entry { dtype: Ok(matrix.dtype()), shape: matrix.extents(), path, span: Span::default() };
        shards.tensors.insert(name.clone(), entry);
        packed.insert(name, matrix);
    }
    Ok(packed)
}

/// How the weights are quantized, the file that says it, and the method.
type Quantization = (Map<String, Json>, PathBuf, String);

/// What says how the weights are quantized: config.json, files of the libraries, or the tensors themselves.
fn quantization(
    config: &Map<String, Json>,
    folder: &Path,
    shards: &Shards,
) -> Result<Option<Quantization>, Error> {
    let config_path = folder.join("config.json");
    let method = |said: &Map<String, Json>, own: &str| {
        let named = said.get("quant_method").and_then(Json::as_str);
        named.map_or(own.to_owned(), str::to_lowercase)
    };
    let inner = config.get("text_config").and_then(Json::as_object);
    for config in [Some(config), inner].into_iter().flatten() {
        for key in ["quantization_config", "compression_config", "quantization"] {
            if let Some(said) = config.get(key).and_then(Json::as_object) {
                let own = if is_mlx(said) { "mlx" } else { "(no quant_method)" };
                return Ok(Some((said.clone(), config_path, method(said, own))));
            }
        }
    }
    // Before transformers knew of them, the libraries had files of their own.
    for (name, own) in [("quantize_config.json", "gptq"), ("quant_config.json", "awq")] {
        let path = folder.join(name);
        if path.exists() {
            let text = small_file::read(&path).map_err(Error::read(&path))?;
            let said: Map<String, Json> = python_json::parse(&text)
                .map_err(|e| Error::damaged(&path, format!("not a JSON object: {e}")))?;
            let method = method(&said, own);
            return Ok(Some((said, path, method)));
        }
    }
    // bitsandbytes says with the tensors all that is needed.
    let is_state = |name: &String| name.contains(bitsandbytes::STATE) || name.ends_with(".SCB");
    let has_states = shards.tensors.keys().any(is_state);
    Ok(has_states.then(|| (Map::new(), config_path, "bitsandbytes".into())))
}

/// Whether settings are those of MLX, which names no method.
fn is_mlx(said: &Map<String, Json>) -> bool {
    !said.contains_key("quant_method") && ["group_size", "bits"].iter().all(|key| said.contains_key(*key))
}
