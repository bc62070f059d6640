//! AVX-512 with VBMI, VNNI and GFNI. Same results as `scalar`.
//!
//! A 512-bit vector is two steps of 32 lanes or all four steps of 16. Planes are broadcast
//! and each step's part of the vector has its own matrices. Matrix products, byte permutations and
//! broadcasts share two ports on Zen 5, so that a plane for the lower half alone is not broadcast.

use super::a8::Activation;
use super::avx2::unrotate_lanes;
use super::code::ZERO_POINT;
use super::gfni::{Term, hash};
use super::layout::*;
use super::row::{GROUP, Rows, dot_products, prefetch_after};
use super::scale;
use super::tile::{self, tile_products};
use super::x86::{load_128, scaled, scaled_group, transpose};
use std::arch::x86_64::*;

dot_products!("avx2,fma,bmi1,bmi2,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni,gfni", Trellis, __m512i);
tile_products!(
    "avx2,fma,bmi1,bmi2,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni,gfni",
    Trellis,
    __m512i,
    8
);

#[inline]
#[target_feature(enable = "avx512f")]
fn splat(x: i32) -> __m512i {
    _mm512_set1_epi32(x)
}

/// Adds the products of four bytes of `r` with four of `q`.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn multiply_add(sum: __m512i, r: __m512i, q: __m512i) -> __m512i {
    _mm512_dpbusd_epi32(sum, r, q)
}

/// Lanes whose sum is the sum of `r * q`, without the zero point, of a decoded block.
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni,gfni")]
fn product<T: Trellis>(r: &[__m512i; 4], a: &T::Activation) -> __m512i {
    let quants = bytemuck::cast_slice(a.qs());
    let mut product = _mm512_setzero_si512();
    for (t, &r) in r[..T::LEN / 64].iter().enumerate() {
        product = _mm512_dpbusd_epi32(product, r, load(quants, 64 * t));
    }
    product
}

/// Sum of the lanes.
#[inline]
#[target_feature(enable = "avx512f")]
fn sum_lanes(v: __m512i) -> i32 {
    _mm512_reduce_add_epi32(v)
}

/// Sums of the lanes of four vectors.
#[inline]
#[target_feature(enable = "avx2,avx512f")]
fn sum_lanes_group(v: [__m512i; GROUP]) -> __m128i {
    let pairs = |a, b| _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    let (pairs01, pairs23) = (pairs(v[0], v[1]), pairs(v[2], v[3]));
    let low = _mm512_unpacklo_epi64(pairs01, pairs23);
    let quads = _mm512_add_epi32(low, _mm512_unpackhi_epi64(pairs01, pairs23));
    let high = _mm512_extracti64x4_epi64(quads, 1);
    let halves = _mm256_add_epi32(_mm512_castsi512_si256(quads), high);
    _mm_add_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1))
}

/// Same result as `scalar::dequantize`.
#[target_feature(enable = "avx2,fma,bmi1,bmi2,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni,gfni")]
pub fn dequantize<T: Trellis>(w: &[T], out: &mut [f32]) {
    for (w, out) in w.iter().zip(out.chunks_exact_mut(T::LEN)) {
        let r: [u8; 256] = bytemuck::cast(decode(w));
        unrotate_lanes::<T>(&r, scale::decode(w.d()), out);
    }
}

/// Reconstructions plus the zero point in lane order; `LEN / 64` vectors.
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512vbmi,gfni")]
fn decode<T: Trellis>(block: &T) -> [__m512i; 4] {
    let block = bytemuck::bytes_of(block);
    let zero = _mm512_setzero_si512();
    let mut r = [zero; 4];
    r[0] = value::<T>(hash!(term, T, 0, block, zero));
    if T::LEN == 256 {
        r[1] = value::<T>(hash!(term, T, 1, block, zero));
        r[2] = value::<T>(hash!(term, T, 2, block, zero));
        r[3] = value::<T>(hash!(term, T, 3, block, zero));
    }
    r
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512vbmi,gfni")]
fn term<T: Trellis, const PLANE: usize, const UP: usize, const VECTOR: usize>(
    h: __m512i,
    block: &[u8],
) -> __m512i {
    let needed_words = Term::<T, PLANE, UP, VECTOR, 8>::NEEDED_WORDS;
    if needed_words == 0 {
        return h;
    }
    let place = T::PLANES[PLANE];
    // The plane moved up by a lane begins a byte lower.
    let at = 2 + place.offset - UP;
    let plane = if place.width == 4 {
        spread_nibbles(block, at + UP, UP)
    } else if T::LANES == 16 {
        _mm512_broadcast_i32x4(load_128(block, at))
    } else if needed_words <= 4 {
        _mm512_zextsi256_si512(super::x86::load(block, at))
    } else {
        _mm512_broadcast_i64x4(super::x86::load(block, at))
    };
    // The mask leaves out the bytes before the plane.
    let lanes = Term::<T, PLANE, UP, VECTOR, 8>::LANES;
    let matrices = bytemuck::cast(Term::<T, PLANE, UP, VECTOR, 8>::MATRICES);
    _mm512_xor_si512(h, _mm512_maskz_gf2p8affine_epi64_epi8::<0>(lanes, plane, matrices))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(bytes: &[u8], at: usize) -> __m512i {
    let bytes: &[u8; 64] = bytes[at..at + 64].try_into().expect("64 bytes");
    // SAFETY: 64 readable bytes; no alignment asked for.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

/// The 16 nibbles at `bytes[at..at + 8]`, moved up by `up` lanes, a byte each (high bits not
/// cleared), four times.
#[inline]
#[target_feature(enable = "avx512f,avx512vbmi")]
fn spread_nibbles(bytes: &[u8], at: usize, up: usize) -> __m512i {
    let nibbles: [u8; 8] = bytes[at..at + 8].try_into().expect("8 bytes");
    // Byte i is eight bits from bit 4 (i - up) on, cyclic.
    let first_bits: [u8; 64] = std::array::from_fn(|i| (64 + 4 * (i % 16) - 4 * up) as u8 % 64);
    let nibbles = _mm512_set1_epi64(i64::from_le_bytes(nibbles));
    _mm512_multishift_epi64_epi8(bytemuck::cast(first_bits), nibbles)
}

/// `v0[h & 15] + v1[h >> 4]`. The byte permutation looks at six index bits, and its tables
/// repeat every 16 entries, so that no index needs a mask.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn value<T: Trellis>(h: __m512i) -> __m512i {
    let table = |v: [u8; 16]| _mm512_broadcast_i32x4(bytemuck::cast(v));
    _mm512_add_epi8(
        _mm512_permutexvar_epi8(h, table(T::CODE.v0)),
        _mm512_permutexvar_epi8(_mm512_srli_epi16(h, 4), table(T::CODE.v1)),
    )
}
