//! Noise in the outputs of weights that is expected to cost as much as the errors of a type do.

use super::costs::Cost;
use crate::calibration::{Sensitivities, Use};

/// For each use of a weight the collector's word for it and the noise that is expected to cost so much, which is the cost over the
/// sensitivity. Of products it is the sum of squares of an output's noise: errors of weights are of one size on any text, however large
/// its outputs are. Of rows it is the share of a row's squares. A use that costs nothing, or of which nothing is known, has none.
pub(super) fn noise_of(
    sensitivities: &Sensitivities,
    name: &str,
    cost: Cost,
) -> impl Iterator<Item = (&'static str, f64)> {
    let of_use = |site, cost: f64| {
        let found = sensitivities.of(name, site)?;
        let share = (found.divergence > 0.0 && cost > 0.0).then(|| cost / found.divergence)?;
        Some(match site {
            Use::Product => ("product", share * found.energy),
            Use::Rows => ("rows", share),
        })
    };
    [of_use(Use::Product, cost.products), of_use(Use::Rows, cost.rows)].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::Sensitivity;

    #[test]
    fn noise_of_products_is_absolute_and_that_of_rows_a_share() {
        let of = |divergence, energy| Sensitivity { divergence, uncertainty: 0.0, energy };
        let uses = [
            ("token_embd.weight", Use::Product, of(4.0, 1000.0)),
            ("token_embd.weight", Use::Rows, of(2.0, 50.0)),
        ];
        let sensitivities = Sensitivities::of_uses(uses);
        let noise = |cost| noise_of(&sensitivities, "token_embd.weight", cost).collect::<Vec<_>>();
        assert_eq!(noise(Cost { products: 0.02, rows: 0.1 }), [("product", 5.0), ("rows", 0.05)]);
        assert_eq!(noise(Cost { products: 0.0, rows: 0.1 }), [("rows", 0.05)]);
        assert_eq!(noise_of(&sensitivities, "output.weight", Cost { products: 1.0, rows: 0.0 }).count(), 0);
    }
}
