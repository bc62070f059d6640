//! Rows of weights to blocks, without calibration.
//!
//! Each block is rotated; its scale is near the one that gives its targets the spread of the code's values; the
//! search finds the symbols. See [`super::encode`].

use super::encode::{Path, Search};
use super::layout::Trellis;
use super::{rotation, scale};

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

fn quantize_block<T: Trellis, const N: usize>(search: &mut T::Search, x: &[f32]) -> T {
    let finite: [f32; N] = std::array::from_fn(|i| if x[i].is_finite() { x[i] } else { 0.0 });
    let targets: [f32; N] = rotation::rotate(&finite);
    let power = targets.iter().map(|&v| v as f64 * v as f64).sum::<f64>() / N as f64;
    let code = nearest_scale(power.sqrt() as f32 / T::CODE.sigma);
    let d = scale::decode(code);
    if d == 0.0 {
        return T::zeroed();
    }
    let scaled = targets.map(|v| v / d);
    let mut symbols = [0; N];
    let path = search.run(&scaled, &mut symbols);
    T::pack(code, path.history, &symbols)
}

/// The scale code nearest to `d` by ratio.
fn nearest_scale(d: f32) -> u8 {
    let [below, above] = scale::neighbours(d);
    if d * d < scale::decode(below) * scale::decode(above) { below } else { above }
}
