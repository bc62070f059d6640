//! What the x86 levels share: constant tables and the sum over blocks.

use super::code::{Code, ZERO_POINT};
use super::layout::{Activation, Trellis};
use super::scale;
use std::arch::x86_64::*;

/// XOR of `columns[first + b]` over the set bits b of a nibble, for a byte shuffle.
pub const fn nibble_table(code: &Code, first: usize, bits: usize) -> [u8; 16] {
    let columns = code.columns();
    let mut table = [0; 16];
    let mut i = 0;
    while i < 16 {
        let mut b = 0;
        while b < bits {
            if i >> b & 1 == 1 {
                table[i] ^= columns[first + b];
            }
            b += 1;
        }
        i += 1;
    }
    table
}

/// Adds `(d_w * d_a) * integer` of up to four blocks to `sum`, in order.
/// `products` are the sums of `r * q`, without the zero point.
#[inline(always)]
pub fn accumulate<T: Trellis>(sum: f32, w: &[T], a: &[T::Activation], products: &[i32]) -> f32 {
    let mut sum = sum;
    for ((w, a), product) in w.iter().zip(a).zip(products) {
        let integer = product - ZERO_POINT * a.sum();
        sum += (scale::decode(w.d()) * a.d()) * integer as f32;
    }
    sum
}

/// Sums of the lanes of four vectors.
#[inline]
#[target_feature(enable = "avx2")]
pub fn sum_lanes_4(v: [__m256i; 4]) -> [i32; 4] {
    let pairs01 = _mm256_hadd_epi32(v[0], v[1]);
    let pairs23 = _mm256_hadd_epi32(v[2], v[3]);
    let quads = _mm256_hadd_epi32(pairs01, pairs23);
    let sums = _mm_add_epi32(_mm256_castsi256_si128(quads), _mm256_extracti128_si256(quads, 1));
    bytemuck::cast(sums)
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

/// 16 bytes at `bytes[at..]` in both halves.
#[inline]
#[target_feature(enable = "avx2")]
pub fn load_twice(bytes: &[u8], at: usize) -> __m256i {
    let bytes: &[u8; 16] = bytes[at..at + 16].try_into().expect("16 bytes");
    // SAFETY: 16 readable bytes; no alignment asked for.
    _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) })
}

/// The 16 nibbles at `bytes[at..at + 8]`, a byte each (high bits not cleared), in both halves.
#[inline]
#[target_feature(enable = "avx2")]
pub fn nibbles_twice(nibbles: u64) -> __m256i {
    let even = _mm_cvtsi64_si128(nibbles as i64);
    let odd = _mm_cvtsi64_si128((nibbles >> 4) as i64);
    _mm256_broadcastsi128_si256(_mm_unpacklo_epi8(even, odd))
}
