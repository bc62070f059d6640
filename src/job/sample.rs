//! Conversions of some blocks only, which stand for all; docs/allocation.md, section 4.

use super::costs::{Known, LastFactor, cost_of};
use super::guide::Guide;
use super::sampled::{DEVIATIONS, Interval, Sampled};
use super::{Error, measure};
use crate::calibration::Sensitivities;
use crate::checkpoint::Model;
use crate::names::block;
use crate::plan::{Plan, Planned, Sample, SampleError, Target};
use std::collections::{BTreeMap, BTreeSet};

/// How far the errors of a block cost more or less than expected, where sensitivities say what is expected: the standard deviation of
/// the logarithm.
const SCATTER: f64 = 0.5;

/// The same where all weights are taken to be equally sensitive.
const SCATTER_UNKNOWN: f64 = 1.0;

/// The plan of the same file of which only the blocks of a sample, and what is in no block, are quantized. Costs are those of
/// tensors by their place in the model, if they are known already.
pub(super) fn sampled(
    model: &Model,
    plan: Plan,
    sample: &Sample,
    guide: Option<Guide>,
    costs: Option<BTreeMap<usize, f64>>,
) -> Result<(Plan, Sampled), Error> {
    let blocks = sample.blocks(model)?;
    let sensitivities = guide.map(|guide| guide.calibration.sensitivities()).transpose()?.flatten();
    let costs = match (costs, guide, &sensitivities) {
        (Some(costs), ..) => costs,
        (None, Some(guide), Some(sensitivities)) => expected(model, &plan, guide, sensitivities)?,
        _ => by_bits(&plan),
    };
    let (mut inside, mut outside) = (BTreeMap::new(), BTreeMap::new());
    for (index, cost) in costs {
        let name = &plan.tensors[index].header.name;
        let block = block(name);
        let part = if block.is_none_or(|b| blocks.contains(&b)) { &mut inside } else { &mut outside };
        // Tensors that are in no block are each for themselves.
        *part.entry((block, if block.is_none() { name } else { "" })).or_insert(0.0) += cost;
    }
    let [inside, outside] = [inside, outside].map(|units| units.into_values().collect::<Vec<f64>>());
    let list = ranges(&blocks);
    let times = match &sensitivities {
        Some(known) => times(&inside, &outside, |sum| known.expected(sum), SCATTER),
        None => times(&inside, &outside, |sum| sum, SCATTER_UNKNOWN),
    };
    let times = times.ok_or_else(|| SampleError::NothingQuantized(list.clone()))?;
    let found = Sampled { blocks: list, file_bytes: plan.file_bytes, times };
    Ok((found.name_in(plan.with_blocks(&blocks, measure::plain(model)?)), found))
}

/// What types are expected to cost the tensors of a plan.
fn expected(
    model: &Model,
    plan: &Plan,
    guide: Guide,
    sensitivities: &Sensitivities,
) -> Result<BTreeMap<usize, f64>, Error> {
    let known = Known::of(guide.calibration, sensitivities)?;
    let mut factors = LastFactor::default();
    let mut costs = BTreeMap::new();
    for (index, planned) in plan.tensors.iter().enumerate() {
        let (t, target) = (&planned.source, planned.target);
        if let Some(cost) = cost_of(model, guide, &known, t, target, &mut factors)? {
            costs.insert(index, cost.sum());
        }
    }
    Ok(costs)
}

/// Squared errors as they fall with the bits of weights, four times for each, if nothing is known of what they do.
fn by_bits(plan: &Plan) -> BTreeMap<usize, f64> {
    let cost = |planned: &Planned| match planned.target {
        Target::Blocks(_) | Target::Upstream(_) => {
            let weights = planned.source.elements() as f64;
            Some(weights * 0.25f64.powf(8.0 * planned.header.bytes as f64 / weights))
        }
        Target::Plain(_) | Target::Kept(_) => None,
    };
    plan.tensors.iter().enumerate().filter_map(|(index, planned)| Some((index, cost(planned)?))).collect()
}

/// How many times what is expected of the units of a sample all are expected to cost. `None` if the sample costs nothing. Units cost
/// more or less than expected, each by a factor of its own: the mean over the sample says something of the others, the more the more
/// units weigh in both (Cochran, "Sampling Techniques", 1977, section 6: the ratio estimate).
fn times(inside: &[f64], outside: &[f64], expected: impl Fn(f64) -> f64, scatter: f64) -> Option<Interval> {
    let sum = |units: &[f64]| units.iter().sum::<f64>();
    // The number of equal units that have the same mean error.
    let number = |units: &[f64]| sum(units).powi(2) / units.iter().map(|cost| cost * cost).sum::<f64>();
    let (within, beyond) = (sum(inside), sum(outside));
    if within <= 0.0 {
        return None;
    }
    let of_rest = |factor: f64| expected(within + factor * beyond) / expected(within);
    if beyond <= 0.0 {
        return Some(Interval { low: 1.0, value: 1.0, high: 1.0 });
    }
    let deviation = scatter * (1.0 / number(inside) + 1.0 / number(outside)).sqrt();
    let factor = (DEVIATIONS * deviation).exp();
    Some(Interval { low: of_rest(1.0 / factor), value: of_rest(1.0), high: of_rest(factor) })
}

/// `0-2,8`.
fn ranges(blocks: &BTreeSet<u64>) -> String {
    let mut found: Vec<(u64, u64)> = Vec::new();
    for &block in blocks {
        match found.last_mut() {
            Some((_, last)) if *last + 1 == block => *last = block,
            _ => found.push((block, block)),
        }
    }
    let shown = |&(first, last): &(u64, u64)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    found.iter().map(shown).collect::<Vec<String>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_listed() {
        let list = |numbers: &[u64]| ranges(&numbers.iter().copied().collect());
        assert_eq!(list(&[0, 1, 2, 8, 10, 11]), "0-2,8,10-11");
        assert_eq!(list(&[5]), "5");
    }

    #[test]
    fn the_whole_costs_what_the_others_are_expected_to_cost_more() {
        let found = times(&[1.0, 1.0], &[3.0, 3.0], |sum| sum, 0.5).unwrap();
        assert!((found.value - 4.0).abs() < 1e-12);
        // Two units here and two there: exp(2 * 0.5 * sqrt(1/2 + 1/2)) = e.
        let e = 1f64.exp();
        assert!((found.high - (1.0 + 3.0 * e)).abs() < 1e-9 && (found.low - (1.0 + 3.0 / e)).abs() < 1e-9);
        let more = times(&[1.0; 8], &[3.0; 8], |sum| sum, 0.5).unwrap();
        assert!(more.value == found.value && more.high < found.high && more.low > found.low);
        // One unit of weight is one, however many weigh nothing.
        let one = times(&[2.0, 0.0, 0.0], &[3.0, 3.0], |sum| sum, 0.5).unwrap();
        assert!((one.high - times(&[2.0], &[3.0, 3.0], |sum| sum, 0.5).unwrap().high).abs() < 1e-12);
        assert_eq!(times(&[], &[1.0], |sum| sum, 0.5), None);
        let all = times(&[1.0], &[], |sum| sum, 0.5).unwrap();
        assert_eq!(all, Interval { low: 1.0, value: 1.0, high: 1.0 });
    }
}
