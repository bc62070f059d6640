//! The quantizer without calibration: the largest weights of a block give its scale, and every weight gets the nearest
//! code.

use super::layout::Codes4;
use crate::types::RowQuantizer;
use std::marker::PhantomData;

/// Quantizes rows of blocks of type `T`.
struct Quantizer<T>(PhantomData<fn() -> T>);

/// A quantizer of rows of type `T`.
pub fn quantizer<T: Codes4>() -> Box<dyn RowQuantizer> {
    Box::new(Quantizer::<T>(PhantomData))
}

impl<T: Codes4> RowQuantizer for Quantizer<T> {
    fn quantize(&mut self, x: &[f32], out: &mut [u8]) {
        assert_eq!(x.len() / T::LEN * size_of::<T>(), out.len());
        quantize_row::<T>(x, bytemuck::cast_slice_mut(out));
    }
}

/// Quantizes whole blocks; values that are not finite count as zero.
fn quantize_row<T: Codes4>(x: &[f32], out: &mut [T]) {
    for (x, out) in x.chunks_exact(T::LEN).zip(out) {
        let x: Vec<f32> = x.iter().map(|&v| if v.is_finite() { v } else { 0.0 }).collect();
        *out = T::fit(&x);
        for (i, &x) in x.iter().enumerate() {
            let code = out.nearest(x);
            out.set_code(i, code);
        }
    }
}
