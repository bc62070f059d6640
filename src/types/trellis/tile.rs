//! Products of a tile of rows with many columns, for prompts: a block is decoded once for all columns.
//!
//! Rows lie side by side in the lanes of a vector, and a lane multiplies four quants at a time. Every lane
//! ends with the sum of its own row, so that nothing is summed across lanes, and the four quants of a
//! column are one broadcast for all rows:
//!
//! ```text
//! panel[i][row] = quants 4i..4i+4 of row           decoded, transposed, at most PANEL_LEN quants of a row
//! sum[row] += panel[i][row] . column[4i..4i+4]     for every i of a block; two vectors of rows, a few columns
//! out[row] += (d_row * d_column) * (sum[row] - 64 * sum of the column's quants)
//! ```

use super::a8::Activation;
use super::layout::Trellis;

/// Quants of a row in a panel: a panel stays in the second-level cache.
pub const PANEL_LEN: usize = 2048;

/// The words that a vector of rows multiplies, and those of a column: 16 of four quants. Blocks are whole
/// numbers of them.
pub const WORDS: usize = 16;

/// The quants of a block in words of four, [`WORDS`] at a time.
#[inline(always)]
pub fn words<A: Activation>(a: &A) -> &[[i32; WORDS]] {
    bytemuck::cast_slice(a.qs())
}

/// Blocks of a row in a panel.
pub const fn panel_blocks<T: Trellis>() -> usize {
    PANEL_LEN / T::LEN
}

/// `multiply`, over what a level defines: `decode` of a block, `transpose` of eight decoded rows, `splat` and
/// `multiply_add`.
macro_rules! tile_products {
    ($features:literal, $bound:ident, $vector:ty, $columns:literal) => {
        /// Rows of a vector.
        const LANES: usize = size_of::<$vector>() / 4;
        /// Rows of a tile.
        const ROWS: usize = 2 * LANES;
        /// Two vectors of rows for each of 16 words.
        type Words = [[$vector; 2]; tile::WORDS];

        /// `out[c][r]` is [`dot`] of row `r` and column `c`.
        #[target_feature(enable = $features)]
        pub fn multiply<T: $bound>(rows: &[&[T]], columns: &[&[T::Activation]], out: &mut [&mut [f32]]) {
            let blocks = rows.first().map_or(0, |row| row.len());
            let mut panel = vec![[[splat(0); 2]; tile::WORDS]; tile::PANEL_LEN / 4 / tile::WORDS];
            let mut scales = vec![[0.0; ROWS]; tile::panel_blocks::<T>()];
            for (t, rows) in rows.chunks(ROWS).enumerate() {
                let place = ROWS * t..ROWS * t + rows.len();
                for first in (0..blocks).step_by(tile::panel_blocks::<T>()) {
                    let n = (blocks - first).min(tile::panel_blocks::<T>());
                    for b in 0..n {
                        let words = T::LEN / 4 / tile::WORDS;
                        fill(rows, first + b, &mut panel[words * b..][..words], &mut scales[b]);
                    }
                    for (columns, out) in columns.chunks($columns).zip(out.chunks_mut($columns)) {
                        // What is missing of a group is its last column once more.
                        let group =
                            std::array::from_fn(|c| &columns[c.min(columns.len() - 1)][first..first + n]);
                        let mut sums = [[0.0; ROWS]; $columns];
                        if first > 0 {
                            for (sums, out) in sums.iter_mut().zip(&mut *out) {
                                sums[..rows.len()].copy_from_slice(&out[place.clone()]);
                            }
                        }
                        add_products::<T>(&panel, &scales, group, &mut sums);
                        for (sums, out) in sums.iter().zip(out) {
                            out[place.clone()].copy_from_slice(&sums[..rows.len()]);
                        }
                    }
                }
            }
        }

        /// Decodes one block of every row; what is missing of a tile is its last row once more.
        #[inline]
        #[target_feature(enable = $features)]
        fn fill<T: $bound>(rows: &[&[T]], block: usize, words: &mut [Words], scales: &mut [f32; ROWS]) {
            let words: &mut [u32] = bytemuck::cast_slice_mut(words.as_flattened_mut());
            for r in (0..ROWS).step_by(8) {
                let mut decoded = [[0u8; 256]; 8];
                for i in 0..8 {
                    let w = &rows[(r + i).min(rows.len() - 1)][block];
                    decoded[i] = bytemuck::cast(decode(w));
                    scales[r + i] = scale::decode(w.d());
                }
                for eight in 0..T::LEN / 32 {
                    transpose(&decoded, eight, &mut words[8 * ROWS * eight + r..], ROWS);
                }
            }
        }

        /// Adds the products of the panel's rows with some columns.
        #[target_feature(enable = $features)]
        fn add_products<T: $bound>(
            panel: &[Words],
            scales: &[[f32; ROWS]],
            columns: [&[T::Activation]; $columns],
            sums: &mut [[f32; ROWS]; $columns],
        ) {
            let words_of_block = T::LEN / 4 / tile::WORDS;
            for (b, d) in scales[..columns[0].len()].iter().enumerate() {
                let mut products = [[splat(0); 2]; $columns];
                for c in 0..$columns {
                    products[c] = [splat(-ZERO_POINT * columns[c][b].sum()); 2];
                }
                for (i, panel) in panel[words_of_block * b..][..words_of_block].iter().enumerate() {
                    let mut quants = [&[0; tile::WORDS]; $columns];
                    for c in 0..$columns {
                        quants[c] = &tile::words(&columns[c][b])[i];
                    }
                    for j in 0..tile::WORDS {
                        for c in 0..$columns {
                            let q = splat(quants[c][j]);
                            products[c][0] = multiply_add(products[c][0], panel[j][0], q);
                            products[c][1] = multiply_add(products[c][1], panel[j][1], q);
                        }
                    }
                }
                for c in 0..$columns {
                    let integers: [i32; ROWS] = bytemuck::cast(products[c]);
                    let d_column = columns[c][b].d();
                    for r in 0..ROWS {
                        sums[c][r] += (d[r] * d_column) * integers[r] as f32;
                    }
                }
            }
        }
    };
}
pub(super) use tile_products;
