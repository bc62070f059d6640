//! Writes the tensors that a calibration has statistics for, with error feedback.

use super::Error;
use super::corrections::{self, Adapter};
use super::guide::Guide;
use super::loss::{Loss, Price};
use super::weights::check_finite;
use crate::calibration::{Sensitivities, Use};
use crate::checkpoint::{Model, SourceTensor};
use crate::gguf::Writer;
use crate::plan::{Plan, Planned, Target};
use crate::quantize::{BandQuantizer, Factor, band_of_groups};
use crate::types::TensorType;
use rayon::prelude::*;
use std::sync::Arc;

/// Quantizes tensors under a guide. Factors are kept as long as there is room for them, since several weights have the
/// same input.
pub(super) struct Guided<'a> {
    guide: Guide<'a>,
    sensitivities: Option<Sensitivities>,
    /// The oldest first.
    factors: Vec<FactorOfInput>,
    /// Bytes that all factors may take: those of the largest, for which there has to be room anyway.
    budget: usize,
}

struct FactorOfInput {
    input: (String, usize),
    kind: &'static TensorType,
    factor: Arc<Factor>,
}

impl<'a> Guided<'a> {
    /// Checks that the calibration is of the model, of which the plan may be a part.
    pub fn new(guide: Guide<'a>, model: &Model, plan: &Plan) -> Result<Self, Error> {
        let in_blocks = plan.tensors.iter().filter(|t| matches!(t.target, Target::Blocks(_)));
        let weights: Vec<_> =
            in_blocks.map(|t| (t.header.name.clone(), t.source.columns(), experts(&t.source))).collect();
        let architecture = model.key("general.architecture").and_then(|v| v.as_str()).unwrap_or_default();
        let unknown =
            plan.tensors.iter().find(|t| t.rank > 0 && guide.calibration.input_of(&t.header.name).is_none());
        if let Some(t) = unknown {
            return Err(Error::NothingKnown { tensor: t.header.name.clone() });
        }
        guide.calibration.check(architecture, model.block_count(), &weights)?;
        let known = weights.iter().filter(|(name, ..)| guide.calibration.input_of(name).is_some());
        let budget = known.map(|&(_, columns, _)| factor_bytes(columns)).max().unwrap_or(0);
        let sensitivities = guide.calibration.sensitivities()?;
        Ok(Guided { guide, sensitivities, factors: Vec::new(), budget })
    }

    /// Whether there are statistics for a tensor, or it is known that its rows are taken.
    pub fn knows(&self, t: &SourceTensor) -> bool {
        let is_taken = |s: &Sensitivities| s.of(&t.name, Use::Rows).is_some();
        self.guide.calibration.input_of(&t.name).is_some()
            || self.sensitivities.as_ref().is_some_and(is_taken)
    }

    /// Writes a tensor that it knows, and its correction into the adapter.
    pub fn write(
        &mut self,
        model: &Model,
        planned: &Planned,
        kind: &'static TensorType,
        writer: &mut Writer,
        adapter: Option<&mut Adapter>,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(), Error> {
        let t = &planned.source;
        if planned.rank > 0 {
            let adapter = adapter.ok_or_else(|| Error::NoAdapter { tensor: t.name.clone() })?;
            let factor = self.factor(t, 0, kind)?;
            let price = Price::of(self.sensitivities.as_ref(), t);
            let Planned { rank, making, .. } = *planned;
            let target = corrections::Corrected { t, kind, rank, making, price };
            writer.write(&corrections::quantize(model, self.guide, target, &factor, adapter, progress)?)?;
            model.release();
            return Ok(());
        }
        let columns = t.columns();
        let row_bytes = kind.row_bytes(columns).expect("chosen to fit");
        let rows = t.rows() / experts(t);
        let band = band_of_groups(rows, columns, planned.making);
        let breadth = self.guide.effort.breadth();
        let mut out = vec![0; rows * row_bytes];
        for expert in 0..experts(t) {
            let factor = self.factor(t, expert, kind)?;
            out.par_chunks_mut(band * row_bytes).enumerate().try_for_each_init(
                || (Vec::new(), BandQuantizer::making(kind, breadth, planned.making)),
                |(weights, quantizer), (i, out)| {
                    let first = expert * rows + i * band;
                    weights.resize(out.len() / row_bytes * columns, 0.0);
                    model.read_rows(t, first, weights)?;
                    for (i, row) in weights.chunks_exact(columns).enumerate() {
                        check_finite(model, t, first + i, row)?;
                    }
                    quantizer.quantize(&factor, weights, out);
                    progress(weights.len() as u64);
                    Ok::<(), Error>(())
                },
            )?;
            writer.write(&out)?;
            model.release();
        }
        Ok(())
    }

    fn factor(
        &mut self,
        t: &SourceTensor,
        expert: usize,
        kind: &'static TensorType,
    ) -> Result<Arc<Factor>, Error> {
        let calibration = self.guide.calibration;
        let input = (calibration.input_of(&t.name).unwrap_or(&t.name).to_owned(), expert);
        if let Some(found) = self.factors.iter().find(|f| f.input == input && f.kind.id == kind.id) {
            return Ok(found.factor.clone());
        }
        let bytes = factor_bytes(t.columns());
        while !self.factors.is_empty()
            && bytes + self.factors.iter().map(|f| f.factor.bytes()).sum::<usize>() > self.budget
        {
            self.factors.remove(0);
        }
        let price = Price::of(self.sensitivities.as_ref(), t);
        let loss = Loss::of(calibration, price, t, expert)?.expect("a known tensor");
        let factor = Factor::new(kind, loss.statistics, loss.damping + loss.of_rows);
        let factor = Arc::new(factor.map_err(|_| Error::NotPositive { tensor: t.name.clone() })?);
        self.factors.push(FactorOfInput { input, kind, factor: factor.clone() });
        Ok(factor)
    }
}

/// Bytes of the factor of a Gram matrix.
fn factor_bytes(columns: usize) -> usize {
    (columns + 1) * columns * size_of::<f32>()
}

/// Matrices of a tensor, each with its own inputs.
pub(super) fn experts(t: &SourceTensor) -> usize {
    t.shape.get(2).map_or(1, |&n| n as usize)
}
