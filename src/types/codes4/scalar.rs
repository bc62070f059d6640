//! The definition, in the order of FORMAT.md.

use super::layout::{Block, Codes4};
use super::q8;
use crate::products::Definition;

/// Sums that are kept apart until the end of a row: the lanes of a vector.
const LANES: usize = 8;

impl<S, const BYTES: usize> Definition for Block<S, BYTES>
where
    Self: Codes4,
{
    const WEIGHTS: usize = Self::LEN;
    type Activations = <Self as Codes4>::Activations;

    fn dots(w: &[Self], columns: &[&[<Self as Codes4>::Activations]], out: &mut [f32]) {
        for (a, out) in columns.iter().zip(out) {
            *out = dot(w, a);
        }
    }

    fn dequantize(w: &[Self], out: &mut [f32]) {
        dequantize(w, out);
    }
}

/// Dot product of a row.
fn dot<T: Codes4>(w: &[T], a: &[T::Activations]) -> f32 {
    let mut totals = [0f32; LANES];
    for (w, a) in w.iter().zip(a) {
        for (part, a) in a.as_ref().iter().enumerate() {
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

/// Weights of a row. The compiler makes vectors of this function where it is compiled with their features.
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
