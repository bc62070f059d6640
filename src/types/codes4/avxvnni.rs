//! AVX-VNNI: one instruction adds four products. Same results as `scalar`.

use super::avx2::{Level256, quants};
use super::halves;
use super::layout::Codes4;
use super::q8::BlockQ8;
use crate::isa::AvxVnni;
use crate::simd::x86::*;
use std::arch::x86_64::*;

impl Level256 for AvxVnni {
    #[inline(always)]
    fn sums<T: Codes4>(self, codes: [__m256i; 2], a: &BlockQ8, start: __m256i) -> __m256i {
        // SAFETY: the token proves the level.
        unsafe { sums::<T>(codes, a, start) }
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
