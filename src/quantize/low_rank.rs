//! Corrections of low rank: W ~ Q + L R.
//!
//! Of all matrices of rank r the product L R = truncated SVD of (E A) times A^-1, with H = A A^T, leaves the least
//! `tr((E - L R) H (E - L R)^T)` (Eckart and Young, 1936, for E A; CALDERA: Saha et al., "Compressing Large Language Models using
//! Low Rank and Low Precision Decomposition", 2024, section 4). The SVD is one of a random subspace (Halko, Martinsson, Tropp, "Finding
//! Structure with Randomness", 2011, algorithms 4.4 and 5.1): a few products with E A, whatever its size.

use super::cholesky::{self, NotPositive};
use crate::calibration::Statistics;
use faer::linalg::matmul::matmul;
use faer::linalg::triangular_solve::solve_upper_triangular_in_place;
use faer::{Accum, Mat, MatMut, MatRef, Par};
use rayon::prelude::*;
use std::ops::Range;

/// Directions beyond the rank that the subspace has, and products with E A and its transpose that turn it towards the largest
/// singular values.
const SPARE: usize = 16;
const TURNS: usize = 3;
/// Rows that a thread multiplies.
const BAND: usize = 64;

/// The factor A of `H = A A^T`, upper triangular.
pub struct Root {
    n: usize,
    /// A diagonal matrix has its diagonal only.
    a: Vec<f32>,
    diagonal: bool,
}

impl Root {
    /// Of statistics, in units of the mean of their diagonal, damped.
    pub fn new(statistics: Statistics, damping: f32) -> Result<Root, NotPositive> {
        match statistics {
            Statistics::Gram { n, mut values, .. } => {
                super::factor::normalize(&mut values, (0..n).map(|i| i * (n + 1)), damping);
                let d = cholesky::factor(&mut values, n)?;
                let roots: Vec<f32> = d.iter().map(|d| d.sqrt()).collect();
                values.par_chunks_exact_mut(n).enumerate().for_each(|(i, row)| {
                    row[..i].fill(0.0);
                    row[i] = 1.0;
                    row.iter_mut().zip(&roots).skip(i).for_each(|(v, root)| *v *= root);
                });
                Ok(Root { n, a: values, diagonal: false })
            }
            Statistics::Diagonal { mut values, .. } => {
                let n = values.len();
                super::factor::normalize(&mut values, 0..n, damping);
                values.iter_mut().for_each(|v| *v = v.sqrt());
                Ok(Root { n, a: values, diagonal: true })
            }
        }
    }

    /// E A, for rows of n.
    fn times(&self, e: &[f32]) -> Vec<f32> {
        let n = self.n;
        let mut out = vec![0.0; e.len()];
        out.par_chunks_mut(BAND * n).zip(e.par_chunks(BAND * n)).for_each(|(out, e)| {
            if self.diagonal {
                for (out, e) in out.chunks_exact_mut(n).zip(e.chunks_exact(n)) {
                    out.iter_mut().zip(e).zip(&self.a).for_each(|((out, e), a)| *out = e * a);
                }
                return;
            }
            let rows = e.len() / n;
            matmul(
                MatMut::from_row_major_slice_mut(out, rows, n),
                Accum::Replace,
                MatRef::from_row_major_slice(e, rows, n),
                MatRef::from_row_major_slice(&self.a, n, n),
                1.0,
                Par::Seq,
            );
        });
        out
    }

    /// Replaces the rows of `r` by those of R A^-1.
    fn divide(&self, r: &mut [f32]) {
        let n = self.n;
        if self.diagonal {
            r.par_chunks_exact_mut(n).for_each(|row| row.iter_mut().zip(&self.a).for_each(|(v, a)| *v /= a));
            return;
        }
        // R A^-1 = X means A^T X^T = R^T, from the first column on; reversed in both directions A^T is upper triangular.
        let lower = MatRef::from_row_major_slice(&self.a, n, n).transpose();
        let upper = lower.reverse_rows_and_cols();
        r.par_chunks_mut(8 * n).for_each(|band| {
            let rows = band.len() / n;
            let right = MatMut::from_row_major_slice_mut(band, rows, n).transpose_mut();
            solve_upper_triangular_in_place(upper, right.reverse_rows_mut(), Par::Seq);
        });
    }
}

/// L R, which is added to what a quantized matrix computes.
pub struct LowRank {
    /// The rank.
    pub rank: usize,
    /// L, rows x rank, row-major.
    pub left: Vec<f32>,
    /// R, rank x n, row-major.
    pub right: Vec<f32>,
}

