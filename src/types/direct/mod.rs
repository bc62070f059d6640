//! Types whose weights have codes of their own, without rotation: with slots for outliers (O4, O3), or with some weights of
//! every four left out (S34, S24).
//!
//! ```text
//! weight i = d * level[code of i]     0 where it is left out
//!          + value of every slot whose index is i
//! ```
//!
//! | word | what it means here |
//! |---|---|
//! | level | what a code stands for, an integer of 7 bits; the levels of a type are fixed |
//! | slot | the index of a weight and a value that is added to it: an outlier |
//! | group | four weights in a row |
//! | pattern | which weights of a group are kept |
//! | lane | a group, as kernels see it: the same place in the vectors of four steps |
//! | step | the place of a weight in its group |
//!
//! `layout` has the blocks and `levels` what codes stand for; `scalar` is the definition and `decode` gives the same bits
//! over the `lanes` of each level; `draft` chooses codes for weights as they are, `calibrated` with error feedback; `shared` has
//! scales of several blocks.

#[cfg(feature = "converter")]
pub mod calibrated;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod decode;
mod draft;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod lanes;
pub mod layout;
pub mod levels;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
#[cfg(feature = "converter")]
mod shared;
mod types;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::isa::{Isa, Operation, dispatch};
use crate::types::trellis::a8::BlockA8;
pub use types::*;

/// Activations of a row as int8, at the current level.
pub fn quantize_activations(x: &[f32], out: &mut [u8]) {
    let out: &mut [BlockA8<256>] = bytemuck::cast_slice_mut(out);
    activations(Isa::current(), x, out);
    crate::products::check_activations(out, |expected| {
        scalar::quantize_activations(x, bytemuck::cast_slice_mut(expected));
    });
}

/// As [`quantize_activations`], at a given level; the same bits at every level.
///
/// # Panics
/// If the level is not available or `out` is not as long as the row.
pub fn activations(isa: Isa, x: &[f32], out: &mut [BlockA8<256>]) {
    assert!(out.len() * 256 == x.len(), "{} blocks do not hold {} activations", out.len(), x.len());
    dispatch(isa.compiled(), QuantizeActivations { x, out });
}

/// See [`activations`]: the compiler makes vectors of the definition.
struct QuantizeActivations<'a> {
    x: &'a [f32],
    out: &'a mut [BlockA8<256>],
}

impl<L> Operation<L> for QuantizeActivations<'_> {
    #[inline(always)]
    fn run(self, _: L) {
        scalar::quantize_activations(self.x, self.out);
    }
}
