//! How much a model's predictions depend on each of its weights, as the collector measured it; docs/allocation.md.

use super::Problem;
use crate::gguf::{File, Value};
use std::collections::HashMap;

/// What a file says of all weights.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sensitivities {
    sites: HashMap<(String, Use), Sensitivity>,
    /// Pairs that rise: the sum of what the sites' errors say, and the divergence of all these errors together.
    curve: Vec<(f64, f64)>,
}

/// How a weight is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Use {
    /// Inputs are multiplied with it.
    Product,
    /// Its rows are taken, as those of embeddings are.
    Rows,
}

/// What errors of a weight do to predictions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sensitivity {
    /// Mean KL divergence in nats for each unit of relative error: of errors in the outputs whose squares, over those of the
    /// outputs, are 1. Proportional to it for small errors.
    pub divergence: f64,
    /// Standard error of `divergence`.
    pub uncertainty: f64,
    /// Sum of the squares of an output, the median over tokens. For rows that are taken, of a row.
    pub energy: f64,
}

/// Nats by which rounding of logits can put a measured divergence below zero.
const ROUNDING: f64 = 1e-5;

/// A measured divergence. No divergence is negative; that of a weight on which hardly anything depends can be measured so, by
/// rounding or by chance, and then is taken for its standard error. `None` where neither explains the value.
fn not_negative(measured: f64, uncertainty: f64) -> Option<f64> {
    if measured >= 0.0 {
        return Some(measured);
    }
    (measured >= -ROUNDING.max(5.0 * uncertainty)).then_some(uncertainty)
}

impl Sensitivities {
    /// Reads those of a calibration file. `vector` gives the values of a tensor, `None` if there is no such tensor.
    pub(super) fn read(
        file: &File,
        vector: impl Fn(&str) -> Result<Option<Vec<f32>>, Problem>,
    ) -> Result<Option<Sensitivities>, Problem> {
        let Some(divergence) = vector("sensitivity.divergence")? else { return Ok(None) };
        if divergence.first().is_none_or(|&first| first == -1.0) {
            return Err(Problem::Unfinished("sensitivity.divergence".into()));
        }
        let damaged = |words: &str| Problem::Damaged(words.to_owned());
        let needed = |name: &str| vector(name)?.ok_or_else(|| damaged(&format!("`{name}` is missing")));
        let names = |key: &str| {
            let values = file.key(key).and_then(Value::as_array).unwrap_or_default();
            values.iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<String>>()
        };
        let (weights, uses) = (names("sensitivity.weights"), names("sensitivity.uses"));
        let (uncertainty, energy) = (needed("sensitivity.error")?, needed("sensitivity.energy")?);
        let lengths = [weights.len(), uses.len(), uncertainty.len(), energy.len()];
        if lengths.iter().any(|&n| n != divergence.len()) {
            return Err(damaged("the tensors and keys `sensitivity.*` are not of one length"));
        }
        let mut sites = HashMap::new();
        for (i, (weight, word)) in weights.into_iter().zip(uses).enumerate() {
            let values = [divergence[i], uncertainty[i], energy[i]];
            let [measured, uncertainty, energy] = values.map(f64::from);
            let is_known = values.iter().all(|v| v.is_finite()) && uncertainty >= 0.0 && energy >= 0.0;
            let divergence = not_negative(measured, uncertainty).filter(|_| is_known);
            let divergence =
                divergence.ok_or_else(|| damaged(&format!("the sensitivity of `{weight}` is {values:?}")))?;
            let site = match &word[..] {
                "product" => Use::Product,
                "rows" => Use::Rows,
                other => return Err(damaged(&format!("`{weight}` is used as {other:?}"))),
            };
            sites.insert((weight, site), Sensitivity { divergence, uncertainty, energy });
        }
        let curve = needed("sensitivity.curve")?;
        let curve: Vec<(f64, f64)> = curve.chunks_exact(2).map(|p| (p[0] as f64, p[1] as f64)).collect();
        let rises = |pair: &[(f64, f64)]| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1;
        if curve.len() < 2 || !curve.windows(2).all(rises) || curve[0].0 <= 0.0 || curve[0].1 <= 0.0 {
            return Err(damaged("`sensitivity.curve` does not rise"));
        }
        Ok(Some(Sensitivities { sites, curve }))
    }

    /// The same with other expectations of sums: so many times those of this one.
    pub fn expecting(mut self, times: f64) -> Sensitivities {
        self.curve.iter_mut().for_each(|(_, divergence)| *divergence *= times);
        self
    }

    /// What is known of a weight in one of its uses.
    pub fn of(&self, weight: &str, site: Use) -> Option<Sensitivity> {
        self.sites.get(&(weight.to_owned(), site)).copied()
    }

    /// The divergence that is expected where the divergences of all sites, each proportional to its error, add up to
    /// `sum`. Large errors together do more or less than each alone; between the measured points the divergence is a
    /// power of the sum, and beyond them that of the last two.
    pub fn expected(&self, sum: f64) -> f64 {
        let (first, second) = (self.curve[0], self.curve[1]);
        if sum <= first.0 {
            return sum * first.1 / first.0;
        }
        let after = self.curve.iter().position(|p| p.0 >= sum).unwrap_or(self.curve.len() - 1).max(1);
        let (a, b) = if after == 0 { (first, second) } else { (self.curve[after - 1], self.curve[after]) };
        let power = (b.1 / a.1).ln() / (b.0 / a.0).ln();
        a.1 * (sum / a.0).powf(power)
    }
}

#[cfg(test)]
impl Sensitivities {
    /// Those of these uses of weights.
    pub fn of_uses<const N: usize>(uses: [(&str, Use, Sensitivity); N]) -> Sensitivities {
        let sites =
            uses.into_iter().map(|(weight, site, found)| ((weight.to_owned(), site), found)).collect();
        Sensitivities { sites, ..Default::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expectations_go_through_the_measured_points() {
        let curve = vec![(0.1, 0.2), (1.0, 1.0), (10.0, 4.0)];
        let sensitivities = Sensitivities { sites: HashMap::new(), curve: curve.clone() };
        for (sum, divergence) in curve {
            assert!((sensitivities.expected(sum) / divergence - 1.0).abs() < 1e-12);
        }
        assert!((sensitivities.expected(0.01) - 0.02).abs() < 1e-12);
        let (between, beyond) = (sensitivities.expected(0.3), sensitivities.expected(100.0));
        assert!(between > 0.2 && between < 1.0 && (beyond - 16.0).abs() < 1e-9, "{between} {beyond}");
        let more = sensitivities.expecting(1.5);
        for (sum, as_before) in [(0.01, 0.02), (0.3, between), (100.0, beyond)] {
            assert!((more.expected(sum) / as_before - 1.5).abs() < 1e-9);
        }
    }
}
