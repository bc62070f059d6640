//! What the levels of x86 share: 64 codes are multiplied into eight lanes.

use crate::isa::Avx2;
use crate::products::Sum;
use std::arch::x86_64::*;

/// The totals of a row, lane by lane.
impl<L: Into<Avx2>> Sum<L> for __m256 {
    #[inline(always)]
    fn zero(_: L) -> __m256 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_setzero_ps() }
    }

    #[inline(always)]
    fn total(self, _: L) -> f32 {
        // SAFETY: the token proves AVX2.
        unsafe { sum_lanes(self) }
    }
}

/// Adds `scale * sums` to totals, lane by lane.
#[inline]
#[target_feature(enable = "avx2")]
pub fn add_scaled(totals: __m256, scale: f32, sums: __m256i) -> __m256 {
    _mm256_add_ps(totals, _mm256_mul_ps(_mm256_set1_ps(scale), _mm256_cvtepi32_ps(sums)))
}

/// The sums before the first product: minus what the zero point adds, in lane 0.
#[inline]
#[target_feature(enable = "avx2")]
pub fn start(zero: i32, sum: i32) -> __m256i {
    _mm256_zextsi128_si256(_mm_cvtsi32_si128(-zero * sum))
}

/// `((a + e) + (c + g)) + ((b + f) + (d + h))` of the lanes a to h.
#[inline]
#[target_feature(enable = "avx2")]
fn sum_lanes(totals: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(totals), _mm256_extractf128_ps::<1>(totals));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
}
