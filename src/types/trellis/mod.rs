//! The trellis types: T2, T3 and T4 in blocks of 256, T2_64, T3_64 and T4_64 in blocks of 64.
//!
//! Trellis-coded quantization after a Hadamard rotation. Every weight costs k bits, but its value depends on
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
//! | plane | a byte or a nibble for each lane, with the symbols of some of its steps |
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
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod row;
mod scalar;
pub mod scale;
pub mod search;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod tile;
mod types;
#[cfg(target_arch = "x86_64")]
mod x86;

use super::Kernels;
use crate::isa::Isa;
use layout::Trellis;
pub use types::*;

/// A trellis type with kernels for every level.
#[cfg(target_arch = "x86_64")]
pub trait Decode: avx2::Avx2 {}
#[cfg(target_arch = "x86_64")]
impl<T: avx2::Avx2> Decode for T {}

/// A trellis type with kernels for every level.
#[cfg(target_arch = "aarch64")]
pub trait Decode: neon::Neon {}
#[cfg(target_arch = "aarch64")]
impl<T: neon::Neon> Decode for T {}

/// A trellis type with kernels for every level.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub trait Decode: Trellis {}
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
impl<T: Trellis> Decode for T {}

/// The kernels of a type, at the current level.
pub const fn kernels<T: Decode>() -> Kernels {
    Kernels {
        dot_rows: |w, a, out| {
            let (w, a) = (cast(w), cast(a));
            dot_rows::<T>(Isa::current(), w, a, out);
            check::<T>("dot", out, || {
                let mut expected = vec![0.0; out.len()];
                scalar::dot_rows(w, a, &mut expected);
                expected
            });
        },
        multiply: |rows, columns, out| {
            let rows: Vec<&[T]> = rows.iter().map(|bytes| cast(bytes)).collect();
            let columns: Vec<&[T::Activation]> = columns.iter().map(|bytes| cast(bytes)).collect();
            multiply(Isa::current(), &rows, &columns, out);
            for (r, w) in rows.iter().enumerate().filter(|_| cfg!(feature = "check_kernels")) {
                let products: Vec<f32> = out.iter().map(|out| out[r]).collect();
                check::<T>("matrix product", &products, || {
                    let mut expected = vec![0.0; columns.len()];
                    scalar::dots(w, &columns, &mut expected);
                    expected
                });
            }
        },
        dequantize: |w, out| {
            dequantize::<T>(Isa::current(), cast(w), out);
            check::<T>("weights", out, || {
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
fn check<T: Trellis>(what: &str, got: &[f32], expected: impl FnOnce() -> Vec<f32>) {
    if cfg!(feature = "check_kernels") {
        for (i, (got, expected)) in got.iter().zip(expected()).enumerate() {
            let same = got.to_bits() == expected.to_bits() || got.is_nan() && expected.is_nan();
            assert!(
                same,
                "{what} {i} of {} bits at {}: {got:e}, scalar {expected:e}",
                T::CODE.bits,
                Isa::current().name()
            );
        }
    }
}

/// Dot product of a row of weights and a row of activations; the same bits at every level.
///
/// # Panics
/// If the level is not available or the rows differ in length.
pub fn dot<T: Decode>(isa: Isa, w: &[T], a: &[T::Activation]) -> f32 {
    let mut out = 0.0;
    dot_rows(isa, w, a, std::slice::from_mut(&mut out));
    out
}

/// Dot products of rows that follow each other in `w` and one row of activations: the bits of [`dot`] for each.
///
/// # Panics
/// If the level is not available or `w` is not `out.len()` rows as long as `a`.
pub fn dot_rows<T: Decode>(isa: Isa, w: &[T], a: &[T::Activation], out: &mut [f32]) {
    assert!(isa.is_available() && w.len() == a.len() * out.len());
    out.fill(0.0);
    match isa {
        Isa::Scalar => scalar::dot_rows(w, a, out),
        // SAFETY: the level is available.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { avx2::dot_rows(w, a, out) },
        // SAFETY: the level is available.
        #[cfg(target_arch = "x86_64")]
        Isa::AvxVnni => unsafe { avxvnni::dot_rows(w, a, out) },
        // SAFETY: the level is available.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => unsafe { avx512::dot_rows(w, a, out) },
        // SAFETY: the level is available.
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => unsafe { neon::dot_rows(w, a, out) },
        // SAFETY: the level is available.
        #[cfg(target_arch = "aarch64")]
        Isa::DotProd => unsafe { dotprod::dot_rows(w, a, out) },
    }
}

/// Fewer columns than these take each row as it comes.
const MANY_COLUMNS: usize = 6;

/// Products of rows of weights and columns of activations: `out[c][r]` has the bits of [`dot`] of row `r` and
/// column `c`, but each block is decoded only once.
///
/// # Panics
/// If the level is not available or lengths differ.
pub fn multiply<T: Decode>(isa: Isa, rows: &[&[T]], columns: &[&[T::Activation]], out: &mut [&mut [f32]]) {
    let blocks = rows.first().map_or(0, |row| row.len());
    assert!(isa.is_available() && columns.len() == out.len());
    assert!(rows.iter().all(|w| w.len() == blocks) && columns.iter().all(|a| a.len() == blocks));
    assert!(out.iter().all(|out| out.len() == rows.len()));
    if blocks == 0 {
        return out.iter_mut().for_each(|out| out.fill(0.0));
    }
    if columns.len() < MANY_COLUMNS || isa == Isa::Scalar {
        return super::multiply_rows(rows, columns, out, |w, columns, out| dots(isa, w, columns, out));
    }
    match isa {
        // SAFETY: the level is available.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { avx2::multiply(rows, columns, out) },
        // SAFETY: the level is available.
        #[cfg(target_arch = "x86_64")]
        Isa::AvxVnni => unsafe { avxvnni::multiply(rows, columns, out) },
        // SAFETY: the level is available.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => unsafe { avx512::multiply(rows, columns, out) },
        // SAFETY: the level is available.
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => unsafe { neon::multiply(rows, columns, out) },
        // SAFETY: the level is available.
        #[cfg(target_arch = "aarch64")]
        Isa::DotProd => unsafe { dotprod::multiply(rows, columns, out) },
        Isa::Scalar => unreachable!("row by row"),
    }
}

/// Dot products of a row of weights and every column: each block is decoded only once.
fn dots<T: Decode>(isa: Isa, w: &[T], columns: &[&[T::Activation]], out: &mut [f32]) {
    match isa {
        Isa::Scalar => scalar::dots(w, columns, out),
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
    }
}

/// Weights of a row; the same bits at every level.
///
/// # Panics
/// If the level is not available or `out` is not as long as the row.
pub fn dequantize<T: Decode>(isa: Isa, w: &[T], out: &mut [f32]) {
    assert!(isa.is_available() && w.len() * T::LEN == out.len());
    match isa {
        Isa::Scalar => scalar::dequantize(w, out),
        // SAFETY: the level is available.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { avx2::dequantize(w, out) },
        // SAFETY: the level is available.
        #[cfg(target_arch = "x86_64")]
        Isa::AvxVnni => unsafe { avxvnni::dequantize(w, out) },
        // SAFETY: the level is available.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => unsafe { avx512::dequantize(w, out) },
        // SAFETY: the level is available.
        #[cfg(target_arch = "aarch64")]
        Isa::Neon | Isa::DotProd => unsafe { neon::dequantize(w, out) },
    }
}

/// Rotated and quantized activations of a row, for weights of type `T`, at the current level.
pub fn quantize_activations<T: Decode>(x: &[f32], out: &mut [u8]) {
    activations::<T>(Isa::current(), x, bytemuck::cast_slice_mut(out));
    if cfg!(feature = "check_kernels") {
        let mut expected = vec![0; out.len()];
        scalar::quantize_activations::<T>(x, bytemuck::cast_slice_mut(&mut expected));
        assert!(out == expected, "activations of {} weights: other bytes than scalar's", T::LEN);
    }
}

/// As [`quantize_activations`], at a given level; the same bits at every level.
///
/// # Panics
/// If the level is not available or `out` is not as long as the row.
pub fn activations<T: Decode>(isa: Isa, x: &[f32], out: &mut [T::Activation]) {
    assert!(isa.is_available() && out.len() * T::LEN == x.len());
    match isa {
        Isa::Scalar => scalar::quantize_activations::<T>(x, out),
        // SAFETY: every level above scalar has AVX2.
        #[cfg(target_arch = "x86_64")]
        _ => unsafe { avx2::quantize_activations::<T>(x, out) },
        // SAFETY: every level above scalar has NEON.
        #[cfg(target_arch = "aarch64")]
        _ => unsafe { neon::quantize_activations::<T>(x, out) },
    }
}

/// Bytes as blocks.
fn cast<B: bytemuck::Pod>(bytes: &[u8]) -> &[B] {
    bytemuck::cast_slice(bytes)
}

#[cfg(all(test, feature = "check_kernels"))]
mod tests {
    use super::layout::BlockT3;
    use super::*;

    #[test]
    #[should_panic(expected = "dot 1 of 3 bits")]
    fn check_ends_the_program_at_one_bit() {
        check::<BlockT3>("dot", &[1.0, 2.0], || vec![1.0, 2.0_f32.next_up()]);
    }

    #[test]
    fn check_takes_any_nan_for_another() {
        check::<BlockT3>("dot", &[f32::NAN, -0.0], || vec![-f32::NAN, -0.0]);
    }
}
