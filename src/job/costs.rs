//! What each type would cost each tensor of a model, from the calibrated quantizer on some of its rows.

use super::Error;
use super::corrections::{LowRank, shrinkage};
use super::guide::Guide;
use super::guided::experts;
use super::loss::{Loss, Price};
use super::weights::check_finite;
use crate::calibration::{Calibration, Sensitivities, Statistics, TokenShares};
use crate::checkpoint::{Model, SourceTensor};
use crate::gguf::{UPSTREAM_TYPES, UpstreamType};
use crate::plan::{CORRECTED, Candidate, Candidates, Family, Target, takes_correction};
use crate::quantize::{BandQuantizer, Factor};
use crate::types::TensorType;
use rayon::prelude::*;

/// Rows of a tensor that are quantized, spread over all of it.
pub(super) const ROWS: usize = 32;
/// Rows that a thread quantizes together.
const BAND: usize = 4;
/// Experts of a tensor that are looked at, spread over all.
pub(super) const EXPERTS: usize = 3;

/// A tensor with the types that can hold it.
#[derive(Clone, Debug)]
pub struct TensorCosts {
    /// Its place among the tensors of the model.
    pub index: usize,
    /// The types, some with corrections of low rank, and the divergence in nats that is expected of each.
    pub offers: Vec<(Candidate, f64)>,
}

/// The costs of all tensors whose type can be chosen and of which the calibration knows what their errors do. `tell` hears
/// of the weights of every tensor that is done.
pub fn costs(
    model: &Model,
    guide: Guide,
    sensitivities: &Sensitivities,
    low_rank: Option<LowRank>,
    tell: &(dyn Fn(u64) + Sync),
) -> Result<Vec<TensorCosts>, Error> {
    let known = Known::of(guide.calibration, sensitivities)?;
    let architecture = model.key("general.architecture").and_then(|v| v.as_str()).unwrap_or_default();
    let is_corrected = CORRECTED.contains(&architecture);
    let mut all = Vec::new();
    let mut factors = LastFactor::default();
    for (index, t) in model.tensors.iter().enumerate() {
        if let Candidates::Any(candidates) = Candidates::of(model, t)
            && !t.left_precise
        {
            let kinds = kinds(&candidates);
            if !kinds.is_empty()
                && let Some(costs) = costs_of(model, guide, &known, t, &kinds, &mut factors)?
            {
                let offers = offers(t, &candidates, &kinds, &costs);
                let offers = match low_rank.filter(|_| is_corrected && takes_correction(t)) {
                    Some(low_rank) => with_corrections(model, guide, sensitivities, t, low_rank, offers)?,
                    None => offers,
                };
                all.push(TensorCosts { index, offers });
            }
        }
        tell(t.elements());
    }
    Ok(all)
}

/// The same offers, those of types of ours with each rank that the tensor may have.
fn with_corrections(
    model: &Model,
    guide: Guide,
    sensitivities: &Sensitivities,
    t: &SourceTensor,
    low_rank: LowRank,
    offers: Vec<(Candidate, f64)>,
) -> Result<Vec<(Candidate, f64)>, Error> {
    let ranks = low_rank.ranks(t);
    let left = shrinkage(model, guide, Price::of(Some(sensitivities), t), t, &ranks)?;
    let corrected = |(candidate, cost): (Candidate, f64)| -> Vec<(Candidate, f64)> {
        match candidate.target {
            Target::Blocks(_) => ranks
                .iter()
                .zip(&left)
                .map(|(&rank, left)| (Candidate { rank, ..candidate }, cost * left))
                .collect(),
            _ => vec![(candidate, cost)],
        }
    };
    Ok(offers.into_iter().flat_map(corrected).collect())
}

