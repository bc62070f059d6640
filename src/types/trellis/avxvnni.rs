//! AVX-VNNI with GFNI: 256-bit vectors, bit-matrix hash, one instruction per dot. Same results
//! as `scalar`.

use super::avx2::unrotate_lanes;
use super::gfni::{Term, hash};
use super::layout::*;
use super::scale;
use super::x86::*;
use std::arch::x86_64::*;

/// Plane bytes for the matrix products: `[plane][lanes up]`.
type Planes = [[__m256i; 3]; 4];

/// Same result as `scalar::dot`.
#[target_feature(enable = "avx2,fma,bmi1,bmi2,avxvnni,gfni")]
pub fn dot<T: Trellis>(w: &[T], a: &[T::Activation]) -> f32 {
    let mut sum = 0.0;
    for (w, a) in w.chunks(4).zip(a.chunks(4)) {
        let mut products = [_mm256_setzero_si256(); 4];
        for ((w, a), product) in w.iter().zip(a).zip(&mut products) {
            let r = decode(w);
            let quants = bytemuck::cast_slice(a.qs());
            for t in 0..T::LEN / 32 {
                *product = _mm256_dpbusd_avx_epi32(*product, r[t], load(quants, 32 * t));
            }
        }
        sum = accumulate(sum, w, a, &sum_lanes_4(products));
    }
    sum
}

/// Same result as `scalar::dequantize`.
#[target_feature(enable = "avx2,fma,bmi1,bmi2,avxvnni,gfni")]
pub fn dequantize<T: Trellis>(w: &[T], out: &mut [f32]) {
    for (w, out) in w.iter().zip(out.chunks_exact_mut(T::LEN)) {
        let r: [u8; 256] = bytemuck::cast(decode(w));
        unrotate_lanes::<T>(&r, scale::decode(w.d()), out);
    }
}

/// Reconstructions plus the zero point in lane order; `LEN / 32` vectors.
#[inline]
#[target_feature(enable = "avx2,gfni")]
fn decode<T: Trellis>(block: &T) -> [__m256i; 8] {
    let planes = planes(block);
    let zero = _mm256_setzero_si256();
    let mut r = [zero; 8];
    r[0] = value::<T>(hash!(T, 0, 4, planes, zero, term));
    r[1] = value::<T>(hash!(T, 1, 4, planes, zero, term));
    if T::LEN == 256 {
        r[2] = value::<T>(hash!(T, 2, 4, planes, zero, term));
        r[3] = value::<T>(hash!(T, 3, 4, planes, zero, term));
        r[4] = value::<T>(hash!(T, 4, 4, planes, zero, term));
        r[5] = value::<T>(hash!(T, 5, 4, planes, zero, term));
        r[6] = value::<T>(hash!(T, 6, 4, planes, zero, term));
        r[7] = value::<T>(hash!(T, 7, 4, planes, zero, term));
    }
    r
}

#[inline]
#[target_feature(enable = "avx2,gfni")]
fn planes<T: Trellis>(block: &T) -> Planes {
    let bytes = bytemuck::bytes_of(block);
    let not_first = _mm256_setr_epi64x(!0xff, -1, -1, -1);
    let mut planes = [[_mm256_setzero_si256(); 3]; 4];
    for (plane, place) in planes.iter_mut().zip(T::PLANES) {
        // The plane moved up by one lane begins a byte lower. Only the first plane has a lane -1.
        let at = 2 + place.offset;
        if place.width == 4 {
            let nibbles = u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
            plane[0] = nibbles_twice(nibbles);
            plane[1] = nibbles_twice(nibbles << 4);
        } else if T::LANES == 16 {
            plane[0] = load_twice(bytes, at);
            plane[1] = load_twice(bytes, at - 1);
            if place.offset > 0 {
                let not_first = _mm256_setr_epi64x(!0xff, -1, !0xff, -1);
                plane[1] = _mm256_and_si256(plane[1], not_first);
            }
            plane[2] = _mm256_slli_si256(plane[1], 1);
        } else {
            plane[0] = load(bytes, at);
            plane[1] = load(bytes, at - 1);
            if place.offset > 0 {
                plane[1] = _mm256_and_si256(plane[1], not_first);
            }
        }
    }
    planes
}

#[inline]
#[target_feature(enable = "avx2,gfni")]
fn term<T: Trellis, const PLANE: usize, const UP: usize, const VECTOR: usize>(
    h: __m256i,
    plane: __m256i,
) -> __m256i {
    if !Term::<T, PLANE, UP, VECTOR, 4>::IS_NEEDED {
        return h;
    }
    let matrices = bytemuck::cast(Term::<T, PLANE, UP, VECTOR, 4>::MATRICES);
    _mm256_xor_si256(h, _mm256_gf2p8affine_epi64_epi8::<0>(plane, matrices))
}

/// `v0[h & 15] + v1[h >> 4]`
#[inline]
#[target_feature(enable = "avx2")]
fn value<T: Trellis>(h: __m256i) -> __m256i {
    let nibble = _mm256_set1_epi8(15);
    let low = _mm256_and_si256(h, nibble);
    let high = _mm256_and_si256(_mm256_srli_epi16(h, 4), nibble);
    _mm256_add_epi8(
        _mm256_shuffle_epi8(table(&T::CODE.v0), low),
        _mm256_shuffle_epi8(table(&T::CODE.v1), high),
    )
}
