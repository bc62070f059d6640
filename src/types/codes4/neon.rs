//! NEON, with and without dot products of bytes. Same results as `scalar`, whose eight sums are the lanes of two vectors.
//!
//! Products are those of signed bytes: codes as they are, or integers of 14 bits as two halves of 7.

use super::halves;
use super::layout::Codes4;
use super::level::Level4;
use super::q8::BlockQ8;
use crate::isa::Neon;
use crate::products::Sum;
use crate::products::prompts::Words;
use crate::simd::neon::{load, load_quants};
use std::arch::aarch64::*;

/// Sums of 64 products: `scalar`'s lanes 0 to 3 and 4 to 7.
type Sums = [int32x4_t; 2];
/// Totals of a row, likewise.
type Totals = [float32x4_t; 2];

impl<L: Into<Neon>> Sum<L> for Totals {
    #[inline(always)]
    fn zero(_: L) -> Totals {
        // SAFETY: the token proves NEON.
        [unsafe { vdupq_n_f32(0.0) }; 2]
    }

    #[inline(always)]
    fn total(self, _: L) -> f32 {
        // SAFETY: the token proves NEON.
        unsafe { sum_lanes(self) }
    }
}

/// NEON as it is and with dot products of bytes, where one instruction adds four products.
impl<L: Words<Vector = int32x4_t> + Into<Neon>> Level4 for L {
    type Codes = [uint8x16_t; 4];
    type Sums = Sums;
    type Totals = Totals;

    #[inline(always)]
    fn codes<T: Codes4>(self, w: &T) -> [[uint8x16_t; 4]; 2] {
        // SAFETY: the token proves NEON.
        unsafe { codes(w) }
    }

    #[inline(always)]
    fn product<T: Codes4>(self, codes: [uint8x16_t; 4], a: &BlockQ8, zero: i32) -> Sums {
        sums::<L, T>(self, codes, a, zero)
    }

    #[inline(always)]
    fn add_scaled(self, totals: Totals, scale: f32, sums: Sums) -> Totals {
        // SAFETY: the token proves NEON.
        unsafe { add_scaled(totals, scale, sums) }
    }

    #[inline(always)]
    fn dequantize<T: Codes4>(self, w: &[T], out: &mut [f32]) {
        // SAFETY: the token proves NEON.
        unsafe { dequantize(w, out) }
    }
}

/// The sums of the products of 64 integers and quants, less `zero` times the sum of the quants.
#[inline(always)]
fn sums<L, T>(level: L, codes: [uint8x16_t; 4], a: &BlockQ8, zero: i32) -> Sums
where
    L: Words<Vector = int32x4_t> + Into<Neon>,
    T: Codes4,
{
    let (low, high) = const { halves::<T>() };
    // SAFETY: the token proves NEON.
    unsafe {
        let (low, high) = (load(&low, 0), load(&high, 0));
        let (mut low_sums, mut high_sums) = (start(zero, a.sum), [vdupq_n_s32(0); 2]);
        for (i, codes) in codes.into_iter().enumerate() {
            let quants = vreinterpretq_s32_s8(load_quants(&a.qs, 16 * i));
            let lanes = i % 2;
            if T::WIDE {
                let low = vreinterpretq_s32_u8(vqtbl1q_u8(low, codes));
                let high = vreinterpretq_s32_u8(vqtbl1q_u8(high, codes));
                low_sums[lanes] = level.multiply_add(low_sums[lanes], low, quants);
                high_sums[lanes] = level.multiply_add(high_sums[lanes], high, quants);
            } else {
                low_sums[lanes] = level.multiply_add(low_sums[lanes], vreinterpretq_s32_u8(codes), quants);
            }
        }
        let add = |low, high| vaddq_s32(low, vshlq_n_s32::<7>(high));
        [add(low_sums[0], high_sums[0]), add(low_sums[1], high_sums[1])]
    }
}

/// The codes of a block, 64 at a time, in four vectors.
#[inline]
#[target_feature(enable = "neon")]
fn codes<T: Codes4>(w: &T) -> [[uint8x16_t; 4]; 2] {
    let low = |v| vandq_u8(v, vdupq_n_u8(15));
    let high = |v| vshrq_n_u8::<4>(v);
    let [a, b] = [load(w.qs(), 0), load(w.qs(), 16)];
    if T::PARTS == 1 {
        return [[low(a), low(b), high(a), high(b)]; 2];
    }
    let [c, d] = [load(w.qs(), 32), load(w.qs(), 48)];
    [[low(a), low(b), low(c), low(d)], [high(a), high(b), high(c), high(d)]]
}

/// Adds `scale * sums` to totals, lane by lane.
#[inline]
#[target_feature(enable = "neon")]
fn add_scaled(totals: Totals, scale: f32, sums: Sums) -> Totals {
    let add = |total, sums| vaddq_f32(total, vmulq_f32(vdupq_n_f32(scale), vcvtq_f32_s32(sums)));
    [add(totals[0], sums[0]), add(totals[1], sums[1])]
}

/// The sums before the first product: minus what the zero point adds, in lane 0.
#[inline]
#[target_feature(enable = "neon")]
fn start(zero: i32, sum: i32) -> Sums {
    [vsetq_lane_s32::<0>(-zero * sum, vdupq_n_s32(0)), vdupq_n_s32(0)]
}

/// `((a + e) + (c + g)) + ((b + f) + (d + h))` of the lanes a to h.
#[inline]
#[target_feature(enable = "neon")]
fn sum_lanes(totals: Totals) -> f32 {
    let four = vaddq_f32(totals[0], totals[1]);
    vpadds_f32(vadd_f32(vget_low_f32(four), vget_high_f32(four)))
}

/// Same result as `scalar::dequantize`: the 16 weights of a block are looked up, each byte of them in a table of its own.
#[target_feature(enable = "neon")]
fn dequantize<T: Codes4>(w: &[T], out: &mut [f32]) {
    for (w, out) in w.iter().zip(out.chunks_exact_mut(T::LEN)) {
        let weights: [f32; 16] = std::array::from_fn(|code| w.weight(code as u8));
        // SAFETY: 64 readable bytes; no alignment asked for.
        let bytes = unsafe { vld4q_u8(weights.as_ptr().cast()) };
        let (low, high) = out.split_at_mut(T::LEN / 2);
        let halves = low.as_chunks_mut().0.iter_mut().zip(high.as_chunks_mut().0);
        for (i, (low, high)) in halves.enumerate() {
            let codes = load(w.qs(), 16 * i);
            look_up(bytes, vandq_u8(codes, vdupq_n_u8(15)), low);
            look_up(bytes, vshrq_n_u8::<4>(codes), high);
        }
    }
}

/// Writes the weights of 16 codes.
#[inline]
#[target_feature(enable = "neon")]
fn look_up(bytes: uint8x16x4_t, codes: uint8x16_t, out: &mut [f32; 16]) {
    let uint8x16x4_t(a, b, c, d) = bytes;
    let [a, b, c, d] = [a, b, c, d].map(|table| vqtbl1q_u8(table, codes));
    // SAFETY: 64 writable bytes; no alignment asked for.
    unsafe { vst4q_u8(out.as_mut_ptr().cast(), uint8x16x4_t(a, b, c, d)) }
}