/// A type whose errors have to be found out.
#[derive(Clone, Copy)]
enum Kind {
    Ours(&'static TensorType),
    Upstream(&'static UpstreamType),
}

impl Kind {
    fn is(self, target: Target) -> bool {
        match (self, target) {
            (Kind::Ours(kind), Target::Blocks(of)) => kind.id == of.id,
            (Kind::Upstream(kind), Target::Upstream(of)) => kind.kind == of.kind,
            _ => false,
        }
    }
}

/// Those types among the candidates, ours first: of each family the one of the longest blocks. Types that need factors of their
/// own and have more error than those of as many bits are left out (docs/allocation.md).
fn kinds(candidates: &[Candidate]) -> Vec<Kind> {
    let fits = |kind: &Kind| candidates.iter().any(|c| kind.is(c.target));
    let of_family = |family: Family| family.types().into_iter().map(Kind::Ours).find(|kind| fits(kind));
    let ours = Family::all().into_iter().filter(|family| family.is_trellis()).filter_map(of_family);
    ours.chain(UPSTREAM_TYPES.into_iter().map(Kind::Upstream).filter(fits)).collect()
}

fn offers(
    t: &SourceTensor,
    candidates: &[Candidate],
    kinds: &[Kind],
    costs: &[Cost],
) -> Vec<(Candidate, f64)> {
    let cost = |candidate: &Candidate| match candidate.target {
        Target::Plain(dtype) => (dtype == t.dtype.written()).then_some(0.0),
        Target::Kept(_) => Some(0.0),
        target => kinds.iter().position(|kind| kind.is(target)).map(|i| costs[i].sum()),
    };
    candidates.iter().filter_map(|candidate| Some((*candidate, cost(candidate)?))).collect()
}

impl TensorCosts {
    /// The divergence in nats that is expected of a type, without corrections.
    pub(super) fn of(&self, target: Target) -> Option<f64> {
        let is_it = |candidate: &Candidate| match (candidate.target, target) {
            (Target::Blocks(a), Target::Blocks(b)) => a.id == b.id && candidate.rank == 0,
            _ => false,
        };
        self.offers.iter().find(|(candidate, _)| is_it(candidate)).map(|&(_, cost)| cost)
    }
}

/// What a type is expected to cost a tensor; `None` if nothing is known of the tensor, or it is no type that has errors.
pub(super) fn cost_of(
    model: &Model,
    guide: Guide,
    known: &Known,
    t: &SourceTensor,
    target: Target,
    factors: &mut LastFactor,
) -> Result<Option<Cost>, Error> {
    let kind = match target {
        Target::Blocks(kind) => Kind::Ours(kind),
        Target::Upstream(kind) => Kind::Upstream(kind),
        Target::Plain(_) | Target::Kept(_) => return Ok(None),
    };
    let costs = costs_of(model, guide, known, t, &[kind], factors)?;
    Ok(costs.map(|costs| costs[0]))
}

/// What a type is expected to cost each use of a tensor, in nats.
#[derive(Clone, Copy, Default)]
pub(super) struct Cost {
    /// The products with it.
    pub products: f64,
    /// The rows that are taken from it.
    pub rows: f64,
}

impl Cost {
    /// Of both uses.
    pub fn sum(self) -> f64 {
        self.products + self.rows
    }
}

/// What each type is expected to cost; `None` if nothing is known of the tensor.
fn costs_of(
    model: &Model,
    guide: Guide,
    known: &Known,
    t: &SourceTensor,
    kinds: &[Kind],
    factors: &mut LastFactor,
) -> Result<Option<Vec<Cost>>, Error> {
    let price = Price::of(Some(&known.sensitivities), t);
    let mut costs = vec![Cost::default(); kinds.len()];
    let experts = experts(t);
    let looked_at = experts.min(EXPERTS);
    for i in 0..looked_at {
        let expert = i * experts / looked_at;
        let weights = some_rows(model, t, &known.rows(t, price, expert, experts))?;
        // Every expert sees a share of the tokens.
        let rows = t.rows() as f64 / (weights.len() / t.columns()) as f64 / experts as f64;
        let mut weighing = None;
        for (cost, &kind) in costs.iter_mut().zip(kinds) {
            let (loss, mean) = match kind {
                Kind::Ours(kind) => {
                    let Some(found) = factors.of(guide, price, t, expert, kind)? else { return Ok(None) };
                    weighing = Some(found.weighing);
                    let bands = weights.par_chunks(BAND * t.columns());
                    let losses: Vec<[f64; 2]> = bands.map(|band| loss(found, kind, guide, band)).collect();
                    let sum = |i: usize| losses.iter().map(|parts| parts[i]).sum::<f64>();
                    ([sum(0), sum(1)], found.weighing.mean)
                }
                Kind::Upstream(kind) => {
                    if weighing.is_none() {
                        weighing =
                            Loss::of(guide.calibration, price, t, expert)?.map(|loss| Weighing::of(&loss));
                    }
                    let Some(weighing) = weighing else { return Ok(None) };
                    (weighing.of_white(kind, &weights), weighing.mean)
                }
            };
            let Some(unit) = price.unit(mean) else { return Ok(None) };
            let [own, of_rows] = loss.map(|part| unit * rows * part / looked_at as f64);
            let (products, of_rows) =
                if price.takes_rows_only() { (0.0, own + of_rows) } else { (own, of_rows) };
            cost.products += products;
            cost.rows += of_rows;
        }
    }
    Ok(Some(costs))
}

/// The loss of a band of rows, on other text than that of the calibration: that of H, and that for the use of the rows as they are.
fn loss(factored: &Factored, kind: &'static TensorType, guide: Guide, band: &[f32]) -> [f64; 2] {
    let mut out = vec![0; kind.row_bytes(band.len()).expect("whole blocks")];
    let mut quantizer = BandQuantizer::new(kind, guide.effort.breadth());
    let loss = quantizer.quantize(&factored.factor, &mut band.to_vec(), &mut out);
    factored.weighing.elsewhere(loss, quantizer.squared_errors())
}

/// Some rows of a tensor.
fn some_rows(model: &Model, t: &SourceTensor, rows: &[usize]) -> Result<Vec<f32>, Error> {
    let columns = t.columns();
    let mut weights = vec![0.0; rows.len() * columns];
    for (&at, row) in rows.iter().zip(weights.chunks_exact_mut(columns)) {
        model.read_rows(t, at, row)?;
        check_finite(model, t, at, row)?;
    }
    Ok(weights)
}

/// What a calibration says beside its sums.
pub(super) struct Known {
    pub sensitivities: Sensitivities,
    /// How often each token comes, if the calibration says it.
    tokens: Option<TokenShares>,
}

impl Known {
    pub fn of(calibration: &Calibration, sensitivities: &Sensitivities) -> Result<Known, Error> {
        Ok(Known { sensitivities: sensitivities.clone(), tokens: calibration.token_shares()? })
    }

    /// Rows that stand for all of an expert: where rows are taken by tokens, those of tokens as they come, else rows that are
    /// spread over the matrix.
    pub fn rows(&self, t: &SourceTensor, price: Price, expert: usize, experts: usize) -> Vec<usize> {
        let all = t.rows() / experts;
        let rows = all.min(ROWS);
        match &self.tokens {
            Some(tokens) if price.takes_rows_only() && experts == 1 => tokens.quantiles(all, rows),
            _ => (0..rows).map(|i| expert * all + (2 * i + 1) * all / (2 * rows)).collect(),
        }
    }
}

/// A factor with what the loss is made of.
struct Factored {
    factor: Factor,
    weighing: Weighing,
}

/// How much more the errors of calibrated rows cost on other text than on that of the calibration, for which the
/// feedback is made: measured, see docs/allocation.md.
pub(super) fn excess(statistics: &Statistics) -> f64 {
    /// For each column in a token.
    const OF_RATIO: f64 = 5.0;
    /// What the damping leaves at most.
    const MOST: f64 = 0.36;
    match *statistics {
        Statistics::Gram { n, tokens, .. } if tokens > 0 => {
            1.0 + (OF_RATIO * n as f64 / tokens as f64).min(MOST)
        }
        _ => 1.0,
    }
}

/// How a loss weighs errors.
#[derive(Clone, Copy)]
struct Weighing {
    /// What stands for the text's noise in the loss.
    damping: f64,
    /// For the use of the rows as they are.
    of_rows: f64,
    /// Mean of H's diagonal.
    mean: f64,
    /// How much more errors cost on other text.
    excess: f64,
}

impl Weighing {
    fn of(loss: &Loss) -> Weighing {
        let (damping, of_rows) = (loss.damping.into(), loss.of_rows.into());
        Weighing { damping, of_rows, mean: loss.mean, excess: excess(&loss.statistics) }
    }

    /// The loss of errors on other text, from the quantizer's, which knows the text of the calibration and its damping: that of H,
    /// and that for the use of the rows as they are.
    fn elsewhere(self, loss: f64, squares: f64) -> [f64; 2] {
        let of_rows = self.of_rows * squares;
        [loss - self.damping * squares - of_rows, of_rows].map(|part| self.excess * part)
    }

    /// The same of rows whose errors know nothing of H, so that all directions have the same share of them.
    fn of_white(self, kind: &UpstreamType, weights: &[f32]) -> [f64; 2] {
        let mut bytes = vec![0; kind.kind.bytes(weights.len() as u64).expect("whole blocks") as usize];
        kind.quantize(weights, &mut bytes);
        let mut read = vec![0.0; weights.len()];
        kind.kind.dequantizer().expect("a quantized type")(&bytes, &mut read);
        let squares = weights.iter().zip(&read).map(|(w, r)| f64::from(w - r).powi(2));
        let squares = squares.sum::<f64>();
        [squares, self.of_rows * squares]
    }
}

/// The factor of the last input, which several tensors and types share.
#[derive(Default)]
pub(super) struct LastFactor(Option<(FactorKey, Factored)>);

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
            let weighing = Weighing::of(&loss);
            let factor = Factor::new(kind, loss.statistics, loss.damping + loss.of_rows);
            let factor = factor.map_err(|_| Error::NotPositive { tensor: t.name.clone() })?;
            self.0 = Some((key, Factored { factor, weighing }));
        }
        Ok(self.0.as_ref().map(|(_, factored)| factored))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn feedback_that_few_tokens_made_costs_more_on_other_text() {
        let gram = |n: usize, tokens| excess(&Statistics::Gram { n, values: Vec::new(), tokens });
        assert_eq!(gram(1000, 0), 1.0, "nothing is known, and nothing fed back");
        assert_eq!(gram(1000, 50_000), 1.1);
        assert!(gram(1000, 100_000) < gram(2000, 100_000));
        assert_eq!(gram(8960, 2048), gram(8960, 32768), "the damping does the rest");
        assert_eq!(excess(&Statistics::Diagonal { values: vec![1.0; 4], tokens: 1 }), 1.0);
    }

    #[test]
    fn damping_costs_nothing() {
        let weighing = Weighing { damping: 0.5, of_rows: 2.0, mean: 1.0, excess: 1.25 };
        assert_eq!(weighing.elsewhere(18.0, 4.0), [8.0 * 1.25, 8.0 * 1.25]);
    }
}
