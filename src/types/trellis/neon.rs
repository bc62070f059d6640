//! NEON. Same results as `scalar`.
//!
//! A vector is one step of 16 lanes; blocks of 256 decode their lanes in two halves. As in `avx2`, columns that
//! repeat doubled leave lookups for one period of symbols only. An index is a symbol, or for T2 a pair of symbols:
//!
//! ```text
//! u_i = P0[index_i] ^ P1[index_i-1]             T2: P1[index_i-2]; T25, T35: another P1 for even and for odd steps; T5: none
//! h_i = u_i ^ 2 o_i-2                           T2: o_i-4, T5: o_i-1
//! o_i = u_i                                     T3: u_i ^ 2 P0[index_i-2], T35: of its lowest two bits
//!                                               T25: u_i ^ 2 u_i-2, T5: u_i ^ 2 u_i-1
//! ```
//!
//! What the terms of steps before 0 carry comes from one lane down; below lane 0 it is a function of
//! the history byte, from a table. The tables of values are signed and without the zero point, so that
//! reconstructions are multiplied as they are and the sums of the activations are not needed.

mod blocks;

use super::a8::Activation;
use super::code::{Code, ZERO_POINT};
use super::layout::*;
use super::neon_rotation::{unrotate_64, unrotate_256};
use super::scale;
use crate::isa::Neon;
use crate::products::prompts::{self, DecodeQuants, Words};
use crate::products::{Columns, Decoder, GROUP, Matrix, Results};
use crate::simd::neon::*;
use std::arch::aarch64::*;

/// A trellis type with a NEON decoder.
pub trait NeonBlock: Trellis {
    /// Table indices of 16 lanes from `lane` on: of step t at `3 + t`. The first is of step -2, or of step -3 with T25. With
    /// symbols of 3 bits or fewer, bit 3 of an index may be anything. Those of 5 bits are below 32.
    ///
    /// # Safety
    /// - The processor has NEON.
    unsafe fn indices(&self, lane: usize) -> [uint8x16_t; 11];
}

/// What a level does with blocks.
pub trait NeonLevel: Words<Vector = int32x4_t> + Into<Neon> {
    /// Lanes whose sum is the sum of `r * q` of a decoded block.
    fn product<T: NeonBlock>(self, r: &[int8x16_t; 16], a: &T::Activation) -> int32x4_t;

    /// The product of a block that is decoded for it.
    fn decode_product<T: NeonBlock>(self, w: &T, a: &T::Activation) -> int32x4_t;
}

impl<L: NeonLevel, const PLANES: usize> Decoder<L> for Block<PLANES>
where
    Self: NeonBlock,
{
    const GROUPS: bool = true;
    type Decoded = [int8x16_t; 16];
    type Lanes = int32x4_t;
    type Term = f32;
    type Sum = f32;

    #[inline(always)]
    fn decode(_: L, w: &Self) -> [int8x16_t; 16] {
        // SAFETY: every level of ARM above scalar has NEON.
        unsafe { decode(w) }
    }

    #[inline(always)]
    fn product(level: L, _: &Self, r: &[int8x16_t; 16], a: &Self::Activations) -> int32x4_t {
        level.product::<Self>(r, a)
    }

    #[inline(always)]
    fn decode_product(level: L, w: &Self, a: &Self::Activations) -> int32x4_t {
        level.decode_product(w, a)
    }

    #[inline(always)]
    fn term(_: L, w: &Self, a: &Self::Activations, lanes: int32x4_t) -> f32 {
        // SAFETY: every level of ARM above scalar has NEON.
        term(w, a, unsafe { sum_lanes(lanes) })
    }

    #[inline(always)]
    fn terms(
        _: L,
        w: &[Self; GROUP],
        a: [&Self::Activations; GROUP],
        lanes: [int32x4_t; GROUP],
    ) -> [f32; GROUP] {
        // SAFETY: every level of ARM above scalar has NEON.
        unsafe { terms(w, a, sum_lanes_group(lanes)) }
    }

    #[inline(always)]
    fn add(_: L, sum: f32, term: f32) -> f32 {
        sum + term
    }

    #[inline(always)]
    fn multiply_many(level: L, rows: Matrix, columns: Columns, out: &mut Results) {
        prompts::multiply::<L, Self, 8, 8>(level, rows, columns, out);
    }

    #[inline(always)]
    fn dequantize(_: L, w: &[Self], out: &mut [f32]) {
        // SAFETY: every level of ARM above scalar has NEON.
        unsafe { dequantize(w, out) }
    }
}

impl<L: NeonLevel, const PLANES: usize> DecodeQuants<L> for Block<PLANES>
where
    Self: NeonBlock,
{
    #[inline(always)]
    fn quants(level: L, w: &Self) -> [u8; MAX_LEN] {
        bytemuck::cast(<Self as Decoder<L>>::decode(level, w))
    }

    #[inline(always)]
    fn start(_: &Self::Activations) -> i32 {
        0
    }
}

