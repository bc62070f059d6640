//! The dot product of bytes of ARM (FEAT_DotProd), which stable Rust does not have yet as `vdotq_s32`.

use std::arch::{aarch64::*, asm};

/// Adds the products of four bytes of `r` with four of `q` to each lane of `sums`.
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub fn sdot(mut sums: int32x4_t, r: int8x16_t, q: int8x16_t) -> int32x4_t {
    // SAFETY: this function requires the instruction; it reads and writes only these registers.
    unsafe {
        asm!(
            "sdot {sums:v}.4s, {r:v}.16b, {q:v}.16b",
            sums = inout(vreg) sums,
            r = in(vreg) r,
            q = in(vreg) q,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}
