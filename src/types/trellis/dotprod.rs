//! NEON with dot products of bytes (FEAT_DotProd). Same results as `scalar`.

use super::a8::Activation;
use super::neon::*;
use crate::isa::DotProd;
use crate::simd::neon::*;
use std::arch::aarch64::*;

impl NeonLevel for DotProd {
    #[inline(always)]
    fn product<T: NeonBlock>(self, r: &[int8x16_t; 16], a: &T::Activation) -> int32x4_t {
        // SAFETY: the token proves the level.
        unsafe { product::<T>(r, a) }
    }

    #[inline(always)]
    fn decode_product<T: NeonBlock>(self, w: &T, a: &T::Activation) -> int32x4_t {
        // SAFETY: the token proves the level.
        unsafe { decode_product(w, a) }
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
