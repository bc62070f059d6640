//! Tensors that are written as floats: all cores convert pieces, one writes them in their order.
//!
//!   worker w of n, for pieces w, w + n, w + 2 n, ...: rows of the checkpoint -> floats of the file -> its lane
//!   this thread, for pieces 0, 1, 2, ...: the lane of the piece's worker -> file
//!
//! A lane holds a piece at most, so that memory is bounded; the bytes do not depend on the number of workers.

use super::Error;
use super::weights::{VALUES_AT_ONCE, check_finite, not_finite};
use crate::checkpoint::{Dtype, Model, SourceTensor};
use crate::gguf::Writer;
use std::borrow::Cow;
use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};

/// Bytes of a piece as it is written, unless a single row has more. A piece of this size stays in a core's cache, and is
/// large enough that handing it over costs nothing beside it.
const PIECE_BYTES: usize = 1 << 20;
/// Values that are widened and rounded at a time, few enough to stay in the fastest cache.
const VALUES_IN_CACHE: usize = 2048;

/// A tensor and the type in which it is written.
pub(super) type PlainTensor<'a> = (&'a SourceTensor, Dtype);

/// Rows of a tensor that a worker converts at a time.
struct Piece<'a> {
    tensor: &'a SourceTensor,
    dtype: Dtype,
    rows: Range<usize>,
}

/// The bytes of a piece as they are written, or why there are none.
type Converted<'a> = Result<Cow<'a, [u8]>, Error>;

/// Writes tensors one after the other. If several cannot be converted, the error is that of the first in the order of
/// the file.
pub(super) fn write(
    model: &Model,
    tensors: &[PlainTensor],
    writer: &mut Writer,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<(), Error> {
    let workers = rayon::current_num_threads().min(pieces(tensors).count());
    std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..workers)
            .map(|w| {
                let (full, filled) = sync_channel(1);
                let (give_back, empty) = channel();
                scope.spawn(move || work(model, pieces(tensors).skip(w).step_by(workers), full, empty));
                (filled, give_back)
            })
            .collect();
        let mut unreleased = 0;
        for (piece, (filled, give_back)) in pieces(tensors).zip(lanes.iter().cycle()) {
            // A worker that is gone before its last piece has panicked, and the scope passes the panic on.
            let Ok(converted) = filled.recv() else { break };
            let converted = converted?;
            writer.write(&converted)?;
            progress((piece.rows.len() * piece.tensor.columns()) as u64);
            unreleased += piece.rows.len() * piece.tensor.columns();
            if unreleased >= VALUES_AT_ONCE {
                model.release();
                unreleased = 0;
            }
            if let Cow::Owned(buffer) = converted {
                // The worker may have ended after this piece and take no buffer any more.
                let _ = give_back.send(buffer);
            }
        }
        model.release();
        Ok(())
    })
}

/// All pieces in the order of the file.
fn pieces<'a>(tensors: &'a [PlainTensor<'a>]) -> impl Iterator<Item = Piece<'a>> {
    tensors.iter().flat_map(|&(tensor, dtype)| {
        let at_once = (PIECE_BYTES / (tensor.columns() * dtype.bytes()).max(1)).max(1);
        let rows = tensor.rows();
        let starts = (0..rows).step_by(at_once);
        starts.map(move |first| Piece { tensor, dtype, rows: first..rows.min(first + at_once) })
    })
}

/// Converts pieces until the first error, or until the writing thread has stopped.
fn work<'a>(
    model: &'a Model,
    pieces: impl Iterator<Item = Piece<'a>>,
    full: SyncSender<Converted<'a>>,
    empty: Receiver<Vec<u8>>,
) {
    let mut values = Vec::new();
    for piece in pieces {
        let converted = convert(model, &piece, &mut values, empty.try_recv().unwrap_or_default());
        let is_error = converted.is_err();
        if full.send(converted).is_err() || is_error {
            return;
        }
    }
}

/// Reads and rounds a piece into `out`. Bytes that are stored as they are written are returned where they lie.
fn convert<'a>(model: &'a Model, piece: &Piece, values: &mut Vec<f32>, mut out: Vec<u8>) -> Converted<'a> {
    let Piece { tensor: t, dtype, rows } = piece;
    let columns = t.columns();
    let stored = model.stored_rows(t, rows.clone())?;
    if let Some(bytes) = stored {
        model.prefetch(bytes);
        if let Some(at) = t.dtype.first_not_finite(bytes) {
            let mut value = [0.0];
            t.dtype.widen(&bytes[at * t.dtype.bytes()..], &mut value);
            return Err(not_finite(model, t, rows.start + at / columns, value[0]));
        }
        if *dtype == t.dtype {
            return Ok(Cow::Borrowed(bytes));
        }
    }
    out.resize(rows.len() * columns * dtype.bytes(), 0);
    match stored {
        // F32 is widened into the buffer that is written, without a copy between; allocators align buffers of this size.
        Some(bytes) if *dtype == Dtype::F32 && cfg!(target_endian = "little") && is_aligned(&out) => {
            t.dtype.widen(bytes, bytemuck::cast_slice_mut(&mut out));
        }
        Some(bytes) => {
            values.resize(VALUES_IN_CACHE, 0.0);
            let blocks = bytes
                .chunks(VALUES_IN_CACHE * t.dtype.bytes())
                .zip(out.chunks_mut(VALUES_IN_CACHE * dtype.bytes()));
            for (i, (bytes, out)) in blocks.enumerate() {
                let values = &mut values[..out.len() / dtype.bytes()];
                t.dtype.widen(bytes, values);
                round(values, *dtype, out).map_err(|(at, value)| {
                    too_large(t, rows.start + (i * VALUES_IN_CACHE + at) / columns, value)
                })?;
            }
        }
        None => {
            values.resize(columns, 0.0);
            for (row, out) in rows.clone().zip(out.chunks_exact_mut(columns * dtype.bytes())) {
                model.read_rows(t, row, values)?;
                check_finite(model, t, row, values)?;
                round(values, *dtype, out).map_err(|(_, value)| too_large(t, row, value))?;
            }
        }
    }
    Ok(Cow::Owned(out))
}

fn is_aligned(bytes: &[u8]) -> bool {
    bytes.as_ptr().cast::<f32>().is_aligned()
}

/// Rounds finite values to a type; the error is the first that it cannot hold, with its index.
fn round(values: &[f32], dtype: Dtype, out: &mut [u8]) -> Result<(), (usize, f32)> {
    if dtype == Dtype::F16 {
        let largest = half::f16::MAX.to_f32();
        // Bits of magnitudes, as integers, are in the order of the magnitudes, and integers compare faster.
        let peak = values.iter().fold(0, |peak, v| (v.to_bits() as i32 & i32::MAX).max(peak));
        if peak > largest.to_bits() as i32
            && let Some(at) = values.iter().position(|v| v.abs() > largest)
        {
            return Err((at, values[at]));
        }
    }
    dtype.narrow(values, out);
    Ok(())
}

fn too_large(t: &SourceTensor, row: usize, value: f32) -> Error {
    Error::TooLarge { tensor: t.name.clone(), row, value }
}
