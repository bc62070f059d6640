//! AVX2. Same results as `scalar`.
//!
//! `maddubs` multiplies unsigned integers with signed quants and adds pairs in 16 bits: integers of 15 leave room for
//! sums of several, those of 7 bits for one. Integers of 14 bits are two halves of 7.

use super::halves;
use super::layout::Codes4;
use super::level::Level4;
use super::q8::BlockQ8;
use super::scalar;
use super::x86::*;
use crate::isa::Avx2;
use crate::simd::x86::*;
use std::arch::x86_64::*;

/// A level whose vectors have 256 bits. How it multiplies is its own.
pub trait Level256: Into<Avx2> + Copy {
    /// Adds the products of 64 weights and quants to `start`, lane by lane.
    fn sums<T: Codes4>(self, codes: [__m256i; 2], a: &BlockQ8, start: __m256i) -> __m256i;
}

impl<L: Level256> Level4 for L {
    type Codes = [__m256i; 2];
    type Sums = __m256i;
    type Totals = __m256;

    #[inline(always)]
    fn codes<T: Codes4>(self, w: &T) -> [[__m256i; 2]; 2] {
        // SAFETY: the token proves AVX2.
        unsafe { codes(w) }
    }

    #[inline(always)]
    fn product<T: Codes4>(self, codes: [__m256i; 2], a: &BlockQ8, zero: i32) -> __m256i {
        // SAFETY: the token proves AVX2.
        self.sums::<T>(codes, a, unsafe { start(zero, a.sum) })
    }

    #[inline(always)]
    fn add_scaled(self, totals: __m256, scale: f32, sums: __m256i) -> __m256 {
        // SAFETY: the token proves AVX2.
        unsafe { add_scaled(totals, scale, sums) }
    }

    #[inline(always)]
    fn dequantize<T: Codes4>(self, w: &[T], out: &mut [f32]) {
        // SAFETY: the token proves AVX2.
        unsafe { dequantize(w, out) }
    }
}

impl Level256 for Avx2 {
    #[inline(always)]
    fn sums<T: Codes4>(self, codes: [__m256i; 2], a: &BlockQ8, start: __m256i) -> __m256i {
        // SAFETY: the token proves the level.
        unsafe { sums::<T>(codes, a, start) }
    }
}

/// The codes of a block, 64 at a time, in two vectors.
#[inline]
#[target_feature(enable = "avx2")]
fn codes<T: Codes4>(w: &T) -> [[__m256i; 2]; 2] {
    let nibble = _mm256_set1_epi8(15);
    let low = |v| _mm256_and_si256(v, nibble);
    let high = |v| _mm256_and_si256(_mm256_srli_epi16::<4>(v), nibble);
    let first = load(w.qs(), 0);
    if T::PARTS == 1 {
        return [[low(first), high(first)]; 2];
    }
    let second = load(w.qs(), 32);
    [[low(first), low(second)], [high(first), high(second)]]
}

/// Adds the products of 64 weights and quants to `start`, lane by lane.
#[inline]
#[target_feature(enable = "avx2")]
fn sums<T: Codes4>(codes: [__m256i; 2], a: &BlockQ8, start: __m256i) -> __m256i {
    let quants = quants(a);
    let ones = _mm256_set1_epi16(1);
    if !T::WIDE {
        // At most 4 * 15 * 127.
        let pairs = _mm256_add_epi16(
            _mm256_maddubs_epi16(codes[0], quants[0]),
            _mm256_maddubs_epi16(codes[1], quants[1]),
        );
        return _mm256_add_epi32(start, _mm256_madd_epi16(pairs, ones));
    }
    let (low, high) = const { halves::<T>() };
    let (low, high) = (table(&low), table(&high));
    let product = |table, i: usize| {
        let integers = _mm256_shuffle_epi8(table, codes[i]);
        _mm256_madd_epi16(_mm256_maddubs_epi16(integers, quants[i]), ones)
    };
    let high = _mm256_add_epi32(product(high, 0), product(high, 1));
    let low = _mm256_add_epi32(product(low, 0), product(low, 1));
    _mm256_add_epi32(start, _mm256_add_epi32(low, _mm256_slli_epi32::<7>(high)))
}

/// The quants of a block of activations.
#[inline]
#[target_feature(enable = "avx2")]
pub fn quants(a: &BlockQ8) -> [__m256i; 2] {
    let quants = bytemuck::cast_slice(&a.qs);
    [load(quants, 0), load(quants, 32)]
}

/// Same result as `scalar::dequantize`. Where the integers of the codes are wide, the 16 weights of a block are looked up;
/// elsewhere the compiler makes vectors of the definition.
#[target_feature(enable = "avx2")]
pub fn dequantize<T: Codes4>(w: &[T], out: &mut [f32]) {
    if !T::WIDE {
        return scalar::dequantize(w, out);
    }
    for (w, out) in w.iter().zip(out.chunks_exact_mut(T::LEN)) {
        let weights: [f32; 16] = std::array::from_fn(|code| w.weight(code as u8));
        let (low, high) = (bytemuck::cast_slice(&weights[..8]), bytemuck::cast_slice(&weights[8..]));
        let tables = [_mm256_castsi256_ps(load(low, 0)), _mm256_castsi256_ps(load(high, 0))];
        let (low, high) = out.split_at_mut(T::LEN / 2);
        let halves = low.as_chunks_mut::<8>().0.iter_mut().zip(high.as_chunks_mut::<8>().0);
        for ((low, high), codes) in halves.zip(w.qs().as_chunks::<8>().0) {
            let codes = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(i64::from_le_bytes(*codes)));
            *low = look_up(tables, codes);
            *high = look_up(tables, _mm256_srli_epi32::<4>(codes));
        }
    }
}

/// The weights of the low four bits of each lane.
#[inline]
#[target_feature(enable = "avx2")]
fn look_up(tables: [__m256; 2], codes: __m256i) -> [f32; 8] {
    // A permutation looks at bits 0 to 2 of an index, the choice between the two tables at bit 31.
    let low = _mm256_permutevar8x32_ps(tables[0], codes);
    let high = _mm256_permutevar8x32_ps(tables[1], codes);
    bytemuck::cast(_mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32::<28>(codes))))
}
