//! A step of the exact search, and the metrics that it takes.

use super::graph::Graph;
use crate::types::trellis::code::HASHES;

/// Cost of a state that cannot be reached.
pub const DEAD: i16 = i16::MAX;

/// One step: costs the states `after` target `x` from those `before` it.
pub struct Step<'a, const NEW: usize, const OLD: usize> {
    pub graph: &'a Graph<NEW, OLD>,
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "only vectors need it"))]
    pub table: &'a mut [i16],
    pub x: f32,
    pub before: &'a [i16],
    pub after: &'a mut [i16],
    /// The least cost `before`, then the least `after`. A step takes the first off, which keeps costs in range.
    pub least: &'a mut i16,
}

/// Cost of each label beyond the cheapest, less `least`.
#[inline(always)]
pub fn metric(values: &[f32; HASHES], x: f32, scale: f32, least: i16) -> [i16; HASHES] {
    let mut error = [0f32; HASHES];
    let mut nearest = [f32::INFINITY; 16];
    for (error, values) in error.chunks_exact_mut(16).zip(values.chunks_exact(16)) {
        for j in 0..16 {
            let e = (x - values[j]) * (x - values[j]) * scale;
            error[j] = e;
            nearest[j] = if e < nearest[j] { e } else { nearest[j] };
        }
    }
    let nearest = least_of(nearest);
    let mut metric = [0i16; HASHES];
    for (m, e) in metric.iter_mut().zip(&error) {
        *m = round_to_i16(e - nearest).wrapping_sub(least);
    }
    metric
}

/// Nearest integer of `0.0..`, at most `i16::MAX`; in a form that compilers turn into vector code.
#[inline(always)]
fn round_to_i16(x: f32) -> i16 {
    /// At 2^23 the unit in the last place is one: adding it leaves the integer in the low bits.
    const INTEGER_AT: f32 = (1 << 23) as f32;
    let x = if x < DEAD as f32 { x } else { DEAD as f32 };
    (x + INTEGER_AT).to_bits() as i16
}

/// The least of 2^n numbers, without a long chain of comparisons.
#[inline(always)]
pub fn least_of<const N: usize>(mut x: [f32; N]) -> f32 {
    let mut half = N / 2;
    while half > 0 {
        for j in 0..half {
            x[j] = if x[j + half] < x[j] { x[j + half] } else { x[j] };
        }
        half /= 2;
    }
    x[0]
}