impl NeonLevel for Neon {
    #[inline(always)]
    fn product<T: NeonBlock>(self, r: &[int8x16_t; 16], a: &T::Activation) -> int32x4_t {
        // SAFETY: the token proves the level.
        unsafe { product::<T>(r, a) }
    }

    #[inline(always)]
    fn decode_product<T: NeonBlock>(self, w: &T, a: &T::Activation) -> int32x4_t {
        // SAFETY: the token proves the level.
        unsafe { decode_product(w, a) }
    }
}

/// Lanes whose sum is the sum of `r * q` of a decoded block.
#[inline]
#[target_feature(enable = "neon")]
fn product<T: NeonBlock>(r: &[int8x16_t; 16], a: &T::Activation) -> int32x4_t {
    let mut product = vdupq_n_s32(0);
    for (i, r) in r[..T::LEN / 16].as_chunks::<4>().0.iter().enumerate() {
        // Four products of at most 64 * 127 in magnitude fit in 16 bits.
        let (mut low, mut high) = (vdupq_n_s16(0), vdupq_n_s16(0));
        for (k, &r) in r.iter().enumerate() {
            let q = load_quants(a.qs(), 64 * i + 16 * k);
            low = vmlal_s8(low, vget_low_s8(r), vget_low_s8(q));
            high = vmlal_high_s8(high, r, q);
        }
        product = vpadalq_s16(vpadalq_s16(product, low), high);
    }
    product
}

/// The product of a block that is decoded for it.
#[inline]
#[target_feature(enable = "neon")]
fn decode_product<T: NeonBlock>(w: &T, a: &T::Activation) -> int32x4_t {
    product::<T>(&decode(w), a)
}

/// `(d_w * d_a) * integer` of a group.
#[inline]
#[target_feature(enable = "neon")]
fn terms<T: Trellis>(w: &[T; GROUP], a: [&T::Activation; GROUP], integers: int32x4_t) -> [f32; GROUP] {
    let d_a: float32x4_t = bytemuck::cast(a.map(|a| a.d()));
    bytemuck::cast(vmulq_f32(vmulq_f32(scales(w), d_a), vcvtq_f32_s32(integers)))
}

/// `scale::decode` of the scales of four blocks.
#[inline]
#[target_feature(enable = "neon")]
fn scales<T: Trellis>(w: &[T; GROUP]) -> float32x4_t {
    let codes = [w[0].d() as u32, w[1].d() as u32, w[2].d() as u32, w[3].d() as u32];
    let codes: uint32x4_t = bytemuck::cast(codes);
    let bits = vaddq_u32(vshlq_n_u32::<20>(codes), vdupq_n_u32(scale::EXPONENT_BITS as u32));
    vreinterpretq_f32_u32(vandq_u32(bits, vtstq_u32(codes, codes)))
}

/// As [`terms`], for one block.
#[inline(always)]
fn term<T: Trellis>(w: &T, a: &T::Activation, integer: i32) -> f32 {
    (scale::decode(w.d()) * a.d()) * integer as f32
}

/// Same result as `scalar::dequantize`.
#[target_feature(enable = "neon")]
fn dequantize<T: NeonBlock>(w: &[T], out: &mut [f32]) {
    for (w, out) in w.iter().zip(out.chunks_exact_mut(T::LEN)) {
        let (r, d) = (decode(w), scale::decode(w.d()));
        if T::LEN == 256 {
            unrotate_256(&r, d, out.try_into().expect("256 weights"));
        } else {
            let first = r.first_chunk().expect("4 of 16");
            unrotate_64(first, d, out.try_into().expect("64 weights"));
        }
    }
}

/// The lookup tables of a code.
struct Tables {
    /// For the lowest four bits without and with a fifth.
    p0: [[u8; 16]; 2],
    /// For even and for odd steps.
    p1: [[u8; 16]; 2],
    /// `P0` of what is left of the oldest symbol.
    oldest: [u8; 16],
    v0: [i8; 16],
    v1: [i8; 16],
    /// For every history byte, what step `-1 - age` carries into lane 0, at `carries[age][history]`.
    carries: [[u8; 256]; 4],
}

impl Tables {
    const fn new(code: &Code) -> Tables {
        let ([p0, even, odd], c) = (code.index_columns(), code.columns());
        let oldest = match code.bits {
            [4, 3] => [c[0], c[1], 0, 0],
            _ => p0,
        };
        let mut with_fifth = nibble_table(p0);
        let mut i = 0;
        while i < 16 {
            with_fifth[i] ^= c[4];
            i += 1;
        }
        let mut carries = [[0; 256]; 4];
        let mut age = 0;
        while age < 4 {
            let mut history = 0;
            while history < 256 {
                carries[age][history] = code.carry(age, history as u8);
                history += 1;
            }
            age += 1;
        }
        let (mut v0, mut v1) = ([0; 16], [0; 16]);
        let mut i = 0;
        while i < 16 {
            v0[i] = code.v0[i] as i8 - ZERO_POINT as i8;
            v1[i] = code.v1[i] as i8;
            i += 1;
        }
        let p1 = [nibble_table(even), nibble_table(odd)];
        Tables { p0: [nibble_table(p0), with_fifth], p1, oldest: nibble_table(oldest), v0, v1, carries }
    }
}

