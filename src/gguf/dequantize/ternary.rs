//! Weights of -1, 0 and 1 times a scale: TQ1_0 and TQ2_0.

use super::{blocks, half};

blocks! {
    /// 1.6875 bits per weight: five a byte of `qs`, four a byte of `qh`.
    BlockTq1_0: 256 weights in 54 { qs: 48, qh: 4, d: 2 }
    /// 2.0625 bits per weight.
    BlockTq2_0: 256 weights in 66 { qs: 64, d: 2 }
}

/// Digit `i` of a byte, the highest first: the byte is a fraction of 256 in base 3.
fn digit(byte: u8, i: u32) -> f32 {
    let rest = byte.wrapping_mul(3u8.wrapping_pow(i));
    f32::from((u16::from(rest) * 3) >> 8)
}

impl BlockTq1_0 {
    fn weights(&self, out: &mut [f32]) {
        let d = half(self.d);
        let (first, second) = self.qs.split_at(32);
        let mut out = out.iter_mut();
        for (bytes, digits) in [(first, 5), (second, 5), (&self.qh[..], 4)] {
            for i in 0..digits {
                for (byte, out) in bytes.iter().zip(&mut out) {
                    *out = (digit(*byte, i) - 1.0) * d;
                }
            }
        }
    }
}

impl BlockTq2_0 {
    fn weights(&self, out: &mut [f32]) {
        let d = half(self.d);
        for (g, out) in out.chunks_exact_mut(32).enumerate() {
            for (q, out) in self.qs[g / 4 * 32..].iter().zip(out) {
                *out = (f32::from(q >> (2 * (g % 4)) & 3) - 1.0) * d;
            }
        }
    }
}
