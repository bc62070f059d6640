//! Blocks that share a scale, and blocks some of whose slots stay empty, as a [`Making`] says.
//!
//! A group is a number of blocks, one row after the other. Its scale is the one of least squared error of the weights
//! themselves over all of its blocks, as `draft` chooses that of a single block. Each block of the file repeats it.

use super::calibrated::{Outliers, Quantizer};
use super::draft::{draft, finite, scales, with_scale};
use super::layout::*;
use crate::isa::{Isa, Operation, dispatch};
use crate::types::RowQuantizer;
use crate::types::feedback::{Makers, Making};
use std::marker::PhantomData;

/// What makes blocks of a type as a [`Making`] says.
pub const fn makers<C: Codes, const SLOTS: usize>() -> Makers {
    Makers {
        slots: SLOTS,
        scale: |weights, slots| {
            let mut code = 0;
            dispatch(
                Isa::current().compiled(),
                Choose::<C, SLOTS> { weights, slots, code: &mut code, of: PhantomData },
            );
            code
        },
        rows: |making| Box::new(Rows::<C, SLOTS> { making, of: PhantomData }),
        quantizer: |breadth, slots| {
            Box::new(Quantizer::<C, SLOTS>::new(breadth, Outliers::ByLoss).with_slots(slots))
        },
    }
}

/// Chooses the scale of a group; the same at every level.
struct Choose<'a, C, const SLOTS: usize> {
    weights: &'a [f32],
    slots: usize,
    code: &'a mut u8,
    of: PhantomData<fn() -> C>,
}

impl<L, C: Codes, const SLOTS: usize> Operation<L> for Choose<'_, C, SLOTS> {
    #[inline(always)]
    fn run(self, _: L) {
        let blocks: Vec<[f32; LEN]> = self.weights.chunks_exact(LEN).map(finite).collect();
        let mut least = f64::INFINITY;
        for code in scales::<C>(&blocks, self.slots) {
            let mut error = 0.0;
            for x in &blocks {
                error += with_scale::<C, SLOTS>(x, code, self.slots).1 as f64;
            }
            if error < least {
                (*self.code, least) = (code, error);
            }
        }
    }
}

/// Quantizes rows without calibration.
struct Rows<C, const SLOTS: usize> {
    making: Making,
    of: PhantomData<fn() -> C>,
}

impl<C: Codes, const SLOTS: usize> RowQuantizer for Rows<C, SLOTS> {
    fn quantize(&mut self, x: &[f32], out: &mut [u8]) {
        let out: &mut [Block<C, SLOTS>] = bytemuck::cast_slice_mut(out);
        assert_eq!(x.len(), out.len() * LEN);
        let slots = self.making.outliers.unwrap_or(SLOTS).min(SLOTS);
        let group = self.making.group.unwrap_or(LEN);
        for (x, out) in x.chunks(group).zip(out.chunks_mut(group / LEN)) {
            let code = self.making.group.map(|_| (makers::<C, SLOTS>().scale)(x, slots));
            dispatch(Isa::current().compiled(), Draft { x, code, slots, out });
        }
    }
}

/// Quantizes a group; the same bytes at every level.
struct Draft<'a, C, const SLOTS: usize> {
    x: &'a [f32],
    code: Option<u8>,
    slots: usize,
    out: &'a mut [Block<C, SLOTS>],
}

impl<L, C: Codes, const SLOTS: usize> Operation<L> for Draft<'_, C, SLOTS> {
    #[inline(always)]
    fn run(self, _: L) {
        for (x, out) in self.x.chunks_exact(LEN).zip(self.out) {
            let x = finite(x);
            *out = match self.code {
                Some(code) => with_scale(&x, code, self.slots).0,
                None => draft(&x, self.slots),
            };
        }
    }
}
