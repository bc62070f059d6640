//! AVX-512 with VNNI: 64 weights are a vector. Same results as `scalar`.

use super::avx2::dequantize;
use super::halves;
use super::layout::Codes4;
use super::level::Level4;
use super::q8::BlockQ8;
use super::x86::*;
use crate::isa::Avx512;
use crate::simd::x86::*;
use std::arch::x86_64::*;

impl Level4 for Avx512 {
    type Codes = __m512i;
    type Sums = __m256i;
    type Totals = __m256;

    #[inline(always)]
    fn codes<T: Codes4>(self, w: &T) -> [__m512i; 2] {
        // SAFETY: the token proves the level.
        unsafe { codes(w) }
    }

    #[inline(always)]
    fn product<T: Codes4>(self, codes: __m512i, a: &BlockQ8, zero: i32) -> __m256i {
        // SAFETY: the token proves the level.
        unsafe { sums::<T>(codes, a, start(zero, a.sum)) }
    }

    #[inline(always)]
    fn add_scaled(self, totals: __m256, scale: f32, sums: __m256i) -> __m256 {
        // SAFETY: the token proves the level.
        unsafe { add_scaled(totals, scale, sums) }
    }

    #[inline(always)]
    fn dequantize<T: Codes4>(self, w: &[T], out: &mut [f32]) {
        // SAFETY: every level of x86 above scalar has AVX2.
        unsafe { dequantize(w, out) }
    }
}

/// The codes of a block, 64 at a time.
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw")]
fn codes<T: Codes4>(w: &T) -> [__m512i; 2] {
    let nibble = _mm512_set1_epi8(15);
    if T::PARTS == 1 {
        let bytes = load(w.qs(), 0);
        let both = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(bytes), _mm256_srli_epi16::<4>(bytes));
        return [_mm512_and_si512(both, nibble); 2];
    }
    let bytes = load_512(w.qs(), 0);
    [_mm512_and_si512(bytes, nibble), _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), nibble)]
}

/// Adds the products of 64 weights and quants to `start`, lane by lane of eight.
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vnni")]
fn sums<T: Codes4>(codes: __m512i, a: &BlockQ8, start: __m256i) -> __m256i {
    let quants = load_512(bytemuck::cast_slice(&a.qs), 0);
    let start = _mm512_zextsi256_si512(start);
    let sums = if T::WIDE {
        let (low, high) = const { halves::<T>() };
        let integers = |table: [u8; 16]| {
            let table = _mm512_broadcast_i32x4(bytemuck::cast(table));
            _mm512_shuffle_epi8(table, codes)
        };
        let low = _mm512_dpbusd_epi32(start, integers(low), quants);
        let high = _mm512_dpbusd_epi32(_mm512_setzero_si512(), integers(high), quants);
        _mm512_add_epi32(low, _mm512_slli_epi32::<7>(high))
    } else {
        _mm512_dpbusd_epi32(start, codes, quants)
    };
    _mm256_add_epi32(_mm512_castsi512_si256(sums), _mm512_extracti64x4_epi64::<1>(sums))
}
