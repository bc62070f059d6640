//! What the levels of x86 share.

use std::arch::x86_64::*;

/// A table of 16 bytes for the shuffles of 32.
#[inline]
#[target_feature(enable = "avx2")]
pub fn table(bytes: [u8; 16]) -> __m256i {
    _mm256_broadcastsi128_si256(bytemuck::cast(bytes))
}

#[inline]
#[target_feature(enable = "avx2")]
pub fn load<E: bytemuck::NoUninit>(values: &[E], at: usize) -> __m256i {
    let bytes: &[u8] = bytemuck::cast_slice(values);
    let bytes: &[u8; 32] = bytes[at..].first_chunk().expect("32 bytes");
    // SAFETY: 32 readable bytes; no alignment asked for.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

/// Totals of a row before its first block.
#[inline]
#[target_feature(enable = "avx2")]
pub fn no_totals() -> __m256 {
    _mm256_setzero_ps()
}

/// Adds `scale * sums` to totals, lane by lane.
#[inline]
#[target_feature(enable = "avx2")]
pub fn add_scaled(totals: __m256, scale: f32, sums: __m256i) -> __m256 {
    _mm256_add_ps(totals, _mm256_mul_ps(_mm256_set1_ps(scale), _mm256_cvtepi32_ps(sums)))
}

/// The first vector of sums: minus the zero point, in lane 0.
#[inline]
#[target_feature(enable = "avx2")]
pub fn start(zero: i32, sum: i32) -> __m256i {
    _mm256_zextsi128_si256(_mm_cvtsi32_si128(-zero * sum))
}

/// `((a + e) + (c + g)) + ((b + f) + (d + h))` of the lanes a to h.
#[inline]
#[target_feature(enable = "avx2")]
pub fn sum_lanes(totals: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(totals), _mm256_extractf128_ps::<1>(totals));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
}
