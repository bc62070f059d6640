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
#[cfg(target_arch = "aarch64")]
mod dotprod;
pub mod float16;
pub mod layout;
pub mod nearest;
#[cfg(target_arch = "aarch64")]
mod neon;
pub mod q8;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod row;
mod scalar;
mod types;
#[cfg(target_arch = "x86_64")]
mod x86;

use super::Kernels;
use crate::isa::Isa;
use layout::Codes4;
use q8::BlockQ8;
pub use types::*;

/// The kernels of a type, at the current level.
pub const fn kernels<T: Codes4>() -> Kernels {
    Kernels {
        dot_rows: |w, a, out| {
            let (w, a) = (cast(w), cast(a));
            dot_rows::<T>(Isa::current(), w, a, out);
            check("products", out, || rows(w, a).map(|w| scalar::dot(w, a)).collect());
        },
        multiply: |rows, columns, out| {
            let rows: Vec<&[T]> = rows.iter().map(|bytes| cast(bytes)).collect();
            let columns: Vec<&[BlockQ8]> = columns.iter().map(|bytes| cast(bytes)).collect();
            super::multiply_rows(&rows, &columns, out, |w, columns, out| {
                dots::<T>(Isa::current(), w, columns, out);
                check("products", out, || columns.iter().map(|a| scalar::dot(w, a)).collect());
            });
        },
        dequantize: |w, out| {
            dequantize::<T>(Isa::current(), cast(w), out);
            check("weights", out, || {
                let mut expected = vec![0.0; out.len()];
                scalar::dequantize::<T>(cast(w), &mut expected);
                expected
            });
        },
    }
}

/// With the feature `check_kernels`: that a kernel gave the bits of the definition.
///
/// # Panics
/// If it did not.
fn check(what: &str, got: &[f32], expected: impl FnOnce() -> Vec<f32>) {
    if cfg!(feature = "check_kernels") {
        for (got, expected) in got.iter().zip(expected()) {
            let same = got.to_bits() == expected.to_bits() || got.is_nan() && expected.is_nan();
            assert!(same, "{what} at {}: {got:e}, scalar {expected:e}", Isa::current().name());
        }
    }
}

/// Dot product of a row of weights and a row of activations; the same bits at every level.
///
/// # Panics
/// If the level is not available or the rows differ in length.
pub fn dot<T: Codes4>(isa: Isa, w: &[T], a: &[BlockQ8]) -> f32 {
    let mut out = [0.0];
    dots(isa, w, &[a], &mut out);
    out[0]
}

/// Dot products of rows that follow each other in `w` and one row of activations: the bits of [`dot`] for each.
///
/// # Panics
/// If the level is not available or `w` is not `out.len()` rows as long as `a`.
pub fn dot_rows<T: Codes4>(isa: Isa, w: &[T], a: &[BlockQ8], out: &mut [f32]) {
    assert!(w.len() * T::PARTS == a.len() * out.len());
    out.fill(0.0);
    for (w, out) in rows(w, a).zip(out) {
        dots(isa, w, &[a], std::slice::from_mut(out));
    }
}

/// The rows of `w`, each as long as `a`.
fn rows<'a, T: Codes4>(w: &'a [T], a: &[BlockQ8]) -> impl Iterator<Item = &'a [T]> {
    w.chunks((a.len() / T::PARTS).max(1))
}

/// Dot products of a row of weights and every column of activations: the bits of [`dot`].
///
/// # Panics
/// If the level is not available or lengths differ.
pub fn dots<T: Codes4>(isa: Isa, w: &[T], columns: &[&[BlockQ8]], out: &mut [f32]) {
    assert!(isa.is_available() && columns.len() == out.len());
    assert!(columns.iter().all(|a| a.len() == w.len() * T::PARTS));
    match isa {
        // SAFETY: the level is available.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { avx2::dots(w, columns, out) },
        // SAFETY: the level is available.
        #[cfg(target_arch = "x86_64")]
        Isa::AvxVnni => unsafe { avxvnni::dots(w, columns, out) },
        // SAFETY: the level is available.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => unsafe { avx512::dots(w, columns, out) },
        // SAFETY: the level is available.
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => unsafe { neon::dots(w, columns, out) },
        // SAFETY: the level is available.
        #[cfg(target_arch = "aarch64")]
        Isa::DotProd => unsafe { dotprod::dots(w, columns, out) },
        Isa::Scalar => {
            for (a, out) in columns.iter().zip(out) {
                *out = scalar::dot(w, a);
            }
        }
    }
}

/// Weights of a row; the same bits at every level.
///
/// # Panics
/// If the level is not available or `out` is not as long as the row.
pub fn dequantize<T: Codes4>(isa: Isa, w: &[T], out: &mut [f32]) {
    assert!(isa.is_available() && w.len() * T::LEN == out.len());
    match isa {
        // SAFETY: every level of x86 above scalar has AVX2.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 | Isa::AvxVnni | Isa::Avx512 => unsafe { avx2::dequantize(w, out) },
        // SAFETY: every level of ARM above scalar has NEON.
        #[cfg(target_arch = "aarch64")]
        Isa::Neon | Isa::DotProd => unsafe { neon::dequantize(w, out) },
        Isa::Scalar => scalar::dequantize(w, out),
    }
}

/// Activations of a row as int8, at the current level.
pub fn quantize_activations(x: &[f32], out: &mut [u8]) {
    activations(Isa::current(), x, bytemuck::cast_slice_mut(out));
    if cfg!(feature = "check_kernels") {
        let mut expected = vec![0; out.len()];
        q8::quantize(x, bytemuck::cast_slice_mut(&mut expected));
        assert!(out == expected, "activations: other bytes than scalar's");
    }
}

/// As [`quantize_activations`], at a given level; the same bits at every level.
///
/// # Panics
/// If the level is not available or `out` is not as long as the row.
pub fn activations(isa: Isa, x: &[f32], out: &mut [BlockQ8]) {
    assert!(isa.is_available() && out.len() * q8::LEN == x.len());
    match isa {
        // SAFETY: every level of x86 above scalar has AVX2.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 | Isa::AvxVnni | Isa::Avx512 => unsafe { avx2::quantize_activations(x, out) },
        // On ARM too: compilers may use NEON everywhere there.
        _ => q8::quantize(x, out),
    }
}

/// Bytes as blocks.
fn cast<B: bytemuck::Pod>(bytes: &[u8]) -> &[B] {
    bytemuck::cast_slice(bytes)
}

#[cfg(all(test, feature = "check_kernels"))]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "products at")]
    fn check_ends_the_program_at_the_sign_of_zero() {
        check("products", &[0.0], || vec![-0.0]);
    }
}
