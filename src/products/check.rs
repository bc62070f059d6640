//! Every result again by the definition. Without the feature `check_kernels` these functions do nothing.

use super::{Columns, Definition, Matrix, Results};
use crate::isa::Isa;
use bytemuck::NoUninit;

/// Ends the program unless the products of rows have the bits of the definition.
pub fn dot_rows<D: Definition>(w: &[D], a: &[D::Activations], out: &[f32]) {
    for (r, got) in checked(out).iter().enumerate() {
        let mut expected = 0.0;
        D::dots(&w[r * a.len()..][..a.len()], &[a], std::slice::from_mut(&mut expected));
        same_bits::<D>("dot product", *got, expected);
    }
}

/// Ends the program unless a matrix product has the bits of the definition.
pub fn multiply<D: Definition>(rows: Matrix, columns: Columns, out: &mut Results) {
    if !cfg!(feature = "check_kernels") {
        return;
    }
    let columns: Vec<&[D::Activations]> = columns.iter().collect();
    let mut expected = vec![0.0; columns.len()];
    for r in 0..rows.rows() {
        D::dots(rows.row(r), &columns, &mut expected);
        for (c, expected) in expected.iter().enumerate() {
            same_bits::<D>("matrix product", out.column(c)[r], *expected);
        }
    }
}

/// Ends the program unless activations are quantized to the bytes of the definition.
///
/// # Panics
/// If they are not.
pub fn activations<A: NoUninit>(got: &[A], expected: impl FnOnce(&mut [u8])) {
    if cfg!(feature = "check_kernels") {
        let got: &[u8] = bytemuck::cast_slice(got);
        let mut bytes = vec![0; got.len()];
        expected(&mut bytes);
        assert!(got == bytes, "activations at {}: other bytes than scalar's", Isa::current().name());
    }
}

/// Ends the program unless weights have the bits of the definition.
pub fn dequantize<D: Definition>(w: &[D], out: &[f32]) {
    for (w, got) in w.iter().zip(checked(out).chunks_exact(D::WEIGHTS)) {
        let mut expected = vec![0.0; D::WEIGHTS];
        D::dequantize(std::slice::from_ref(w), &mut expected);
        for (got, expected) in got.iter().zip(expected) {
            same_bits::<D>("weight", *got, expected);
        }
    }
}

/// What is to be checked: all of it, or nothing without the feature.
fn checked(results: &[f32]) -> &[f32] {
    if cfg!(feature = "check_kernels") { results } else { &[] }
}

/// Compares bits. Any NaN is taken for another: the payload is what the processor makes it.
///
/// # Panics
/// If they differ.
fn same_bits<D: Definition>(what: &str, got: f32, expected: f32) {
    let same = got.to_bits() == expected.to_bits() || got.is_nan() && expected.is_nan();
    assert!(
        same,
        "{what} of {} at {}: {got:e}, scalar {expected:e}",
        std::any::type_name::<D>(),
        Isa::current().name()
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::trellis::layout::BlockT3;

    #[test]
    #[should_panic(expected = "dot product of")]
    fn one_bit_ends_the_program() {
        same_bits::<BlockT3>("dot product", 2.0, 2.0_f32.next_up());
    }

    #[test]
    #[should_panic(expected = "dot product of")]
    fn the_sign_of_zero_ends_the_program() {
        same_bits::<BlockT3>("dot product", 0.0, -0.0);
    }

    #[test]
    fn any_nan_is_taken_for_another() {
        same_bits::<BlockT3>("dot product", f32::NAN, -f32::NAN);
    }

    #[test]
    fn everything_is_checked_with_the_feature_only() {
        let checks = cfg!(feature = "check_kernels");
        assert_eq!(checked(&[1.0]).len(), checks as usize);
    }
}
