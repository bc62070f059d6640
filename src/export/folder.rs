//! GGUF to a Hugging Face folder: config.json, the files of a tokenizer, model.safetensors.

use super::config::{self, Exported};
use super::error::{self, Error, unsupported};
use super::rows::{self, Output};
use crate::arch::config::Shape;
use crate::arch::{self, Architecture, Conversion, Linear, tokenizer};
use crate::atomic_file::AtomicFile;
use crate::checkpoint::{Change, Dtype, Order};
use crate::gguf::{File, Tensor, Value};
use std::io::Write;
use std::path::Path;

/// A tensor of the checkpoint, and what of the file it is made from.
struct View<'a> {
    /// Name in the checkpoint.
    name: String,
    /// Extents, innermost first.
    shape: Vec<u64>,
    tensor: &'a Tensor,
    conversion: Conversion,
    /// Number of the part of a stack; 0 for what is none.
    part: u64,
}

impl View<'_> {
    fn elements(&self) -> u64 {
        self.shape.iter().product()
    }
}

/// Writes config.json, the files of the tokenizer, and model.safetensors, for every architecture that can be converted.
/// Whatever fails, the files that were in the folder before stay as they were: all files get their names at the end, and only if `replaces` is set
/// in place of others.
pub fn to_folder(
    file: &File,
    dtype: Dtype,
    folder: &Path,
    replaces: bool,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<u64, Error> {
    let here = |problem: String| unsupported(file, problem);
    let candidates = architectures(file).map_err(here)?;
    rows::check(file)?;
    // Of several with the same tensors it is the first that has words for all keys.
    let said = candidates.iter().map(|a| config::config(file, a, dtype).map(|exported| (*a, exported)));
    let said: Vec<_> = said.collect();
    let chosen = said.iter().position(Result::is_ok).unwrap_or(0);
    let (architecture, exported) = said.into_iter().nth(chosen).expect("one at least").map_err(here)?;
    let Exported { json, shape, computed } = exported;
    let tokenizer = tokenizer::files(file.keys(), &architecture.vocabulary).map_err(here)?;
    let mut views = Vec::new();
    for t in file.tensors().iter().filter(|t| !computed.contains(&t.name)) {
        views.extend(views_of(file, architecture, t, &shape).map_err(here)?);
    }
    views.sort_by(|a, b| a.name.cmp(&b.name));
    std::fs::create_dir_all(folder).map_err(error::write(folder))?;
    let json = serde_json::to_vec_pretty(&json).expect("JSON of our own making");
    let create = |path: &Path| {
        let mut out = AtomicFile::create(path).map_err(error::write(path))?;
        if !replaces {
            out.keep_existing();
        }
        Ok::<_, Error>(out)
    };
    let small = std::iter::once(("config.json", json)).chain(tokenizer);
    let mut files = Vec::new();
    for (name, bytes) in small {
        let path = folder.join(name);
        let mut out = create(&path)?;
        out.write_all(&bytes).map_err(error::write(&path))?;
        files.push((path, out));
    }
    let path = folder.join("model.safetensors");
    let mut out = create(&path)?;
    out.write_all(&safetensors_header(&views, dtype)).map_err(error::write(&path))?;
    let write = &mut |bytes: &[u8]| out.write_all(bytes).map_err(error::write(&path));
    let mut output = Output { file, dtype, progress, write };
    for view in &views {
        write_view(&mut output, view, &shape)?;
    }
    files.push((path, out));
    file.check_unchanged()?;
    let mut bytes = 0;
    for (path, out) in files {
        bytes += out.persist().map_err(error::write(&path))?;
    }
    Ok(bytes)
}

/// The architectures that a file may be of: of those that share a name the ones whose tables have most of the tensors.
fn architectures(file: &File) -> Result<Vec<&'static Architecture>, String> {
    let name = file.key("general.architecture").and_then(Value::as_str).unwrap_or("(none)");
    let has = |name: &str| has_tensor(file, name);
    let unknown =
        |a: &&Architecture| file.tensors().iter().filter(|t| a.exported(&t.name, &has).is_none()).count();
    let candidates = || arch::ALL.iter().filter(|a| a.name == name);
    if let Some(fewest) = candidates().map(|a| unknown(&a)).min() {
        return Ok(candidates().filter(|a| unknown(a) == fewest).collect());
    }
    let mut known: Vec<_> = arch::ALL.iter().map(|a| a.name).collect();
    known.dedup();
    Err(format!(
        "architecture {name} is not supported yet ({} are); export it to a plain GGUF instead, with a name that ends \
         in .gguf",
        known.join(", ")
    ))
}

