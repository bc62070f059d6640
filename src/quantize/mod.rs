//! The calibrated quantizer: matrices with error feedback. docs/quantizer.md tells the method.
//!
//! ```text
//! H = R (Gram matrix) R^T, damped, = U D U^T                       factor, cholesky
//! for each block b of columns, a band of rows at a time:
//!     targets = W[b] + E[before b] U[before b, b]                  here
//!     quantize each row's block with error feedback inside         the tensor type
//!     E[b] = W[b] - Q[b]
//! ```
//!
//! and what of W is taken out before and comes back as a product of two narrow matrices: low_rank.

pub mod cholesky;
mod factor;
pub mod low_rank;

pub use factor::{Factor, LEAST_DAMPING, damping};

use crate::types::TensorType;
use crate::types::feedback::{Breadth, Calibrated, FeedbackQuantizer, Making};
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

/// Rows of a matrix of `rows` that a thread works on together. What earlier blocks add to the targets is a product with a
/// part of the factor that is read for every band, so that more rows are faster (8960 columns: 128 rows 17 %). But
/// many threads need many bands, and the bytes must not depend on how many threads there are.
pub fn band(rows: usize) -> usize {
    /// Bands of a matrix that has rows enough.
    const BANDS: usize = 32;
    (rows / BANDS / 32 * 32).clamp(32, 128)
}

/// How long to search.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Effort {
    /// A narrow beam.
    Fast,
    /// What pays.
    #[default]
    Normal,
    /// As good as it gets.
    Best,
}

impl Effort {
    /// What the search of a block looks at.
    pub fn breadth(self) -> Breadth {
        match self {
            Effort::Fast => Breadth { paths: 24, scales: 1 },
            Effort::Normal => Breadth { paths: 96, scales: 1 },
            Effort::Best => Breadth { paths: 512, scales: 2 },
        }
    }
}

/// Rows that a thread works on together where blocks are made in a certain way: whole groups begin and end with them.
pub fn band_of_groups(rows: usize, columns: usize, making: Making) -> usize {
    band(rows).next_multiple_of(making.period(columns))
}

/// Quantizes bands of rows; owns scratch memory.
pub struct BandQuantizer {
    t: &'static TensorType,
    rotate: fn(&mut [f32]),
    blocks: Box<dyn FeedbackQuantizer>,
    /// How the scales of groups are chosen, and the weights of a group.
    groups: Option<(Groups, usize)>,
    /// Scale codes of the groups of a band.
    codes: Vec<u8>,
    errors: Vec<f32>,
    targets: Vec<f32>,
}

impl BandQuantizer {
    /// For type `t`, which must be a weight type.
    pub fn new(t: &'static TensorType, breadth: Breadth) -> Self {
        let Calibrated { quantizer, .. } = t.calibrated().expect("a weight type");
        BandQuantizer::with_blocks(t, quantizer(breadth))
    }

    /// With blocks that are made in a certain way, if that means something to the type. Bands are those of
    /// [`band_of_groups`].
    pub fn making(t: &'static TensorType, breadth: Breadth, making: Making) -> Self {
        let Calibrated { makers, .. } = t.calibrated().expect("a weight type");
        let Some(makers) = makers.filter(|_| !making.is_free()) else {
            return BandQuantizer::new(t, breadth);
        };
        let slots = making.outliers.unwrap_or(makers.slots).min(makers.slots);
        let groups = making.group.map(|group| (Groups { scale: makers.scale, slots }, group));
        BandQuantizer { groups, ..BandQuantizer::with_blocks(t, (makers.quantizer)(breadth, slots)) }
    }

    /// With another quantizer of the type's blocks than its own.
    pub fn with_blocks(t: &'static TensorType, blocks: Box<dyn FeedbackQuantizer>) -> Self {
        let Calibrated { rotate, .. } = t.calibrated().expect("a weight type");
        let (codes, errors, targets) = (Vec::new(), Vec::new(), Vec::new());
        BandQuantizer { t, rotate, blocks, groups: None, codes, errors, targets }
    }

    /// The sum of the squares of the errors of the last rows.
    pub fn squared_errors(&self) -> f64 {
        self.errors.iter().map(|&e| (e * e) as f64).sum()
    }

    /// Quantizes rows; `weights` is left rotated. Returns the sum of the losses.
    pub fn quantize(&mut self, factor: &Factor, weights: &mut [f32], out: &mut [u8]) -> f64 {
        let (n, len) = (factor.n, self.t.block_len);
        let (rows, row_bytes) = (weights.len() / n, self.t.row_bytes(n).expect("whole blocks"));
        assert_eq!(out.len(), rows * row_bytes);
        self.errors.clear();
        self.errors.resize(rows * n, 0.0);
        self.targets.resize(rows * len, 0.0);
        (self.rotate)(weights);
        self.codes.clear();
        if let Some((Groups { scale, slots }, group)) = self.groups {
            self.codes.extend(weights.chunks(group).map(|weights| scale(weights, slots)));
        }
        let mut loss = 0.0;
        for (b, first) in (0..n).step_by(len).enumerate() {
            for (target, w) in self.targets.chunks_exact_mut(len).zip(weights.chunks_exact(n)) {
                target.copy_from_slice(&w[first..][..len]);
            }
            if let Some(u) = factor.coupling() {
                matmul(
                    MatMut::from_row_major_slice_mut(&mut self.targets[..rows * len], rows, len),
                    Accum::Add,
                    MatRef::from_row_major_slice(&self.errors, rows, n).subcols(0, first),
                    MatRef::from_row_major_slice(u, n, n).submatrix(0, first, first, len),
                    1.0,
                    Par::Seq,
                );
            }
            for r in 0..rows {
                if let Some((_, group)) = self.groups {
                    self.blocks.fix_scale(self.codes[(r * n + first) / group]);
                }
                loss += self.blocks.quantize(
                    &weights[r * n + first..][..len],
                    &self.targets[r * len..][..len],
                    factor.feedback(first),
                    &mut out[r * row_bytes + b * self.t.block_bytes..][..self.t.block_bytes],
                    &mut self.errors[r * n + first..][..len],
                ) as f64;
            }
        }
        loss
    }
}