impl LowRank {
    /// What corrects the errors best, rows of n one after the other.
    pub fn of(errors: &[f32], root: &Root, rank: usize) -> LowRank {
        let n = root.n;
        let rows = errors.len() / n;
        let y = root.times(errors);
        let rank = rank.min(rows).min(n);
        let width = (rank + SPARE).min(rows).min(n);
        let mut random = 0x9e37_79b9_7f4a_7c15u64;
        let mut basis = times(&y, rows, n, gaussians(&mut random, n, width).as_ref());
        for _ in 0..TURNS {
            basis = basis.qr().compute_thin_Q();
            let across = transposed_times(&y, rows, n, basis.as_ref()).qr().compute_thin_Q();
            basis = times(&y, rows, n, across.as_ref());
        }
        let basis = basis.qr().compute_thin_Q();
        // Y ~ basis Z^T, with Z = Y^T basis = U S V^T.
        let z = transposed_times(&y, rows, n, basis.as_ref());
        let svd = z.thin_svd().expect("finite values");
        let s: Vec<f32> = (0..rank).map(|k| svd.S()[k].max(0.0)).collect();
        let roots: Vec<f32> = s.iter().map(|s| s.sqrt()).collect();
        let l = &basis * svd.V().subcols(0, rank);
        let mut left = vec![0.0; rows * rank];
        for (i, row) in left.chunks_exact_mut(rank).enumerate() {
            row.iter_mut().enumerate().for_each(|(k, v)| *v = l[(i, k)] * roots[k]);
        }
        let mut right = vec![0.0; rank * n];
        for (k, row) in right.chunks_exact_mut(n).enumerate() {
            row.iter_mut().enumerate().for_each(|(j, v)| *v = svd.U()[(j, k)] * roots[k]);
        }
        root.divide(&mut right);
        LowRank { rank, left, right }
    }

    /// Takes the share of some of its directions, `directions` of `0..rank`, from rows, of which the first is row `first` of the
    /// matrix.
    pub fn subtract(&self, directions: Range<usize>, first: usize, rows: &mut [f32]) {
        let n = self.right.len() / self.rank;
        let count = rows.len() / n;
        let left = &self.left[first * self.rank..][..count * self.rank];
        let left = MatRef::from_row_major_slice(left, count, self.rank);
        let right = &self.right[directions.start * n..directions.end * n];
        matmul(
            MatMut::from_row_major_slice_mut(rows, count, n),
            Accum::Add,
            left.subcols(directions.start, directions.len()),
            MatRef::from_row_major_slice(right, directions.len(), n),
            -1.0,
            Par::Seq,
        );
    }
}

/// The share of the sum of squares that the `rank` largest singular values of white noise have, rows x columns: the density of
/// the squares is that of Marchenko and Pastur (1967), summed from its upper end.
pub fn share_of_noise(rows: usize, columns: usize, rank: usize) -> f64 {
    const STEPS: usize = 20_000;
    let (least, most) = (rows.min(columns) as f64, rows.max(columns) as f64);
    let ratio = least / most;
    let (from, to) = ((1.0 - ratio.sqrt()).powi(2), (1.0 + ratio.sqrt()).powi(2));
    let step = (to - from) / STEPS as f64;
    let (mut mass, mut sum) = (0.0, 0.0);
    for i in 0..STEPS {
        let x = to - (i as f64 + 0.5) * step;
        let density = ((to - x) * (x - from)).sqrt() / (std::f64::consts::TAU * ratio * x);
        mass += density * step;
        sum += x * density * step;
        if mass * least >= rank as f64 {
            break;
        }
    }
    sum.min(1.0)
}

/// Y B, band by band.
fn times(y: &[f32], rows: usize, n: usize, b: MatRef<f32>) -> Mat<f32> {
    let width = b.ncols();
    let mut out = vec![0.0; rows * width];
    out.par_chunks_mut(BAND * width).zip(y.par_chunks(BAND * n)).for_each(|(out, y)| {
        let rows = y.len() / n;
        let out = MatMut::from_row_major_slice_mut(out, rows, width);
        matmul(out, Accum::Replace, MatRef::from_row_major_slice(y, rows, n), b, 1.0, Par::Seq);
    });
    MatRef::from_row_major_slice(&out, rows, width).to_owned()
}

/// Y^T B, some columns of Y at a time.
fn transposed_times(y: &[f32], rows: usize, n: usize, b: MatRef<f32>) -> Mat<f32> {
    let width = b.ncols();
    let y = MatRef::from_row_major_slice(y, rows, n);
    let mut out = vec![0.0; n * width];
    out.par_chunks_mut(BAND * width).enumerate().for_each(|(band, out)| {
        let columns = out.len() / width;
        let out = MatMut::from_row_major_slice_mut(out, columns, width);
        matmul(out, Accum::Replace, y.subcols(band * BAND, columns).transpose(), b, 1.0, Par::Seq);
    });
    MatRef::from_row_major_slice(&out, n, width).to_owned()
}

