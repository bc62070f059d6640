//! One row with a few columns: each block is decoded once for all of them.

use super::{Columns, Decoder, GROUP, Matrix, Results, Sum};

/// Columns that a row is multiplied with while it is decoded.
const TOGETHER: usize = 16;

/// Columns whose sums stay in registers where a sum is a vector.
const IN_REGISTERS: usize = 4;

/// Multiplies row after row.
#[inline(always)]
pub fn multiply_rows<L: Copy, D: Decoder<L>>(level: L, rows: Matrix, columns: Columns, out: &mut Results) {
    for first in (0..columns.len()).step_by(TOGETHER) {
        let n = TOGETHER.min(columns.len() - first);
        let mut together: [&[D::Activations]; TOGETHER] = [&[]; TOGETHER];
        for (c, column) in together[..n].iter_mut().enumerate() {
            *column = columns.column(first + c);
        }
        let mut products = [0.0; TOGETHER];
        for r in 0..rows.rows() {
            dots::<L, D>(level, rows.row(r), &together[..n], &mut products[..n]);
            for (c, product) in products[..n].iter().enumerate() {
                out.column(first + c)[r] = *product;
            }
        }
    }
}

/// The dot products of a row with at most [`TOGETHER`] columns.
#[inline(always)]
fn dots<L: Copy, D: Decoder<L>>(level: L, w: &[D], columns: &[&[D::Activations]], out: &mut [f32]) {
    if D::GROUPS {
        return dots_by_group::<L, D>(level, w, columns, out);
    }
    let (columns, rest) = columns.as_chunks::<IN_REGISTERS>();
    let (out, rest_out) = out.as_chunks_mut::<IN_REGISTERS>();
    for (columns, out) in columns.iter().zip(out) {
        dots_by_block(level, w, columns, out);
    }
    for (column, out) in rest.iter().zip(rest_out) {
        dots_by_block(level, w, &[*column], std::array::from_mut(out));
    }
}

/// The dot products of a row with `N` columns, one block after the other.
#[inline(always)]
pub fn dots_by_block<L: Copy, D: Decoder<L>, const N: usize>(
    level: L,
    w: &[D],
    columns: &[&[D::Activations]; N],
    out: &mut [f32; N],
) {
    let mut sums = [D::Sum::zero(level); N];
    for (b, w) in w.iter().enumerate() {
        let r = D::decode(level, w);
        for (sum, a) in sums.iter_mut().zip(columns) {
            let lanes = D::product(level, w, &r, &a[b]);
            *sum = D::add(level, *sum, D::term(level, w, &a[b], lanes));
        }
    }
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = sum.total(level);
    }
}

/// The dot products of a row with at most [`TOGETHER`] columns, in groups of blocks.
#[inline(always)]
fn dots_by_group<L: Copy, D: Decoder<L>>(level: L, w: &[D], columns: &[&[D::Activations]], out: &mut [f32]) {
    let mut sums = [D::Sum::zero(level); TOGETHER];
    let (groups, rest) = w.as_chunks::<GROUP>();
    for (i, w) in groups.iter().enumerate() {
        let r = [
            D::decode(level, &w[0]),
            D::decode(level, &w[1]),
            D::decode(level, &w[2]),
            D::decode(level, &w[3]),
        ];
        for (a, sum) in columns.iter().zip(&mut sums) {
            let a: &[_; GROUP] = a[GROUP * i..].first_chunk().expect("as long as the row");
            let lanes = [
                D::product(level, &w[0], &r[0], &a[0]),
                D::product(level, &w[1], &r[1], &a[1]),
                D::product(level, &w[2], &r[2], &a[2]),
                D::product(level, &w[3], &r[3], &a[3]),
            ];
            for term in D::terms(level, w, a.each_ref(), lanes) {
                *sum = D::add(level, *sum, term);
            }
        }
    }
    for (i, w) in rest.iter().enumerate() {
        let i = GROUP * groups.len() + i;
        let r = D::decode(level, w);
        for (a, sum) in columns.iter().zip(&mut sums) {
            let lanes = D::product(level, w, &r, &a[i]);
            *sum = D::add(level, *sum, D::term(level, w, &a[i], lanes));
        }
    }
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = sum.total(level);
    }
}
