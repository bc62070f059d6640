//! AVX-VNNI with GFNI: 256-bit vectors, bit-matrix hash, one instruction per dot. Same results
//! as `scalar`.

use super::a8::Activation;
use super::gfni::{Term, hash};
use super::layout::*;
use super::scale;
use super::x86::*;
use crate::isa::AvxVnni;
use crate::products::prompts;
use crate::products::{Columns, GROUP, Matrix, Results};
use crate::simd::x86::*;
use std::arch::x86_64::*;

impl<const PLANES: usize> X86Level<Block<PLANES>> for AvxVnni
where
    Block<PLANES>: Trellis,
{
    type Decoded = [__m256i; 8];
    type Lanes = __m256i;

    #[inline(always)]
    fn decode(self, w: &Block<PLANES>) -> [__m256i; 8] {
        // SAFETY: the token proves the level.
        unsafe { decode(w) }
    }

    #[inline(always)]
    fn product(self, r: &[__m256i; 8], a: &<Block<PLANES> as Trellis>::Activation) -> __m256i {
        // SAFETY: the token proves the level.
        unsafe { product::<Block<PLANES>>(r, a) }
    }

    #[inline(always)]
    fn decode_product(self, w: &Block<PLANES>, a: &<Block<PLANES> as Trellis>::Activation) -> __m256i {
        // SAFETY: the token proves the level.
        unsafe { decode_product(w, a) }
    }

    #[inline(always)]
    fn sum(self, lanes: __m256i) -> i32 {
        // SAFETY: the token proves the level.
        unsafe { sum_lanes(lanes) }
    }

    #[inline(always)]
    fn sum_group(self, lanes: [__m256i; GROUP]) -> __m128i {
        // SAFETY: the token proves the level.
        unsafe { sum_lanes_group(lanes) }
    }

    #[inline(always)]
    fn multiply_many(self, rows: Matrix, columns: Columns, out: &mut Results) {
        prompts::multiply::<AvxVnni, Block<PLANES>, 16, 6>(self, rows, columns, out);
    }

    #[inline(always)]
    fn dequantize(self, w: &[Block<PLANES>], out: &mut [f32]) {
        // SAFETY: the token proves the level.
        unsafe { dequantize(w, out) }
    }
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

/// The product of a block that is decoded for it.
#[inline]
#[target_feature(enable = "avx2,avxvnni,gfni")]
fn decode_product<T: Trellis>(w: &T, a: &T::Activation) -> __m256i {
    product::<T>(&decode(w), a)
}

/// Same result as `scalar::dequantize`.
#[target_feature(enable = "avx2,fma,bmi1,bmi2,avxvnni,gfni")]
fn dequantize<T: Trellis>(w: &[T], out: &mut [f32]) {
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
    r[0] = value::<T>(hash!(hash_term, T, 0, block, zero));
    r[1] = value::<T>(hash!(hash_term, T, 1, block, zero));
    if T::LEN == 256 {
        r[2] = value::<T>(hash!(hash_term, T, 2, block, zero));
        r[3] = value::<T>(hash!(hash_term, T, 3, block, zero));
        r[4] = value::<T>(hash!(hash_term, T, 4, block, zero));
        r[5] = value::<T>(hash!(hash_term, T, 5, block, zero));
        r[6] = value::<T>(hash!(hash_term, T, 6, block, zero));
        r[7] = value::<T>(hash!(hash_term, T, 7, block, zero));
    }
    r
}

#[inline]
#[target_feature(enable = "avx2,gfni")]
fn hash_term<T: Trellis, const PLANE: usize, const UP: usize, const VECTOR: usize>(
    h: __m256i,
    block: &[u8],
) -> __m256i {
    if Term::<T, PLANE, UP, VECTOR, 4>::NEEDED_WORDS == 0 {
        return h;
    }
    let place = T::PLANES[PLANE];
    let at = 2 + place.offset;
    let plane = if T::LANES == 32 && place.width == 4 {
        load_twice(block, at)
    } else if T::LANES == 32 {
        // The plane moved up by a lane begins a byte lower. Only the first has a lane -1.
        let first = if UP > 0 && PLANE > 0 { !0xff } else { !0 };
        _mm256_and_si256(load(block, at - UP), _mm256_setr_epi64x(first, -1, -1, -1))
    } else if place.width == 4 {
        move_up_16(nibbles_twice(block, at), UP)
    } else if place.width == 2 {
        move_up_16(quarters_twice(block, at), UP)
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
