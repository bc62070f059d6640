//! What each type would cost each tensor of a model, from the calibrated quantizer on some of its rows.

use super::Error;
use super::guided::{Guide, experts};
use super::loss::{Loss, Price};
use super::weights::check_finite;
use crate::calibration::Sensitivities;
use crate::checkpoint::{Model, SourceTensor};
use crate::plan::{Candidate, Candidates, Family, Target};
use crate::quantize::{BandQuantizer, Factor};
use crate::types::TensorType;
use rayon::prelude::*;

/// Rows of a tensor that are quantized, spread over all of it.
const ROWS: usize = 32;
/// Rows that a thread quantizes together.
const BAND: usize = 4;
/// Experts of a tensor that are looked at, spread over all.
const EXPERTS: usize = 3;

/// A tensor with the types that can hold it.
#[derive(Clone, Debug)]
pub struct TensorCosts {
    /// Its place among the tensors of the model.
    pub index: usize,
    /// The types, and the divergence in nats that is expected of each.
    pub offers: Vec<(Candidate, f64)>,
}

/// The costs of all tensors whose type can be chosen and of which the calibration knows what their errors do. `tell` hears
/// of the weights of every tensor that is done.
pub fn costs(
    model: &Model,
    guide: Guide,
    sensitivities: &Sensitivities,
    tell: &(dyn Fn(u64) + Sync),
) -> Result<Vec<TensorCosts>, Error> {
    let mut all = Vec::new();
    let mut factors = LastFactor::default();
    for (index, t) in model.tensors.iter().enumerate() {
        if let Candidates::Any(candidates) = Candidates::of(model, t)
            && !t.left_precise
        {
            let kinds = kinds(&candidates);
            if !kinds.is_empty()
                && let Some(losses) = losses(model, guide, sensitivities, t, &kinds, &mut factors)?
            {
                all.push(TensorCosts { index, offers: offers(t, &candidates, &kinds, &losses) });
            }
        }
        tell(t.elements());
    }
    Ok(all)
}

/// The types of blocks among the candidates: of each family the one of the longest blocks. Types that need factors of their
/// own and have more error than those of as many bits are left out (docs/allocation.md).
fn kinds(candidates: &[Candidate]) -> Vec<&'static TensorType> {
    let fits = |kind: &&'static TensorType| {
        candidates.iter().any(|c| matches!(c.target, Target::Blocks(b) if b.id == kind.id))
    };
    let of_family = |family: Family| family.types().into_iter().find(|kind| fits(kind));
    Family::all().into_iter().filter(|family| family.is_trellis()).filter_map(of_family).collect()
}

fn offers(
    t: &SourceTensor,
    candidates: &[Candidate],
    kinds: &[&'static TensorType],
    losses: &[f64],
) -> Vec<(Candidate, f64)> {
    let cost = |candidate: &Candidate| match candidate.target {
        Target::Plain(dtype) => (dtype == t.dtype.written()).then_some(0.0),
        Target::Kept(_) => Some(0.0),
        Target::Blocks(kind) => kinds.iter().position(|k| k.id == kind.id).map(|i| losses[i]),
    };
    candidates.iter().filter_map(|candidate| Some((*candidate, cost(candidate)?))).collect()
}

/// The expected divergence of each type; `None` if nothing is known of the tensor.
fn losses(
    model: &Model,
    guide: Guide,
    sensitivities: &Sensitivities,
    t: &SourceTensor,
    kinds: &[&'static TensorType],
    factors: &mut LastFactor,
) -> Result<Option<Vec<f64>>, Error> {
    let price = Price::of(Some(sensitivities), t);
    let mut sums = vec![0.0; kinds.len()];
    let experts = experts(t);
    let looked_at = experts.min(EXPERTS);
    for i in 0..looked_at {
        let expert = i * experts / looked_at;
        let weights = some_rows(model, t, expert, experts)?;
        // Every expert sees a share of the tokens.
        let rows = t.rows() as f64 / (weights.len() / t.columns()) as f64 / experts as f64;
        for (sum, kind) in sums.iter_mut().zip(kinds) {
            let Some(Factored { factor, damping, mean }) = factors.of(guide, price, t, expert, kind)? else {
                return Ok(None);
            };
            let Some(unit) = price.unit(*mean) else { return Ok(None) };
            let bands = weights.par_chunks(BAND * t.columns());
            let losses: Vec<f64> = bands.map(|band| loss(factor, *damping, kind, guide, band)).collect();
            *sum += unit * rows * losses.iter().sum::<f64>() / looked_at as f64;
        }
    }
    Ok(Some(sums))
}

/// The loss of a band of rows, without what the damping adds to it.
fn loss(factor: &Factor, damping: f64, kind: &'static TensorType, guide: Guide, band: &[f32]) -> f64 {
    let mut out = vec![0; kind.row_bytes(band.len()).expect("whole blocks")];
    let mut quantizer = BandQuantizer::new(kind, guide.effort.breadth());
    quantizer.quantize(factor, &mut band.to_vec(), &mut out) - damping * quantizer.squared_errors()
}

fn some_rows(model: &Model, t: &SourceTensor, expert: usize, experts: usize) -> Result<Vec<f32>, Error> {
    let (all, columns) = (t.rows() / experts, t.columns());
    let rows = all.min(ROWS);
    let mut weights = vec![0.0; rows * columns];
    for (i, row) in weights.chunks_exact_mut(columns).enumerate() {
        let at = expert * all + (2 * i + 1) * all / (2 * rows);
        model.read_rows(t, at, row)?;
        check_finite(model, t, at, row)?;
    }
    Ok(weights)
}

/// A factor with what the loss is made of.
struct Factored {
    factor: Factor,
    /// What stands for the text's noise in the loss.
    damping: f64,
    /// Mean of the diagonal.
    mean: f64,
}

/// The factor of the last input, which several tensors and types share.
#[derive(Default)]
struct LastFactor(Option<(FactorKey, Factored)>);

/// Input, expert, length of a block.
type FactorKey = (String, usize, usize);

impl LastFactor {
    fn of(
        &mut self,
        guide: Guide,
        price: Price,
        t: &SourceTensor,
        expert: usize,
        kind: &'static TensorType,
    ) -> Result<Option<&Factored>, Error> {
        let input = guide.calibration.input_of(&t.name).unwrap_or(&t.name);
        let key = (input.to_owned(), expert, kind.block_len);
        if self.0.as_ref().is_none_or(|(last, _)| *last != key) {
            self.0 = None;
            let Some(loss) = Loss::of(guide.calibration, price, t, expert)? else { return Ok(None) };
            let factor = Factor::new(kind, loss.statistics, loss.damping + loss.of_rows);
            let factor = factor.map_err(|_| Error::NotPositive { tensor: t.name.clone() })?;
            self.0 = Some((key, Factored { factor, damping: loss.damping as f64, mean: loss.mean }));
        }
        Ok(self.0.as_ref().map(|(_, factored)| factored))
    }
}
