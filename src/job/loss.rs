//! What the errors of a tensor cost: how they are weighed while it is quantized, and what they do to predictions.

use super::Error;
use crate::calibration::{Calibration, Sensitivities, Statistics, Use};
use crate::checkpoint::SourceTensor;
use crate::quantize::damping;

/// The cost of a row's errors e: e^T (H / mean of H's diagonal + damping + of_rows) e.
pub(super) struct Loss {
    /// H.
    pub statistics: Statistics,
    /// For what H does not say of other text; see [`crate::quantize::damping`].
    pub damping: f32,
    /// For the use of the rows as they are, beside the products.
    pub of_rows: f32,
    /// Mean of H's diagonal.
    pub mean: f64,
}

/// What the squares of errors of a tensor do to predictions, in nats.
#[derive(Clone, Copy)]
pub(super) struct Price {
    /// For 1 in every output of every row.
    product: Option<f64>,
    /// For 1 in every row.
    rows: Option<f64>,
}

impl Price {
    pub fn of(sensitivities: Option<&Sensitivities>, t: &SourceTensor) -> Price {
        let known = |site| sensitivities.and_then(|s| s.of(&t.name, site)).filter(|s| s.energy > 0.0);
        Price {
            product: known(Use::Product).map(|s| s.divergence / s.energy),
            rows: known(Use::Rows).map(|s| s.divergence / s.energy / t.rows() as f64),
        }
    }

    /// Whether rows are taken as they are, as those of embeddings, and no product.
    pub fn takes_rows_only(self) -> bool {
        self.rows.is_some() && self.product.is_none()
    }

    /// Nats for a loss of 1.
    pub fn unit(self, loss_mean: f64) -> Option<f64> {
        self.product.map(|product| product * loss_mean).or(self.rows)
    }
}

impl Loss {
    /// The loss of a tensor, of an expert or 0. `None` if nothing is known of its use.
    ///
    /// In rows that are taken, such as embeddings, all errors count alike. A matrix that is used both ways, as tied
    /// embeddings are, has the sum of both losses.
    pub fn of(
        calibration: &Calibration,
        price: Price,
        t: &SourceTensor,
        expert: usize,
    ) -> Result<Option<Loss>, Error> {
        let Some(statistics) = calibration.load(&t.name, expert, t.columns())? else {
            let statistics = Statistics::Diagonal { values: vec![1.0; t.columns()], tokens: 1 };
            return Ok(price.rows.map(|_| Loss { statistics, damping: 0.0, of_rows: 0.0, mean: 1.0 }));
        };
        calibration.release();
        let statistics = match t.factors() {
            Some(factors) => statistics.divided_by(factors),
            None => statistics,
        };
        let mean = mean_diagonal(&statistics);
        let of_rows = match price {
            Price { product: Some(product), rows: Some(rows) } if product * mean > 0.0 => {
                rows / (product * mean)
            }
            _ => 0.0,
        };
        Ok(Some(Loss { damping: damping(&statistics), of_rows: of_rows as f32, statistics, mean }))
    }
}

fn mean_diagonal(statistics: &Statistics) -> f64 {
    match statistics {
        Statistics::Gram { n, values, .. } => {
            values.iter().step_by(n + 1).map(|&v| v as f64).sum::<f64>() / *n as f64
        }
        Statistics::Diagonal { values, .. } => {
            values.iter().map(|&v| v as f64).sum::<f64>() / values.len() as f64
        }
    }
}
