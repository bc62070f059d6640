//! Tensors that are written as floats: all cores convert pieces, one writes them in their order.
//!
//!   worker w of n, for pieces w, w + n, w + 2 n, ...: rows of the checkpoint -> floats of the file -> its lane
//!   this thread, for pieces 0, 1, 2, ...: the lane of the piece's worker -> file
//!
//! A lane holds a piece at most, so that memory is bounded; the bytes do not depend on the number of workers.

use super::{CHUNK, Error, check_finite, not_finite};
use crate::checkpoint::{Dtype, Model, SourceTensor};
use crate::gguf::Writer;
use std::borrow::Cow;
use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};

/// Bytes of a piece as it is written, but for rows that are longer: a cache holds it, and little is done for each.
const PIECE: usize = 1 << 20;
/// Values converted at a time: the fastest cache holds them.
const BLOCK: usize = 2048;

/// A tensor and the type in which it is written.
pub(super) type Plain<'a> = (&'a SourceTensor, Dtype);

/// Some rows of a tensor.
struct Piece<'a> {
    tensor: &'a SourceTensor,
    dtype: Dtype,
    rows: Range<usize>,
}

/// What a piece became.
type Converted<'a> = Result<Cow<'a, [u8]>, Error>;

/// Writes tensors one after the other. Of errors it is the first in the order of the file.
pub(super) fn write(
    model: &Model,
    tensors: &[Plain],
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
            // Without a sender the worker panicked, which ends this scope too.
            let Ok(converted) = filled.recv() else { break };
            let converted = converted?;
            writer.write(&converted)?;
            progress((piece.rows.len() * piece.tensor.columns()) as u64);
            unreleased += piece.rows.len() * piece.tensor.columns();
            if unreleased >= CHUNK {
                model.release();
                unreleased = 0;
            }
            if let Cow::Owned(buffer) = converted {
                // The worker may have come to its end.
                let _ = give_back.send(buffer);
            }
        }
        model.release();
        Ok(())
    })
}

/// All pieces in the order of the file.
fn pieces<'a>(tensors: &'a [Plain<'a>]) -> impl Iterator<Item = Piece<'a>> {
    tensors.iter().flat_map(|&(tensor, dtype)| {
        let at_once = (PIECE / (tensor.columns() * dtype.bytes()).max(1)).max(1);
        let rows = tensor.rows();
        let starts = (0..rows).step_by(at_once);
        starts.map(move |first| Piece { tensor, dtype, rows: first..rows.min(first + at_once) })
    })
}

/// Converts pieces until the first error, or until nobody wants them any more.
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

/// Reads and rounds a piece, into `out` unless it is stored as it is written.
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
        // Straight to where they are written from, which is as good as always aligned.
        Some(bytes) if *dtype == Dtype::F32 && cfg!(target_endian = "little") && is_aligned(&out) => {
            t.dtype.widen(bytes, bytemuck::cast_slice_mut(&mut out));
        }
        Some(bytes) => {
            values.resize(BLOCK, 0.0);
            let blocks = bytes.chunks(BLOCK * t.dtype.bytes()).zip(out.chunks_mut(BLOCK * dtype.bytes()));
            for (i, (bytes, out)) in blocks.enumerate() {
                let values = &mut values[..out.len() / dtype.bytes()];
                t.dtype.widen(bytes, values);
                round(values, *dtype, out)
                    .map_err(|(at, value)| too_large(t, rows.start + (i * BLOCK + at) / columns, value))?;
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
        // Bits of magnitudes are in the order of magnitudes; this is fast.
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
