//! Vectors of ARM: loads and sums that types share, and the words of the matrix product.

use crate::isa::{DotProd, Neon};
use crate::products::prompts::{MAX_LEN, Words};
use std::arch::{aarch64::*, asm};

/// 16 bytes at `bytes[at..]`.
#[inline]
#[target_feature(enable = "neon")]
pub fn load(bytes: &[u8], at: usize) -> uint8x16_t {
    let bytes: &[u8; 16] = bytes[at..at + 16].try_into().expect("16 bytes");
    // SAFETY: 16 readable bytes; no alignment asked for.
    unsafe { vld1q_u8(bytes.as_ptr()) }
}

/// 16 quants at `quants[at..]`.
#[inline]
#[target_feature(enable = "neon")]
pub fn load_quants(quants: &[i8], at: usize) -> int8x16_t {
    vreinterpretq_s8_u8(load(bytemuck::cast_slice(quants), at))
}

/// Sum of the lanes.
#[inline]
#[target_feature(enable = "neon")]
pub fn sum_lanes(v: int32x4_t) -> i32 {
    vaddvq_s32(v)
}

/// Sums of the lanes of four vectors.
#[inline]
#[target_feature(enable = "neon")]
pub fn sum_lanes_group(v: [int32x4_t; 4]) -> int32x4_t {
    vpaddq_s32(vpaddq_s32(v[0], v[1]), vpaddq_s32(v[2], v[3]))
}

/// Adds the products of four bytes of `r` with four of `q`.
#[inline]
#[target_feature(enable = "neon")]
fn multiply_add(sum: int32x4_t, r: int32x4_t, q: int32x4_t) -> int32x4_t {
    let (r, q) = (vreinterpretq_s8_s32(r), vreinterpretq_s8_s32(q));
    let (low, high) = (vmull_s8(vget_low_s8(r), vget_low_s8(q)), vmull_high_s8(r, q));
    vpadalq_s16(sum, vpaddq_s16(low, high))
}

/// The dot product of bytes of ARM (FEAT_DotProd), which stable Rust does not have yet as `vdotq_s32`: adds the products of four bytes of `r` with four of `q` to each lane of `sums`.
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub fn sdot(mut sums: int32x4_t, r: int8x16_t, q: int8x16_t) -> int32x4_t {
    // SAFETY: this function requires the instruction; it reads and writes only these registers.
    unsafe {
        asm!(
            "sdot {sums:v}.4s, {r:v}.16b, {q:v}.16b",
            sums = inout(vreg) sums,
            r = in(vreg) r,
            q = in(vreg) q,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

/// Bytes `32 * at..` of eight rows as words of four bytes, transposed: word i of every row, side by side, at
/// `out[stride * i]`, for eight words.
#[inline]
#[target_feature(enable = "neon")]
fn transpose(rows: &[[u8; MAX_LEN]; 8], at: usize, out: &mut [u32], stride: usize) {
    for (row, word) in [(0, 0), (0, 4), (4, 0), (4, 4)] {
        let mut words = [vdupq_n_u32(0); 4];
        for i in 0..4 {
            words[i] = vreinterpretq_u32_u8(load(&rows[row + i], 32 * at + 4 * word));
        }
        let [a, b, c, d] = words;
        let [ab, cd] = [[vtrn1q_u32(a, b), vtrn2q_u32(a, b)], [vtrn1q_u32(c, d), vtrn2q_u32(c, d)]];
        for i in 0..2 {
            let (ab, cd) = (vreinterpretq_u64_u32(ab[i]), vreinterpretq_u64_u32(cd[i]));
            for (i, words) in [(i, vtrn1q_u64(ab, cd)), (i + 2, vtrn2q_u64(ab, cd))] {
                let place = stride * (word + i) + row;
                out[place..place + 4].copy_from_slice(&bytemuck::cast::<_, [u32; 4]>(words));
            }
        }
    }
}

impl Words for Neon {
    type Vector = int32x4_t;

    #[inline(always)]
    fn splat(self, word: i32) -> int32x4_t {
        // SAFETY: the token proves NEON.
        unsafe { vdupq_n_s32(word) }
    }

    #[inline(always)]
    fn multiply_add(self, sums: int32x4_t, r: int32x4_t, q: int32x4_t) -> int32x4_t {
        // SAFETY: the token proves NEON.
        unsafe { multiply_add(sums, r, q) }
    }

    #[inline(always)]
    fn transpose(self, rows: &[[u8; MAX_LEN]; 8], at: usize, out: &mut [u32], stride: usize) {
        // SAFETY: the token proves NEON.
        unsafe { transpose(rows, at, out, stride) }
    }
}

impl Words for DotProd {
    type Vector = int32x4_t;

    #[inline(always)]
    fn splat(self, word: i32) -> int32x4_t {
        Neon::from(self).splat(word)
    }

    #[inline(always)]
    fn multiply_add(self, sums: int32x4_t, r: int32x4_t, q: int32x4_t) -> int32x4_t {
        // SAFETY: the token proves FEAT_DotProd.
        unsafe { sdot(sums, vreinterpretq_s8_s32(r), vreinterpretq_s8_s32(q)) }
    }

    #[inline(always)]
    fn transpose(self, rows: &[[u8; MAX_LEN]; 8], at: usize, out: &mut [u32], stride: usize) {
        Neon::from(self).transpose(rows, at, out, stride);
    }
}
