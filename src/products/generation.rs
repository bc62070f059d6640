//! Many rows with one column: what generation computes, one token at a time.

use super::columns::dots_by_block;
use super::{Decoder, GROUP, Sum};

/// How far ahead weights are asked for, in bytes: processors fetch ahead on their own only up to the end of a page. On
/// Zen 3 T2 is 10 % faster and T4 5 % than with 2048.
#[cfg(target_arch = "x86_64")]
const PREFETCH: usize = 6144;

/// Asks for the bytes of the group that comes [`PREFETCH`] bytes after this one; rows follow each other in memory. On
/// ARM Rust has no stable way to ask.
#[inline(always)]
fn prefetch_after<D>(w: &[D; GROUP]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let ahead = std::ptr::from_ref(w).cast::<i8>().wrapping_add(PREFETCH);
        for line in 0..size_of_val(w).div_ceil(64) {
            // SAFETY: nothing is read; SSE is in every x86-64.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_add(64 * line)) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = w;
}

/// Collects the terms of rows, which come in order, and writes the product of a row when its last term is there.
struct RowSums<'a, L: Copy, D: Decoder<L>> {
    level: L,
    products: std::slice::IterMut<'a, f32>,
    /// Terms of a row.
    terms: usize,
    /// Terms of the current row that are still to come.
    left: usize,
    /// Sum of the current row's terms so far.
    sum: D::Sum,
}

impl<L: Copy, D: Decoder<L>> RowSums<'_, L, D> {
    #[inline(always)]
    fn add(&mut self, term: D::Term) {
        self.sum = D::add(self.level, self.sum, term);
        self.left -= 1;
        if self.left == 0 {
            *self.products.next().expect("as many rows as terms") = self.sum.total(self.level);
            (self.left, self.sum) = (self.terms, D::Sum::zero(self.level));
        }
    }
}

/// The dot products of rows that follow each other in `w` with one row of activations. Groups of blocks reach over the
/// ends of rows, so that short rows, too, come in groups.
#[inline(always)]
pub fn dot_rows<L: Copy, D: Decoder<L>>(level: L, w: &[D], a: &[D::Activations], out: &mut [f32]) {
    if a.is_empty() {
        return out.fill(0.0);
    }
    if !D::GROUPS {
        for (w, out) in w.chunks_exact(a.len()).zip(out) {
            dots_by_block(level, w, &[a], std::array::from_mut(out));
        }
        return;
    }
    let mut column = a.iter().cycle();
    let mut next = || column.next().expect("rows are not empty");
    let sum = D::Sum::zero(level);
    let mut rows = RowSums::<L, D> { level, products: out.iter_mut(), terms: a.len(), left: a.len(), sum };
    let (groups, rest) = w.as_chunks::<GROUP>();
    for w in groups {
        prefetch_after(w);
        let a = [next(), next(), next(), next()];
        let lanes = [
            D::decode_product(level, &w[0], a[0]),
            D::decode_product(level, &w[1], a[1]),
            D::decode_product(level, &w[2], a[2]),
            D::decode_product(level, &w[3], a[3]),
        ];
        for term in D::terms(level, w, a, lanes) {
            rows.add(term);
        }
    }
    for w in rest {
        let a = next();
        rows.add(D::term(level, w, a, D::decode_product(level, w, a)));
    }
}
