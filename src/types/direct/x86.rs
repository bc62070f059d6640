//! 64 lanes on x86: two vectors of 256 bits, or one of 512.

use super::lanes::Lanes;
use crate::isa::{Avx2, Avx512};
use crate::products::GROUP;
use crate::products::prompts::Words;
use crate::simd::x86::*;
use std::arch::x86_64::*;

impl<L: Words<Vector = __m256i> + Into<Avx2>> Lanes for L {
    type Bytes = [__m256i; 2];

    #[inline(always)]
    fn load(self, bytes: &[u8; 64]) -> [__m256i; 2] {
        // SAFETY: the token proves AVX2.
        unsafe { [load(bytes, 0), load(bytes, 32)] }
    }

    #[inline(always)]
    fn halves(self, bytes: &[u8; 32]) -> [__m256i; 2] {
        // SAFETY: the token proves AVX2.
        unsafe { halves(bytes) }
    }

    #[inline(always)]
    fn quarters(self, bytes: &[u8; 16]) -> [__m256i; 2] {
        // SAFETY: the token proves AVX2.
        unsafe { quarters(bytes) }
    }

    #[inline(always)]
    fn eighths(self, bytes: &[u8; 8]) -> [__m256i; 2] {
        // SAFETY: the token proves AVX2.
        unsafe { eighths(bytes) }
    }

    #[inline(always)]
    fn bits<const SHIFT: i32>(self, [a, b]: [__m256i; 2], mask: u8) -> [__m256i; 2] {
        // SAFETY: the token proves AVX2.
        unsafe { [bits::<SHIFT>(a, mask), bits::<SHIFT>(b, mask)] }
    }

    #[inline(always)]
    fn bits_up<const SHIFT: i32>(self, [a, b]: [__m256i; 2], mask: u8) -> [__m256i; 2] {
        // SAFETY: the token proves AVX2.
        unsafe { [bits_up::<SHIFT>(a, mask), bits_up::<SHIFT>(b, mask)] }
    }

    #[inline(always)]
    fn and(self, a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
        // SAFETY: the token proves AVX2.
        unsafe { [_mm256_and_si256(a[0], b[0]), _mm256_and_si256(a[1], b[1])] }
    }

    #[inline(always)]
    fn or(self, a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
        // SAFETY: the token proves AVX2.
        unsafe { [_mm256_or_si256(a[0], b[0]), _mm256_or_si256(a[1], b[1])] }
    }

    #[inline(always)]
    fn look_up(self, bytes: &[u8; 16], [a, b]: [__m256i; 2]) -> [__m256i; 2] {
        // SAFETY: the token proves AVX2.
        unsafe {
            let table = table(bytes);
            [_mm256_shuffle_epi8(table, a), _mm256_shuffle_epi8(table, b)]
        }
    }

    #[inline(always)]
    fn add_byte(self, [a, b]: [__m256i; 2], byte: u8) -> [__m256i; 2] {
        // SAFETY: the token proves AVX2.
        unsafe {
            let byte = _mm256_set1_epi8(byte as i8);
            [_mm256_add_epi8(a, byte), _mm256_add_epi8(b, byte)]
        }
    }

    #[inline(always)]
    fn multiply(self, sums: __m256i, r: [__m256i; 2], quants: &[i8; 64]) -> __m256i {
        let quants = bytemuck::cast_slice(quants);
        // SAFETY: the token proves AVX2.
        let (low, high) = unsafe { (load(quants, 0), load(quants, 32)) };
        self.multiply_add(self.multiply_add(sums, r[0], low), r[1], high)
    }

    #[inline(always)]
    fn sum(self, sums: __m256i) -> i32 {
        // SAFETY: the token proves AVX2.
        unsafe { sum_lanes(sums) }
    }

    #[inline(always)]
    fn sum_group(self, sums: [__m256i; GROUP]) -> [i32; GROUP] {
        // SAFETY: the token proves AVX2.
        bytemuck::cast(unsafe { sum_lanes_group(sums) })
    }
}

/// Low halves of 32 bytes, and high halves.
#[inline]
#[target_feature(enable = "avx2")]
fn halves(bytes: &[u8; 32]) -> [__m256i; 2] {
    let bytes = load(bytes, 0);
    [bits::<0>(bytes, 15), bits::<4>(bytes, 15)]
}

/// See [`Lanes::quarters`].
#[inline]
#[target_feature(enable = "avx2")]
fn quarters(bytes: &[u8; 16]) -> [__m256i; 2] {
    let bytes = _mm256_broadcastsi128_si256(load_128(bytes, 0));
    // No bits of a neighbour byte come into the lowest two of one.
    [
        _mm256_srlv_epi64(bytes, _mm256_setr_epi64x(0, 0, 2, 2)),
        _mm256_srlv_epi64(bytes, _mm256_setr_epi64x(4, 4, 6, 6)),
    ]
}

/// See [`Lanes::eighths`].
#[inline]
#[target_feature(enable = "avx2")]
fn eighths(bytes: &[u8; 8]) -> [__m256i; 2] {
    let bytes = _mm256_set1_epi64x(i64::from_le_bytes(*bytes));
    [
        _mm256_srlv_epi64(bytes, _mm256_setr_epi64x(0, 1, 2, 3)),
        _mm256_srlv_epi64(bytes, _mm256_setr_epi64x(4, 5, 6, 7)),
    ]
}