/// Sums of uniform values, close enough to Gaussians for a random subspace.
fn gaussians(state: &mut u64, rows: usize, columns: usize) -> Mat<f32> {
    let mut uniform = || {
        *state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (*state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    Mat::from_fn(rows, columns, |_, _| uniform() + uniform() + uniform())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(rows: usize, n: usize, seed: u64) -> Vec<f32> {
        let m = gaussians(&mut seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), rows, n);
        (0..rows * n).map(|i| m[(i / n, i % n)]).collect()
    }

    /// A few strong directions in columns of different sizes, and noise.
    fn gram(n: usize) -> Statistics {
        let x = noise(2 * n, n, 1);
        let size = |i: usize| 0.2 + (i % 7) as f32;
        let mut values = vec![0.0; n * n];
        for (k, h) in values.iter_mut().enumerate() {
            let (i, j) = (k / n, k % n);
            let sum: f32 = x.chunks_exact(n).map(|x| x[i] * x[j]).sum();
            *h = size(i) * size(j) * (sum + 40.0);
        }
        Statistics::Gram { n, values, tokens: 1000 }
    }

    /// tr(E H E^T), with H in units of its mean diagonal and damped.
    fn loss(e: &[f32], statistics: &Statistics, damping: f64) -> f64 {
        let (n, h): (usize, Box<dyn Fn(usize, usize) -> f64>) = match statistics {
            Statistics::Gram { n, values, .. } => (*n, Box::new(|i, j| values[i * *n + j].into())),
            Statistics::Diagonal { values, .. } => {
                (values.len(), Box::new(|i, j| if i == j { values[i].into() } else { 0.0 }))
            }
        };
        let mean = (0..n).map(|i| h(i, i)).sum::<f64>() / n as f64;
        let of_row = |e: &[f32]| {
            let row = |i: usize| {
                let sum: f64 = (0..n).map(|j| h(i, j) / mean * f64::from(e[j])).sum();
                f64::from(e[i]) * (sum + damping * f64::from(e[i]))
            };
            (0..n).map(row).sum::<f64>()
        };
        e.chunks_exact(n).map(of_row).sum()
    }

    fn left(e: &[f32], n: usize, found: &LowRank) -> Vec<f32> {
        let mut rest = e.to_vec();
        rest.chunks_exact_mut(n).enumerate().for_each(|(i, row)| found.subtract(0..found.rank, i, row));
        rest
    }

    #[test]
    fn what_has_the_rank_is_taken_whole() {
        let (rows, n) = (90, 70);
        let (l, r) = (noise(rows, 3, 2), noise(3, n, 3));
        let e: Vec<f32> =
            (0..rows * n).map(|k| (0..3).map(|d| l[k / n * 3 + d] * r[d * n + k % n]).sum()).collect();
        for statistics in [
            gram(n),
            Statistics::Diagonal { values: noise(1, n, 4).iter().map(|v| v * v).collect(), tokens: 1 },
        ] {
            let root = Root::new(statistics, 0.01).unwrap();
            let rest = left(&e, n, &LowRank::of(&e, &root, 3));
            let square = |v: &[f32]| v.iter().map(|v| v * v).sum::<f32>();
            assert!(square(&rest) < 1e-6 * square(&e), "{} of {}", square(&rest), square(&e));
        }
    }

    /// No other choice of directions leaves less of the loss than the eigenvectors of A^T E^T E A.
    #[test]
    fn loss_is_the_least_of_its_rank() {
        let (rows, n) = (64, 80);
        let (statistics, e) = (gram(n), noise(rows, n, 5));
        let root = Root::new(statistics.clone(), 0.1).unwrap();
        let y = root.times(&e);
        let y = MatRef::from_row_major_slice(&y, rows, n);
        let squares = (y * y.transpose()).self_adjoint_eigenvalues(faer::Side::Lower).unwrap();
        let all: f64 = squares.iter().map(|&v| f64::from(v)).sum();
        assert!((all / loss(&e, &statistics, 0.1) - 1.0).abs() < 1e-3);
        for rank in [1, 4, 16, 64] {
            let found = LowRank::of(&e, &root, rank);
            let least: f64 = squares[..rows - rank].iter().map(|&v| f64::from(v)).sum();
            let loss = loss(&left(&e, n, &found), &statistics, 0.1);
            assert!(loss <= 1.003 * least + 1e-5 * all, "rank {rank}: {loss}, least {least}");
        }
    }

    #[test]
    fn share_of_noise_is_that_of_noise() {
        let (rows, n) = (300, 200);
        let e = noise(rows, n, 6);
        let square = |v: &[f32]| v.iter().map(|v| f64::from(v * v)).sum::<f64>();
        let root = Root::new(Statistics::Diagonal { values: vec![1.0; n], tokens: 1 }, 0.0).unwrap();
        for rank in [4, 16, 64] {
            let rest = left(&e, n, &LowRank::of(&e, &root, rank));
            let (found, expected) = (1.0 - square(&rest) / square(&e), share_of_noise(rows, n, rank));
            // The edge of so small a matrix is not sharp: 3 % seen.
            assert!((found / expected - 1.0).abs() < 0.06, "rank {rank}: {found}, {expected}");
        }
        assert!((share_of_noise(512, 1536, 512) - 1.0).abs() < 1e-3, "all");
    }
}
