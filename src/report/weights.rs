//! What is found out about the tensors of files: bits of a weight, errors against the base, distributions.

use super::error::Error;
use crate::calibration::Calibration;
use crate::checkpoint::{Model, Options};
use crate::export::read_rows;
use crate::gguf::{File, Tensor};
use crate::job::{self, bits_per_weight};
use crate::names::{self, Role, TensorName, is_matrix};
use rayon::prelude::*;
use serde::Serialize;
use std::collections::HashMap;
use std::path::Path;

/// Weights of a tensor that are read: rows that are spread over it.
const SAMPLE: usize = 1 << 17;

/// Columns of a distribution.
const BINS: usize = 61;

/// Where distributions end on both sides, in standard deviations of the tensor of the base; the outermost columns have what lies
/// beyond.
const REACH: f64 = 4.0;

/// The tensors of a file.
#[derive(Serialize)]
pub struct Tensors {
    name: String,
    tensors: Vec<Found>,
}

/// A tensor.
#[derive(Serialize)]
struct Found {
    name: String,
    kind: String,
    block: Option<u64>,
    /// Whether it is a matrix, which can be quantized.
    matrix: bool,
    #[serde(rename = "type")]
    kind_of_data: String,
    weights: u64,
    bits: f64,
    /// The sum of the squares of all weights, of the base, by the sample.
    energy: Option<f64>,
    /// Squares of what changed over squares of the weights of the base.
    error: Option<f64>,
    /// What the errors are expected to do to predictions, in nats.
    nats: Option<f64>,
    /// Where the distribution ends.
    reach: Option<f64>,
    /// How many weights of the sample are in each column.
    counts: Option<Vec<u32>>,
}

/// A file's name without folders.
pub fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The tensors of the base.
pub fn of_base(base: &File) -> Result<Tensors, Error> {
    let found = base.tensors().par_iter().map(|t| {
        let mut found = plain(t);
        if found.matrix
            && let Some(values) = sample(base, t)?
        {
            let square = values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / values.len() as f64;
            found.energy = finite(square * t.elements() as f64);
            found.reach = finite(REACH * square.sqrt()).filter(|reach| *reach > 0.0);
            found.counts = found.reach.map(|reach| counts(&values, reach));
        }
        Ok(found)
    });
    Ok(Tensors { name: name(base.path()), tensors: found.collect::<Result<_, Error>>()? })
}

/// The tensors of a file beside those of the base.
pub fn of_file(
    file: &File,
    base: &File,
    of_base: &Tensors,
    calibration: Option<&Path>,
) -> Result<Tensors, Error> {
    let before: HashMap<&str, (&Tensor, &Found)> =
        base.tensors().iter().zip(&of_base.tensors).map(|(t, found)| (&t.name[..], (t, found))).collect();
    let found = file.tensors().par_iter().map(|t| {
        let mut found = plain(t);
        if let Some(&(of_base, base_found)) = before.get(&t.name[..])
            && of_base.shape == t.shape
            && let Some(reach) = base_found.reach
            && let (Some(old), Some(new)) = (sample(base, of_base)?, sample(file, t)?)
        {
            let squares: f64 = old.iter().map(|&v| f64::from(v).powi(2)).sum();
            let errors: f64 = old.iter().zip(&new).map(|(&a, &b)| f64::from(a - b).powi(2)).sum();
            found.error = finite(errors / squares);
            found.energy = base_found.energy;
            found.reach = Some(reach);
            found.counts = Some(counts(&new, reach));
        }
        Ok(found)
    });
    let mut tensors = found.collect::<Result<Vec<_>, Error>>()?;
    if let Some(path) = calibration {
        let boxed = |e: job::Error| Box::new(e);
        let calibration = Calibration::open(path).map_err(job::Error::from).map_err(boxed)?;
        let [old, new] = [base.path(), file.path()].map(|path| Model::open(path, &Options::default()));
        let (old, new) =
            (old.map_err(job::Error::from).map_err(boxed)?, new.map_err(job::Error::from).map_err(boxed)?);
        let expected = job::expected_divergences(&old, &new, &calibration).map_err(boxed)?;
        tensors.iter_mut().for_each(|t| t.nats = expected.get(&t.name).copied());
    }
    Ok(Tensors { name: name(file.path()), tensors })
}

/// What the header says of a tensor.
fn plain(t: &Tensor) -> Found {
    let kind = match Role::of(&t.name) {
        Role::Other => TensorName::parse(&t.name).layer.to_owned(),
        role => role.name().to_owned(),
    };
    Found {
        name: t.name.clone(),
        kind,
        block: names::block(&t.name),
        matrix: is_matrix(&t.name, &t.shape),
        kind_of_data: t.kind.name(),
        weights: t.elements(),
        bits: bits_per_weight(t.bytes(), t.elements()),
        energy: None,
        error: None,
        nats: None,
        reach: None,
        counts: None,
    }
}

/// The values of some rows of a tensor, the same of all tensors of one shape; nothing of one that cannot be read.
fn sample(file: &File, t: &Tensor) -> Result<Option<Vec<f32>>, Error> {
    let columns = t.columns() as usize;
    let rows = (t.elements() as usize).checked_div(columns).unwrap_or(0);
    let is_readable = t.kind.dequantizer().is_some() || crate::checkpoint::Dtype::from_ggml(t.kind).is_some();
    if rows == 0 || !is_readable {
        return Ok(None);
    }
    let taken = (SAMPLE / columns).clamp(1, rows);
    let mut values = vec![0.0; taken * columns];
    for (i, row) in values.chunks_exact_mut(columns).enumerate() {
        read_rows(file, t, columns, (2 * i + 1) * rows / (2 * taken), row)?;
    }
    Ok(Some(values))
}

fn counts(values: &[f32], reach: f64) -> Vec<u32> {
    let mut counts = vec![0; BINS];
    for &value in values {
        let place = (f64::from(value) + reach) / (2.0 * reach) * BINS as f64;
        counts[(place.max(0.0) as usize).min(BINS - 1)] += 1;
    }
    counts
}

/// JSON has finite numbers only.
fn finite(value: f64) -> Option<f64> {
    Some(value).filter(|value| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_beyond_is_in_the_outermost_columns() {
        let found = counts(&[-9.0, -0.99, 0.0, 0.01, 1.0, f32::INFINITY, f32::NAN], 1.0);
        assert_eq!((found[0], found[BINS / 2], found[BINS - 1]), (3, 2, 2));
        assert_eq!(found.iter().sum::<u32>(), 7);
    }
}
