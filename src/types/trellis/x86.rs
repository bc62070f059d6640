//! What the x86 levels of the trellis types share: [`X86Level`] is what a level's file has, and the decoders of all types
//! are made of it here; tables, loads that double their lanes, and the terms of blocks.

use super::a8::Activation;
use super::code::ZERO_POINT;
use super::layout::{Block, MAX_LEN, Trellis};
use super::{rotation, scale};
use crate::isa::Avx2;
use crate::products::prompts::{DecodeQuants, Words};
use crate::products::{Columns, Decoder, GROUP, Matrix, Results};
use crate::simd::x86::load_128;
use bytemuck::Pod;
use std::arch::x86_64::*;

/// What a level does with blocks of a trellis type.
pub trait X86Level<T: Trellis>: Words + Into<Avx2> {
    /// Reconstructions plus the zero point in lane order.
    type Decoded: Pod;
    /// Lanes whose sum is the sum of `r * q`, without the zero point.
    type Lanes: Copy;

    /// Decodes a block.
    fn decode(self, w: &T) -> Self::Decoded;

    /// Multiplies a decoded block with activations.
    fn product(self, r: &Self::Decoded, a: &T::Activation) -> Self::Lanes;

    /// The product of a block that is decoded for it.
    fn decode_product(self, w: &T, a: &T::Activation) -> Self::Lanes;

    /// The sum of the lanes of a product.
    fn sum(self, lanes: Self::Lanes) -> i32;

    /// The sums of the lanes of a group of products.
    fn sum_group(self, lanes: [Self::Lanes; GROUP]) -> __m128i;

    /// `prompts::multiply` with the tile that fits the registers.
    fn multiply_many(self, rows: Matrix, columns: Columns, out: &mut Results);

    /// Same result as `scalar::dequantize`.
    fn dequantize(self, w: &[T], out: &mut [f32]);
}

impl<L, const PLANES: usize> Decoder<L> for Block<PLANES>
where
    Self: Trellis,
    L: X86Level<Self>,
{
    const GROUPS: bool = true;
    type Decoded = L::Decoded;
    type Lanes = L::Lanes;
    type Term = f32;
    type Sum = f32;

    #[inline(always)]
    fn decode(level: L, w: &Self) -> L::Decoded {
        level.decode(w)
    }

    #[inline(always)]
    fn product(level: L, _: &Self, r: &L::Decoded, a: &Self::Activations) -> L::Lanes {
        level.product(r, a)
    }

    #[inline(always)]
    fn decode_product(level: L, w: &Self, a: &Self::Activations) -> L::Lanes {
        level.decode_product(w, a)
    }

    #[inline(always)]
    fn term(level: L, w: &Self, a: &Self::Activations, lanes: L::Lanes) -> f32 {
        term(w, a, level.sum(lanes))
    }

    #[inline(always)]
    fn terms(
        level: L,
        w: &[Self; GROUP],
        a: [&Self::Activations; GROUP],
        lanes: [L::Lanes; GROUP],
    ) -> [f32; GROUP] {
        let products = level.sum_group(lanes);
        // SAFETY: every level of x86 above scalar has AVX2.
        unsafe { terms(w, a, products) }
    }

    #[inline(always)]
    fn add(_: L, sum: f32, term: f32) -> f32 {
        sum + term
    }

    #[inline(always)]
    fn multiply_many(level: L, rows: Matrix, columns: Columns, out: &mut Results) {
        level.multiply_many(rows, columns, out);
    }

    #[inline(always)]
    fn dequantize(level: L, w: &[Self], out: &mut [f32]) {
        level.dequantize(w, out);
    }
}

impl<L, const PLANES: usize> DecodeQuants<L> for Block<PLANES>
where
    Self: Trellis,
    L: X86Level<Self>,
{
    #[inline(always)]
    fn quants(level: L, w: &Self) -> [u8; MAX_LEN] {
        bytemuck::cast(level.decode(w))
    }

    #[inline(always)]
    fn start(a: &Self::Activations) -> i32 {
        -ZERO_POINT * a.sum()
    }
}

