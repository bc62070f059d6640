//! Corrections of low rank beside quantized tensors, and the adapter file that holds them. docs/quantizer.md tells the method.

use super::guide::Guide;
use super::loss::{Loss, Price};
use super::weights::check_finite;
use super::{Error, OutputError, Outputs};
use crate::checkpoint::{Model, SourceTensor};
use crate::gguf::{ADAPTER_KEY, GgmlType, UPSTREAM_TYPES, Writer};
use crate::plan::{AdapterPlan, Cut, Plan, factor_type};
use crate::quantize::low_rank::{LowRank as Product, Root, share_of_noise};
use crate::quantize::{BandQuantizer, Effort, Factor, band_of_groups};
use crate::types::TensorType;
use crate::types::feedback::Making;
use half::f16;
use rayon::prelude::*;
use std::path::{Path, PathBuf};

/// Ranks of corrections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LowRank {
    /// Of every tensor the one that is worth its bytes, which is often none.
    Auto,
    /// The same everywhere.
    Rank(usize),
}

/// Ranks that are weighed with [`LowRank::Auto`].
const RANKS: [usize; 7] = [2, 4, 8, 16, 32, 64, 128];

impl LowRank {
    /// The ranks that a tensor may get, none included.
    pub(super) fn ranks(self, t: &SourceTensor) -> Vec<usize> {
        let most = t.rows().min(t.columns());
        match self {
            LowRank::Rank(rank) => vec![rank.min(most)],
            LowRank::Auto => {
                [0].into_iter().chain(RANKS.into_iter().filter(|rank| 2 * rank <= most)).collect()
            }
        }
    }
}

/// What every rank leaves of a tensor's loss, whatever its type: the quantizer's errors are in proportion to the squares of what
/// it is given, and are white in the loss.
pub(super) fn shrinkage(
    model: &Model,
    guide: Guide,
    price: Price,
    t: &SourceTensor,
    ranks: &[usize],
) -> Result<Vec<f64>, Error> {
    let most = ranks.iter().copied().max().unwrap_or(0);
    if most == 0 {
        return Ok(vec![1.0; ranks.len()]);
    }
    let mut rest = all_rows(model, t)?;
    let squares = |rows: &[f32]| -> f64 {
        rows.par_chunks(t.columns()).map(|row| row.iter().map(|&v| f64::from(v * v)).sum::<f64>()).sum()
    };
    let all = squares(&rest);
    let product = Product::of(&rest, &root(guide, price, t)?, most);
    let mut taken = 0;
    let mut left = Vec::new();
    for &rank in ranks {
        subtract(&product, taken..rank, t.columns(), &mut rest);
        taken = rank;
        let share = if all > 0.0 { squares(&rest) / all } else { 1.0 };
        left.push(share * (1.0 - share_of_noise(t.rows(), t.columns(), rank)));
    }
    Ok(left)
}

/// A tensor that gets a correction.
#[derive(Clone, Copy)]
pub(super) struct Corrected<'a> {
    pub t: &'a SourceTensor,
    pub kind: &'static TensorType,
    pub rank: usize,
    pub making: Making,
    pub price: Price,
}

/// The adapter file of a conversion, while it is written.
pub(super) struct Adapter {
    pub path: PathBuf,
    plan: AdapterPlan,
    writer: Writer,
}

impl Adapter {
    /// Its path, beside that of the file to which it belongs: `model.lora.gguf` for `model.gguf`.
    pub fn path(file: &Path) -> PathBuf {
        let has_extension = file.extension().is_some_and(|extension| extension == "gguf");
        let mut name =
            if has_extension { file.file_stem() } else { file.file_name() }.unwrap_or_default().to_owned();
        name.push(".lora.gguf");
        file.with_file_name(name)
    }

    /// Has the keys of a plan with corrections say the name of their file.
    pub fn name_in(plan: &mut Plan, outputs: &Outputs) {
        let name = Adapter::path(&outputs.path);
        let name = name.file_name().unwrap_or_default().to_string_lossy().into_owned();
        plan.keys.push((ADAPTER_KEY.into(), name.into()));
        plan.file_bytes = Writer::file_bytes(&plan.keys, &plan.headers());
    }

