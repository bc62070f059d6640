//! Weights on their way into a file: how many at a time, and which are none.

use super::Error;
use crate::checkpoint::{Model, SourceTensor};

/// Values that are converted at a time, so that memory is bounded whatever the model.
pub(super) const VALUES_AT_ONCE: usize = 1 << 22;

/// Refuses a row with NaN or infinity.
pub(super) fn check_finite(model: &Model, t: &SourceTensor, row: usize, values: &[f32]) -> Result<(), Error> {
    match values.iter().find(|v| !v.is_finite()) {
        None => Ok(()),
        Some(&value) => Err(not_finite(model, t, row, value)),
    }
}

/// The error for such a value.
pub(super) fn not_finite(model: &Model, t: &SourceTensor, row: usize, value: f32) -> Error {
    Error::NotFinite { path: model.file_of(t, row).to_owned(), tensor: t.name.clone(), row, value }
}