/// XOR of `columns[b]` over the set bits b of a nibble, for a byte shuffle.
pub const fn nibble_table(columns: [u8; 4]) -> [u8; 16] {
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

/// `(d_w * d_a) * integer` of a group. `products` are the sums of `r * q`, without the zero point.
#[inline]
#[target_feature(enable = "avx2")]
fn terms<T: Trellis>(w: &[T; GROUP], a: [&T::Activation; GROUP], products: __m128i) -> [f32; GROUP] {
    let sums = _mm_setr_epi32(a[0].sum(), a[1].sum(), a[2].sum(), a[3].sum());
    let integers = _mm_sub_epi32(products, _mm_mullo_epi32(sums, _mm_set1_epi32(ZERO_POINT)));
    let d = _mm_mul_ps(scales(w), _mm_setr_ps(a[0].d(), a[1].d(), a[2].d(), a[3].d()));
    bytemuck::cast(_mm_mul_ps(d, _mm_cvtepi32_ps(integers)))
}

/// As [`terms`], for one block.
#[inline(always)]
fn term<T: Trellis>(w: &T, a: &T::Activation, product: i32) -> f32 {
    let integer = product - ZERO_POINT * a.sum();
    (scale::decode(w.d()) * a.d()) * integer as f32
}

/// `scale::decode` of the first byte of four blocks.
#[inline]
#[target_feature(enable = "avx2")]
fn scales<T: Trellis>(w: &[T; GROUP]) -> __m128 {
    // Whole words: inserting bytes is slower.
    let head = |w: &T| i32::from_le_bytes(*bytemuck::bytes_of(w).first_chunk().expect("4 bytes"));
    let heads = _mm_setr_epi32(head(&w[0]), head(&w[1]), head(&w[2]), head(&w[3]));
    let codes = _mm_and_si128(heads, _mm_set1_epi32(0xff));
    let is_zero = _mm_cmpeq_epi32(codes, _mm_setzero_si128());
    let bits = _mm_add_epi32(_mm_slli_epi32(codes, 20), _mm_set1_epi32(scale::EXPONENT_BITS));
    _mm_castsi128_ps(_mm_andnot_si128(is_zero, bits))
}

/// 16 bytes at `bytes[at..]` in both halves.
#[inline]
#[target_feature(enable = "avx2")]
pub fn load_twice(bytes: &[u8], at: usize) -> __m256i {
    _mm256_broadcastsi128_si256(load_128(bytes, at))
}

/// The 16 nibbles at `bytes[at..at + 8]`, a byte each (high bits not cleared), in both halves.
#[inline]
#[target_feature(enable = "avx2")]
pub fn nibbles_twice(bytes: &[u8], at: usize) -> __m256i {
    let nibbles: [u8; 8] = bytes[at..at + 8].try_into().expect("8 bytes");
    // 16 bits for each byte, and its high nibble into the upper eight.
    let words = _mm_cvtepu8_epi16(_mm_cvtsi64_si128(i64::from_le_bytes(nibbles)));
    _mm256_broadcastsi128_si256(_mm_or_si128(words, _mm_slli_epi16(words, 4)))
}

/// The 16 pairs of bits at `bytes[at..at + 4]`, a byte each (high bits not cleared), in both halves.
#[inline]
#[target_feature(enable = "avx2")]
pub fn quarters_twice(bytes: &[u8], at: usize) -> __m256i {
    let bytes: [u8; 4] = bytes[at..at + 4].try_into().expect("4 bytes");
    let bytes = _mm256_set1_epi32(i32::from_le_bytes(bytes));
    _mm256_srlv_epi32(bytes, _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6))
}

/// Puts reconstructions from lane order into element order and undoes the rotation.
#[inline(always)]
pub fn unrotate_lanes<T: Trellis>(r: &[u8; MAX_LEN], d: f32, out: &mut [f32]) {
    let element = |i: usize| r[T::LANES * (i % T::STEPS) + i / T::STEPS] as i16 - ZERO_POINT as i16;
    if T::LEN == 64 {
        rotation::unrotate::<64>(std::array::from_fn(element), d, out);
    } else {
        rotation::unrotate::<256>(std::array::from_fn(element), d, out);
    }
}
