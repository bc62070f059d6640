//! The trellis types: T2, T25, T3, T35, T4 and T5 in blocks of 256, and the same with _64 in blocks of 64.
//!
//! Trellis-coded quantization after a Hadamard rotation. Every weight costs k bits (the half rates alternate between two
//! numbers of bits), but its value depends on
//! a window of 15 or 16 bits: its own symbol and those before it. Among the 2^(k N) sequences the
//! search finds the one nearest to the block, which comes close to the rate-distortion bound, and a decoder
//! needs a few byte shuffles and XORs per weight.
//!
//! ```text
//! decode a block:
//!     window = history
//!     for each symbol s:
//!         window = window << k | s
//!         r = v0[h & 15] + v1[h >> 4] - 64            h = XOR of the columns of the window's bits
//!     w = d * inverse rotation of r
//! ```
//!
//! | word | what it means here |
//! |---|---|
//! | symbol | the k bits that a weight costs |
//! | history | the symbols before the first of a block, in a byte |
//! | window | the last symbols up to a weight's own, 15 or 16 bits, newest lowest |
//! | column | the byte that a bit of the window XORs into the hash |
//! | hash | the byte that says what a window reconstructs to |
//! | lane | some symbols of a block in a row, 8 or 4; a kernel has them in one lane of its vectors |
//! | step | the symbols at one place of all lanes; in the search, one weight |
//! | plane | 8, 4 or 2 bits for each lane, with the symbols of some of its steps |
//! | carry | what the last symbols of a lane add to the hashes of the first steps of the next lane |
//! | chunk | 16 weights in a row, between which the search hands errors on |
//! | band | the rows of a matrix that a thread quantizes together |
//!
//! `code` has the constants, `layout` the places of the symbols, `rotation` and `scale` the rest of the
//! format; `a8` are the activations; `scalar` is the definition and the other kernels give the same bits;
//! `search` quantizes.

pub mod a8;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avxvnni;
pub mod code;
#[cfg(target_arch = "aarch64")]
mod dotprod;
#[cfg(target_arch = "x86_64")]
mod gfni;
pub mod layout;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "aarch64")]
mod neon_rotation;
pub mod rotation;
pub mod scalar;
pub mod scale;
pub mod search;
mod types;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::isa::{Isa, Operation, dispatch};
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use crate::products::prompts::{Quants, WORDS};
use crate::products::{AtEveryLevel, Definition};
use a8::Activation;
use layout::{Block, Trellis};
pub use types::*;

/// A trellis type with a decoder for every level.
pub trait Decode: Trellis + AtEveryLevel + Definition<Activations = <Self as Trellis>::Activation> {}
impl<T> Decode for T where T: Trellis + AtEveryLevel + Definition<Activations = <T as Trellis>::Activation> {}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
impl<const PLANES: usize> Quants for Block<PLANES>
where
    Self: Trellis,
{
    #[inline(always)]
    fn scale(w: &Self) -> f32 {
        scale::decode(w.d)
    }

    #[inline(always)]
    fn column_scale(a: &Self::Activations) -> f32 {
        a.d()
    }

    #[inline(always)]
    fn words(a: &Self::Activations) -> &[[i32; WORDS]] {
        bytemuck::cast_slice(a.qs())
    }
}

/// Rotated and quantized activations of a row, for weights of type `T`, at the current level.
pub fn quantize_activations<T: Trellis>(x: &[f32], out: &mut [u8]) {
    let out: &mut [T::Activation] = bytemuck::cast_slice_mut(out);
    activations::<T>(Isa::current(), x, out);
    crate::products::check_activations(out, |expected| {
        scalar::quantize_activations::<T>(x, bytemuck::cast_slice_mut(expected));
    });
}

/// As [`quantize_activations`], at a given level; the same bits at every level.
///
/// # Panics
/// If the level is not available or `out` is not as long as the row.
pub fn activations<T: Trellis>(isa: Isa, x: &[f32], out: &mut [T::Activation]) {
    assert!(out.len() * T::LEN == x.len(), "{} blocks do not hold {} activations", out.len(), x.len());
    dispatch(isa.compiled(), QuantizeActivations::<T> { x, out });
}

/// See [`activations`]: the compiler makes vectors of the definition.
struct QuantizeActivations<'a, T: Trellis> {
    x: &'a [f32],
    out: &'a mut [T::Activation],
}

impl<T: Trellis, L> Operation<L> for QuantizeActivations<'_, T> {
    #[inline(always)]
    fn run(self, _: L) {
        scalar::quantize_activations::<T>(self.x, self.out);
    }
}
