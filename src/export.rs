//! GGUF back to plain forms: an F16 or F32 GGUF, or a Hugging Face folder.

use crate::arch::{llama, tokenizer};
use crate::atomic_file::AtomicFile;
use crate::checkpoint::{Dtype, unpermuted_row};
use crate::gguf::{self, File, Tensor, TensorHeader, Value, Writer};
use crate::names::is_matrix;
use rayon::prelude::*;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Why an export stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading or writing GGUF.
    #[error(transparent)]
    Gguf(#[from] gguf::Error),
    /// Anything else, said in full.
    #[error("{}: {problem}", path.display())]
    Other {
        /// File or folder.
        path: PathBuf,
        /// What is wrong and what helps.
        problem: String,
    },
}

fn other(path: &Path, problem: impl Into<String>) -> Error {
    Error::Other { path: path.to_owned(), problem: problem.into() }
}

/// Values of rows `first..` of a tensor, each of `columns`, as many as fill `out`.
fn read_rows(file: &File, t: &Tensor, columns: usize, first: usize, out: &mut [f32]) -> Result<(), Error> {
    let data = file.data(t)?;
    let row_bytes = t.kind.bytes(columns as u64).ok_or_else(|| {
        // Only vectors are read in pieces that are no rows.
        other(file.path(), format!("tensor `{}` is a vector in {}, not in floats", t.name, t.kind.name()))
    })? as usize;
    let bytes = &data[first * row_bytes..][..out.len() / columns * row_bytes];
    let plain = [Dtype::F32, Dtype::F16, Dtype::BF16].into_iter().find(|d| d.ggml() == t.kind);
    if let Some(dtype) = plain {
        dtype.widen(bytes, out);
    } else if let Some(dequantize) = t.kind.dequantizer() {
        dequantize(bytes, out);
    } else {
        let kind = t.kind.name();
        return Err(other(
            file.path(),
            format!(
                "tensor `{}` is {kind}, which is neither floats nor can be dequantized; let the program that made \
                 the file write it in F16",
                t.name
            ),
        ));
    }
    Ok(())
}

/// Fails early if a tensor of the file cannot be exported.
fn check(file: &File) -> Result<(), Error> {
    for t in file.tensors() {
        if t.elements() > 0 {
            let columns = t.columns() as usize;
            read_rows(file, t, columns, 0, &mut vec![0.0; columns])?;
        }
    }
    Ok(())
}

/// Values converted at a time: bounds memory whatever the model.
const CHUNK: usize = 1 << 22;

/// Calls `write` with the bytes of a tensor as `dtype`, piece by piece; row `i` of the output is
/// row `order(i)` of the tensor, each of `columns`.
fn convert_rows(
    file: &File,
    t: &Tensor,
    columns: usize,
    dtype: Dtype,
    order: impl Fn(usize) -> usize + Sync,
    progress: &(dyn Fn(u64) + Sync),
    mut write: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let rows = t.elements() as usize / columns.max(1);
    let row_bytes = columns * dtype.bytes();
    let at_once = (CHUNK / columns.max(1)).max(1);
    let mut out = Vec::new();
    for first in (0..rows).step_by(at_once) {
        out.resize(at_once.min(rows - first) * row_bytes, 0);
        out.par_chunks_exact_mut(row_bytes).enumerate().try_for_each_init(
            || vec![0.0; columns],
            |values, (i, out)| {
                read_rows(file, t, columns, order(first + i), values)?;
                dtype.narrow(values, out);
                progress(columns as u64);
                Ok::<(), Error>(())
            },
        )?;
        write(&out)?;
    }
    Ok(())
}

