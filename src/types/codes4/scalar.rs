//! The definition, in the order of FORMAT.md.

use super::layout::Codes4;
use super::q8::{self, BlockQ8};

/// Sums that are kept apart until the end of a row: the lanes of a vector.
const LANES: usize = 8;

/// Dot product of a row.
pub fn dot<T: Codes4>(w: &[T], a: &[BlockQ8]) -> f32 {
    let mut totals = [0f32; LANES];
    for (w, a) in w.iter().zip(a.chunks_exact(T::PARTS)) {
        for (part, a) in a.iter().enumerate() {
            let mut sums = [0i32; LANES];
            sums[0] = -w.zero() * a.sum;
            for (i, &q) in a.qs.iter().enumerate() {
                sums[i / 4 % LANES] += T::INTEGERS[w.code(part * q8::LEN + i) as usize] as i32 * q as i32;
            }
            let scale = w.unit() * a.d;
            for (total, sum) in totals.iter_mut().zip(sums) {
                *total += scale * sum as f32;
            }
        }
    }
    let [a, b, c, d, e, f, g, h] = totals;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

/// Weights of a row.
#[inline(always)]
pub fn dequantize<T: Codes4>(w: &[T], out: &mut [f32]) {
    for (w, out) in w.iter().zip(out.chunks_exact_mut(T::LEN)) {
        let (low, high) = out.split_at_mut(T::LEN / 2);
        for ((q, low), high) in w.qs().iter().zip(low).zip(high) {
            *low = w.weight(q & 15);
            *high = w.weight(q >> 4);
        }
    }
}
