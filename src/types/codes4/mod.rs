//! Types whose weights are codes of 4 bits under a scale, without rotation. They take weights that another library has
//! quantized without loss: G4_128 those of GPTQ, AWQ and compressed-tensors, NF4_64 those of bitsandbytes.
//!
//! A product with int8 activations is a sum of small integers:
//!
//! ```text
//! G4_128   weight = d * (code - zero)         integer = code - zero
//! NF4_64   weight = d * value[code]           integer = value[code] * 8191, rounded
//! ```
//!
//! `layout` has the blocks, `scalar` is the definition and the other kernels give the same bits; `nearest` quantizes
//! weights that come as floats.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avxvnni;
#[cfg(feature = "converter")]
pub mod calibrated;
pub mod float16;
pub mod layout;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod level;
pub mod nearest;
#[cfg(target_arch = "aarch64")]
mod neon;
pub mod q8;
mod scalar;
mod types;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::isa::{Isa, Operation, dispatch};
use layout::Codes4;
use q8::BlockQ8;
pub use types::*;

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
/// The low and the high seven bits of the integers of a type.
const fn halves<T: Codes4>() -> ([u8; 16], [u8; 16]) {
    let (mut low, mut high) = ([0; 16], [0; 16]);
    let mut code = 0;
    while code < 16 {
        low[code] = (T::INTEGERS[code] & 127) as u8;
        high[code] = (T::INTEGERS[code] >> 7) as u8;
        code += 1;
    }
    (low, high)
}

/// Activations of a row as int8, at the current level.
pub fn quantize_activations(x: &[f32], out: &mut [u8]) {
    let out: &mut [BlockQ8] = bytemuck::cast_slice_mut(out);
    activations(Isa::current(), x, out);
    crate::products::check_activations(out, |expected| q8::quantize(x, bytemuck::cast_slice_mut(expected)));
}

/// As [`quantize_activations`], at a given level; the same bits at every level.
///
/// # Panics
/// If the level is not available or `out` is not as long as the row.
pub fn activations(isa: Isa, x: &[f32], out: &mut [BlockQ8]) {
    assert!(out.len() * q8::LEN == x.len(), "{} blocks do not hold {} activations", out.len(), x.len());
    dispatch(isa.compiled(), QuantizeActivations { x, out });
}

/// See [`activations`]: the compiler makes vectors of the definition.
struct QuantizeActivations<'a> {
    x: &'a [f32],
    out: &'a mut [BlockQ8],
}

impl<L> Operation<L> for QuantizeActivations<'_> {
    #[inline(always)]
    fn run(self, _: L) {
        q8::quantize(self.x, self.out);
    }
}