/// Writes a plain GGUF: matrices as `dtype`, vectors and norms as F32.
pub fn to_gguf(
    file: &File,
    dtype: Dtype,
    path: &Path,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<u64, Error> {
    check(file)?;
    let mut keys: Vec<(String, Value)> = file.keys().to_vec();
    keys.retain(|(k, _)| k != "general.file_type");
    keys.push(("general.file_type".into(), dtype.file_type().into()));
    let target = |t: &Tensor| if is_matrix(&t.name, &t.shape) { dtype } else { Dtype::F32 };
    let headers = file.tensors().iter().map(|t| TensorHeader {
        name: t.name.clone(),
        shape: t.shape.clone(),
        kind: target(t).ggml(),
        bytes: t.elements() * target(t).bytes() as u64,
    });
    let mut writer = Writer::create(path, &keys, headers.collect())?;
    for t in file.tensors() {
        let columns = t.columns() as usize;
        convert_rows(file, t, columns, target(t), |row| row, progress, |bytes| Ok(writer.write(bytes)?))?;
    }
    Ok(writer.finish()?)
}

/// Writes config.json, tokenizer.json, tokenizer_config.json and model.safetensors.
pub fn to_folder(
    file: &File,
    dtype: Dtype,
    folder: &Path,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<u64, Error> {
    let here = |e: String| other(file.path(), e);
    let arch = file.key("general.architecture").and_then(Value::as_str).unwrap_or("(none)");
    if arch != "llama" {
        return Err(here(format!("architecture {arch} is not supported yet (llama is)")));
    }
    check(file)?;
    let key = |name: &str| file.key(name).cloned();
    let tied = !file.tensors().iter().any(|t| t.name == "output.weight");
    let dtype_name = match dtype {
        Dtype::F32 => "float32",
        Dtype::F16 => "float16",
        Dtype::BF16 => "bfloat16",
        Dtype::F64 => "float64",
    };
    let (config, shape) = llama::config_json(key, tied, dtype_name).map_err(here)?;
    let (tokenizer, tokenizer_config) = tokenizer::json_files(key).map_err(here)?;
    let mut views = Vec::new();
    for t in file.tensors() {
        if t.name == llama::ROPE_FREQS {
            return Err(here(
                "models with rope_freqs (llama3 rope scaling) cannot be exported to a folder yet".into(),
            ));
        }
        let name = llama::hf_name(&t.name)
            .ok_or_else(|| here(format!("tensor `{}` is not one of the llama architecture's", t.name)))?;
        views.push((name, t));
    }
    for (_, t) in &views {
        let rows = t.shape.last().copied().unwrap_or(1);
        if let Some(heads) = llama::permuted_heads(&t.name, &shape)
            && heads * shape.head_dim != rows
        {
            let dim = shape.head_dim;
            return Err(here(format!(
                "tensor `{}` has {rows} rows, but the keys say {heads} heads of {dim}",
                t.name
            )));
        }
    }
    std::fs::create_dir_all(folder).map_err(|e| other(folder, e.to_string()))?;
    // Whatever fails, what was in the folder before stays whole: all files get their names at the end.
    let mut files = Vec::new();
    for (name, json) in
        [("config.json", config), ("tokenizer.json", tokenizer), ("tokenizer_config.json", tokenizer_config)]
    {
        let path = folder.join(name);
        let at = |e: std::io::Error| other(&path, e.to_string());
        let mut out = AtomicFile::create(&path).map_err(at)?;
        serde_json::to_writer_pretty(&mut out, &json).map_err(|e| at(e.into()))?;
        files.push((path, out));
    }
    views.sort_by(|a, b| a.0.cmp(&b.0));
    let path = folder.join("model.safetensors");
    let at = |e: std::io::Error| other(&path, e.to_string());
    let mut out = AtomicFile::create(&path).map_err(at)?;
    out.write_all(&safetensors_header(&views, dtype)).map_err(at)?;
    for (_, t) in &views {
        let heads = llama::permuted_heads(&t.name, &shape);
        let order = |row: usize| match heads {
            Some(_) => unpermuted_row(row, shape.head_dim as usize),
            None => row,
        };
        // Of a bias, single elements change places.
        let columns = if heads.is_some() && t.shape.len() == 1 { 1 } else { t.columns() as usize };
        convert_rows(file, t, columns, dtype, order, progress, |bytes| out.write_all(bytes).map_err(at))?;
    }
    files.push((path, out));
    let mut bytes = 0;
    for (path, out) in files {
        bytes += out.persist().map_err(|e| other(&path, e.to_string()))?;
    }
    Ok(bytes)
}

/// The length and the JSON header of a safetensors file with these tensors in order.
fn safetensors_header(views: &[(String, &Tensor)], dtype: Dtype) -> Vec<u8> {
    let name = match dtype {
        Dtype::F32 => "F32",
        Dtype::F16 => "F16",
        Dtype::BF16 => "BF16",
        Dtype::F64 => "F64",
    };
    let mut header = serde_json::Map::new();
    header.insert("__metadata__".into(), serde_json::json!({"format": "pt"}));
    let mut at = 0;
    for (hf, t) in views {
        let end = at + t.elements() * dtype.bytes() as u64;
        let shape: Vec<u64> = t.shape.iter().rev().copied().collect();
        let entry = serde_json::json!({"dtype": name, "shape": shape, "data_offsets": [at, end]});
        header.insert(hf.clone(), entry);
        at = end;
    }
    let mut json = serde_json::to_vec(&header).expect("JSON of our own making");
    json.resize(json.len().next_multiple_of(8), b' ');
    [&(json.len() as u64).to_le_bytes()[..], &json].concat()
}
