//! Vectors of 16-bit costs.

use super::graph::MAX_VECTOR;
use crate::isa::{Avx2, Avx512};
use crate::types::trellis::code::HASHES;
use std::arch::x86_64::*;

/// Operations on vectors of costs, at a level that the token `self` proves.
pub trait CostVectors: Copy {
    /// A vector.
    type Vector: Copy;
    /// States in a vector, one cost each.
    const STATES: usize;
    /// Most symbols whose least costs fit in registers, besides what else is needed.
    const SYMBOLS_AT_ONCE: usize;

    /// The vector at `from[at..]`.
    ///
    /// # Safety
    /// - `at + STATES` is at most `from.len()`.
    unsafe fn load(self, from: &[i16], at: usize) -> Self::Vector;

    /// Writes a vector.
    ///
    /// # Panics
    /// If `to` does not have the length of a vector.
    fn store(self, to: &mut [i16], v: Self::Vector);

    /// A vector of one cost.
    fn splat(self, cost: i16) -> Self::Vector;

    /// Saturating sums.
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// The lesser of each two.
    fn min(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// The least cost of a vector.
    fn least(self, v: Self::Vector) -> i16;

    /// In every 128-bit part, costs of a and b in turn: the first four of each, and the last four of each.
    fn interleave(self, a: Self::Vector, b: Self::Vector) -> [Self::Vector; 2];

    /// The even 128-bit parts of a and b one after the other, and the odd ones.
    fn deal(self, a: Self::Vector, b: Self::Vector) -> [Self::Vector; 2];

    /// Writes the metric of label `h ^ place_labels[place]` to `table[STATES * h + place]`. The labels of places are
    /// less than `STATES`.
    ///
    /// # Panics
    /// If `table` does not have `256 * STATES` metrics.
    fn fill_table(self, table: &mut [i16], metric: &[i16; HASHES], place_labels: &[u16; MAX_VECTOR]);
}

impl CostVectors for Avx2 {
    type Vector = __m256i;
    const STATES: usize = 16;
    const SYMBOLS_AT_ONCE: usize = 8;

    #[inline(always)]
    unsafe fn load(self, from: &[i16], at: usize) -> __m256i {
        debug_assert!(at + Self::STATES <= from.len());
        // SAFETY: by this function's contract; `self` proves the level.
        unsafe { _mm256_loadu_si256(from.as_ptr().add(at).cast()) }
    }

    #[inline(always)]
    fn store(self, to: &mut [i16], v: __m256i) {
        assert_eq!(to.len(), Self::STATES);
        // SAFETY: `to` has the length of a vector; `self` proves the level.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), v) }
    }

    #[inline(always)]
    fn splat(self, cost: i16) -> __m256i {
        // SAFETY: `self` proves the level.
        unsafe { _mm256_set1_epi16(cost) }
    }

    #[inline(always)]
    fn add(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves the level.
        unsafe { _mm256_adds_epi16(a, b) }
    }

    #[inline(always)]
    fn min(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves the level.
        unsafe { _mm256_min_epi16(a, b) }
    }

