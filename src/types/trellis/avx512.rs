//! AVX-512 with VBMI, VNNI and GFNI. Same results as `scalar`.
//!
//! A 512-bit vector is two steps of 32 lanes or all four steps of 16. Planes are broadcast
//! and each step's part of the vector has its own matrices. Matrix products, byte permutations and
//! broadcasts share two ports on Zen 5, so that a plane for the lower half alone is not broadcast.

use super::a8::Activation;
use super::gfni::{Term, hash};
use super::layout::*;
use super::scale;
use super::x86::*;
use crate::isa::Avx512;
use crate::products::prompts;
use crate::products::{Columns, GROUP, Matrix, Results};
use crate::simd::x86::*;
use std::arch::x86_64::*;

impl<const PLANES: usize> X86Level<Block<PLANES>> for Avx512
where
    Block<PLANES>: Trellis,
{
    type Decoded = [__m512i; 4];
    type Lanes = __m512i;

    #[inline(always)]
    fn decode(self, w: &Block<PLANES>) -> [__m512i; 4] {
        // SAFETY: the token proves the level.
        unsafe { decode(w) }
    }

    #[inline(always)]
    fn product(self, r: &[__m512i; 4], a: &<Block<PLANES> as Trellis>::Activation) -> __m512i {
        // SAFETY: the token proves the level.
        unsafe { product::<Block<PLANES>>(r, a) }
    }

    #[inline(always)]
    fn decode_product(self, w: &Block<PLANES>, a: &<Block<PLANES> as Trellis>::Activation) -> __m512i {
        // SAFETY: the token proves the level.
        unsafe { decode_product(w, a) }
    }

    #[inline(always)]
    fn sum(self, lanes: __m512i) -> i32 {
        // SAFETY: the token proves the level.
        unsafe { sum_lanes_512(lanes) }
    }

    #[inline(always)]
    fn sum_group(self, lanes: [__m512i; GROUP]) -> __m128i {
        // SAFETY: the token proves the level.
        unsafe { sum_lanes_group_512(lanes) }
    }

    #[inline(always)]
    fn multiply_many(self, rows: Matrix, columns: Columns, out: &mut Results) {
        prompts::multiply::<Avx512, Block<PLANES>, 32, 8>(self, rows, columns, out);
    }

    #[inline(always)]
    fn dequantize(self, w: &[Block<PLANES>], out: &mut [f32]) {
        // SAFETY: the token proves the level.
        unsafe { dequantize(w, out) }
    }
}

/// Lanes whose sum is the sum of `r * q`, without the zero point, of a decoded block.
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni,gfni")]
fn product<T: Trellis>(r: &[__m512i; 4], a: &T::Activation) -> __m512i {
    let quants = bytemuck::cast_slice(a.qs());
    let mut product = _mm512_setzero_si512();
    for (t, &r) in r[..T::LEN / 64].iter().enumerate() {
        product = _mm512_dpbusd_epi32(product, r, load_512(quants, 64 * t));
    }
    product
}

/// The product of a block that is decoded for it. The compiler decides whether to inline this function: where it was
/// inlined by hand, T3 was 15 % slower.
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni,gfni")]
fn decode_product<T: Trellis>(w: &T, a: &T::Activation) -> __m512i {
    product::<T>(&decode(w), a)
}

/// Same result as `scalar::dequantize`.
#[target_feature(enable = "avx2,fma,bmi1,bmi2,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni,gfni")]
fn dequantize<T: Trellis>(w: &[T], out: &mut [f32]) {
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
    r[0] = value::<T>(hash!(hash_term, T, 0, block, zero));
    if T::LEN == 256 {
        r[1] = value::<T>(hash!(hash_term, T, 1, block, zero));
        r[2] = value::<T>(hash!(hash_term, T, 2, block, zero));
        r[3] = value::<T>(hash!(hash_term, T, 3, block, zero));
    }
    r
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512vbmi,gfni")]
fn hash_term<T: Trellis, const PLANE: usize, const UP: usize, const VECTOR: usize>(
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
    let plane = if place.width == 4 && T::LANES == 32 {
        _mm512_broadcast_i32x4(load_128(block, at))
    } else if place.width == 4 {
        spread_nibbles(block, at + UP, UP)
    } else if place.width == 2 {
        move_up_16(quarters(block, at + UP), UP)
    } else if T::LANES == 16 {
        _mm512_broadcast_i32x4(load_128(block, at))
    } else if needed_words <= 4 {
        _mm512_zextsi256_si512(load(block, at))
    } else {
        _mm512_broadcast_i64x4(load(block, at))
    };
    // The mask leaves out the bytes before the plane.
    let lanes = Term::<T, PLANE, UP, VECTOR, 8>::LANES;
    let matrices = bytemuck::cast(Term::<T, PLANE, UP, VECTOR, 8>::MATRICES);
    _mm512_xor_si512(h, _mm512_maskz_gf2p8affine_epi64_epi8::<0>(lanes, plane, matrices))
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

/// The 16 pairs of bits at `bytes[at..at + 4]`, a byte each (high bits not cleared), four times.
#[inline]
#[target_feature(enable = "avx512f")]
fn quarters(bytes: &[u8], at: usize) -> __m512i {
    let bytes: [u8; 4] = bytes[at..at + 4].try_into().expect("4 bytes");
    let shifts = _mm512_broadcast_i32x4(_mm_setr_epi32(0, 2, 4, 6));
    _mm512_srlv_epi32(_mm512_set1_epi32(i32::from_le_bytes(bytes)), shifts)
}

/// Every byte moved up by some of 16 lanes in all quarters; zeros enter.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn move_up_16(v: __m512i, lanes: usize) -> __m512i {
    match lanes {
        0 => v,
        1 => _mm512_bslli_epi128::<1>(v),
        _ => _mm512_bslli_epi128::<2>(v),
    }
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
