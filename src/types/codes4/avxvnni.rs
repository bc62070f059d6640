//! AVX-VNNI: one instruction adds four products. Same results as `scalar`.

use super::avx2::{codes, dequantize, quants};
use super::halves;
use super::layout::Codes4;
use super::level::Level4;
use super::q8::BlockQ8;
use super::x86::*;
use crate::isa::AvxVnni;
use crate::simd::x86::*;
use std::arch::x86_64::*;

impl Level4 for AvxVnni {
    type Codes = [__m256i; 2];
    type Sums = __m256i;
    type Totals = __m256;

    #[inline(always)]
    fn codes<T: Codes4>(self, w: &T) -> [[__m256i; 2]; 2] {
        // SAFETY: the token proves the level.
        unsafe { codes(w) }
    }

    #[inline(always)]
    fn product<T: Codes4>(self, codes: [__m256i; 2], a: &BlockQ8, zero: i32) -> __m256i {
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

/// Adds the products of 64 weights and quants to `start`, lane by lane.
#[inline]
#[target_feature(enable = "avx2,avxvnni")]
fn sums<T: Codes4>(codes: [__m256i; 2], a: &BlockQ8, start: __m256i) -> __m256i {
    let quants = quants(a);
    if !T::WIDE {
        let sums = _mm256_dpbusd_avx_epi32(start, codes[0], quants[0]);
        return _mm256_dpbusd_avx_epi32(sums, codes[1], quants[1]);
    }
    let (low, high) = const { halves::<T>() };
    let (low, high) = (table(&low), table(&high));
    let mut low_sums = start;
    let mut high_sums = _mm256_setzero_si256();
    for i in 0..2 {
        low_sums = _mm256_dpbusd_avx_epi32(low_sums, _mm256_shuffle_epi8(low, codes[i]), quants[i]);
        high_sums = _mm256_dpbusd_avx_epi32(high_sums, _mm256_shuffle_epi8(high, codes[i]), quants[i]);
    }
    _mm256_add_epi32(low_sums, _mm256_slli_epi32::<7>(high_sums))
}
