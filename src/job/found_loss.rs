//! What the errors that a file has are expected to do to predictions, tensor by tensor.

use super::Error;
use super::costs::{EXPERTS, Known, excess};
use super::guided::experts;
use super::loss::{Loss, Price};
use crate::calibration::{Calibration, Statistics};
use crate::checkpoint::{Model, SourceTensor};
use crate::gguf::SCALING_KEY;
use rayon::prelude::*;
use std::collections::HashMap;

/// The divergence in nats that is expected of the errors of each tensor of a file, by its name, as `plan` would expect it before the
/// file is made: by the inputs and the sensitivities of the calibration, on some rows. Tensors that the calibration knows nothing of
/// are left out, and so are all if it has no sensitivities, or if the file's columns are scaled, whose weights are others.
pub fn expected_divergences(
    base: &Model,
    file: &Model,
    calibration: &Calibration,
) -> Result<HashMap<String, f64>, Error> {
    let sensitivities = calibration.sensitivities()?;
    let mut found = HashMap::new();
    let Some(sensitivities) = sensitivities.filter(|_| file.key(SCALING_KEY).is_none()) else {
        return Ok(found);
    };
    let known = Known::of(calibration, &sensitivities)?;
    let before: HashMap<&str, &SourceTensor> = base.tensors.iter().map(|t| (&t.name[..], t)).collect();
    for t in &file.tensors {
        let Some(old) = before.get(&t.name[..]).filter(|old| old.shape == t.shape) else { continue };
        let price = Price::of(Some(&known.sensitivities), t);
        let experts = experts(t);
        let looked_at = experts.min(EXPERTS);
        let mut sum = Some(0.0);
        for i in 0..looked_at {
            let expert = i * experts / looked_at;
            let of_expert = match Loss::of(calibration, price, t, expert)? {
                Some(loss) => divergence(
                    base,
                    file,
                    (old, t),
                    price,
                    &loss,
                    &known.rows(t, price, expert, experts),
                    experts,
                )?,
                None => None,
            };
            sum = sum.zip(of_expert).map(|(sum, found)| sum + found / looked_at as f64);
        }
        if let Some(sum) = sum {
            found.insert(t.name.clone(), sum);
        }
    }
    base.check_unchanged()?;
    file.check_unchanged()?;
    calibration.check_unchanged()?;
    Ok(found)
}

/// What is expected of the errors of an expert.
fn divergence(
    base: &Model,
    file: &Model,
    (old, new): (&SourceTensor, &SourceTensor),
    price: Price,
    loss: &Loss,
    rows: &[usize],
    experts: usize,
) -> Result<Option<f64>, Error> {
    let Some(unit) = price.unit(loss.mean) else { return Ok(None) };
    let columns = new.columns();
    let losses = rows.par_iter().map(|&row| {
        let (mut errors, mut read) = (vec![0.0; columns], vec![0.0; columns]);
        base.read_rows(old, row, &mut errors)?;
        file.read_rows(new, row, &mut read)?;
        errors.iter_mut().zip(&read).for_each(|(error, read)| *error -= read);
        Ok(weighed(&errors, loss))
    });
    let sum = losses.collect::<Result<Vec<f64>, Error>>()?.iter().sum::<f64>();
    // Every expert sees a share of the tokens.
    let scale = new.rows() as f64 / rows.len() as f64 / experts as f64;
    Ok(Some(unit * scale * excess(&loss.statistics) * sum))
}

/// e^T (H / mean of H's diagonal + of_rows) e of the errors of a row.
fn weighed(errors: &[f32], loss: &Loss) -> f64 {
    let of_inputs = match &loss.statistics {
        Statistics::Gram { n, values, .. } => values
            .chunks_exact(*n)
            .zip(errors)
            .map(|(row, &e)| {
                let product: f32 = row.iter().zip(errors).map(|(h, e)| h * e).sum();
                f64::from(e) * f64::from(product)
            })
            .sum::<f64>(),
        Statistics::Diagonal { values, .. } => {
            values.iter().zip(errors).map(|(&h, &e)| f64::from(h) * f64::from(e).powi(2)).sum()
        }
    };
    let squares: f64 = errors.iter().map(|&e| f64::from(e).powi(2)).sum();
    let normed = if loss.mean > 0.0 { of_inputs / loss.mean } else { 0.0 };
    normed + f64::from(loss.of_rows) * squares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_weighed_by_the_inputs() {
        let loss = |statistics, mean| Loss { statistics, damping: 0.5, of_rows: 0.25, mean };
        let gram = Statistics::Gram { n: 2, values: vec![3.0, 1.0, 1.0, 1.0], tokens: 1 };
        // (3 * 1 + 2 * 1 * 2 + 4) / 2 + 5 / 4: the damping is no part of it.
        assert_eq!(weighed(&[1.0, 2.0], &loss(gram, 2.0)), 6.75);
        let diagonal = Statistics::Diagonal { values: vec![3.0, 1.0], tokens: 1 };
        assert_eq!(weighed(&[1.0, 2.0], &loss(diagonal, 2.0)), 4.75);
    }
}