/// XOR of `columns[b]` over the set bits b of a nibble.
const fn nibble_table(columns: [u8; 4]) -> [u8; 16] {
    let mut table = [0; 16];
    let mut i = 0;
    while i < 16 {
        let mut b = 0;
        while b < 4 {
            if i >> b & 1 == 1 {
                table[i] ^= columns[b];
            }
            b += 1;
        }
        i += 1;
    }
    table
}

/// Reconstructions in lane order, 16 to a vector; `LEN / 16` vectors.
#[inline]
#[target_feature(enable = "neon")]
pub fn decode<T: NeonBlock>(block: &T) -> [int8x16_t; 16] {
    let tables = const { &Tables::new(&T::CODE) };
    let [p0, p1] = [&tables.p0, &tables.p1].map(|tables| tables.each_ref().map(|p| load(p, 0)));
    let oldest = load(&tables.oldest, 0);
    let [even, odd] = T::CODE.bits;
    let (steps, period) = (T::STEPS, (2 * T::CODE.period / (even + odd)) as usize);
    let has_third = T::CODE.window > 2 * T::CODE.period;
    let has_third_period = T::CODE.window == 3 * T::CODE.period;
    let has_fifth_bit = even == 5;
    let zero = vdupq_n_u8(0);
    // What the last period of the lanes below carries: the last lane counts.
    let mut below = [zero; 4];
    for (below, carries) in below.iter_mut().zip(tables.carries[..period].iter().rev()) {
        *below = vdupq_n_u8(carries[block.history() as usize]);
    }
    let mut r = [vdupq_n_s8(0); 16];
    let vectors = T::LANES / 16;
    for half in 0..vectors {
        // SAFETY: this function requires NEON.
        let index = unsafe { block.indices(16 * half) };
        // What is of step t stands at 2 + t.
        let (mut newest, mut u) = ([zero; 10], [zero; 10]);
        for i in 0..2 + steps {
            newest[i] = if has_fifth_bit {
                vqtbl2q_u8(uint8x16x2_t(p0[0], p0[1]), index[1 + i])
            } else {
                vqtbl1q_u8(p0[0], index[1 + i])
            };
            if has_fifth_bit {
                u[i] = newest[i];
            } else if i >= 2 || has_third_period {
                u[i] = veorq_u8(newest[i], vqtbl1q_u8(p1[i % 2], index[1 + i - period / 2]));
            }
        }
        let mut carry = [zero; 8];
        for t in 0..steps {
            carry[t] = if has_third_period {
                xor_doubled(u[2 + t], u[2 + t - period])
            } else if has_third && even == odd {
                xor_doubled(u[2 + t], newest[t])
            } else if has_third {
                xor_doubled(u[2 + t], vqtbl1q_u8(oldest, index[1 + t]))
            } else {
                u[2 + t]
            };
        }
        for t in 0..steps {
            let back = if t < period {
                vextq_u8::<15>(below[t], carry[steps - period + t])
            } else {
                carry[t - period]
            };
            r[vectors * t + half] = value(tables, xor_doubled(u[2 + t], back));
        }
        below[..period].copy_from_slice(&carry[steps - period..steps]);
    }
    r
}

/// The value of every hash: `v0[h & 15] + v1[h >> 4] - 64`.
#[inline]
#[target_feature(enable = "neon")]
fn value(tables: &Tables, h: uint8x16_t) -> int8x16_t {
    let (v0, v1) = (load_quants(&tables.v0, 0), load_quants(&tables.v1, 0));
    vaddq_s8(vqtbl1q_s8(v0, low(h)), vqtbl1q_s8(v1, high(h)))
}

/// `u ^ 2 carry`
#[inline]
#[target_feature(enable = "neon")]
fn xor_doubled(u: uint8x16_t, carry: uint8x16_t) -> uint8x16_t {
    veorq_u8(u, vaddq_u8(carry, carry))
}

/// Bits 0 to 3 of every byte.
#[inline]
#[target_feature(enable = "neon")]
fn low(v: uint8x16_t) -> uint8x16_t {
    vandq_u8(v, vdupq_n_u8(15))
}

/// Bits 4 to 7 of every byte.
#[inline]
#[target_feature(enable = "neon")]
fn high(v: uint8x16_t) -> uint8x16_t {
    vshrq_n_u8::<4>(v)
}
