//! Q8_64: activations as int8, as they are, without rotation.

use bytemuck::{Pod, Zeroable};

/// Activations in a block.
pub const LEN: usize = 64;
/// Largest quant. Twice its product with an integer of 7 bits fits in 16 bits.
const MAX_QUANT: f32 = 127.0;

/// 64 activations: `x = d * q`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
pub struct BlockQ8 {
    /// Scale.
    pub d: f32,
    /// Sum of the quants.
    pub sum: i32,
    /// Quants.
    pub qs: [i8; LEN],
}

// SAFETY: two 4-byte fields and a multiple of 4 bytes: no padding; any bits are valid.
unsafe impl Zeroable for BlockQ8 {}
// SAFETY: as above.
unsafe impl Pod for BlockQ8 {}

const _: () = assert!(size_of::<BlockQ8>() == 72);

/// Rounds to the nearest multiple of `max |x| / 127`, ties to even. A block with a NaN or an infinity gets a NaN scale.
#[inline(always)]
pub fn quantize(x: &[f32], out: &mut [BlockQ8]) {
    for (x, out) in x.chunks_exact(LEN).zip(out) {
        // Comparing the bits of absolute values compares the values, and puts NaN last.
        let peak = x.iter().fold(0, |peak, v| (v.to_bits() & 0x7fff_ffff).max(peak));
        let peak = f32::from_bits(peak);
        if !peak.is_finite() {
            *out = BlockQ8 { d: f32::NAN, sum: 0, qs: [0; LEN] };
            continue;
        }
        let d = peak / MAX_QUANT;
        let inverse = if d < f32::MIN_POSITIVE { 0.0 } else { MAX_QUANT / peak };
        let mut qs = [0i8; LEN];
        for (q, x) in qs.iter_mut().zip(x) {
            *q = round_ties_even(x * inverse);
        }
        *out = BlockQ8 { d, sum: qs.iter().map(|&q| q as i32).sum(), qs };
    }
}

/// Nearest integer of a value within ±127, ties to even.
#[inline(always)]
fn round_ties_even(x: f32) -> i8 {
    /// At 1.5 * 2^23 the unit in the last place is one, for either sign of `x`.
    const INTEGER_AT: f32 = 1.5 * (1 << 23) as f32;
    (x + INTEGER_AT).to_bits() as i8
}
