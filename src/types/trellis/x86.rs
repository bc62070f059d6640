//! What the x86 levels share: constant tables, loads and the sum over blocks.

use super::a8::Activation;
use super::code::ZERO_POINT;
use super::layout::Trellis;
use super::row::GROUP;
use super::scale;
use std::arch::x86_64::*;

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
pub fn scaled_group<T: Trellis>(
    w: &[T; GROUP],
    a: [&T::Activation; GROUP],
    products: __m128i,
) -> [f32; GROUP] {
    let sums = _mm_setr_epi32(a[0].sum(), a[1].sum(), a[2].sum(), a[3].sum());
    let integers = _mm_sub_epi32(products, _mm_mullo_epi32(sums, _mm_set1_epi32(ZERO_POINT)));
    let d = _mm_mul_ps(scales(w), _mm_setr_ps(a[0].d(), a[1].d(), a[2].d(), a[3].d()));
    bytemuck::cast(_mm_mul_ps(d, _mm_cvtepi32_ps(integers)))
}

/// As [`scaled_group`], for one block.
#[inline(always)]
pub fn scaled<T: Trellis>(w: &T, a: &T::Activation, product: i32) -> f32 {
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
pub fn sum_lanes_group(v: [__m256i; GROUP]) -> __m128i {
    let pairs = |a, b| _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
    let (pairs01, pairs23) = (pairs(v[0], v[1]), pairs(v[2], v[3]));
    let low = _mm256_unpacklo_epi64(pairs01, pairs23);
    let quads = _mm256_add_epi32(low, _mm256_unpackhi_epi64(pairs01, pairs23));
    _mm_add_epi32(_mm256_castsi256_si128(quads), _mm256_extracti128_si256(quads, 1))
}

/// A 16-byte table in both halves of a vector.
#[inline]
#[target_feature(enable = "avx2")]
pub fn table(bytes: &[u8; 16]) -> __m256i {
    _mm256_broadcastsi128_si256(bytemuck::cast(*bytes))
}

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

#[inline]
#[target_feature(enable = "avx2")]
pub fn splat(x: i32) -> __m256i {
    _mm256_set1_epi32(x)
}

/// Bytes `32 * at..` of eight rows as words of four bytes, transposed: word i of every row, side by side, at
/// `out[stride * i]`, for eight words.
#[inline]
#[target_feature(enable = "avx2")]
pub fn transpose(rows: &[[u8; 256]; 8], at: usize, out: &mut [u32], stride: usize) {
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
