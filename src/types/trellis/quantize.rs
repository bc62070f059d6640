//! Rows of weights to blocks, without calibration.
//!
//! Each block is rotated. A scale that gives its targets the spread of the code's values is about right; which
//! of those near it is best shows when the search ([`super::encode`]) has found the symbols of each.

use super::encode::{Path, Search};
use super::layout::Trellis;
use super::{rotation, scale};

/// Scales tried for a block, an even number.
///
/// Two instead of the nearest only take 1.3 % (T3) or 2.3 % (T4) off the squared error of Gaussian blocks of
/// 256, and 3.0 % or 4.5 % off that of blocks of 64, where the error varies more from scale to scale.
const CANDIDATES: u8 = 2;

/// Larger weights count as this: far beyond 60 * 63 * 16, which no block exceeds, and small enough
/// for no sum of squares to overflow.
const LIMIT: f32 = (1 << 20) as f32;

/// A trellis search whatever its row length; see [`Search`].
pub trait BlockSearch: Send {
    /// A search over the code of `T`.
    fn for_type<T: Trellis>() -> Self;

    /// See [`Search::run`].
    fn run(&mut self, targets: &[f32], symbols: &mut [u8]) -> Path;
}

impl<const ROW: usize> BlockSearch for Search<ROW> {
    fn for_type<T: Trellis>() -> Self {
        Search::new(&T::CODE, &T::CODE.values())
    }

    fn run(&mut self, targets: &[f32], symbols: &mut [u8]) -> Path {
        Search::run(self, targets, symbols)
    }
}

/// Quantizes a row of whole blocks. Values that are not finite count as zero.
pub fn quantize_row<T: Trellis>(search: &mut T::Search, x: &[f32], out: &mut [T]) {
    for (x, out) in x.chunks_exact(T::LEN).zip(out) {
        *out = if T::LEN == 64 {
            quantize_block::<T, 64>(search, x)
        } else {
            quantize_block::<T, 256>(search, x)
        };
    }
}

/// What counts instead of a value that is not finite or beyond all scales.
pub fn finite(x: f32) -> f32 {
    if x.is_finite() { x.clamp(-LIMIT, LIMIT) } else { 0.0 }
}

fn quantize_block<T: Trellis, const N: usize>(search: &mut T::Search, x: &[f32]) -> T {
    let finite: [f32; N] = std::array::from_fn(|i| finite(x[i]));
    let targets: [f32; N] = rotation::rotate(&finite);
    let power = targets.iter().map(|&v| v as f64 * v as f64).sum::<f64>();
    let mut best = T::zeroed();
    let mut least = power as f32;
    let mut symbols = [0; N];
    for code in candidates((power / N as f64).sqrt() as f32 / T::CODE.sigma) {
        let d = scale::decode(code);
        let path = search.run(&targets.map(|v| v / d), &mut symbols);
        let error = path.error * d * d;
        if error < least {
            least = error;
            best = T::pack(code, path.history, &symbols);
        }
    }
    best
}

/// The codes of the scales around `d`, half of them above it; no code 0, and nothing for a `d` of 0.
fn candidates(d: f32) -> impl Iterator<Item = u8> {
    let [below, _] = scale::neighbours(d);
    let first = below.saturating_sub(CANDIDATES / 2 - 1).max(1);
    let last = below.saturating_add(CANDIDATES / 2);
    (first..=last).filter(move |_| d > 0.0)
}

#[cfg(test)]
mod tests {
    use super::super::layout::{BlockT3, BlockT3_64};
    use super::*;
    use bytemuck::Zeroable;

    fn quantize<T: Trellis>(x: &[f32]) -> T {
        let mut out = [T::zeroed()];
        quantize_row(&mut T::Search::for_type::<T>(), x, &mut out);
        out[0]
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