/// `v >> SHIFT & mask`
#[inline]
#[target_feature(enable = "avx2")]
fn bits<const SHIFT: i32>(v: __m256i, mask: u8) -> __m256i {
    _mm256_and_si256(_mm256_srli_epi16::<SHIFT>(v), _mm256_set1_epi8(mask as i8))
}

/// `v << SHIFT & mask`
#[inline]
#[target_feature(enable = "avx2")]
fn bits_up<const SHIFT: i32>(v: __m256i, mask: u8) -> __m256i {
    _mm256_and_si256(_mm256_slli_epi16::<SHIFT>(v), _mm256_set1_epi8(mask as i8))
}

impl Lanes for Avx512 {
    type Bytes = __m512i;

    #[inline(always)]
    fn load(self, bytes: &[u8; 64]) -> __m512i {
        // SAFETY: the token proves AVX-512 F.
        unsafe { load_512(bytes, 0) }
    }

    #[inline(always)]
    fn halves(self, bytes: &[u8; 32]) -> __m512i {
        // SAFETY: the token proves AVX-512 F and BW.
        unsafe { halves_512(bytes) }
    }

    #[inline(always)]
    fn quarters(self, bytes: &[u8; 16]) -> __m512i {
        // SAFETY: the token proves AVX-512 F.
        unsafe {
            let bytes = _mm512_broadcast_i32x4(load_128(bytes, 0));
            _mm512_srlv_epi64(bytes, _mm512_setr_epi64(0, 0, 2, 2, 4, 4, 6, 6))
        }
    }

    #[inline(always)]
    fn eighths(self, bytes: &[u8; 8]) -> __m512i {
        // SAFETY: the token proves AVX-512 F.
        unsafe {
            let bytes = _mm512_set1_epi64(i64::from_le_bytes(*bytes));
            _mm512_srlv_epi64(bytes, _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7))
        }
    }

    #[inline(always)]
    fn bits<const SHIFT: i32>(self, v: __m512i, mask: u8) -> __m512i {
        // SAFETY: the token proves AVX-512 F and BW.
        unsafe { bits_512(v, SHIFT as u32, mask) }
    }

    #[inline(always)]
    fn bits_up<const SHIFT: i32>(self, v: __m512i, mask: u8) -> __m512i {
        // SAFETY: the token proves AVX-512 F and BW.
        unsafe { bits_up_512(v, SHIFT as u32, mask) }
    }

    #[inline(always)]
    fn and(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the token proves AVX-512 F.
        unsafe { _mm512_and_si512(a, b) }
    }

    #[inline(always)]
    fn or(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the token proves AVX-512 F.
        unsafe { _mm512_or_si512(a, b) }
    }

    #[inline(always)]
    fn look_up(self, bytes: &[u8; 16], v: __m512i) -> __m512i {
        // SAFETY: the token proves AVX-512 F and BW.
        unsafe { _mm512_shuffle_epi8(_mm512_broadcast_i32x4(bytemuck::cast(*bytes)), v) }
    }

    #[inline(always)]
    fn add_byte(self, v: __m512i, byte: u8) -> __m512i {
        // SAFETY: the token proves AVX-512 F and BW.
        unsafe { _mm512_add_epi8(v, _mm512_set1_epi8(byte as i8)) }
    }

    #[inline(always)]
    fn multiply(self, sums: __m512i, r: __m512i, quants: &[i8; 64]) -> __m512i {
        // SAFETY: the token proves AVX-512 F.
        self.multiply_add(sums, r, unsafe { load_512(bytemuck::cast_slice(quants), 0) })
    }

    #[inline(always)]
    fn sum(self, sums: __m512i) -> i32 {
        // SAFETY: the token proves AVX-512 F.
        unsafe { sum_lanes_512(sums) }
    }

    #[inline(always)]
    fn sum_group(self, sums: [__m512i; GROUP]) -> [i32; GROUP] {
        // SAFETY: the token proves AVX2 and AVX-512 F.
        bytemuck::cast(unsafe { sum_lanes_group_512(sums) })
    }
}

/// Low halves of 32 bytes, and high halves.
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw")]
fn halves_512(bytes: &[u8; 32]) -> __m512i {
    let bytes = load(bytes, 0);
    let both = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(bytes), _mm256_srli_epi16::<4>(bytes));
    _mm512_and_si512(both, _mm512_set1_epi8(15))
}

/// `v >> shift & mask`
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn bits_512(v: __m512i, shift: u32, mask: u8) -> __m512i {
    _mm512_and_si512(_mm512_srl_epi16(v, _mm_cvtsi32_si128(shift as i32)), _mm512_set1_epi8(mask as i8))
}

/// `v << shift & mask`
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn bits_up_512(v: __m512i, shift: u32, mask: u8) -> __m512i {
    _mm512_and_si512(_mm512_sll_epi16(v, _mm_cvtsi32_si128(shift as i32)), _mm512_set1_epi8(mask as i8))
}