    #[inline(always)]
    fn least(self, v: __m256i) -> i16 {
        // SAFETY: `self` proves the level.
        unsafe {
            let v = _mm_min_epi16(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
            // The instruction is for unsigned values: flip the sign bit before and after.
            let sign = _mm_set1_epi16(i16::MIN);
            _mm_cvtsi128_si32(_mm_minpos_epu16(_mm_xor_si128(v, sign))) as i16 ^ i16::MIN
        }
    }

    #[inline(always)]
    fn interleave(self, a: __m256i, b: __m256i) -> [__m256i; 2] {
        // SAFETY: `self` proves the level.
        unsafe { [_mm256_unpacklo_epi16(a, b), _mm256_unpackhi_epi16(a, b)] }
    }

    #[inline(always)]
    fn deal(self, a: __m256i, b: __m256i) -> [__m256i; 2] {
        // SAFETY: `self` proves the level.
        unsafe { [_mm256_permute2x128_si256(a, b, 0x20), _mm256_permute2x128_si256(a, b, 0x31)] }
    }

    #[inline(always)]
    fn fill_table(self, table: &mut [i16], metric: &[i16; HASHES], place_labels: &[u16; MAX_VECTOR]) {
        let (table, _) = table.as_chunks_mut::<16>();
        let table: &mut [[i16; 16]; HASHES] = table.try_into().expect("a row for each label");
        let load = |from: &[i16; 16]| {
            // SAFETY: the length of a vector; `self` proves the level.
            unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
        };
        let places = load(bytemuck::cast_slice(place_labels).first_chunk().expect("16 of 32"));
        for low in 0..16 {
            // SAFETY: `self` proves the level.
            let (from_low, from_high) = unsafe {
                // A byte shuffle picks from eight labels, and yields zero where the index has its high bit.
                let label = _mm256_xor_si256(places, _mm256_set1_epi16(low as i16));
                let bytes = _mm256_mullo_epi16(label, _mm256_set1_epi16(0x0202));
                let bytes = _mm256_add_epi16(bytes, _mm256_set1_epi16(0x0100));
                let from_low = _mm256_add_epi8(bytes, _mm256_set1_epi8(0x70));
                (from_low, _mm256_sub_epi8(bytes, _mm256_set1_epi8(0x10)))
            };
            for (v, metric) in metric.as_chunks::<16>().0.iter().enumerate() {
                // SAFETY: `self` proves the level.
                let row = unsafe {
                    let metric = load(metric);
                    let low_half = _mm256_permute4x64_epi64(metric, 0b01_00_01_00);
                    let high_half = _mm256_permute4x64_epi64(metric, 0b11_10_11_10);
                    _mm256_or_si256(
                        _mm256_shuffle_epi8(low_half, from_low),
                        _mm256_shuffle_epi8(high_half, from_high),
                    )
                };
                self.store(&mut table[v * 16 + low], row);
            }
        }
    }
}

impl CostVectors for Avx512 {
    type Vector = __m512i;
    const STATES: usize = 32;
    const SYMBOLS_AT_ONCE: usize = 16;

    #[inline(always)]
    unsafe fn load(self, from: &[i16], at: usize) -> __m512i {
        debug_assert!(at + Self::STATES <= from.len());
        // SAFETY: by this function's contract; `self` proves the level.
        unsafe { _mm512_loadu_si512(from.as_ptr().add(at).cast()) }
    }

    #[inline(always)]
    fn store(self, to: &mut [i16], v: __m512i) {
        assert_eq!(to.len(), Self::STATES);
        // SAFETY: `to` has the length of a vector; `self` proves the level.
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), v) }
    }

    #[inline(always)]
    fn splat(self, cost: i16) -> __m512i {
        // SAFETY: `self` proves the level.
        unsafe { _mm512_set1_epi16(cost) }
    }

    #[inline(always)]
    fn add(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves the level.
        unsafe { _mm512_adds_epi16(a, b) }
    }

    #[inline(always)]
    fn min(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves the level.
        unsafe { _mm512_min_epi16(a, b) }
    }

    #[inline(always)]
    fn least(self, v: __m512i) -> i16 {
        // SAFETY: `self` proves the level.
        let half = unsafe { _mm256_min_epi16(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1)) };
        Avx2::from(self).least(half)
    }

    #[inline(always)]
    fn interleave(self, a: __m512i, b: __m512i) -> [__m512i; 2] {
        // SAFETY: `self` proves the level.
        unsafe { [_mm512_unpacklo_epi16(a, b), _mm512_unpackhi_epi16(a, b)] }
    }

    #[inline(always)]
    fn deal(self, a: __m512i, b: __m512i) -> [__m512i; 2] {
        // SAFETY: `self` proves the level.
        unsafe { [_mm512_shuffle_i64x2(a, b, 0b10_00_10_00), _mm512_shuffle_i64x2(a, b, 0b11_01_11_01)] }
    }

    #[inline(always)]
    fn fill_table(self, table: &mut [i16], metric: &[i16; HASHES], place_labels: &[u16; MAX_VECTOR]) {
        let (table, _) = table.as_chunks_mut::<32>();
        let table: &mut [[i16; 32]; HASHES] = table.try_into().expect("a row for each label");
        let load = |from: &[i16; 32]| {
            // SAFETY: the length of a vector; `self` proves the level.
            unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
        };
        let places = load(bytemuck::cast_ref(place_labels));
        let mut metrics = [self.splat(0); HASHES / 32];
        for (metrics, metric) in metrics.iter_mut().zip(metric.as_chunks::<32>().0) {
            *metrics = load(metric);
        }
        for low in 0..32 {
            // SAFETY: `self` proves the level.
            let order = unsafe { _mm512_xor_si512(places, self.splat(low as i16)) };
            for (v, &metrics) in metrics.iter().enumerate() {
                // SAFETY: `self` proves the level.
                let row = unsafe { _mm512_permutexvar_epi16(order, metrics) };
                self.store(&mut table[v * 32 + low], row);
            }
        }
    }
}
