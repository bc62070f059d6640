//! A8: activations, rotated and quantized to int8.
//!
//! The `vec_dot_type` of the trellis types. ggml makes these blocks from f32 rows just before a
//! product and never stores them.

use super::rotation;
use bytemuck::{Pod, Zeroable};

/// `N` activations: `x = d * q` after the rotation.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
pub struct BlockA8<const N: usize> {
    /// Scale.
    pub d: f32,
    /// Sum of the quants.
    pub sum: i32,
    /// Quants in lane order: element `steps * j + t` at `lanes * t + j`.
    pub qs: [i8; N],
}

// SAFETY: two 4-byte fields and a multiple of 4 bytes: no padding; any bits are valid.
unsafe impl<const N: usize> Zeroable for BlockA8<N> {}
// SAFETY: as above.
unsafe impl<const N: usize> Pod for BlockA8<N> {}

const _: () = assert!(size_of::<BlockA8<256>>() == 264 && size_of::<BlockA8<64>>() == 72);

/// Largest quant. With reconstructions of at most 127, a pair of products fits in 16 bits.
const MAX_QUANT: f32 = 127.0;

/// A block of [`BlockA8`] of either length.
pub trait Activation: Pod + Send + Sync {
    /// Scale.
    fn d(&self) -> f32;

    /// Sum of the quants.
    fn sum(&self) -> i32;

    /// Quants in lane order.
    fn qs(&self) -> &[i8];

    /// Rotates and quantizes one block for weights whose lanes have `steps` symbols.
    fn quantize(x: &[f32], steps: usize) -> Self;
}

impl<const N: usize> Activation for BlockA8<N> {
    #[inline(always)]
    fn d(&self) -> f32 {
        self.d
    }

    #[inline(always)]
    fn sum(&self) -> i32 {
        self.sum
    }

    #[inline(always)]
    fn qs(&self) -> &[i8] {
        &self.qs
    }

    #[inline(always)]
    fn quantize(x: &[f32], steps: usize) -> Self {
        quantize(x, steps)
    }
}

/// Rotates and quantizes one block.
#[inline(always)]
fn quantize<const N: usize>(x: &[f32], steps: usize) -> BlockA8<N> {
    to_quants(&rotation::rotate(x), steps)
}

/// Quantizes one block to the nearest multiple of `max |y| / 127`, ties to even, for weights whose lanes have `steps`
/// symbols.
///
/// A block with a NaN or an infinity gets a NaN scale: its products are NaN, as they are in f32.
#[inline(always)]
pub fn to_quants<const N: usize>(y: &[f32; N], steps: usize) -> BlockA8<N> {
    // Comparing the bits of absolute values compares the values, and puts NaN last.
    let peak = y.iter().fold(0, |peak, v| (v.to_bits() & 0x7fff_ffff).max(peak));
    let peak = f32::from_bits(peak);
    if !peak.is_finite() {
        return BlockA8 { d: f32::NAN, sum: 0, qs: [0; N] };
    }
    let d = peak / MAX_QUANT;
    let inverse = if d < f32::MIN_POSITIVE { 0.0 } else { MAX_QUANT / peak };
    let mut q = [0i8; N];
    for (q, y) in q.iter_mut().zip(y) {
        *q = round_ties_even(y * inverse);
    }
    let mut qs = [0i8; N];
    let lanes = N / steps;
    for j in 0..lanes {
        for t in 0..steps {
            qs[lanes * t + j] = q[steps * j + t];
        }
    }
    BlockA8 { d, sum: q.iter().map(|&q| q as i32).sum(), qs }
}

/// Nearest integer of a value within ±127, ties to even, as every SIMD conversion does it.
#[inline(always)]
fn round_ties_even(x: f32) -> i8 {
    /// At 1.5 * 2^23 the unit in the last place is one, for either sign of `x`.
    const INTEGER_AT: f32 = 1.5 * (1 << 23) as f32;
    (x + INTEGER_AT).to_bits() as i8
}
