//! NEON with dot products of bytes (FEAT_DotProd). Same results as `scalar`.

use super::a8::Activation;
use super::layout::*;
use super::neon::*;
use crate::isa::DotProd;
use crate::products::prompts::{self, DecodeQuants};
use crate::products::{Columns, Decoder, GROUP, Matrix, Results};
use crate::simd::neon::*;
use std::arch::aarch64::*;

impl<const PLANES: usize> Decoder<DotProd> for Block<PLANES>
where
    Self: NeonBlock,
{
    const GROUPS: bool = true;
    type Decoded = [int8x16_t; 16];
    type Lanes = int32x4_t;
    type Term = f32;
    type Sum = f32;

    #[inline(always)]
    fn decode(_: DotProd, w: &Self) -> [int8x16_t; 16] {
        // SAFETY: the token proves the level.
        unsafe { decode(w) }
    }

    #[inline(always)]
    fn product(_: DotProd, _: &Self, r: &[int8x16_t; 16], a: &Self::Activations) -> int32x4_t {
        // SAFETY: the token proves the level.
        unsafe { product::<Self>(r, a) }
    }

    #[inline(always)]
    fn decode_product(_: DotProd, w: &Self, a: &Self::Activations) -> int32x4_t {
        // SAFETY: the token proves the level.
        unsafe { decode_product(w, a) }
    }

    #[inline(always)]
    fn term(_: DotProd, w: &Self, a: &Self::Activations, lanes: int32x4_t) -> f32 {
        // SAFETY: the token proves the level.
        term(w, a, unsafe { sum_lanes(lanes) })
    }

    #[inline(always)]
    fn terms(
        _: DotProd,
        w: &[Self; GROUP],
        a: [&Self::Activations; GROUP],
        lanes: [int32x4_t; GROUP],
    ) -> [f32; GROUP] {
        // SAFETY: the token proves the level.
        unsafe { terms(w, a, sum_lanes_group(lanes)) }
    }

    #[inline(always)]
    fn add(_: DotProd, sum: f32, term: f32) -> f32 {
        sum + term
    }

    #[inline(always)]
    fn multiply_many(level: DotProd, rows: Matrix, columns: Columns, out: &mut Results) {
        prompts::multiply::<DotProd, Self, 8, 8>(level, rows, columns, out);
    }

    #[inline(always)]
    fn dequantize(_: DotProd, w: &[Self], out: &mut [f32]) {
        // SAFETY: the token proves the level.
        unsafe { dequantize(w, out) }
    }
}

impl<const PLANES: usize> DecodeQuants<DotProd> for Block<PLANES>
where
    Self: NeonBlock,
{
    #[inline(always)]
    fn quants(level: DotProd, w: &Self) -> [u8; MAX_LEN] {
        bytemuck::cast(<Self as Decoder<DotProd>>::decode(level, w))
    }

    #[inline(always)]
    fn start(_: &Self::Activations) -> i32 {
        0
    }
}

/// Lanes whose sum is the sum of `r * q` of a decoded block.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn product<T: NeonBlock>(r: &[int8x16_t; 16], a: &T::Activation) -> int32x4_t {
    let mut product = vdupq_n_s32(0);
    for (i, &r) in r[..T::LEN / 16].iter().enumerate() {
        product = sdot(product, r, load_quants(a.qs(), 16 * i));
    }
    product
}

/// The product of a block that is decoded for it.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn decode_product<T: NeonBlock>(w: &T, a: &T::Activation) -> int32x4_t {
    product::<T>(&decode(w), a)
}