    /// Begins the file, if a plan has corrections.
    pub fn create(model: &Model, plan: &Plan, outputs: &Outputs) -> Result<Option<Adapter>, Error> {
        let Some(adapter) = AdapterPlan::of(model, plan) else { return Ok(None) };
        let path = Adapter::path(&outputs.path);
        if outputs.resume || matches!(outputs.cut, Cut::One { .. }) {
            return Err(OutputError::WholeOnly(path).into());
        }
        let writer = Writer::create(&path, &adapter.keys, adapter.tensors.clone())?;
        let writer = if outputs.overwrite { writer } else { writer.keep_existing() };
        Ok(Some(Adapter { path, plan: adapter, writer }))
    }

    /// Writes the factors of the next tensor.
    fn write(&mut self, product: &Product) -> Result<(), Error> {
        let columns = product.right.len() / product.rank;
        self.writer.write(&stored(&product.right, columns))?;
        self.writer.write(&stored(&product.left, product.rank))?;
        Ok(())
    }

    /// Puts the complete file under its name; returns the number of matrices that have a correction, and its size.
    pub fn finish(self) -> Result<(usize, u64), Error> {
        Ok((self.plan.tensors.len() / 2, self.writer.finish()?))
    }
}

/// A factor as its file has it.
fn stored(values: &[f32], columns: usize) -> Vec<u8> {
    let kind = factor_type(columns);
    let mut bytes = vec![0; kind.bytes(values.len() as u64).expect("whole blocks") as usize];
    match UPSTREAM_TYPES.into_iter().find(|t| t.kind == kind) {
        Some(kind) => kind.quantize(values, &mut bytes),
        None => {
            debug_assert_eq!(kind, GgmlType::F16);
            for (bytes, &v) in bytes.chunks_exact_mut(2).zip(values) {
                bytes.copy_from_slice(&f16::from_f32(v).to_le_bytes());
            }
        }
    }
    bytes
}

/// Quantizes a whole tensor with a correction: L R of what is worth most of W, Q of the rest, L R of what is worth most of W - Q.
/// More rounds change the loss by less than a hundredth (docs/lab/2026-11-27-low-rank.md). Returns the blocks of Q.
pub(super) fn quantize(
    model: &Model,
    guide: Guide,
    Corrected { t, kind, rank, making, price }: Corrected,
    factor: &Factor,
    adapter: &mut Adapter,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Vec<u8>, Error> {
    let columns = t.columns();
    let root = root(guide, price, t)?;
    let mut weights = all_rows(model, t)?;
    let first = Product::of(&weights, &root, rank);
    let row_bytes = kind.row_bytes(columns).expect("chosen to fit");
    let rows_at_once = band_of_groups(t.rows(), columns, making);
    let breadth = Effort::breadth(guide.effort);
    let mut out = vec![0; t.rows() * row_bytes];
    let bands =
        out.par_chunks_mut(rows_at_once * row_bytes).zip(weights.par_chunks_mut(rows_at_once * columns));
    bands.enumerate().for_each_init(
        || BandQuantizer::making(kind, breadth, making),
        |quantizer, (i, (out, weights))| {
            let mut rest = weights.to_vec();
            first.subtract(0..rank, i * rows_at_once, &mut rest);
            quantizer.quantize(factor, &mut rest, out);
            (kind.kernels().expect("a weight type").dequantize)(out, &mut rest);
            weights.iter_mut().zip(&rest).for_each(|(w, q)| *w -= q);
            progress(weights.len() as u64);
        },
    );
    adapter.write(&Product::of(&weights, &root, rank))?;
    Ok(out)
}

fn root(guide: Guide, price: Price, t: &SourceTensor) -> Result<Root, Error> {
    let loss = Loss::of(guide.calibration, price, t, 0)?.expect("a known tensor");
    Root::new(loss.statistics, loss.damping + loss.of_rows)
        .map_err(|_| Error::NotPositive { tensor: t.name.clone() })
}

fn subtract(product: &Product, directions: std::ops::Range<usize>, columns: usize, rows: &mut [f32]) {
    const BAND: usize = 64;
    if directions.is_empty() {
        return;
    }
    rows.par_chunks_mut(BAND * columns)
        .enumerate()
        .for_each(|(i, rows)| product.subtract(directions.clone(), i * BAND, rows));
}

fn all_rows(model: &Model, t: &SourceTensor) -> Result<Vec<f32>, Error> {
    let columns = t.columns();
    let mut weights = vec![0.0; t.rows() * columns];
    weights.par_chunks_exact_mut(columns).enumerate().try_for_each(|(i, row)| {
        model.read_rows(t, i, row)?;
        check_finite(model, t, i, row)
    })?;
    Ok(weights)
}
