//! NEON with dot products of bytes (FEAT_DotProd): one instruction adds four products. Same results as `scalar`.

use super::layout::Codes4;
use super::level::Level4;
use super::neon::*;
use super::q8::BlockQ8;
use crate::isa::DotProd;
use std::arch::aarch64::*;

impl Level4 for DotProd {
    type Codes = [uint8x16_t; 4];
    type Sums = Sums;
    type Totals = Totals;

    #[inline(always)]
    fn codes<T: Codes4>(self, w: &T) -> [[uint8x16_t; 4]; 2] {
        // SAFETY: the token proves the level.
        unsafe { codes(w) }
    }

    #[inline(always)]
    fn product<T: Codes4>(self, codes: [uint8x16_t; 4], a: &BlockQ8, zero: i32) -> Sums {
        sums::<DotProd, T>(self, codes, a, zero)
    }

    #[inline(always)]
    fn add_scaled(self, totals: Totals, scale: f32, sums: Sums) -> Totals {
        // SAFETY: the token proves the level.
        unsafe { add_scaled(totals, scale, sums) }
    }

    #[inline(always)]
    fn dequantize<T: Codes4>(self, w: &[T], out: &mut [f32]) {
        // SAFETY: every level of ARM above scalar has NEON.
        unsafe { dequantize(w, out) }
    }
}
