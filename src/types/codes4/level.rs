//! Codes of 4 bits at a level, 64 of them at a time: [`Level4`] is what a level's file has, and the decoders of all types
//! are made of it here.
//!
//! The definition keeps eight sums apart until the end of a row. The matrix product with tiles of rows adds across
//! blocks in another order, so that these types take rows one by one, also with many columns.

use super::layout::{Block, Codes4};
use super::q8::BlockQ8;
use crate::products::{Decoder, Sum};

/// What a level does with 64 codes.
pub trait Level4: Copy {
    /// 64 codes, a byte each.
    type Codes: Copy;
    /// Eight sums of products.
    type Sums: Copy;
    /// The eight totals of a row.
    type Totals: Sum<Self>;

    /// The codes of a block, 64 at a time; of a block of 64, twice the same.
    fn codes<T: Codes4>(self, w: &T) -> [Self::Codes; 2];

    /// The sums of the products of 64 integers and quants, less `zero` times the sum of the quants.
    fn product<T: Codes4>(self, codes: Self::Codes, a: &BlockQ8, zero: i32) -> Self::Sums;

    /// Adds `scale * sums` to totals, lane by lane.
    fn add_scaled(self, totals: Self::Totals, scale: f32, sums: Self::Sums) -> Self::Totals;

    /// Writes the weights of some blocks.
    fn dequantize<T: Codes4>(self, w: &[T], out: &mut [f32]);
}

impl<L: Level4, S, const BYTES: usize> Decoder<L> for Block<S, BYTES>
where
    Self: Codes4,
{
    const GROUPS: bool = false;
    type Decoded = [L::Codes; 2];
    /// Of each 64 weights.
    type Lanes = [L::Sums; 2];
    /// Scale and sums of each 64 weights.
    type Term = [(f32, L::Sums); 2];
    type Sum = L::Totals;

    #[inline(always)]
    fn decode(level: L, w: &Self) -> [L::Codes; 2] {
        level.codes(w)
    }

    #[inline(always)]
    fn product(level: L, w: &Self, codes: &[L::Codes; 2], a: &Self::Activations) -> [L::Sums; 2] {
        let a = a.as_ref();
        let first = level.product::<Self>(codes[0], &a[0], w.zero());
        if Self::PARTS == 1 { [first; 2] } else { [first, level.product::<Self>(codes[1], &a[1], w.zero())] }
    }

    #[inline(always)]
    fn term(_: L, w: &Self, a: &Self::Activations, sums: [L::Sums; 2]) -> [(f32, L::Sums); 2] {
        let (a, unit) = (a.as_ref(), w.unit());
        [(unit * a[0].d, sums[0]), (unit * a[Self::PARTS - 1].d, sums[1])]
    }

    #[inline(always)]
    fn add(level: L, totals: L::Totals, terms: [(f32, L::Sums); 2]) -> L::Totals {
        terms[..Self::PARTS]
            .iter()
            .fold(totals, |totals, &(scale, sums)| level.add_scaled(totals, scale, sums))
    }

    #[inline(always)]
    fn dequantize(level: L, w: &[Self], out: &mut [f32]) {
        level.dequantize(w, out);
    }
}