fn has_tensor(file: &File, name: &str) -> bool {
    file.tensors().iter().any(|t| t.name == name)
}

/// The tensors of the checkpoint that a tensor of the file becomes: several if it is a stack.
fn views_of<'a>(
    file: &File,
    architecture: &Architecture,
    t: &'a Tensor,
    shape: &Shape,
) -> Result<Vec<View<'a>>, String> {
    let Some((row, name)) = architecture.exported(&t.name, &|name| has_tensor(file, name)) else {
        let hf = architecture.hf[0];
        return Err(format!(
            "tensor `{}` has no name in a checkpoint of {hf}: export the file to a plain GGUF instead, with a name that \
             ends in .gguf",
            t.name
        ));
    };
    let Shape { heads, kv_heads, head_dim, .. } = *shape;
    if let Some((count, words)) = row.conversion.heads(shape) {
        let rows = t.shape.last().copied().unwrap_or(1);
        if rows != count * head_dim
            || row.conversion == Conversion::Ungrouped && !heads.is_multiple_of(kv_heads)
        {
            return Err(format!(
                "tensor `{}` has {rows} rows, but the keys say {words} of {head_dim}",
                t.name
            ));
        }
    }
    let view = |name, shape, part| View { name, shape, tensor: t, conversion: row.conversion, part };
    match (row.conversion, t.shape.split_last()) {
        (Conversion::Stacked, Some((parts, shape))) if !shape.is_empty() => {
            let part = |part| view(arch::filled(&name, None, Some(part)), shape.to_vec(), part);
            Ok((0..*parts).map(part).collect())
        }
        (Conversion::Stacked, _) => {
            Err(format!("tensor `{}` has the shape {:?}, which is no stack", t.name, t.shape))
        }
        (Conversion::Transposed, _) if t.shape.len() == 2 => {
            Ok(vec![view(name, t.shape.iter().rev().copied().collect(), 0)])
        }
        (Conversion::Squeezed | Conversion::Linear(Linear::Convolution), _) if t.shape.len() == 2 => {
            Ok(vec![view(name, vec![t.shape[0], 1, t.shape[1]], 0)])
        }
        _ => Ok(vec![view(name, t.shape.clone(), 0)]),
    }
}

/// Undoes what converting did to a tensor.
fn write_view(out: &mut Output, view: &View, shape: &Shape) -> Result<(), Error> {
    let t = view.tensor;
    let order = Order::of_heads(view.conversion, shape);
    // Of a bias, single elements change places.
    let columns = match view.shape[..] {
        [] => 1,
        [_] if order != Order::Stored => 1,
        [columns, ..] => columns as usize,
    };
    let rows = view.elements() as usize / columns.max(1);
    if view.conversion == Conversion::Transposed && view.shape.len() == 2 {
        return rows::convert_columns(out, t);
    }
    let change: Option<rows::Change> = match view.conversion {
        Conversion::PlusOne => Some(|value| Change::PlusOne.undo(value)),
        Conversion::NegativeExp => Some(|value| Change::NegativeExp.undo(value)),
        _ => None,
    };
    match order {
        Order::Stored => {
            let first = view.part as usize * rows;
            rows::convert_rows(out, t, (rows, columns), change, |row| first + row)
        }
        _ => {
            let order = order.inverse(rows);
            rows::convert_rows(out, t, (rows, columns), change, |row| order[row])
        }
    }
}

/// The length and the JSON header of a safetensors file with these tensors in order.
fn safetensors_header(views: &[View], dtype: Dtype) -> Vec<u8> {
    let name = match dtype {
        Dtype::F32 => "F32",
        Dtype::F16 => "F16",
        Dtype::BF16 => "BF16",
        Dtype::F64 => "F64",
    };
    let mut header = serde_json::Map::new();
    header.insert("__metadata__".into(), serde_json::json!({"format": "pt"}));
    let mut at = 0;
    for view in views {
        let end = at + view.elements() * dtype.bytes() as u64;
        let shape: Vec<u64> = view.shape.iter().rev().copied().collect();
        let entry = serde_json::json!({"dtype": name, "shape": shape, "data_offsets": [at, end]});
        header.insert(view.name.clone(), entry);
        at = end;
    }
    let mut json = serde_json::to_vec(&header).expect("JSON of our own making");
    json.resize(json.len().next_multiple_of(8), b' ');
    [&(json.len() as u64).to_le_bytes()[..], &json].concat()
}
