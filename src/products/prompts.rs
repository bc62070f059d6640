//! A tile of rows with many columns, for prompts: a block is decoded once for all columns.
//!
//! Rows lie side by side in the lanes of a vector, and a lane multiplies four quants at a time. Every lane
//! ends with the sum of its own row, so that nothing is summed across lanes, and the four quants of a
//! column are one broadcast for all rows:
//!
//! ```text
//! panel[i][row] = quants 4i..4i+4 of row           decoded, transposed, at most PANEL_LEN quants of a row
//! sum[row] += panel[i][row] . column[4i..4i+4]     for every i of a block; two vectors of rows, a few columns
//! out[row] += (d_row * d_column) * (sum[row] - zero point * sum of the column's quants)
//! ```
//!
//! Blocks of some types have slots: values that are multiplied with one quant each. What a slot adds comes after the product
//! of the block, for a whole tile at a time.
//!
//! The micro-kernel is the innermost loop of [`add_products`]: two vectors of rows times a few columns, so many that
//! their sums fill the registers of the level. Its shape (`ROWS`, `COLUMNS`) is named where a type's decoder calls
//! [`multiply`].

use super::{Columns, Definition, Matrix, Results, TILE};
use bytemuck::{Pod, Zeroable};

/// Quants of a row in a panel: a panel stays in the second-level cache.
const PANEL_LEN: usize = 2048;

/// Longest block.
pub const MAX_LEN: usize = 256;

/// Shortest block, which has the most scales in a panel.
const MIN_LEN: usize = 64;

/// Words of a vector that are multiplied before the next are fetched: 16 of four quants. Blocks are whole numbers of
/// them.
pub const WORDS: usize = 16;

/// Most slots of a block.
const MAX_SLOTS: usize = 2;

/// One slot of a block of every row.
#[derive(Clone, Copy)]
struct SlotOfRows<const ROWS: usize> {
    places: [u8; ROWS],
    values: [f32; ROWS],
}

/// What the micro-kernel needs of a level: vectors of words, where a word is four quants, or one sum of 32 bits.
pub trait Words: Copy {
    /// A vector of words.
    type Vector: Pod;

    /// The same word in every lane.
    fn splat(self, word: i32) -> Self::Vector;

    /// Adds to each sum the products of the four quants of `r` with the four of `q`.
    fn multiply_add(self, sums: Self::Vector, r: Self::Vector, q: Self::Vector) -> Self::Vector;

    /// Writes bytes `32 * at..` of eight rows as words, transposed: word i of every row, side by side, to
    /// `out[stride * i..]`, for eight words.
    fn transpose(self, rows: &[[u8; MAX_LEN]; 8], at: usize, out: &mut [u32], stride: usize);
}

/// A type whose products are, block by block, `(d_row * d_column) * integer`, where the integer is an exact sum over
/// quants of at most 8 bits, plus `(value * d_column) * quant` for every slot, and whose terms are added in the order of the
/// blocks.
pub trait Quants: Definition {
    /// Slots of a block; blocks with slots are of [`MAX_LEN`].
    const SLOTS: usize = 0;

    /// Scale of a block of weights.
    fn scale(w: &Self) -> f32;

    /// Place among the quants and value of a slot.
    #[inline(always)]
    fn slot(w: &Self, slot: usize) -> (u8, f32) {
        let _ = (w, slot);
        unreachable!("a type with slots says where they are")
    }

    /// Scale of a block of activations.
    fn column_scale(a: &Self::Activations) -> f32;

    /// The quants of a block of activations in words of four, [`WORDS`] at a time.
    fn words(a: &Self::Activations) -> &[[i32; WORDS]];
}

/// Such a type at level `L`.
pub trait DecodeQuants<L>: Quants {
    /// The quants of a block in the order of its activations, plus a zero point.
    fn quants(level: L, w: &Self) -> [u8; MAX_LEN];

    /// What the sum of products with these activations begins with: minus what the zero point adds.
    fn start(a: &Self::Activations) -> i32;
}

/// Two vectors of rows for each of [`WORDS`] words.
type PanelWords<V> = [[V; 2]; WORDS];

/// Multiplies rows with columns, a tile of `ROWS` rows (two vectors) and `COLUMNS` columns at a time.
#[inline(always)]
pub fn multiply<L: Words, D: DecodeQuants<L>, const ROWS: usize, const COLUMNS: usize>(
    level: L,
    rows: Matrix,
    columns: Columns,
    out: &mut Results,
) {
    const { assert!(TILE.is_multiple_of(ROWS)) };
    const { assert!(ROWS == 2 * (size_of::<L::Vector>() / 4) && ROWS.is_multiple_of(8) && MIN_LEN <= D::WEIGHTS) };
    let blocks_of_panel = PANEL_LEN / D::WEIGHTS;
    let mut panel = [PanelWords::<L::Vector>::zeroed(); PANEL_LEN / 4 / WORDS];
    const { assert!(D::SLOTS <= MAX_SLOTS && (D::SLOTS == 0 || D::WEIGHTS == MAX_LEN)) };
    let mut scales = [[0.0; ROWS]; PANEL_LEN / MIN_LEN];
    let mut slots = [[SlotOfRows { places: [0; ROWS], values: [0.0; ROWS] }; MAX_SLOTS]; PANEL_LEN / MAX_LEN];
    for first_row in (0..rows.rows()).step_by(ROWS) {
        let n_rows = ROWS.min(rows.rows() - first_row);
        let place = first_row..first_row + n_rows;
        // A tile that lacks rows has its last row several times.
        let tile: [&[D]; ROWS] = std::array::from_fn(|r| rows.row(first_row + r.min(n_rows - 1)));
        let blocks = tile[0].len();
        for first in (0..blocks).step_by(blocks_of_panel) {
            let n = (blocks - first).min(blocks_of_panel);
            for b in 0..n {
                let words = D::WEIGHTS / 4 / WORDS;
                fill(level, &tile, first + b, &mut panel[words * b..][..words], &mut scales[b]);
                if D::SLOTS > 0 {
                    fill_slots(&tile, first + b, &mut slots[b]);
                }
            }
            for first_column in (0..columns.len()).step_by(COLUMNS) {
                let n_columns = COLUMNS.min(columns.len() - first_column);
                // A group that lacks columns has its last column several times.
                let group: [&[D::Activations]; COLUMNS] = std::array::from_fn(|c| {
                    &columns.column(first_column + c.min(n_columns - 1))[first..first + n]
                });
                let mut sums = [[0.0; ROWS]; COLUMNS];
                if first > 0 {
                    for (c, sums) in sums[..n_columns].iter_mut().enumerate() {
                        sums[..n_rows].copy_from_slice(&out.column(first_column + c)[place.clone()]);
                    }
                }
                add_products::<L, D, ROWS, COLUMNS>(level, &panel, &scales, &slots, group, &mut sums);
                for (c, sums) in sums[..n_columns].iter().enumerate() {
                    out.column(first_column + c)[place.clone()].copy_from_slice(&sums[..n_rows]);
                }
            }
        }
    }
}

