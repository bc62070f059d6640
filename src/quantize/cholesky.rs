//! The factor of a Gram matrix: `H = U D U^T` with U unit upper triangular and D diagonal.
//!
//! A blocked right-looking Cholesky decomposition from the last column to the first, on tiles of [`TILE`]. Every
//! tile is worked on by one thread with the same operations, so that the result does not depend on the
//! number of threads. The products are faer's; n^3 / 3 multiply-adds.

use faer::linalg::matmul::triangular::{
    self,
    BlockStructure::{Rectangular, TriangularUpper as Upper},
};
use faer::linalg::triangular_solve::solve_upper_triangular_in_place;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

/// Rows and columns of a tile.
const TILE: usize = 256;

/// A pivot that is not positive: the matrix is not positive definite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NotPositive {
    /// Its row and column.
    pub column: usize,
}

/// Replaces the upper triangle of the row-major n x n matrix `h` by U without its ones (the diagonal is left
/// undefined) and returns D. The strict lower triangle is neither read nor written.
pub fn factor(h: &mut [f32], n: usize) -> Result<Vec<f32>, NotPositive> {
    assert_eq!(h.len(), n * n);
    let mut d = vec![0.0; n];
    let starts: Vec<usize> = (0..n).step_by(TILE).collect();
    for &k in starts.iter().rev() {
        let size = TILE.min(n - k);
        // A of the tile, with A A^T = H; a copy, as all threads read it.
        let mut corner = vec![0.0; size * size];
        for (i, row) in corner.chunks_exact_mut(size).enumerate() {
            row[i..].copy_from_slice(&h[(k + i) * n + k + i..][..size - i]);
        }
        factor_tile(&mut corner, size).map_err(|e| NotPositive { column: k + e.column })?;
        // A above the tile: H = A corner^T, so A^T = corner^-1 H^T.
        let (above, rest) = h.split_at_mut(k * n);
        let corner_ref = MatRef::from_row_major_slice(&corner, size, size);
        above.par_chunks_mut(TILE * n).for_each(|band| {
            let rows = band.len() / n;
            let columns = MatMut::from_row_major_slice_mut(band, rows, n).subcols_mut(k, size);
            solve_upper_triangular_in_place(corner_ref, columns.transpose_mut(), Par::Seq);
        });
        // A copy of it, band by band, for the products that change other columns of the same rows.
        let panel: Vec<f32> =
            above.chunks_exact(n).flat_map(|row| row[k..k + size].iter().copied()).collect();
        above.par_chunks_mut(TILE * n).enumerate().for_each(|(band, rows)| {
            let (first, count) = (band * TILE, rows.len() / n);
            let left = MatRef::from_row_major_slice(&panel[first * size..][..count * size], count, size);
            for j in (first..k).step_by(TILE) {
                let width = TILE.min(k - j);
                let right = MatRef::from_row_major_slice(&panel[j * size..][..width * size], width, size);
                let target = MatMut::from_row_major_slice_mut(rows, count, n).subcols_mut(j, width);
                let whole = if j == first { Upper } else { Rectangular };
                triangular::matmul(
                    target,
                    whole,
                    Accum::Add,
                    left,
                    Rectangular,
                    right.transpose(),
                    Rectangular,
                    -1.0,
                    Par::Seq,
                );
            }
        });
        // From A to U: divide columns by their pivots.
        for i in 0..size {
            d[k + i] = corner[i * size + i] * corner[i * size + i];
        }
        let inverse: Vec<f32> = (0..size).map(|i| 1.0 / corner[i * size + i]).collect();
        let scale = |row: &mut [f32]| row.iter_mut().zip(&inverse).for_each(|(a, f)| *a *= f);
        above.par_chunks_mut(n).for_each(|row| scale(&mut row[k..k + size]));
        for (i, row) in corner.chunks_exact_mut(size).enumerate() {
            scale(row);
            rest[i * n + k + i..][..size - i].copy_from_slice(&row[i..]);
        }
    }
    Ok(d)
}

/// `H = A A^T` of one tile in place, A upper triangular; the strict lower triangle must be zero.
fn factor_tile(h: &mut [f32], n: usize) -> Result<(), NotPositive> {
    let mut column = vec![0.0f32; n];
    for k in (0..n).rev() {
        let pivot = h[k * n + k];
        if !(pivot > 0.0 && pivot.is_finite()) {
            return Err(NotPositive { column: k });
        }
        let root = pivot.sqrt();
        for i in 0..k {
            column[i] = h[i * n + k] / root;
            h[i * n + k] = column[i];
        }
        h[k * n + k] = root;
        for i in 0..k {
            let factor = column[i];
            for (h, &c) in h[i * n + i..i * n + k].iter_mut().zip(&column[i..k]) {
                *h -= factor * c;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Gram matrix of `tokens` random inputs of n values, plus `damping` on the diagonal.
    fn gram(n: usize, tokens: usize, damping: f32) -> Vec<f32> {
        let mut state = 1u64;
        let mut random = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        let mut h = vec![0.0; n * n];
        for _ in 0..tokens {
            let x: Vec<f32> = (0..n).map(|_| random()).collect();
            for i in 0..n {
                for j in 0..n {
                    h[i * n + j] += x[i] * x[j];
                }
            }
        }
        (0..n).for_each(|i| h[i * n + i] += damping);
        h
    }

    #[test]
    fn product_of_the_factor_is_the_matrix() {
        let n = 600; // tiles of 256, 256 and 88
        let h = gram(n, 700, 1.0);
        let mut u = h.clone();
        let d = factor(&mut u, n).unwrap();
        let unit = |i: usize, j: usize| if i == j { 1.0 } else { u[i * n + j] as f64 };
        for i in (0..n).step_by(37) {
            for j in i..n {
                let product: f64 = (j..n).map(|k| unit(i, k) * d[k] as f64 * unit(j, k)).sum();
                let expected = h[i * n + j] as f64;
                // Of a diagonal of about 230.
                assert!((product - expected).abs() < 2e-3, "{i} {j}: {product} {expected}");
            }
            assert!((0..i).all(|j| u[i * n + j] == h[i * n + j]), "the lower triangle stays");
        }
    }

    #[test]
    fn same_bytes_for_any_number_of_threads() {
        let factored = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut h = gram(520, 30, 0.5);
            pool.install(|| factor(&mut h, 520)).unwrap();
            h
        };
        assert!(factored(1) == factored(3));
    }

    #[test]
    fn matrix_that_is_not_positive_is_refused() {
        let mut h = gram(300, 10, 0.0);
        assert!(factor(&mut h, 300).is_err(), "rank 10");
        let mut h = vec![f32::NAN; 4];
        assert_eq!(factor(&mut h, 2), Err(NotPositive { column: 1 }));
    }
}
