//! Rows of a GGUF file as floats, in another order if need be.

use super::error::{Error, unsupported};
use crate::checkpoint::Dtype;
use crate::gguf::{File, Tensor};
use rayon::prelude::*;

/// Where converted values go.
pub struct Output<'a> {
    pub file: &'a File,
    /// Their type.
    pub dtype: Dtype,
    /// Takes the number of values that are done.
    pub progress: &'a (dyn Fn(u64) + Sync),
    /// Takes the bytes in their order.
    pub write: &'a mut dyn FnMut(&[u8]) -> Result<(), Error>,
}

/// Values of rows `first..` of a tensor, each of `columns`, as many as fill `out`.
pub fn read_rows(
    file: &File,
    t: &Tensor,
    columns: usize,
    first: usize,
    out: &mut [f32],
) -> Result<(), Error> {
    let data = file.data(t)?;
    let row_bytes = t.kind.bytes(columns as u64).ok_or_else(|| {
        // Only vectors are read in pieces that are no rows.
        unsupported(file, format!("tensor `{}` is a vector in {}, not in floats", t.name, t.kind.name()))
    })? as usize;
    let bytes = &data[first * row_bytes..][..out.len() / columns * row_bytes];
    let plain = [Dtype::F32, Dtype::F16, Dtype::BF16].into_iter().find(|d| d.ggml() == t.kind);
    if let Some(dtype) = plain {
        dtype.widen(bytes, out);
    } else if let Some(dequantize) = t.kind.dequantizer() {
        dequantize(bytes, out);
    } else {
        let kind = t.kind.name();
        return Err(unsupported(
            file,
            format!(
                "tensor `{}` is {kind}, which is neither floats nor can be dequantized; let the program that made \
                 the file write it in F16",
                t.name
            ),
        ));
    }
    Ok(())
}

/// Refuses a file that is not all of its model.
pub fn check_adapter(file: &File) -> Result<(), Error> {
    let Some(adapter) = file.adapter() else { return Ok(()) };
    let problem = format!(
        "a part of what it computes is in its adapter {adapter:?} (--low-rank): export the model it was made of"
    );
    Err(unsupported(file, problem))
}

/// Fails early if a tensor of the file cannot be exported.
pub fn check(file: &File) -> Result<(), Error> {
    check_adapter(file)?;
    for t in file.tensors() {
        if t.elements() > 0 {
            // A type that is not known says nothing of how many columns the file can have.
            file.data(t)?;
            let columns = t.columns() as usize;
            read_rows(file, t, columns, 0, &mut vec![0.0; columns])?;
        }
    }
    Ok(())
}

/// Values converted at a time: bounds memory whatever the model.
const CHUNK: usize = 1 << 22;

/// What every value is changed by before it is rounded.
pub type Change = fn(f32) -> f32;

/// Calls `write` with the bytes of `rows` rows as `dtype`, piece by piece. Row `i` is row `order(i)` of the tensor, where
/// rows have `columns` values.
pub fn convert_rows(
    out: &mut Output,
    t: &Tensor,
    (rows, columns): (usize, usize),
    change: Option<Change>,
    order: impl Fn(usize) -> usize + Sync,
) -> Result<(), Error> {
    let (file, dtype, progress) = (out.file, out.dtype, out.progress);
    let row_bytes = columns * dtype.bytes();
    let at_once = (CHUNK / columns.max(1)).max(1);
    let mut bytes = Vec::new();
    for first in (0..rows).step_by(at_once) {
        bytes.resize(at_once.min(rows - first) * row_bytes, 0);
        bytes.par_chunks_exact_mut(row_bytes).enumerate().try_for_each_init(
            || vec![0.0; columns],
            |values, (i, bytes)| {
                read_rows(file, t, columns, order(first + i), values)?;
                if let Some(change) = change {
                    values.iter_mut().for_each(|v| *v = change(*v));
                }
                dtype.narrow(values, bytes);
                progress(columns as u64);
                Ok::<(), Error>(())
            },
        )?;
        (out.write)(&bytes)?;
    }
    Ok(())
}

/// The same of the columns of a matrix: each becomes a row. Every row is read once for each group of columns that fits
/// into memory.
pub fn convert_columns(out: &mut Output, t: &Tensor) -> Result<(), Error> {
    let (file, dtype) = (out.file, out.dtype);
    let columns = t.columns() as usize;
    let rows = t.elements() as usize / columns;
    let at_once = (CHUNK / rows).clamp(1, columns);
    for first in (0..columns).step_by(at_once) {
        let group = at_once.min(columns - first);
        let mut gathered = vec![0.0; rows * group];
        gathered.par_chunks_exact_mut(group).enumerate().try_for_each_init(
            || vec![0.0; columns],
            |values, (row, gathered)| {
                read_rows(file, t, columns, row, values)?;
                gathered.copy_from_slice(&values[first..][..group]);
                Ok::<(), Error>(())
            },
        )?;
        let mut bytes = vec![0; gathered.len() * dtype.bytes()];
        bytes.par_chunks_exact_mut(rows * dtype.bytes()).enumerate().for_each_init(
            || vec![0.0; rows],
            |values, (column, bytes)| {
                values.iter_mut().enumerate().for_each(|(row, v)| *v = gathered[row * group + column]);
                dtype.narrow(values, bytes);
            },
        );
        (out.progress)(gathered.len() as u64);
        (out.write)(&bytes)?;
    }
    Ok(())
}