/// How the scale of a group is chosen: by what, and with how many slots in use.
#[derive(Clone, Copy)]
struct Groups {
    scale: fn(&[f32], usize) -> u8,
    slots: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::Statistics;
    use crate::types::REGISTRY;

    const ROWS: usize = 3;
    const BLOCKS: usize = 4;
    const DAMPING: f32 = 0.01;
    /// Of losses and their definition: sums of 1024 terms in f32, U and D with the errors of the decomposition.
    const TOLERANCE: f64 = 2e-3;
    /// Loss with feedback between blocks, of the loss without: .44 to .87 seen.
    const MOST_OF_BLOCKS_APART: f64 = 0.9;

    fn noise(seed: u64) -> impl FnMut() -> f32 {
        let mut state = seed;
        move || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        }
    }

    /// Inputs with 8 strong directions in columns of different sizes.
    fn gram(n: usize) -> Vec<f32> {
        let mut noise = noise(3);
        let directions: Vec<f32> = (0..8 * n).map(|_| 3.0 * noise()).collect();
        let size = |i: usize| (1 + i % 5) as f32;
        let mut h = vec![0.0; n * n];
        for (k, h) in h.iter_mut().enumerate() {
            let (i, j) = (k / n, k % n);
            let common: f32 = directions.chunks_exact(n).map(|d| d[i] * d[j]).sum();
            *h = size(i) * size(j) * (common + if i == j { 1.0 } else { 0.0 });
        }
        h
    }

    fn weights(n: usize) -> Vec<f32> {
        let mut noise = noise(5);
        (0..ROWS * n).map(|_| 0.02 * noise()).collect()
    }

    /// Quantizes rows with statistics of their inputs: the loss returned, and the errors of the decoded bytes.
    fn quantized(t: &'static TensorType, weights: &[f32], statistics: Statistics) -> (f64, Vec<f64>) {
        let factor = Factor::new(t, statistics, DAMPING).unwrap();
        let mut bytes = vec![0; ROWS * t.row_bytes(factor.n).unwrap()];
        let mut quantizer = BandQuantizer::new(t, Effort::Fast.breadth());
        let loss = quantizer.quantize(&factor, &mut weights.to_vec(), &mut bytes);
        let mut plain = vec![0.0; weights.len()];
        (t.kernels().unwrap().dequantize)(&bytes, &mut plain);
        (loss, weights.iter().zip(&plain).map(|(w, q)| (w - q) as f64).collect())
    }

    /// The sum over rows of e^T (H + damping) e, H in units of its mean diagonal.
    fn loss_of(errors: &[f64], h: &[f32], n: usize) -> f64 {
        let unit = (0..n).map(|i| h[i * (n + 1)] as f64).sum::<f64>() / n as f64;
        let of_row = |e: &[f64]| -> f64 {
            let product = |i: usize| h[i * n..][..n].iter().zip(e).map(|(&h, e)| h as f64 * e).sum::<f64>();
            (0..n).map(|i| e[i] * (product(i) / unit + DAMPING as f64 * e[i])).sum()
        };
        errors.chunks_exact(n).map(of_row).sum()
    }

    fn weight_types() -> impl Iterator<Item = &'static TensorType> {
        REGISTRY.iter().copied().filter(|t| t.kernels().is_some())
    }

    #[test]
    fn losses_are_those_of_the_decoded_bytes() {
        for t in weight_types() {
            let n = BLOCKS * t.block_len;
            let (h, weights) = (gram(n), weights(n));
            let (loss, errors) = quantized(t, &weights, Statistics::Gram { n, values: h.clone(), tokens: 1 });
            let expected = loss_of(&errors, &h, n);
            assert!((loss / expected - 1.0).abs() < TOLERANCE, "{}: {loss} {expected}", t.name);

            let values: Vec<f32> = (0..n).map(|i| h[i * (n + 1)]).collect();
            let (loss, errors) = quantized(t, &weights, Statistics::Diagonal { values, tokens: 1 });
            let mut diagonal = vec![0.0; n * n];
            (0..n).for_each(|i| diagonal[i * (n + 1)] = h[i * (n + 1)]);
            let expected = loss_of(&errors, &diagonal, n);
            assert!((loss / expected - 1.0).abs() < TOLERANCE, "{}, diagonal: {loss} {expected}", t.name);
        }
    }

    #[test]
    fn later_blocks_make_up_for_earlier_ones() {
        for t in weight_types() {
            let n = BLOCKS * t.block_len;
            let (h, weights) = (gram(n), weights(n));
            let loss = |values: Vec<f32>| {
                let (_, errors) = quantized(t, &weights, Statistics::Gram { n, values, tokens: 1 });
                loss_of(&errors, &h, n)
            };
            let mut apart = h.clone();
            for (k, h) in apart.iter_mut().enumerate() {
                if k / n / t.block_len != k % n / t.block_len {
                    *h = 0.0;
                }
            }
            let (whole, apart) = (loss(h.clone()), loss(apart));
            assert!(
                whole < MOST_OF_BLOCKS_APART * apart,
                "{}: {whole:e}, blocks by themselves {apart:e}",
                t.name
            );
        }
    }
}
