//! Products of rows with one column (generation), and of a row with a few. [`super::tile`] has those with many.

use super::layout::Trellis;

/// Blocks whose sums are made together.
pub const GROUP: usize = 4;

/// How far ahead weights are asked for, in bytes: processors fetch ahead on their own only up to the end of a page. On
/// Zen 3 T2 is 10 % faster and T4 5 % than with 2048.
#[cfg(target_arch = "x86_64")]
const PREFETCH: usize = 6144;

/// Asks for the bytes that a group some way after this one takes; rows follow each other in memory. On ARM Rust has no
/// stable way to ask.
#[inline(always)]
pub fn prefetch_after<T: Trellis>(w: &[T; GROUP]) {
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

/// Sums of rows, whose terms come in order.
pub struct Rows<'a> {
    sums: std::slice::IterMut<'a, f32>,
    /// Terms of a row.
    len: usize,
    /// Terms that are still to come of the row, and the sum of those before.
    left: usize,
    sum: f32,
}

impl<'a> Rows<'a> {
    pub fn new(len: usize, sums: &'a mut [f32]) -> Self {
        Rows { sums: sums.iter_mut(), len, left: len, sum: 0.0 }
    }

    #[inline(always)]
    pub fn add(&mut self, term: f32) {
        self.sum += term;
        self.left -= 1;
        if self.left == 0 {
            *self.sums.next().expect("as many rows as terms") = self.sum;
            (self.left, self.sum) = (self.len, 0.0);
        }
    }
}

/// `dot_rows` and `dots`, over what a level defines: `decode` of a block, `product` of a decoded block and its
/// activations (lanes to be summed), `sum_lanes`, `sum_lanes_group`, `scaled` and `scaled_group`.
macro_rules! dot_products {
    ($features:literal, $bound:ident, $vector:ty) => {
        /// Same results as `scalar::dot_rows`. Groups reach over the ends of rows, so that short rows, too, come in
        /// groups.
        #[target_feature(enable = $features)]
        pub fn dot_rows<T: $bound>(w: &[T], a: &[T::Activation], out: &mut [f32]) {
            let mut column = a.iter().cycle();
            let mut next = || column.next().expect("rows are not empty");
            let mut rows = Rows::new(a.len(), out);
            let (groups, rest) = w.as_chunks::<GROUP>();
            for w in groups {
                prefetch_after(w);
                let a = [next(), next(), next(), next()];
                let lanes = [
                    decode_product(&w[0], a[0]),
                    decode_product(&w[1], a[1]),
                    decode_product(&w[2], a[2]),
                    decode_product(&w[3], a[3]),
                ];
                for term in scaled_group(w, a, sum_lanes_group(lanes)) {
                    rows.add(term);
                }
            }
            for w in rest {
                let a = next();
                rows.add(scaled(w, a, sum_lanes(decode_product(w, a))));
            }
        }

        // A function of its own: inlined by hand, T3 is 15 % slower on AVX-512.
        #[inline]
        #[target_feature(enable = $features)]
        fn decode_product<T: $bound>(w: &T, a: &T::Activation) -> $vector {
            product::<T>(&decode(w), a)
        }

        /// Same results as `dot_rows` of the row with every column; each block is decoded once.
        #[target_feature(enable = $features)]
        pub fn dots<T: $bound>(w: &[T], columns: &[&[T::Activation]], out: &mut [f32]) {
            out.fill(0.0);
            let (w_groups, w_rest) = w.as_chunks::<GROUP>();
            for (i, w) in w_groups.iter().enumerate() {
                let r = [decode(&w[0]), decode(&w[1]), decode(&w[2]), decode(&w[3])];
                for (a, out) in columns.iter().zip(&mut *out) {
                    let a: &[_; GROUP] = a[GROUP * i..].first_chunk().expect("as long as the row");
                    let lanes = [
                        product::<T>(&r[0], &a[0]),
                        product::<T>(&r[1], &a[1]),
                        product::<T>(&r[2], &a[2]),
                        product::<T>(&r[3], &a[3]),
                    ];
                    *out = scaled_group(w, a.each_ref(), sum_lanes_group(lanes))
                        .iter()
                        .fold(*out, |sum, term| sum + term);
                }
            }
            for (i, w) in w_rest.iter().enumerate() {
                let i = GROUP * w_groups.len() + i;
                let r = decode(w);
                for (a, out) in columns.iter().zip(&mut *out) {
                    *out += scaled(w, &a[i], sum_lanes(product::<T>(&r, &a[i])));
                }
            }
        }
    };
}
pub(super) use dot_products;
