//! The quantizer without calibration.
//!
//! Each block is rotated. A scale that gives the rotated weights the spread of the code's values is about right. Which
//! of the scales near it is the best shows only when the search ([`super::viterbi`]) has found symbols for each of them.

use super::viterbi::{self, Search};
use crate::types::RowQuantizer;
use crate::types::trellis::layout::{MAX_LEN, Trellis};
use crate::types::trellis::{rotation, scale};
use std::marker::PhantomData;

/// Scales that are tried for a block, an even number.
///
/// Two scales instead of the nearest alone take 1.3 % (T3) or 2.3 % (T4) off the squared error of Gaussian blocks of
/// 256, and 3.0 % or 4.5 % off that of blocks of 64, where the error varies more from scale to scale.
const CANDIDATES: u8 = 2;

/// What larger weights count as. It is far beyond 60 * 63 * 16, which no block exceeds, and small enough for no sum of
/// squares to overflow.
const LIMIT: f32 = (1 << 20) as f32;

/// Quantizes rows of blocks of type `T`.
struct Quantizer<T> {
    search: Box<dyn Search>,
    of: PhantomData<fn() -> T>,
}

/// A quantizer of rows of type `T`, at the current level.
pub fn quantizer<T: Trellis>() -> Box<dyn RowQuantizer> {
    Box::new(Quantizer::<T> { search: viterbi::for_code(&T::CODE), of: PhantomData })
}

impl<T: Trellis> RowQuantizer for Quantizer<T> {
    fn quantize(&mut self, x: &[f32], out: &mut [u8]) {
        assert_eq!(x.len() / T::LEN * size_of::<T>(), out.len());
        for (x, out) in x.chunks_exact(T::LEN).zip(out.chunks_exact_mut(size_of::<T>())) {
            out.copy_from_slice(bytemuck::bytes_of(&quantize_block::<T>(&mut *self.search, x)));
        }
    }
}

/// Rotates a row of whole blocks of `len` weights. Values that are not finite count as zero, and those beyond all
/// scales as [`LIMIT`].
pub fn rotate(row: &mut [f32], len: usize) {
    for block in row.chunks_exact_mut(len) {
        for v in &mut *block {
            *v = if v.is_finite() { v.clamp(-LIMIT, LIMIT) } else { 0.0 };
        }
        rotation::rotate_in_place(block);
    }
}

/// The best block of the scales that are tried; one of zeros if none is better than that.
fn quantize_block<T: Trellis>(search: &mut dyn Search, x: &[f32]) -> T {
    let (mut targets, mut scaled, mut symbols) = ([0.0; MAX_LEN], [0.0; MAX_LEN], [0; MAX_LEN]);
    let (targets, scaled, symbols) = (&mut targets[..T::LEN], &mut scaled[..T::LEN], &mut symbols[..T::LEN]);
    targets.copy_from_slice(x);
    rotate(targets, T::LEN);
    let power = targets.iter().map(|&v| v as f64 * v as f64).sum::<f64>();
    let mut best = T::zeroed();
    let mut least = power as f32;
    for code in candidates((power / T::LEN as f64).sqrt() as f32 / T::CODE.sigma) {
        let d = scale::decode(code);
        for (scaled, v) in scaled.iter_mut().zip(&*targets) {
            *scaled = v / d;
        }
        let path = search.run(scaled, symbols);
        let error = path.error * d * d;
        if error < least {
            least = error;
            best = T::pack(code, path.history, symbols);
        }
    }
    best
}

/// The codes of the scales around `d`, half of them above it. Code 0 is not among them, and a `d` of 0 has none.
fn candidates(d: f32) -> impl Iterator<Item = u8> {
    let [below, _] = scale::neighbours(d);
    let first = below.saturating_sub(CANDIDATES / 2 - 1).max(1);
    let last = below.saturating_add(CANDIDATES / 2);
    (first..=last).filter(move |_| d > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::trellis::layout::{BlockT3, BlockT3_64};
    use bytemuck::Zeroable;

    fn quantize<T: Trellis>(x: &[f32]) -> T {
        quantize_block(&mut *viterbi::for_code(&T::CODE), x)
    }

    #[test]
    fn nothing_finite_is_a_block_of_zeros() {
        for x in [0.0, -0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(quantize::<BlockT3_64>(&[x; 64]), BlockT3_64::zeroed());
        }
    }

    #[test]
    fn too_small_for_the_least_scale_is_a_block_of_zeros() {
        assert_eq!(quantize::<BlockT3>(&[1e-12; 256]), BlockT3::zeroed());
        assert_eq!(quantize::<BlockT3>(&[f32::from_bits(1); 256]), BlockT3::zeroed());
    }

    #[test]
    fn too_large_for_the_greatest_scale_has_that_scale() {
        let x: [f32; 64] = std::array::from_fn(|i| if i % 3 == 0 { f32::MAX } else { -1e30 });
        assert_eq!(quantize::<BlockT3_64>(&x).d, 255);
    }

    #[test]
    fn candidates_are_around_the_scale() {
        let codes = |d| candidates(d).collect::<Vec<_>>();
        assert_eq!(codes(scale::decode(80) * 1.01), [80, 81]);
        assert_eq!(codes(1e9), [255]);
        assert_eq!(codes(1e-30), [1]);
        assert!(codes(0.0).is_empty() && codes(f32::NAN).is_empty());
    }
}
