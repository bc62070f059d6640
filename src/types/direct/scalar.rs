//! The definition, in the order of FORMAT.md.

use super::layout::{Block, Codes, LANES, LEN, STEPS};
use crate::products::Definition;
use crate::types::trellis::a8::{BlockA8, to_quants};
use crate::types::trellis::scale;

impl<C: Codes, const SLOTS: usize> Definition for Block<C, SLOTS> {
    const WEIGHTS: usize = LEN;
    type Activations = BlockA8<LEN>;

    fn dots(w: &[Self], columns: &[&[BlockA8<LEN>]], out: &mut [f32]) {
        for (a, out) in columns.iter().zip(out) {
            *out = dot(w, a);
        }
    }

    fn dequantize(w: &[Self], out: &mut [f32]) {
        for (w, out) in w.iter().zip(out.chunks_exact_mut(LEN)) {
            dequantize(w, &std::array::from_fn(|lane| w.codes.levels(lane)), out);
        }
    }
}

/// Dot product of a row.
fn dot<C: Codes, const SLOTS: usize>(w: &[Block<C, SLOTS>], a: &[BlockA8<LEN>]) -> f32 {
    let mut total = 0.0;
    for (w, a) in w.iter().zip(a) {
        let mut integer = 0;
        for lane in 0..LANES {
            for (t, level) in w.codes.levels(lane).into_iter().enumerate() {
                integer += level as i32 * a.qs[LANES * t + lane] as i32;
            }
        }
        total += term(w, a, integer);
    }
    total
}

/// What a block adds to the product of its row. `integer` is the sum of levels times quants.
#[inline(always)]
pub fn term<C: Codes, const SLOTS: usize>(w: &Block<C, SLOTS>, a: &BlockA8<LEN>, integer: i32) -> f32 {
    let mut term = (scale::decode(w.d) * a.d) * integer as f32;
    for slot in w.slots {
        term += (slot.value() * a.d) * a.qs[slot.place()] as f32;
    }
    term
}

/// Weights of a block whose levels are decoded.
#[inline(always)]
pub fn dequantize<C: Codes, const SLOTS: usize>(
    w: &Block<C, SLOTS>,
    levels: &[[i8; STEPS]; LANES],
    out: &mut [f32],
) {
    let d = scale::decode(w.d);
    for (out, level) in out.iter_mut().zip(levels.as_flattened()) {
        *out = *level as f32 * d;
    }
    for slot in w.slots {
        out[slot.index as usize] += slot.value();
    }
}

/// Activations of a row as int8, without rotation.
#[inline(always)]
pub fn quantize_activations(x: &[f32], out: &mut [BlockA8<LEN>]) {
    for (x, out) in x.as_chunks().0.iter().zip(out) {
        *out = to_quants(x, STEPS);
    }
}
