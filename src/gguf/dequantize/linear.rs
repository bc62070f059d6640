//! Codes of 1 to 8 bits times a scale: Q1_0, Q2_0, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0; and IQ4_NL and IQ4_XS, whose codes are
//! numbers of levels.

use super::{blocks, half, nibbles, u16_at, u32_at};

blocks! {
    /// 1.125 bits per weight: a sign each.
    BlockQ1_0: 128 weights in 18 { d: 2, qs: 16 }
    /// 2.25 bits per weight.
    BlockQ2_0: 64 weights in 18 { d: 2, qs: 16 }
    /// 4.5 bits per weight.
    BlockQ4_0: 32 weights in 18 { d: 2, qs: 16 }
    /// 5 bits per weight, with a minimum.
    BlockQ4_1: 32 weights in 20 { d: 2, m: 2, qs: 16 }
    /// 5.5 bits per weight; `qh` has the fifth bits.
    BlockQ5_0: 32 weights in 22 { d: 2, qh: 4, qs: 16 }
    /// 6 bits per weight, with a minimum; `qh` has the fifth bits.
    BlockQ5_1: 32 weights in 24 { d: 2, m: 2, qh: 4, qs: 16 }
    /// 8.5 bits per weight.
    BlockQ8_0: 32 weights in 34 { d: 2, qs: 32 }
    /// 4.5 bits per weight.
    BlockIq4Nl: 32 weights in 18 { d: 2, qs: 16 }
    /// 4.25 bits per weight: eight groups with scales of 6 bits.
    BlockIq4Xs: 256 weights in 136 { d: 2, scales_h: 2, scales_l: 4, qs: 128 }
}

/// Levels of IQ4_NL and IQ4_XS (`kvalues_iq4nl` of ggml-common.h).
const IQ4_LEVELS: [f32; 16] = [
    -127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0, 89.0, 113.0,
];

impl BlockQ1_0 {
    fn weights(&self, out: &mut [f32]) {
        let d = half(self.d);
        for (i, out) in out.iter_mut().enumerate() {
            *out = if self.qs[i / 8] >> (i % 8) & 1 == 1 { d } else { -d };
        }
    }
}

impl BlockQ2_0 {
    fn weights(&self, out: &mut [f32]) {
        let d = half(self.d);
        for (i, out) in out.iter_mut().enumerate() {
            let q = self.qs[i / 4] >> (2 * (i % 4)) & 3;
            *out = (f32::from(q) - 1.0) * d;
        }
    }
}

impl BlockQ4_0 {
    fn weights(&self, out: &mut [f32]) {
        let d = half(self.d);
        nibbles(&self.qs, out, |_, q| (f32::from(q) - 8.0) * d);
    }
}

impl BlockQ4_1 {
    fn weights(&self, out: &mut [f32]) {
        let (d, m) = (half(self.d), half(self.m));
        nibbles(&self.qs, out, |_, q| f32::from(q) * d + m);
    }
}

/// A code of 4 bits with a fifth, bit `i` of `high`.
fn with_fifth(q: u8, high: u32, i: usize) -> f32 {
    f32::from(q | ((high >> i & 1) as u8) << 4)
}

impl BlockQ5_0 {
    fn weights(&self, out: &mut [f32]) {
        let (d, high) = (half(self.d), u32_at(&self.qh, 0));
        nibbles(&self.qs, out, |i, q| (with_fifth(q, high, i) - 16.0) * d);
    }
}

impl BlockQ5_1 {
    fn weights(&self, out: &mut [f32]) {
        let (d, m, high) = (half(self.d), half(self.m), u32_at(&self.qh, 0));
        nibbles(&self.qs, out, |i, q| with_fifth(q, high, i) * d + m);
    }
}

impl BlockQ8_0 {
    fn weights(&self, out: &mut [f32]) {
        let d = half(self.d);
        for (q, out) in self.qs.iter().zip(out) {
            *out = f32::from(*q as i8) * d;
        }
    }
}

impl BlockIq4Nl {
    fn weights(&self, out: &mut [f32]) {
        let d = half(self.d);
        nibbles(&self.qs, out, |_, q| d * IQ4_LEVELS[usize::from(q)]);
    }
}

impl BlockIq4Xs {
    fn weights(&self, out: &mut [f32]) {
        let (d, high) = (half(self.d), u16_at(&self.scales_h, 0));
        for (g, (qs, out)) in self.qs.chunks_exact(16).zip(out.chunks_exact_mut(32)).enumerate() {
            let low = self.scales_l[g / 2] >> (4 * (g % 2)) & 15;
            let scale = low | ((high >> (2 * g) & 3) as u8) << 4;
            let d = d * (f32::from(scale) - 32.0);
            nibbles(qs, out, |_, q| d * IQ4_LEVELS[usize::from(q)]);
        }
    }
}
