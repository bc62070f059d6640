//! The inverse rotation on NEON: the integers of `rotation::unrotate`, from lane order.
//!
//! The transform takes a butterfly over every bit of the element number. Integers do not mind in which order, so bits
//! that number vectors go first, then a transposition turns the three bits within a vector into such bits too, and puts
//! lane order into element order on the way.

use super::rotation::{PATTERN, unit};
use std::arch::aarch64::*;

/// `out = d * inverse rotation of r`, of 256 reconstructions: lanes `16 h` and up of step t in `r[2 t + h]`.
#[inline]
#[target_feature(enable = "neon")]
pub fn unrotate_256(r: &[int8x16_t; 16], d: f32, out: &mut [f32; 256]) {
    // tiles[g][j][t] = lane 8 g + j, step t
    let mut tiles = [[vdupq_n_s16(0); 8]; 4];
    for h in 0..2 {
        let (mut low, mut high) = ([vdupq_n_s16(0); 8], [vdupq_n_s16(0); 8]);
        for t in 0..8 {
            low[t] = vmovl_s8(vget_low_s8(r[2 * t + h]));
            high[t] = vmovl_high_s8(r[2 * t + h]);
        }
        tiles[2 * h] = transform_and_transpose(low);
        tiles[2 * h + 1] = transform_and_transpose(high);
    }
    let scale = d * unit(256);
    let [t0, t1, t2, t3] = tiles;
    for j in 0..8 {
        let ([s01, d01], [s23, d23]) = (butterfly(t0[j], t1[j]), butterfly(t2[j], t3[j]));
        let ([y0, y2], [y1, y3]) = (butterfly(s01, s23), butterfly(d01, d23));
        for (g, y) in [y0, y1, y2, y3].into_iter().enumerate() {
            store(vget_low_s16(y), scale, 64 * g + 8 * j, out);
            store(vget_high_s16(y), scale, 64 * g + 8 * j + 4, out);
        }
    }
}

/// As [`unrotate_256`], of 64 reconstructions: the 16 lanes of step t in `r[t]`.
#[inline]
#[target_feature(enable = "neon")]
pub fn unrotate_64(r: &[int8x16_t; 4], d: f32, out: &mut [f32; 64]) {
    let mut x = [vdupq_n_s16(0); 8];
    for t in 0..4 {
        x[t] = vmovl_s8(vget_low_s8(r[t]));
        x[4 + t] = vmovl_high_s8(r[t]);
    }
    for (j, y) in transform_and_transpose(x).into_iter().enumerate() {
        store(vget_low_s16(y), d * unit(64), 4 * j, out);
        store(vget_high_s16(y), d * unit(64), 32 + 4 * j, out);
    }
}

/// The transform of 64 values over all six bits, transposed: value `[i][j]` goes to `[j][i]`.
#[inline]
#[target_feature(enable = "neon")]
fn transform_and_transpose(x: [int16x8_t; 8]) -> [int16x8_t; 8] {
    transform(transpose(transform(x)))
}

/// The transform over the number of the vector.
#[inline]
#[target_feature(enable = "neon")]
fn transform(mut x: [int16x8_t; 8]) -> [int16x8_t; 8] {
    for half in [1, 2, 4] {
        for i in 0..8 {
            if i & half == 0 {
                [x[i], x[i + half]] = butterfly(x[i], x[i + half]);
            }
        }
    }
    x
}

#[inline]
#[target_feature(enable = "neon")]
fn butterfly(a: int16x8_t, b: int16x8_t) -> [int16x8_t; 2] {
    [vaddq_s16(a, b), vsubq_s16(a, b)]
}

/// Value `[i][j]` to `[j][i]`: pairs of vectors exchange one, then two, then four neighbours.
#[inline]
#[target_feature(enable = "neon")]
fn transpose(mut x: [int16x8_t; 8]) -> [int16x8_t; 8] {
    for i in [0, 2, 4, 6] {
        (x[i], x[i + 1]) = (vtrn1q_s16(x[i], x[i + 1]), vtrn2q_s16(x[i], x[i + 1]));
    }
    for i in [0, 1, 4, 5] {
        let (a, b) = (vreinterpretq_s32_s16(x[i]), vreinterpretq_s32_s16(x[i + 2]));
        x[i] = vreinterpretq_s16_s32(vtrn1q_s32(a, b));
        x[i + 2] = vreinterpretq_s16_s32(vtrn2q_s32(a, b));
    }
    for i in 0..4 {
        let (a, b) = (vreinterpretq_s64_s16(x[i]), vreinterpretq_s64_s16(x[i + 4]));
        x[i] = vreinterpretq_s16_s64(vtrn1q_s64(a, b));
        x[i + 4] = vreinterpretq_s16_s64(vtrn2q_s64(a, b));
    }
    x
}

/// Elements `at..at + 4`: integers times scale and sign.
#[inline]
#[target_feature(enable = "neon")]
fn store(y: int16x4_t, scale: f32, at: usize, out: &mut [f32]) {
    let sign: float32x4_t = bytemuck::cast([PATTERN[at], PATTERN[at + 1], PATTERN[at + 2], PATTERN[at + 3]]);
    let w = vmulq_f32(vcvtq_f32_s32(vmovl_s16(y)), vmulq_n_f32(sign, scale));
    out[at..at + 4].copy_from_slice(&bytemuck::cast::<_, [f32; 4]>(w));
}
