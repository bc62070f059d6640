//! A rehearsal of a mix of types, before there is a file of it: noise of the sizes that the errors of its weights are expected to
//! have runs in the model, everywhere together, on the text that files are judged on; docs/allocation.md, section 3.

use super::allocate::Allocation;
use super::calibrate::WorkFolder;
use super::collector::run_collector;
use super::costs::{Cost, Known, LastFactor, cost_of};
use super::guide::Guide;
use super::measure::{Measure, Measured};
use super::noise::noise_of;
use super::trial::SEARCH;
use super::{Error, Event, Step};
use crate::calibration::{Sensitivities, Use};
use crate::checkpoint::Model;
use crate::llama::evaluation::CHUNK;
use std::fmt::Write;

/// What is rehearsed.
pub(super) struct Rehearsal<'a> {
    pub model: &'a Model,
    pub measured: &'a Measured,
    pub measure: &'a Measure,
    pub sensitivities: &'a Sensitivities,
    pub mix: &'a Allocation,
    pub threads: Option<usize>,
}

impl Rehearsal<'_> {
    /// The mean divergence that the noise makes, in nats; `None` if no weight of the mix has errors, or the text is too short.
    pub fn run(&self, tell: &(dyn Fn(Event) + Sync)) -> Result<Option<f64>, Error> {
        let noise = self.noise()?;
        if noise.is_empty() {
            return Ok(None);
        }
        let Measured { calibration, kept_back, shares, .. } = self.measured;
        let tokens = shares.judged_tokens();
        let place = self.measure.place_of_rehearsal(calibration.path(), kept_back, tokens, &noise)?;
        let io = |source| Error::Io { path: place.clone(), source };
        tell(Event::Step { step: Step::Rehearsal, path: &place, is_there: place.exists() });
        if !place.exists() {
            let work = WorkFolder::temporary("tenpak-rehearsal-").map_err(io)?;
            let file = work.path().join("noise");
            std::fs::write(&file, &noise).map_err(io)?;
            let mut command = self.measured.collector(self.measure, tokens, self.threads)?;
            command.args(["-c", &CHUNK.to_string()]).arg("--noise").arg(&file).arg("-o").arg(&place);
            run_collector(&mut command, &[&place], self.measure.quiet)?;
        }
        let text = std::fs::read_to_string(&place).map_err(io)?;
        parse(&text).ok_or_else(|| Error::Damaged(place.clone()))
    }

    /// For every use of every weight its name, the use, and the noise that is expected to cost as much as the errors of its type.
    fn noise(&self) -> Result<String, Error> {
        let guide = Guide { calibration: &self.measured.calibration, effort: SEARCH };
        let known = Known::of(guide.calibration, self.sensitivities)?;
        let mut factors = LastFactor::default();
        let mut lines = String::new();
        for (&index, &cost) in &self.mix.costs {
            let t = &self.model.tensors[index];
            let is_used = |site| self.sensitivities.of(&t.name, site).is_some();
            let by_use = match (is_used(Use::Product), is_used(Use::Rows)) {
                (true, true) => {
                    let target = self.mix.plan.tensors[index].target;
                    let by_use =
                        cost_of(self.model, guide, &known, t, target, &mut factors)?.unwrap_or_default();
                    let share = if by_use.sum() > 0.0 { cost / by_use.sum() } else { 0.0 };
                    Cost { products: share * by_use.products, rows: share * by_use.rows }
                }
                (true, false) => Cost { products: cost, rows: 0.0 },
                (false, _) => Cost { products: 0.0, rows: cost },
            };
            for (word, noise) in noise_of(self.sensitivities, &t.name, by_use) {
                let _ = writeln!(lines, "{} {word} {noise:e}", t.name);
            }
        }
        Ok(lines)
    }
}

/// From the line of the collector's: a mean and its standard error. Nothing is in the file if the text was too short, which the
/// collector has said; then there is no mean. `None` for what no rehearsal wrote.
fn parse(text: &str) -> Option<Option<f64>> {
    if text.is_empty() {
        return Some(None);
    }
    let (mean, error) = text.trim_end().split_once('\t')?;
    let (mean, _error) = (mean.parse::<f64>().ok()?, error.parse::<f64>().ok()?);
    Some((mean.is_finite() && mean > 0.0).then_some(mean))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_is_read_and_damage_is_told() {
        assert_eq!(parse("0.25\t0.003\n"), Some(Some(0.25)));
        assert_eq!(parse(""), Some(None), "the text was too short");
        assert_eq!(parse("nan\tnan\n"), Some(None));
        for damaged in ["0.25\n", "much\t0.1\n", "\n"] {
            assert_eq!(parse(damaged), None, "{damaged:?}");
        }
    }
}
