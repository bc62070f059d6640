//! NEON with dot products of bytes (FEAT_DotProd): one instruction adds four products. Same results as `scalar`.

use super::layout::Codes4;
use super::neon::*;
use super::q8::BlockQ8;
use super::row::{GROUP, dots, halves};
use crate::types::sdot::sdot;
use std::arch::aarch64::*;

dots!("neon,dotprod");
products!("neon,dotprod");

/// Adds the products of four bytes of `r` with four of `q`.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn multiply_add(sums: int32x4_t, r: uint8x16_t, q: int8x16_t) -> int32x4_t {
    sdot(sums, vreinterpretq_s8_u8(r), q)
}
