//! Products of a row of weights and columns of activations, for every level.

use super::layout::Codes4;

/// Columns whose sums are in registers.
pub const GROUP: usize = 4;

/// The low and the high seven bits of the integers of a type.
pub const fn halves<T: Codes4>() -> ([u8; 16], [u8; 16]) {
    let (mut low, mut high) = ([0; 16], [0; 16]);
    let mut code = 0;
    while code < 16 {
        low[code] = (T::INTEGERS[code] & 127) as u8;
        high[code] = (T::INTEGERS[code] >> 7) as u8;
        code += 1;
    }
    (low, high)
}

/// Writes `dots` over what a level has: `codes` unpacks the codes of a block, 64 at a time; `start`, `sums` and `add_scaled`
/// multiply 64 of them; `no_totals` and `sum_lanes` are the ends of a row. `$features` are those of the level.
macro_rules! dots {
    ($features:literal) => {
        /// Same results as `scalar::dot`: a block is unpacked once for a group of columns.
        #[target_feature(enable = $features)]
        pub fn dots<T: Codes4>(w: &[T], columns: &[&[BlockQ8]], out: &mut [f32]) {
            for (columns, out) in columns.chunks(GROUP).zip(out.chunks_mut(GROUP)) {
                match (columns.try_into(), out.first_chunk_mut()) {
                    (Ok(columns), Some(out)) => tile::<T, GROUP>(w, columns, out),
                    _ => {
                        for (a, out) in columns.iter().zip(out.chunks_exact_mut(1)) {
                            tile::<T, 1>(w, &[*a], out.first_chunk_mut().expect("one"));
                        }
                    }
                }
            }
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn tile<T: Codes4, const N: usize>(w: &[T], columns: &[&[BlockQ8]; N], out: &mut [f32; N]) {
            let mut totals = [no_totals(); N];
            for (b, w) in w.iter().enumerate() {
                let (codes, zero, unit) = (codes(w), w.zero(), w.unit());
                for (totals, a) in totals.iter_mut().zip(columns) {
                    for (part, a) in a[b * T::PARTS..][..T::PARTS].iter().enumerate() {
                        let sums = sums::<T>(codes[part], a, start(zero, a.sum));
                        *totals = add_scaled(*totals, unit * a.d, sums);
                    }
                }
            }
            *out = totals.map(|t| sum_lanes(t));
        }
    };
}
pub(super) use dots;
