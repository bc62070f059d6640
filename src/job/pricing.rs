//! What types cost the tensors of a model, and the best mix of them for a size: as statistics say, as a trial corrects it, and as a
//! rehearsal of the mix finds for all together.

use super::allocate::{Allocation, Size, allocation};
use super::corrections::LowRank;
use super::costs::{TensorCosts, costs};
use super::event::Event;
use super::extent::Extent;
use super::guide::Guide;
use super::measure::{Measure, Measured};
use super::rehearsal::Rehearsal;
use super::trial::{Trial, Trying};
use super::{AllocationError, Error};
use crate::calibration::{Calibration, Sensitivities};
use crate::checkpoint::Model;
use crate::plan::Plan;
use crate::quantize::Effort;

/// Statistics, and where they came from.
pub(super) enum Found {
    Given(Calibration),
    Measured(Measured),
}

impl Found {
    pub fn calibration(&self) -> &Calibration {
        match self {
            Found::Given(calibration) => calibration,
            Found::Measured(measured) => &measured.calibration,
        }
    }
}

/// What prices are found with.
pub(super) struct Pricing<'a> {
    pub model: &'a Model,
    pub statistics: &'a Found,
    /// How these were measured, if they were.
    pub measure: Option<&'a Measure>,
    pub effort: Effort,
    pub low_rank: Option<LowRank>,
    pub threads: Option<usize>,
}

/// What every type would cost every tensor.
pub(super) struct Prices {
    costs: Vec<TensorCosts>,
    sensitivities: Sensitivities,
}

impl Prices {
    /// The best mix for a size. Of tensors without costs the types are those of `rest`.
    pub fn allocation(&self, model: &Model, rest: &Plan, size: Size) -> Result<Allocation, AllocationError> {
        allocation(model, &self.costs, &self.sensitivities, rest, size)
    }
}

impl Pricing<'_> {
    /// The prices; `None` if the statistics do not say what depends on each weight.
    pub fn prices(&self, tell: &(dyn Fn(Event) + Sync)) -> Result<Option<Prices>, Error> {
        let guide = Guide { calibration: self.statistics.calibration(), effort: self.effort };
        let Some(sensitivities) = guide.calibration.sensitivities()? else { return Ok(None) };
        let weights = self.model.tensors.iter().map(|t| t.elements()).sum();
        tell(Event::Costs { weights });
        let found = costs(self.model, guide, &sensitivities, self.low_rank, &|n| tell(Event::Progress(n)));
        tell(Event::Stopped);
        let mut costs = found?;
        if let Some(trial) = self.trial(&sensitivities, &costs, tell)? {
            tell(Event::Tried(&trial));
            for tensor in &mut costs {
                let factor = trial.factor(&self.model.tensors[tensor.index].name);
                tensor.offers.iter_mut().for_each(|(_, cost)| *cost *= factor);
            }
        }
        Ok(Some(Prices { costs, sensitivities }))
    }

    /// The best mix for a size. Where it can be rehearsed, the divergence that is expected of it is what the rehearsal finds, and
    /// those that are expected of other mixes change in the same proportion.
    pub fn rehearsed(
        &self,
        prices: &mut Prices,
        rest: &Plan,
        size: Size,
        tell: &(dyn Fn(Event) + Sync),
    ) -> Result<Allocation, Error> {
        let mix = prices.allocation(self.model, rest, size)?;
        let (Found::Measured(measured), Some(measure)) = (self.statistics, self.measure) else {
            return Ok(mix);
        };
        let (model, sensitivities, threads) = (self.model, &prices.sensitivities, self.threads);
        let rehearsal = Rehearsal { model, measured, measure, sensitivities, mix: &mix, threads };
        let Some(divergence) = rehearsal.run(tell)? else { return Ok(mix) };
        prices.sensitivities = prices.sensitivities.clone().expecting(divergence / mix.expected);
        Ok(prices.allocation(self.model, rest, size)?)
    }

    /// What errors of the quantizer cost beside what is expected of them. `None` for statistics of a file: there is no model to run
    /// and no text that was kept back.
    fn trial(
        &self,
        sensitivities: &Sensitivities,
        costs: &[TensorCosts],
        tell: &(dyn Fn(Event) + Sync),
    ) -> Result<Option<Trial>, Error> {
        let (Found::Measured(measured), Some(measure)) = (self.statistics, self.measure) else {
            return Ok(None);
        };
        let extent = Extent::of(self.effort, self.model);
        let Measured { calibration, kept_back, shares, .. } = measured;
        let trying = Trying {
            model: self.model,
            measured,
            measure,
            sensitivities,
            costs,
            effort: self.effort,
            threads: self.threads,
            extent,
            place: measure.place_of_trial(calibration.path(), kept_back, extent, *shares)?,
        };
        trying.run(tell)
    }
}
