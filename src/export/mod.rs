//! GGUF in other forms: floats, a Hugging Face folder, or ids that an unpatched llama.cpp can be made to read.

mod config;
mod error;
mod folder;
mod rows;
mod stock;

pub use error::Error;
pub use folder::to_folder;
pub use rows::read_rows;
pub use stock::to_stock_ids;

use crate::checkpoint::Dtype;
use crate::gguf::{File, Tensor, TensorHeader, Value, Writer};
use crate::names::is_matrix;
use rows::Output;
use std::path::Path;

/// Writes a plain GGUF: matrices as `dtype`, vectors and norms as F32. Whether it takes the place of a file that has the name
/// in the end.
pub fn to_gguf(
    file: &File,
    dtype: Dtype,
    path: &Path,
    replaces: bool,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<u64, Error> {
    rows::check(file)?;
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
    let writer = Writer::create(path, &keys, headers.collect())?;
    let mut writer = if replaces { writer } else { writer.keep_existing() };
    for t in file.tensors() {
        let columns = t.columns() as usize;
        let write = &mut |bytes: &[u8]| Ok(writer.write(bytes)?);
        let rows = t.elements() as usize / columns.max(1);
        let mut out = Output { file, dtype: target(t), progress, write };
        rows::convert_rows(&mut out, t, (rows, columns), None, |row| row)?;
    }
    file.check_unchanged()?;
    Ok(writer.finish()?)
}
