//! Rows of a grid with signs and scales: the IQ1, IQ2 and IQ3 types.
//!
//! Groups of 32 have a scale each, or two. Signs are a byte for 8 weights, lowest first; where 7 bits are stored, the
//! eighth makes the number of minus signs even.

use super::grids::{self, LEVELS_IQ1, LEVELS_IQ2, LEVELS_IQ3_S, LEVELS_IQ3_XXS};
use super::{blocks, half, u16_at, u32_at};

blocks! {
    /// 1.5625 bits per weight.
    BlockIq1S: 256 weights in 50 { d: 2, qs: 32, qh: 16 }
    /// 1.75 bits per weight; `scales` has the scale of the block too.
    BlockIq1M: 256 weights in 56 { qs: 32, qh: 16, scales: 8 }
    /// 2.0625 bits per weight; a group has 4 numbers of 8 bits, then 4 x 7 bits of signs and a scale of 4 bits.
    BlockIq2Xxs: 256 weights in 66 { d: 2, qs: 64 }
    /// 2.3125 bits per weight; numbers of 9 bits, each with 7 bits of signs.
    BlockIq2Xs: 256 weights in 74 { d: 2, qs: 64, scales: 8 }
    /// 2.5625 bits per weight; `qh` has the upper two bits of the numbers.
    BlockIq2S: 256 weights in 82 { d: 2, qs: 32, signs: 32, qh: 8, scales: 8 }
    /// 3.0625 bits per weight; signs and scales as [`BlockIq2Xxs`].
    BlockIq3Xxs: 256 weights in 98 { d: 2, qs: 64, scales_and_signs: 32 }
    /// 3.4375 bits per weight; `qh` has the ninth bits of the numbers.
    BlockIq3S: 256 weights in 110 { d: 2, qs: 64, qh: 8, signs: 32, scales: 4 }
}

/// A row of a grid of 2 bits.
fn eight(row: u16, levels: &[f32; 4]) -> [f32; 8] {
    std::array::from_fn(|i| levels[usize::from(row >> (2 * i) & 3)])
}

/// Two rows of a grid of 3 bits.
fn two_fours(rows: [u16; 2], levels: &[f32; 8]) -> [f32; 8] {
    std::array::from_fn(|i| levels[usize::from(rows[i / 4] >> (3 * (i % 4)) & 7)])
}

/// Writes `scale` times a row, with its signs.
fn signed(scale: f32, row: [f32; 8], signs: u8, out: &mut [f32]) {
    for (i, (value, out)) in row.into_iter().zip(out).enumerate() {
        let weight = scale * value;
        *out = if signs >> i & 1 == 1 { -weight } else { weight };
    }
}

/// Signs of which the lowest 7 of `bits` are stored.
fn even_signs(bits: u32) -> u8 {
    let seven = (bits & 127) as u8;
    seven | (seven.count_ones() as u8 & 1) << 7
}

/// Half of byte `i / 2`, the low one for an even `i`.
fn nibble(bytes: &[u8], i: usize) -> f32 {
    f32::from(bytes[i / 2] >> (i % 2 * 4) & 15)
}

/// What is added to the rows of IQ1.
fn shift(minus: bool) -> f32 {
    if minus { -0.125 } else { 0.125 }
}

impl BlockIq1S {
    fn weights(&self, out: &mut [f32]) {
        let d = half(self.d);
        for (i, out) in out.chunks_exact_mut(8).enumerate() {
            let bits = u16_at(&self.qh, i / 4);
            let scale = d * f32::from(2 * (bits >> 12 & 7) + 1);
            let shift = shift(bits & 0x8000 != 0);
            let number = u16::from(self.qs[i]) | (bits >> (i % 4 * 3) & 7) << 8;
            for (value, out) in eight(grids::IQ1[usize::from(number)], &LEVELS_IQ1).into_iter().zip(out) {
                *out = scale * (value + shift);
            }
        }
    }
}

