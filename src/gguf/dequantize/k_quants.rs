//! Blocks of 256 whose groups have scales of their own, quantized: Q2_K to Q6_K.

use super::{blocks, half, nibbles};

blocks! {
    /// 2.625 bits per weight: groups of 16 with a scale and a minimum of 4 bits each.
    BlockQ2K: 256 weights in 84 { scales: 16, qs: 64, d: 2, dmin: 2 }
    /// 3.4375 bits per weight: groups of 16 with a scale of 6 bits; `hmask` has the third bits.
    BlockQ3K: 256 weights in 110 { hmask: 32, qs: 64, scales: 12, d: 2 }
    /// 4.5 bits per weight: groups of 32 with a scale and a minimum of 6 bits each.
    BlockQ4K: 256 weights in 144 { d: 2, dmin: 2, scales: 12, qs: 128 }
    /// 5.5 bits per weight: as [`BlockQ4K`]; `qh` has the fifth bits.
    BlockQ5K: 256 weights in 176 { d: 2, dmin: 2, scales: 12, qh: 32, qs: 128 }
    /// 6.5625 bits per weight: groups of 16 with a scale of 8 bits; `qh` has the upper two bits.
    BlockQ6K: 256 weights in 210 { ql: 128, qh: 64, scales: 16, d: 2 }
}

/// The two bits of each weight of group `g` of 16: of Q2_K and Q3_K.
fn pairs_of_bits(qs: &[u8; 64], g: usize) -> impl Iterator<Item = u8> {
    // Eight groups have the same 32 bytes, two of them the same two bits.
    qs[g / 8 * 32 + g % 2 * 16..].iter().take(16).map(move |q| q >> (g % 8 / 2 * 2) & 3)
}

/// Scale and minimum of group `g` of 32: of Q4_K and Q5_K.
fn scale_and_min(scales: &[u8; 12], g: usize) -> (f32, f32) {
    let (scale, min) = match g {
        0..4 => (scales[g] & 63, scales[g + 4] & 63),
        _ => (scales[g + 4] & 15 | scales[g - 4] >> 6 << 4, scales[g + 4] >> 4 | scales[g] >> 6 << 4),
    };
    (scale.into(), min.into())
}

impl BlockQ2K {
    fn weights(&self, out: &mut [f32]) {
        let (d, dmin) = (half(self.d), half(self.dmin));
        for (g, out) in out.chunks_exact_mut(16).enumerate() {
            let scale = d * f32::from(self.scales[g] & 15);
            let min = dmin * f32::from(self.scales[g] >> 4);
            for (q, out) in pairs_of_bits(&self.qs, g).zip(out) {
                *out = scale * f32::from(q) - min;
            }
        }
    }
}

impl BlockQ3K {
    fn weights(&self, out: &mut [f32]) {
        let d = half(self.d);
        for (g, out) in out.chunks_exact_mut(16).enumerate() {
            let low = self.scales[g % 8] >> (g / 8 * 4) & 15;
            let high = self.scales[8 + g % 4] >> (g / 4 * 2) & 3;
            let scale = d * (f32::from(low | high << 4) - 32.0);
            let third = self.hmask[g % 2 * 16..].iter().map(|bits| bits >> (g / 2) & 1);
            for ((q, third), out) in pairs_of_bits(&self.qs, g).zip(third).zip(out) {
                *out = scale * (f32::from(q | third << 2) - 4.0);
            }
        }
    }
}

impl BlockQ4K {
    fn weights(&self, out: &mut [f32]) {
        let (d, dmin) = (half(self.d), half(self.dmin));
        for (i, (qs, out)) in self.qs.chunks_exact(32).zip(out.chunks_exact_mut(64)).enumerate() {
            let groups = [2 * i, 2 * i + 1].map(|g| scale_and_min(&self.scales, g));
            let groups = groups.map(|(scale, min)| (d * scale, dmin * min));
            nibbles(qs, out, |i, q| {
                let (scale, min) = groups[i / 32];
                scale * f32::from(q) - min
            });
        }
    }
}

impl BlockQ5K {
    fn weights(&self, out: &mut [f32]) {
        let (d, dmin) = (half(self.d), half(self.dmin));
        for (i, (qs, out)) in self.qs.chunks_exact(32).zip(out.chunks_exact_mut(64)).enumerate() {
            let groups = [2 * i, 2 * i + 1].map(|g| scale_and_min(&self.scales, g));
            let groups = groups.map(|(scale, min)| (d * scale, dmin * min));
            nibbles(qs, out, |j, q| {
                let (scale, min) = groups[j / 32];
                let fifth = self.qh[j % 32] >> (2 * i + j / 32) & 1;
                scale * f32::from(q | fifth << 4) - min
            });
        }
    }
}

impl BlockQ6K {
    fn weights(&self, out: &mut [f32]) {
        let d = half(self.d);
        for (g, out) in out.chunks_exact_mut(16).enumerate() {
            let scale = d * f32::from(self.scales[g] as i8);
            // Of 128 weights: two of 32 share the bytes of `ql`, four those of `qh`.
            let (part, quarter, rest) = (g / 8, g % 8 / 2, g % 2 * 16);
            let low = &self.ql[part * 64 + quarter % 2 * 32 + rest..];
            let high = &self.qh[part * 32 + rest..];
            for ((low, high), out) in low.iter().zip(high).zip(out) {
                let q = low >> (quarter / 2 * 4) & 15 | (high >> (2 * quarter) & 3) << 4;
                *out = scale * (f32::from(q) - 32.0);
            }
        }
    }
}
