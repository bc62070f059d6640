//! AVX-VNNI with GFNI: 256-bit vectors, bit-matrix hash, one instruction per dot. Same results
//! as `scalar`.

use super::a8::Activation;
use super::avx2::unrotate_lanes;
use super::code::ZERO_POINT;
use super::gfni::{Term, hash};
use super::layout::*;
use super::row::{GROUP, Rows, dot_products, prefetch_after};
use super::scale;
use super::tile::{self, tile_products};
use super::x86::*;
use std::arch::x86_64::*;

dot_products!("avx2,fma,bmi1,bmi2,avxvnni,gfni", Trellis, __m256i);
tile_products!("avx2,fma,bmi1,bmi2,avxvnni,gfni", Trellis, __m256i, 6);

/// Adds the products of four bytes of `r` with four of `q`.
#[inline]
#[target_feature(enable = "avx2,avxvnni")]
fn multiply_add(sum: __m256i, r: __m256i, q: __m256i) -> __m256i {
    _mm256_dpbusd_avx_epi32(sum, r, q)
}

/// Lanes whose sum is the sum of `r * q`, without the zero point, of a decoded block.
#[inline]
#[target_feature(enable = "avx2,avxvnni,gfni")]
fn product<T: Trellis>(r: &[__m256i; 8], a: &T::Activation) -> __m256i {
    let quants = bytemuck::cast_slice(a.qs());
    let mut product = _mm256_setzero_si256();
    for (t, &r) in r[..T::LEN / 32].iter().enumerate() {
        product = _mm256_dpbusd_avx_epi32(product, r, load(quants, 32 * t));
    }
    product
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
    let block = bytemuck::bytes_of(block);
    let zero = _mm256_setzero_si256();
    let mut r = [zero; 8];
    r[0] = value::<T>(hash!(term, T, 0, block, zero));
    r[1] = value::<T>(hash!(term, T, 1, block, zero));
    if T::LEN == 256 {
        r[2] = value::<T>(hash!(term, T, 2, block, zero));
        r[3] = value::<T>(hash!(term, T, 3, block, zero));
        r[4] = value::<T>(hash!(term, T, 4, block, zero));
        r[5] = value::<T>(hash!(term, T, 5, block, zero));
        r[6] = value::<T>(hash!(term, T, 6, block, zero));
        r[7] = value::<T>(hash!(term, T, 7, block, zero));
    }
    r
}

#[inline]
#[target_feature(enable = "avx2,gfni")]
fn term<T: Trellis, const PLANE: usize, const UP: usize, const VECTOR: usize>(
    h: __m256i,
    block: &[u8],
) -> __m256i {
    if Term::<T, PLANE, UP, VECTOR, 4>::NEEDED_WORDS == 0 {
        return h;
    }
    let place = T::PLANES[PLANE];
    let at = 2 + place.offset;
    let plane = if T::LANES == 32 {
        // The plane moved up by a lane begins a byte lower. Only the first has a lane -1.
        let first = if UP > 0 && PLANE > 0 { !0xff } else { !0 };
        _mm256_and_si256(load(block, at - UP), _mm256_setr_epi64x(first, -1, -1, -1))
    } else if place.width == 4 {
        move_up_16(nibbles_twice(block, at), UP)
    } else if PLANE == 0 && UP > 0 {
        move_up_16(load_twice(block, at - 1), UP - 1)
    } else {
        move_up_16(load_twice(block, at), UP)
    };
    let matrices = bytemuck::cast(Term::<T, PLANE, UP, VECTOR, 4>::MATRICES);
    _mm256_xor_si256(h, _mm256_gf2p8affine_epi64_epi8::<0>(plane, matrices))
}

/// Every byte moved up by some of 16 lanes in both halves; zeros enter.
#[inline]
#[target_feature(enable = "avx2")]
fn move_up_16(v: __m256i, lanes: usize) -> __m256i {
    match lanes {
        0 => v,
        1 => _mm256_slli_si256(v, 1),
        _ => _mm256_slli_si256(v, 2),
    }
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