impl BlockIq1M {
    fn weights(&self, out: &mut [f32]) {
        let words: [u16; 4] = std::array::from_fn(|i| u16_at(&self.scales, i));
        // The uppermost four bits of each word.
        let d = words.iter().rev().fold(0, |d, word| d << 4 | word >> 12);
        let d = half(d.to_le_bytes());
        for (i, out) in out.chunks_exact_mut(8).enumerate() {
            // Of 3 bits for two rows, four in a word.
            let scale = d * f32::from(2 * (words[i / 8] >> (i % 8 / 2 * 3) & 7) + 1);
            let bits = self.qh[i / 2] >> (i % 2 * 4);
            let shift = shift(bits & 8 != 0);
            let number = u16::from(self.qs[i]) | u16::from(bits & 7) << 8;
            for (value, out) in eight(grids::IQ1[usize::from(number)], &LEVELS_IQ1).into_iter().zip(out) {
                *out = scale * (value + shift);
            }
        }
    }
}

impl BlockIq2Xxs {
    fn weights(&self, out: &mut [f32]) {
        let d = half(self.d);
        for (i, out) in out.chunks_exact_mut(8).enumerate() {
            let bits = u32_at(&self.qs, i / 4 * 2 + 1);
            let scale = d * (0.5 + (bits >> 28) as f32) * 0.25;
            let row = grids::IQ2_XXS[usize::from(self.qs[i / 4 * 8 + i % 4])];
            signed(scale, eight(row, &LEVELS_IQ2), even_signs(bits >> (i % 4 * 7)), out);
        }
    }
}

impl BlockIq2Xs {
    fn weights(&self, out: &mut [f32]) {
        let d = half(self.d);
        for (i, out) in out.chunks_exact_mut(8).enumerate() {
            let scale = d * (0.5 + nibble(&self.scales, i / 2)) * 0.25;
            let bits = u16_at(&self.qs, i);
            let row = grids::IQ2_XS[usize::from(bits & 511)];
            signed(scale, eight(row, &LEVELS_IQ2), even_signs(u32::from(bits >> 9)), out);
        }
    }
}

impl BlockIq2S {
    fn weights(&self, out: &mut [f32]) {
        let d = half(self.d);
        for (i, out) in out.chunks_exact_mut(8).enumerate() {
            let scale = d * (0.5 + nibble(&self.scales, i / 2)) * 0.25;
            let high = u16::from(self.qh[i / 4] >> (i % 4 * 2) & 3);
            let row = grids::IQ2_S[usize::from(u16::from(self.qs[i]) | high << 8)];
            signed(scale, eight(row, &LEVELS_IQ2), self.signs[i], out);
        }
    }
}

impl BlockIq3Xxs {
    fn weights(&self, out: &mut [f32]) {
        let d = half(self.d);
        for (i, out) in out.chunks_exact_mut(8).enumerate() {
            let bits = u32_at(&self.scales_and_signs, i / 4);
            let scale = d * (0.5 + (bits >> 28) as f32) * 0.5;
            let rows = [0, 1].map(|half| grids::IQ3_XXS[usize::from(self.qs[2 * i + half])]);
            signed(scale, two_fours(rows, &LEVELS_IQ3_XXS), even_signs(bits >> (i % 4 * 7)), out);
        }
    }
}

impl BlockIq3S {
    fn weights(&self, out: &mut [f32]) {
        let d = half(self.d);
        for (i, out) in out.chunks_exact_mut(8).enumerate() {
            let scale = d * (1.0 + 2.0 * nibble(&self.scales, i / 4));
            let rows = [0, 1].map(|half| {
                let ninth = u16::from(self.qh[i / 4] >> (i % 4 * 2 + half) & 1);
                grids::IQ3_S[usize::from(u16::from(self.qs[2 * i + half]) | ninth << 8)]
            });
            signed(scale, two_fours(rows, &LEVELS_IQ3_S), self.signs[i], out);
        }
    }
}
