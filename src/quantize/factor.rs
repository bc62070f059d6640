//! What a calibration says of a layer's inputs, as the search wants it.

use super::cholesky::{self, NotPositive};
use crate::calibration::Statistics;
use crate::types::TensorType;
use crate::types::feedback::Feedback;
use rayon::prelude::*;

/// What is added to the diagonal of a Gram matrix, as a share of its mean, however many tokens it is made of.
pub const LEAST_DAMPING: f32 = 0.01;

/// What is added for each column per token: the fewer tokens, the less of what a Gram matrix says of its weaker
/// directions holds for other text. Measured; see docs/quantizer.md.
const DAMPING_PER_RATIO: f32 = 4.0;

/// Directions in which inputs are far stronger than on average show with few tokens.
const MOST_DAMPING: f32 = 1.0;

/// How much to add to the diagonal of statistics, as a share of its mean.
pub fn damping(statistics: &Statistics) -> f32 {
    match *statistics {
        Statistics::Gram { n, tokens, .. } if tokens > 0 => {
            (DAMPING_PER_RATIO * n as f32 / tokens as f32).clamp(LEAST_DAMPING, MOST_DAMPING)
        }
        _ => LEAST_DAMPING,
    }
}

/// `H = U D U^T` in the rotated space of a tensor type; H in units of its mean diagonal.
pub struct Factor {
    /// Columns.
    pub n: usize,
    /// D.
    d: Vec<f32>,
    /// U above its diagonal; n x n, or one block after the other where blocks have nothing to do with each other.
    u: Vec<f32>,
    /// Whether blocks have to do with each other.
    coupled: bool,
    block_len: usize,
}

impl Factor {
    /// Rotates, damps and factors the statistics of the inputs of weights of type `t`.
    pub fn new(t: &TensorType, statistics: Statistics, damping: f32) -> Result<Factor, NotPositive> {
        match statistics {
            Statistics::Gram { n, values, .. } => Factor::of_gram(t, n, values, damping),
            Statistics::Diagonal { values, .. } => Factor::of_diagonal(t, &values, damping),
        }
    }

    fn of_gram(t: &TensorType, n: usize, mut h: Vec<f32>, damping: f32) -> Result<Factor, NotPositive> {
        assert_eq!(h.len(), n * n);
        normalize(&mut h, (0..n).map(|i| i * (n + 1)), damping);
        rotate(t, n, &mut h);
        let d = cholesky::factor(&mut h, n)?;
        Ok(Factor { n, d, u: h, coupled: true, block_len: t.block_len })
    }

    /// Every block by itself: the inputs' correlations are not known, but rotation makes some.
    fn of_diagonal(t: &TensorType, diagonal: &[f32], damping: f32) -> Result<Factor, NotPositive> {
        let (n, len) = (diagonal.len(), t.block_len);
        let mut diagonal = diagonal.to_vec();
        normalize(&mut diagonal, 0..n, damping);
        let (mut u, mut d) = (vec![0.0; n * len], vec![0.0; n]);
        let blocks = u.par_chunks_exact_mut(len * len).zip(d.par_chunks_exact_mut(len)).enumerate();
        blocks.try_for_each(|(block, (u, d))| {
            for (i, &v) in diagonal[block * len..][..len].iter().enumerate() {
                u[i * (len + 1)] = v;
            }
            rotate(t, len, u);
            let factored = cholesky::factor(u, len);
            d.copy_from_slice(&factored.map_err(|e| NotPositive { column: block * len + e.column })?);
            Ok(())
        })?;
        Ok(Factor { n, d, u, coupled: false, block_len: len })
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        size_of_val(&self.u[..]) + size_of_val(&self.d[..])
    }

    /// The part within the block whose first column is `first`.
    pub fn feedback(&self, first: usize) -> Feedback<'_> {
        let weights = &self.d[first..][..self.block_len];
        if self.coupled {
            Feedback { weights, rows: &self.u[first * self.n + first..], stride: self.n }
        } else {
            Feedback { weights, rows: &self.u[first * self.block_len..], stride: self.block_len }
        }
    }

    /// U, row-major, if blocks have to do with each other.
    pub fn coupling(&self) -> Option<&[f32]> {
        self.coupled.then_some(&self.u[..])
    }
}

/// `R H R^T` with the type's rotation R.
fn rotate(t: &TensorType, n: usize, h: &mut [f32]) {
    let rotate = t.calibrated().expect("a weight type").rotate;
    h.par_chunks_exact_mut(t.block_len * n).for_each(|band| rotate_columns(rotate, band, n));
    h.par_chunks_exact_mut(n).for_each(rotate);
}

/// Rotates the columns of as many rows of n values as a block has, some columns at a time: in memory their values are far apart.
fn rotate_columns(rotate: fn(&mut [f32]), band: &mut [f32], n: usize) {
    const TOGETHER: usize = 16;
    let len = band.len() / n;
    let mut columns = vec![0.0; TOGETHER * len];
    for first in (0..n).step_by(TOGETHER) {
        let together = TOGETHER.min(n - first);
        for (i, row) in band.chunks_exact(n).enumerate() {
            for (j, &v) in row[first..][..together].iter().enumerate() {
                columns[j * len + i] = v;
            }
        }
        rotate(&mut columns[..together * len]);
        for (i, row) in band.chunks_exact_mut(n).enumerate() {
            for (j, v) in row[first..][..together].iter_mut().enumerate() {
                *v = columns[j * len + i];
            }
        }
    }
}

/// Scales statistics so that their diagonal, at the given places, has the mean 1, and adds `damping` to it.
///
/// Where every input is zero all errors count alike.
pub(super) fn normalize(h: &mut [f32], diagonal: impl Iterator<Item = usize> + Clone, damping: f32) {
    let sum: f64 = diagonal.clone().map(|i| h[i] as f64).sum();
    let n = diagonal.clone().count() as f64;
    if sum > 0.0 {
        let unit = (n / sum) as f32;
        h.par_iter_mut().for_each(|v| *v *= unit);
    }
    let add = if sum > 0.0 { damping } else { 1.0 };
    diagonal.for_each(|i| h[i] += add);
}
