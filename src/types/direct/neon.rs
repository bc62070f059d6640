//! 64 lanes on ARM: four vectors.

use super::lanes::Lanes;
use crate::isa::Neon;
use crate::products::GROUP;
use crate::products::prompts::Words;
use crate::simd::neon::{load, load_quants, sum_lanes, sum_lanes_group};
use std::arch::aarch64::*;

impl<L: Words<Vector = int32x4_t> + Into<Neon>> Lanes for L {
    type Bytes = [uint8x16_t; 4];

    #[inline(always)]
    fn load(self, bytes: &[u8; 64]) -> [uint8x16_t; 4] {
        // SAFETY: the token proves NEON.
        unsafe { [load(bytes, 0), load(bytes, 16), load(bytes, 32), load(bytes, 48)] }
    }

    #[inline(always)]
    fn halves(self, bytes: &[u8; 32]) -> [uint8x16_t; 4] {
        // SAFETY: the token proves NEON.
        unsafe { halves(bytes) }
    }

    #[inline(always)]
    fn quarters(self, bytes: &[u8; 16]) -> [uint8x16_t; 4] {
        // SAFETY: the token proves NEON.
        unsafe { quarters(bytes) }
    }

    #[inline(always)]
    fn eighths(self, bytes: &[u8; 8]) -> [uint8x16_t; 4] {
        // SAFETY: the token proves NEON.
        unsafe { eighths(bytes) }
    }

    #[inline(always)]
    fn bits<const SHIFT: i32>(self, [a, b, c, d]: [uint8x16_t; 4], mask: u8) -> [uint8x16_t; 4] {
        let by = -SHIFT as i8;
        // SAFETY: the token proves NEON.
        unsafe { [moved(a, by, mask), moved(b, by, mask), moved(c, by, mask), moved(d, by, mask)] }
    }

    #[inline(always)]
    fn bits_up<const SHIFT: i32>(self, [a, b, c, d]: [uint8x16_t; 4], mask: u8) -> [uint8x16_t; 4] {
        let by = SHIFT as i8;
        // SAFETY: the token proves NEON.
        unsafe { [moved(a, by, mask), moved(b, by, mask), moved(c, by, mask), moved(d, by, mask)] }
    }

    #[inline(always)]
    fn and(self, a: [uint8x16_t; 4], b: [uint8x16_t; 4]) -> [uint8x16_t; 4] {
        // SAFETY: the token proves NEON.
        unsafe { [vandq_u8(a[0], b[0]), vandq_u8(a[1], b[1]), vandq_u8(a[2], b[2]), vandq_u8(a[3], b[3])] }
    }

    #[inline(always)]
    fn or(self, a: [uint8x16_t; 4], b: [uint8x16_t; 4]) -> [uint8x16_t; 4] {
        // SAFETY: the token proves NEON.
        unsafe { [vorrq_u8(a[0], b[0]), vorrq_u8(a[1], b[1]), vorrq_u8(a[2], b[2]), vorrq_u8(a[3], b[3])] }
    }

    #[inline(always)]
    fn look_up(self, table: &[u8; 16], [a, b, c, d]: [uint8x16_t; 4]) -> [uint8x16_t; 4] {
        // SAFETY: the token proves NEON.
        unsafe {
            let table = load(table, 0);
            [vqtbl1q_u8(table, a), vqtbl1q_u8(table, b), vqtbl1q_u8(table, c), vqtbl1q_u8(table, d)]
        }
    }

    #[inline(always)]
    fn add_byte(self, [a, b, c, d]: [uint8x16_t; 4], byte: u8) -> [uint8x16_t; 4] {
        // SAFETY: the token proves NEON.
        unsafe {
            let byte = vdupq_n_u8(byte);
            [vaddq_u8(a, byte), vaddq_u8(b, byte), vaddq_u8(c, byte), vaddq_u8(d, byte)]
        }
    }

    #[inline(always)]
    fn multiply(self, sums: int32x4_t, [a, b, c, d]: [uint8x16_t; 4], quants: &[i8; 64]) -> int32x4_t {
        // SAFETY: the token proves NEON.
        let word = |at| unsafe { vreinterpretq_s32_s8(load_quants(quants, at)) };
        // SAFETY: as above.
        let [a, b, c, d] = unsafe {
            [
                vreinterpretq_s32_u8(a),
                vreinterpretq_s32_u8(b),
                vreinterpretq_s32_u8(c),
                vreinterpretq_s32_u8(d),
            ]
        };
        let sums = self.multiply_add(self.multiply_add(sums, a, word(0)), b, word(16));
        self.multiply_add(self.multiply_add(sums, c, word(32)), d, word(48))
    }

    #[inline(always)]
    fn sum(self, sums: int32x4_t) -> i32 {
        // SAFETY: the token proves NEON.
        unsafe { sum_lanes(sums) }
    }

    #[inline(always)]
    fn sum_group(self, sums: [int32x4_t; GROUP]) -> [i32; GROUP] {
        // SAFETY: the token proves NEON.
        bytemuck::cast(unsafe { sum_lanes_group(sums) })
    }
}

/// `v` moved up by `by` bits, or down if it is negative, under a mask.
#[inline]
#[target_feature(enable = "neon")]
fn moved(v: uint8x16_t, by: i8, mask: u8) -> uint8x16_t {
    vandq_u8(vshlq_u8(v, vdupq_n_s8(by)), vdupq_n_u8(mask))
}

/// Low halves of 32 bytes, and high halves.
#[inline]
#[target_feature(enable = "neon")]
fn halves(bytes: &[u8; 32]) -> [uint8x16_t; 4] {
    let [a, b] = [load(bytes, 0), load(bytes, 16)];
    [moved(a, 0, 15), moved(b, 0, 15), moved(a, -4, 15), moved(b, -4, 15)]
}

/// See [`Lanes::quarters`].
#[inline]
#[target_feature(enable = "neon")]
fn quarters(bytes: &[u8; 16]) -> [uint8x16_t; 4] {
    let bytes = load(bytes, 0);
    [bytes, moved(bytes, -2, 63), moved(bytes, -4, 15), moved(bytes, -6, 3)]
}

/// See [`Lanes::eighths`].
#[inline]
#[target_feature(enable = "neon")]
fn eighths(bytes: &[u8; 8]) -> [uint8x16_t; 4] {
    let bytes = vreinterpretq_u8_u64(vdupq_n_u64(u64::from_le_bytes(*bytes)));
    let pair = |by: i8| vshlq_u8(bytes, vcombine_s8(vdup_n_s8(-by), vdup_n_s8(-by - 1)));
    [pair(0), pair(2), pair(4), pair(6)]
}
