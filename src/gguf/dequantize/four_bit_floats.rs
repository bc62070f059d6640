//! FP4 (E2M1) with scales of 8 bits: MXFP4 of the OCP Microscaling Formats specification, version 1.0, and NVFP4.

use super::{blocks, nibbles};

blocks! {
    /// 4.25 bits per weight; `e` is a power of two (E8M0).
    BlockMxfp4: 32 weights in 17 { e: 1, qs: 16 }
    /// 4.5 bits per weight: four groups, with scales in E4M3 without a sign.
    BlockNvfp4: 64 weights in 36 { d: 4, qs: 32 }
}

/// Values of E2M1, doubled: scales are halved.
const E2M1: [f32; 16] =
    [0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 0.0, -1.0, -2.0, -3.0, -4.0, -6.0, -8.0, -12.0];

/// Half of 2^(e - 127). ggml has no NaN here.
fn half_e8m0(e: u8) -> f32 {
    // 2^-128 and 2^-127 are subnormal.
    f32::from_bits(if e < 2 { 0x0020_0000 << e } else { (u32::from(e) - 1) << 23 })
}

/// Half of a scale of NVFP4; the pattern that E4M3 has as NaN is zero.
fn half_e4m3(bits: u8) -> f32 {
    let (exponent, mantissa) = (u32::from(bits >> 3 & 15), u32::from(bits & 7));
    match (exponent, mantissa) {
        _ if bits == 0x7f => 0.0,
        (0, mantissa) => mantissa as f32 / 1024.0,
        _ => f32::from_bits((exponent + 127 - 7 - 1) << 23 | mantissa << 20),
    }
}

impl BlockMxfp4 {
    fn weights(&self, out: &mut [f32]) {
        let d = half_e8m0(self.e[0]);
        nibbles(&self.qs, out, |_, q| E2M1[usize::from(q)] * d);
    }
}

impl BlockNvfp4 {
    fn weights(&self, out: &mut [f32]) {
        for ((d, qs), out) in self.d.iter().zip(self.qs.chunks_exact(8)).zip(out.chunks_exact_mut(16)) {
            let d = half_e4m3(*d);
            nibbles(qs, out, |_, q| E2M1[usize::from(q)] * d);
        }
    }
}
