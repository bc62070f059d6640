//! Vectors of x86: loads, tables and sums that types share, and the words of the matrix product.

use crate::isa::{Avx2, Avx512, AvxVnni};
use crate::products::prompts::{MAX_LEN, Words};
use std::arch::x86_64::*;

/// 32 bytes at `bytes[at..]`.
#[inline]
#[target_feature(enable = "avx2")]
pub fn load(bytes: &[u8], at: usize) -> __m256i {
    let bytes: &[u8; 32] = bytes[at..at + 32].try_into().expect("32 bytes");
    // SAFETY: 32 readable bytes; no alignment asked for.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

/// 16 bytes at `bytes[at..]`.
#[inline]
#[target_feature(enable = "avx2")]
pub fn load_128(bytes: &[u8], at: usize) -> __m128i {
    let bytes: &[u8; 16] = bytes[at..at + 16].try_into().expect("16 bytes");
    // SAFETY: 16 readable bytes; no alignment asked for.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

/// 64 bytes at `bytes[at..]`.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn load_512(bytes: &[u8], at: usize) -> __m512i {
    let bytes: &[u8; 64] = bytes[at..at + 64].try_into().expect("64 bytes");
    // SAFETY: 64 readable bytes; no alignment asked for.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

/// A 16-byte table in both halves of a vector.
#[inline]
#[target_feature(enable = "avx2")]
pub fn table(bytes: &[u8; 16]) -> __m256i {
    _mm256_broadcastsi128_si256(bytemuck::cast(*bytes))
}

/// Sum of the lanes.
#[inline]
#[target_feature(enable = "avx2")]
pub fn sum_lanes(v: __m256i) -> i32 {
    let zero = _mm256_setzero_si256();
    _mm_cvtsi128_si32(sum_lanes_group([v, zero, zero, zero]))
}

/// Sums of the lanes of four vectors.
#[inline]
#[target_feature(enable = "avx2")]
pub fn sum_lanes_group(v: [__m256i; 4]) -> __m128i {
    let pairs = |a, b| _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
    let (pairs01, pairs23) = (pairs(v[0], v[1]), pairs(v[2], v[3]));
    let low = _mm256_unpacklo_epi64(pairs01, pairs23);
    let quads = _mm256_add_epi32(low, _mm256_unpackhi_epi64(pairs01, pairs23));
    _mm_add_epi32(_mm256_castsi256_si128(quads), _mm256_extracti128_si256(quads, 1))
}

/// As [`sum_lanes`], of 16 lanes.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn sum_lanes_512(v: __m512i) -> i32 {
    _mm512_reduce_add_epi32(v)
}

/// As [`sum_lanes_group`], of 16 lanes.
#[inline]
#[target_feature(enable = "avx2,avx512f")]
pub fn sum_lanes_group_512(v: [__m512i; 4]) -> __m128i {
    let pairs = |a, b| _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    let (pairs01, pairs23) = (pairs(v[0], v[1]), pairs(v[2], v[3]));
    let low = _mm512_unpacklo_epi64(pairs01, pairs23);
    let quads = _mm512_add_epi32(low, _mm512_unpackhi_epi64(pairs01, pairs23));
    let high = _mm512_extracti64x4_epi64(quads, 1);
    let halves = _mm256_add_epi32(_mm512_castsi512_si256(quads), high);
    _mm_add_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1))
}

/// Adds the products of four bytes of `r` with four of `q`. The bytes of `r` are at most 127, so that two products fit
/// in 16 bits.
#[inline]
#[target_feature(enable = "avx2")]
pub fn multiply_add(sum: __m256i, r: __m256i, q: __m256i) -> __m256i {
    // At most 127 * 127 * 2 in magnitude: the 16-bit sums do not saturate.
    let pairs = _mm256_maddubs_epi16(r, q);
    _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
}

/// Bytes `32 * at..` of eight rows as words of four bytes, transposed: word i of every row, side by side, at
/// `out[stride * i]`, for eight words.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose(rows: &[[u8; MAX_LEN]; 8], at: usize, out: &mut [u32], stride: usize) {
    let row = |i: usize| load(&rows[i], 32 * at);
    // Words of rows 2i and 2i + 1: 0, 1, 4, 5 and 2, 3, 6, 7.
    let pairs = |i: usize| {
        let (a, b) = (row(2 * i), row(2 * i + 1));
        [_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b)]
    };
    // Words of four rows: 0 and 4, 1 and 5, 2 and 6, 3 and 7.
    let quads = |a: [__m256i; 2], b: [__m256i; 2]| {
        [
            _mm256_unpacklo_epi64(a[0], b[0]),
            _mm256_unpackhi_epi64(a[0], b[0]),
            _mm256_unpacklo_epi64(a[1], b[1]),
            _mm256_unpackhi_epi64(a[1], b[1]),
        ]
    };
    let (low, high) = (quads(pairs(0), pairs(1)), quads(pairs(2), pairs(3)));
    for i in 0..4 {
        let words = _mm256_permute2x128_si256(low[i], high[i], 0x20);
        let words_4 = _mm256_permute2x128_si256(low[i], high[i], 0x31);
        out[stride * i..][..8].copy_from_slice(&bytemuck::cast::<_, [u32; 8]>(words));
        out[stride * (i + 4)..][..8].copy_from_slice(&bytemuck::cast::<_, [u32; 8]>(words_4));
    }
}

impl Words for Avx2 {
    type Vector = __m256i;

    #[inline(always)]
    fn splat(self, word: i32) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_set1_epi32(word) }
    }

    #[inline(always)]
    fn multiply_add(self, sums: __m256i, r: __m256i, q: __m256i) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe { multiply_add(sums, r, q) }
    }

    #[inline(always)]
    fn transpose(self, rows: &[[u8; MAX_LEN]; 8], at: usize, out: &mut [u32], stride: usize) {
        // SAFETY: the token proves AVX2.
        unsafe { transpose(rows, at, out, stride) }
    }
}

impl Words for AvxVnni {
    type Vector = __m256i;

    #[inline(always)]
    fn splat(self, word: i32) -> __m256i {
        Avx2::from(self).splat(word)
    }

    #[inline(always)]
    fn multiply_add(self, sums: __m256i, r: __m256i, q: __m256i) -> __m256i {
        // SAFETY: the token proves AVX-VNNI.
        unsafe { _mm256_dpbusd_avx_epi32(sums, r, q) }
    }

    #[inline(always)]
    fn transpose(self, rows: &[[u8; MAX_LEN]; 8], at: usize, out: &mut [u32], stride: usize) {
        Avx2::from(self).transpose(rows, at, out, stride);
    }
}

impl Words for Avx512 {
    type Vector = __m512i;

    #[inline(always)]
    fn splat(self, word: i32) -> __m512i {
        // SAFETY: the token proves AVX-512 F.
        unsafe { _mm512_set1_epi32(word) }
    }

    #[inline(always)]
    fn multiply_add(self, sums: __m512i, r: __m512i, q: __m512i) -> __m512i {
        // SAFETY: the token proves AVX-512 VNNI.
        unsafe { _mm512_dpbusd_epi32(sums, r, q) }
    }

    #[inline(always)]
    fn transpose(self, rows: &[[u8; MAX_LEN]; 8], at: usize, out: &mut [u32], stride: usize) {
        Avx2::from(self).transpose(rows, at, out, stride);
    }
}