/// Decodes one block of every row of a tile into the panel.
#[inline(always)]
fn fill<L: Words, D: DecodeQuants<L>, const ROWS: usize>(
    level: L,
    tile: &[&[D]; ROWS],
    block: usize,
    words: &mut [PanelWords<L::Vector>],
    scales: &mut [f32; ROWS],
) {
    let words: &mut [u32] = bytemuck::cast_slice_mut(words.as_flattened_mut().as_flattened_mut());
    for r in (0..ROWS).step_by(8) {
        let mut decoded = [[0u8; MAX_LEN]; 8];
        for i in 0..8 {
            let w = &tile[r + i][block];
            decoded[i] = D::quants(level, w);
            scales[r + i] = D::scale(w);
        }
        for eight in 0..D::WEIGHTS / 32 {
            level.transpose(&decoded, eight, &mut words[8 * ROWS * eight + r..], ROWS);
        }
    }
}

/// Writes the slots of one block of every row of a tile.
#[inline(always)]
fn fill_slots<D: Quants, const ROWS: usize>(
    tile: &[&[D]; ROWS],
    block: usize,
    slots: &mut [SlotOfRows<ROWS>; MAX_SLOTS],
) {
    for (s, slots) in slots[..D::SLOTS].iter_mut().enumerate() {
        for (r, row) in tile.iter().enumerate() {
            (slots.places[r], slots.values[r]) = D::slot(&row[block], s);
        }
    }
}

/// Adds what some slots add to the terms of their rows.
#[inline(always)]
fn add_slots<D: Quants, const ROWS: usize>(
    slots: &[SlotOfRows<ROWS>; MAX_SLOTS],
    a: &D::Activations,
    terms: &mut [f32; ROWS],
) {
    let quants: &[i8] = bytemuck::cast_slice(D::words(a));
    let quants: &[i8; MAX_LEN] = quants.first_chunk().expect("blocks with slots are that long");
    let d_column = D::column_scale(a);
    for slots in &slots[..D::SLOTS] {
        let mut factors = [0; ROWS];
        for r in 0..ROWS {
            factors[r] = quants[slots.places[r] as usize] as i32;
        }
        for r in 0..ROWS {
            terms[r] += (slots.values[r] * d_column) * factors[r] as f32;
        }
    }
}

/// Adds the products of the panel's rows with some columns.
#[inline(always)]
fn add_products<L: Words, D: DecodeQuants<L>, const ROWS: usize, const COLUMNS: usize>(
    level: L,
    panel: &[PanelWords<L::Vector>],
    scales: &[[f32; ROWS]],
    slots: &[[SlotOfRows<ROWS>; MAX_SLOTS]],
    columns: [&[D::Activations]; COLUMNS],
    sums: &mut [[f32; ROWS]; COLUMNS],
) {
    let words_of_block = D::WEIGHTS / 4 / WORDS;
    for (b, d) in scales[..columns[0].len()].iter().enumerate() {
        let mut products = [[level.splat(0); 2]; COLUMNS];
        for c in 0..COLUMNS {
            products[c] = [level.splat(D::start(&columns[c][b])); 2];
        }
        for (i, panel) in panel[words_of_block * b..][..words_of_block].iter().enumerate() {
            let mut quants = [&[0; WORDS]; COLUMNS];
            for c in 0..COLUMNS {
                quants[c] = &D::words(&columns[c][b])[i];
            }
            for j in 0..WORDS {
                for c in 0..COLUMNS {
                    let q = level.splat(quants[c][j]);
                    products[c][0] = level.multiply_add(products[c][0], panel[j][0], q);
                    products[c][1] = level.multiply_add(products[c][1], panel[j][1], q);
                }
            }
        }
        for c in 0..COLUMNS {
            let integers: &[i32] = bytemuck::cast_slice(&products[c]);
            let d_column = D::column_scale(&columns[c][b]);
            if D::SLOTS > 0 {
                let mut terms = [0.0; ROWS];
                for r in 0..ROWS {
                    terms[r] = (d[r] * d_column) * integers[r] as f32;
                }
                add_slots::<D, ROWS>(&slots[b], &columns[c][b], &mut terms);
                for r in 0..ROWS {
                    sums[c][r] += terms[r];
                }
            } else {
                for r in 0..ROWS {
                    sums[c][r] += (d[r] * d_column) * integers[r] as f32;
                }
            }
        }
    }
}
