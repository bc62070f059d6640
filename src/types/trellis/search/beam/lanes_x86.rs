//! Sixteen floats at a time with AVX2 and AVX-512: see [`super::lanes`].

use super::lanes::{Hashes, Lanes, MAX_GROUP};
use crate::isa::{Avx2, Avx512};
use crate::types::feedback::CHUNK;
use std::arch::x86_64::*;

/// A function of the halves.
macro_rules! halves {
    ($f:ident, $($v:ident),*) => {
        // SAFETY: `self` proves that the level is available.
        unsafe { [$f($($v[0]),*), $f($($v[1]),*)] }
    };
}

/// Eight floats: two arrays of 4, or the first 8 of one array.
///
/// # Safety
/// - AVX is available.
/// - `part(0)`, and `part(1)` if `N` is 4, point to `N` readable floats.
#[inline(always)]
unsafe fn eight<const N: usize>(part: impl Fn(usize) -> *const f32) -> __m256 {
    // SAFETY: by this function's contract.
    unsafe { if N == 4 { _mm256_loadu2_m128(part(1), part(0)) } else { _mm256_loadu_ps(part(0)) } }
}

impl Lanes for Avx2 {
    type Vector = [__m256; 2];

    #[inline(always)]
    fn load(self, from: &[f32; CHUNK]) -> [__m256; 2] {
        // SAFETY: `self` proves the level; 8 of 16 floats from 0 and from 8.
        unsafe { [_mm256_loadu_ps(from.as_ptr()), _mm256_loadu_ps(from.as_ptr().add(8))] }
    }

    #[inline(always)]
    fn store(self, v: [__m256; 2], to: &mut [f32; CHUNK]) {
        // SAFETY: as in `load`.
        unsafe {
            _mm256_storeu_ps(to.as_mut_ptr(), v[0]);
            _mm256_storeu_ps(to.as_mut_ptr().add(8), v[1]);
        }
    }

    #[inline(always)]
    fn splat(self, x: f32) -> [__m256; 2] {
        // SAFETY: `self` proves the level.
        [unsafe { _mm256_set1_ps(x) }; 2]
    }

    #[inline(always)]
    fn sub(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        halves!(_mm256_sub_ps, a, b)
    }

    #[inline(always)]
    fn mul(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        halves!(_mm256_mul_ps, a, b)
    }

    #[inline(always)]
    fn mul_add(self, a: [__m256; 2], b: [__m256; 2], c: [__m256; 2]) -> [__m256; 2] {
        halves!(_mm256_fmadd_ps, a, b, c)
    }

    #[inline(always)]
    fn and(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        halves!(_mm256_and_ps, a, b)
    }

    #[inline(always)]
    fn min(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        halves!(_mm256_min_ps, a, b)
    }

    #[inline(always)]
    fn at_most(self, a: [__m256; 2], b: [__m256; 2]) -> u16 {
        // SAFETY: `self` proves the level.
        let half = |i: usize| unsafe { _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LE_OQ>(a[i], b[i])) as u16 };
        half(0) | half(1) << 8
    }

    #[inline(always)]
    fn spread<const N: usize>(self, x: [f32; MAX_GROUP]) -> [__m256; 2] {
        // SAFETY: `self` proves the level.
        let pair = |a: usize, b: usize| unsafe { _mm256_set_m128(_mm_set1_ps(x[b]), _mm_set1_ps(x[a])) };
        match N {
            4 => [pair(0, 1), pair(2, 3)],
            8 => [pair(0, 0), pair(1, 1)],
            _ => [pair(0, 0); 2],
        }
    }

    #[inline(always)]
    fn gather<const N: usize>(self, from: &[[f32; N]], at: Hashes, part: usize) -> [__m256; 2] {
        let array = |i: usize| from[at[i] as usize][CHUNK * part..][..N.min(CHUNK)].as_ptr();
        // SAFETY: `self` proves the level; the pointers are those of N floats, or of 16.
        unsafe {
            match N {
                4 => [eight::<N>(array), eight::<N>(|i| array(i + 2))],
                8 => [eight::<N>(array), eight::<N>(|_| array(1))],
                _ => [eight::<N>(array), eight::<N>(|_| array(0).add(8))],
            }
        }
    }
}

impl Lanes for Avx512 {
    type Vector = __m512;

    #[inline(always)]
    fn load(self, from: &[f32; CHUNK]) -> __m512 {
        // SAFETY: `self` proves the level; 16 floats.
        unsafe { _mm512_loadu_ps(from.as_ptr()) }
    }

    #[inline(always)]
    fn store(self, v: __m512, to: &mut [f32; CHUNK]) {
        // SAFETY: as in `load`.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), v) }
    }

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        // SAFETY: `self` proves the level.
        unsafe { _mm512_set1_ps(x) }
    }

    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves the level.
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves the level.
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: `self` proves the level.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn and(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves the level.
        unsafe { _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(a), _mm512_castps_si512(b))) }
    }

    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves the level.
        unsafe { _mm512_min_ps(a, b) }
    }

    #[inline(always)]
    fn at_most(self, a: __m512, b: __m512) -> u16 {
        // SAFETY: `self` proves the level.
        unsafe { _mm512_cmp_ps_mask::<_CMP_LE_OQ>(a, b) }
    }

    #[inline(always)]
    fn spread<const N: usize>(self, x: [f32; MAX_GROUP]) -> __m512 {
        // SAFETY: `self` proves the level.
        unsafe { join(Avx2::from(self).spread::<N>(x)) }
    }

    #[inline(always)]
    fn gather<const N: usize>(self, from: &[[f32; N]], at: Hashes, part: usize) -> __m512 {
        // SAFETY: `self` proves the level.
        unsafe { join(Avx2::from(self).gather::<N>(from, at, part)) }
    }
}

/// # Safety
/// - AVX-512 F is available.
#[inline(always)]
unsafe fn join([low, high]: [__m256; 2]) -> __m512 {
    // SAFETY: by this function's contract.
    unsafe {
        let low = _mm512_castps_pd(_mm512_castps256_ps512(low));
        _mm512_castpd_ps(_mm512_insertf64x4::<1>(low, _mm256_castps_pd(high)))
    }
}
