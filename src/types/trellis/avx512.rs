//! AVX-512 with VBMI, VNNI and GFNI. Same results as `scalar`.
//!
//! A 512-bit vector is two steps of 32 lanes or all four steps of 16. Planes are broadcast
//! and each step's part of the vector has its own matrices.

use super::avx2::unrotate_lanes;
use super::gfni::{Term, hash};
use super::layout::*;
use super::scale;
use super::x86::{accumulate, sum_lanes_4};
use std::arch::x86_64::*;

/// Plane bytes for the matrix products: `[plane][lanes up]`.
type Planes = [[__m512i; 3]; 4];

/// Same result as `scalar::dot`.
#[target_feature(enable = "avx2,fma,bmi1,bmi2,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni,gfni")]
pub fn dot<T: Trellis>(w: &[T], a: &[T::Activation]) -> f32 {
    let mut sum = 0.0;
    for (w, a) in w.chunks(4).zip(a.chunks(4)) {
        let mut products = [_mm256_setzero_si256(); 4];
        for ((w, a), product) in w.iter().zip(a).zip(&mut products) {
            let r = decode(w);
            let quants: &[u8] = bytemuck::cast_slice(a.qs());
            let mut wide = _mm512_setzero_si512();
            for t in 0..T::LEN / 64 {
                wide = _mm512_dpbusd_epi32(wide, r[t], load(quants, 64 * t));
            }
            let high = _mm512_extracti64x4_epi64(wide, 1);
            *product = _mm256_add_epi32(_mm512_castsi512_si256(wide), high);
        }
        sum = accumulate(sum, w, a, &sum_lanes_4(products));
    }
    sum
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
    let planes = planes(block);
    let zero = _mm512_setzero_si512();
    let mut r = [zero; 4];
    r[0] = value::<T>(hash!(T, 0, 8, planes, zero, term));
    if T::LEN == 256 {
        r[1] = value::<T>(hash!(T, 1, 8, planes, zero, term));
        r[2] = value::<T>(hash!(T, 2, 8, planes, zero, term));
        r[3] = value::<T>(hash!(T, 3, 8, planes, zero, term));
    }
    r
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512vbmi,gfni")]
fn planes<T: Trellis>(block: &T) -> Planes {
    let bytes = bytemuck::bytes_of(block);
    let mut planes = [[_mm512_setzero_si512(); 3]; 4];
    for (plane, place) in planes.iter_mut().zip(T::PLANES) {
        // The plane moved up by one lane begins a byte lower. Only the first plane has a lane -1.
        let at = 2 + place.offset;
        let not_first = if place.offset > 0 { !1 } else { !0 };
        if place.width == 4 {
            let nibbles = u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
            plane[0] = spread_nibbles(nibbles);
            plane[1] = spread_nibbles(nibbles << 4);
        } else if T::LANES == 16 {
            let moved = _mm_maskz_mov_epi8(not_first as u16, load_128(bytes, at - 1));
            plane[0] = _mm512_broadcast_i32x4(load_128(bytes, at));
            plane[1] = _mm512_broadcast_i32x4(moved);
            plane[2] = _mm512_broadcast_i32x4(_mm_slli_si128(moved, 1));
        } else {
            let moved = super::x86::load(bytes, at - 1);
            let moved = _mm256_maskz_mov_epi8(not_first as u32, moved);
            plane[0] = _mm512_broadcast_i64x4(super::x86::load(bytes, at));
            plane[1] = _mm512_broadcast_i64x4(moved);
        }
    }
    planes
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(bytes: &[u8], at: usize) -> __m512i {
    let bytes: &[u8; 64] = bytes[at..at + 64].try_into().expect("64 bytes");
    // SAFETY: 64 readable bytes; no alignment asked for.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_128(bytes: &[u8], at: usize) -> __m128i {
    let bytes: [u8; 16] = bytes[at..at + 16].try_into().expect("16 bytes");
    bytemuck::cast(bytes)
}

/// 16 nibbles, a byte each (high bits not cleared), four times.
#[inline]
#[target_feature(enable = "avx2,avx512f")]
fn spread_nibbles(nibbles: u64) -> __m512i {
    let (even, odd) = (nibbles as i64, (nibbles >> 4) as i64);
    _mm512_broadcast_i32x4(_mm_unpacklo_epi8(_mm_cvtsi64_si128(even), _mm_cvtsi64_si128(odd)))
}

#[inline]
#[target_feature(enable = "avx512f,gfni")]
fn term<T: Trellis, const PLANE: usize, const UP: usize, const VECTOR: usize>(
    h: __m512i,
    plane: __m512i,
) -> __m512i {
    if !Term::<T, PLANE, UP, VECTOR, 8>::IS_NEEDED {
        return h;
    }
    let matrices = bytemuck::cast(Term::<T, PLANE, UP, VECTOR, 8>::MATRICES);
    _mm512_xor_si512(h, _mm512_gf2p8affine_epi64_epi8::<0>(plane, matrices))
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
