//! NEON with dot products of bytes (FEAT_DotProd). Same results as `scalar`.

use super::a8::Activation;
use super::neon::*;
use super::row::{GROUP, Rows, dot_products, prefetch_after};
use super::scale;
use super::tile::{self, tile_products};
use crate::types::sdot::sdot;
use std::arch::aarch64::*;

dot_products!("neon,dotprod", Neon, int32x4_t);
tile_products!("neon,dotprod", Neon, int32x4_t, 8);

/// Lanes whose sum is the sum of `r * q` of a decoded block.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn product<T: Neon>(r: &[int8x16_t; 16], a: &T::Activation) -> int32x4_t {
    let mut product = vdupq_n_s32(0);
    for (i, &r) in r[..T::LEN / 16].iter().enumerate() {
        let q = vreinterpretq_s32_s8(load_quants(a.qs(), 16 * i));
        product = multiply_add(product, vreinterpretq_s32_s8(r), q);
    }
    product
}

/// Adds the products of four bytes of `r` with four of `q`.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn multiply_add(sum: int32x4_t, r: int32x4_t, q: int32x4_t) -> int32x4_t {
    sdot(sum, vreinterpretq_s8_s32(r), vreinterpretq_s8_s32(q))
}
