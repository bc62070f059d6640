//! Products of weights with activations, written once for every tensor type and every level of instructions.
//!
//! ```text
//! generation   dot_rows: many rows with one column          one token at a time
//! columns      dots: one row with a few columns             a few tokens, a few experts
//! prompts      multiply: a tile of rows with many columns   a prompt
//! operands     the matrix, the columns and the results as they lie in memory
//! check        every result again by the definition, with the feature `check_kernels`
//! ```
//!
//! A type has a [`Definition`], plain loops in the order of docs/FORMAT.md, and a [`Decoder`] for each level, whose
//! products have the bits of the definition. The loops in this folder call nothing else, and they are
//! `#[inline(always)]`, so that [`crate::isa::dispatch`] compiles them with the features of the level (see
//! [`crate::isa::Operation`]). What a decoder does with vectors stands in its file, in functions that enable these
//! features by themselves: the compiler then weighs whether to inline each of them, as it does for any function.

mod check;
mod columns;
mod generation;
mod operands;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub mod prompts;

pub use check::activations as check_activations;
pub use operands::{Columns, Matrix, Results};

use crate::isa::{Isa, Operation, Scalar, dispatch};
use bytemuck::Pod;

/// Blocks whose products are summed together.
pub const GROUP: usize = 4;

/// Rows of the largest tile of a matrix product; those of other levels are whole parts of it. ggml hands out work in
/// multiples of it.
pub const TILE: usize = 32;

/// Columns from which on a matrix product decodes tiles of rows; fewer take the rows one by one. On Zen 5 tiles win from 6
/// on with AVX-VNNI and AVX-512; with AVX2 from 4 on for blocks of 64, but for blocks of 256 they lose up to 15 % at 6 and
/// win from 12 on (`cargo bench --bench columns`, benches/record/amd-epyc-family-26-model-2/2026-11-27-columns.txt).
const MANY_COLUMNS: usize = 6;

/// Blocks of weights and what is computed with them, in plain Rust. Every [`Decoder`] gives these bits.
pub trait Definition: Pod + Send + Sync {
    /// Weights in a block.
    const WEIGHTS: usize;
    /// The activations that a block is multiplied with: `WEIGHTS` of them.
    type Activations: Pod + Send + Sync;

    /// Writes the dot products of a row of weights and each column of activations.
    fn dots(w: &[Self], columns: &[&[Self::Activations]], out: &mut [f32]);

    /// Writes the weights of some blocks: `WEIGHTS` for each.
    fn dequantize(w: &[Self], out: &mut [f32]);
}

/// A type at level `L`. The product of a row and a column is computed in these steps, block by block or in groups
/// of [`GROUP`] blocks:
///
/// ```text
/// decoded = decode(block)
/// lanes   = product(block, decoded, activations)        integers, exact
/// term    = term(block, activations, lanes)             what the block adds to its row, in f32
/// sum     = add(sum, term)                              in the order of the blocks, from `Sum::zero()` on
/// result  = sum.total()
/// ```
pub trait Decoder<L: Copy>: Definition {
    /// Whether blocks are taken in groups. Groups are worth their registers where the lanes of several products are
    /// summed together. A type whose sums are vectors until the end of a row takes block by block: in groups,
    /// the products of NF4_64 with many columns were up to 27 % slower (Zen 5, beside other work; no record was kept).
    const GROUPS: bool;
    /// A decoded block.
    type Decoded: Copy;
    /// The integers of a product, whose sum over lanes may be left to [`Decoder::term`].
    type Lanes: Copy;
    /// What a block adds to the sum of its row.
    type Term: Copy;
    /// The sum of the terms of a row.
    type Sum: Sum<L>;

    /// Decodes a block.
    fn decode(level: L, w: &Self) -> Self::Decoded;

    /// Multiplies a decoded block with activations.
    fn product(level: L, w: &Self, decoded: &Self::Decoded, a: &Self::Activations) -> Self::Lanes;

    /// Decodes a block that is multiplied only once.
    #[inline(always)]
    fn decode_product(level: L, w: &Self, a: &Self::Activations) -> Self::Lanes {
        Self::product(level, w, &Self::decode(level, w), a)
    }

    /// The term of a block.
    fn term(level: L, w: &Self, a: &Self::Activations, lanes: Self::Lanes) -> Self::Term;

    /// The terms of a group of blocks.
    #[inline(always)]
    fn terms(
        level: L,
        w: &[Self; GROUP],
        a: [&Self::Activations; GROUP],
        lanes: [Self::Lanes; GROUP],
    ) -> [Self::Term; GROUP] {
        [
            Self::term(level, &w[0], a[0], lanes[0]),
            Self::term(level, &w[1], a[1], lanes[1]),
            Self::term(level, &w[2], a[2], lanes[2]),
            Self::term(level, &w[3], a[3], lanes[3]),
        ]
    }

    /// Adds a term to the sum of its row.
    fn add(level: L, sum: Self::Sum, term: Self::Term) -> Self::Sum;

    /// Multiplies rows with [`MANY_COLUMNS`] columns or more. Types that the loops of `prompts` can take replace this
    /// by them; the others are decoded once for up to 16 columns.
    #[inline(always)]
    fn multiply_many(level: L, rows: Matrix, columns: Columns, out: &mut Results) {
        columns::multiply_rows::<L, Self>(level, rows, columns, out);
    }

    /// Writes the weights of some blocks.
    fn dequantize(level: L, w: &[Self], out: &mut [f32]);
}

/// The sum of the terms of a row, in one float or in several lanes.
pub trait Sum<L>: Copy {
    /// The sum of a row before its first block.
    fn zero(level: L) -> Self;

    /// The dot product that a complete sum amounts to.
    fn total(self, level: L) -> f32;
}

impl<L> Sum<L> for f32 {
    #[inline(always)]
    fn zero(_: L) -> f32 {
        0.0
    }

    #[inline(always)]
    fn total(self, _: L) -> f32 {
        self
    }
}

/// The dot products of rows that follow each other in `w` with one row of activations, at a level.
///
/// # Panics
/// If the processor does not have the level or `w` is not `out.len()` rows as long as `a`.
pub fn dot_rows<D: AtEveryLevel>(isa: Isa, w: &[D], a: &[D::Activations], out: &mut [f32]) {
    assert!(w.len() == a.len() * out.len(), "{} blocks are not {} rows of {}", w.len(), out.len(), a.len());
    dispatch(isa, DotRows { w, a, out });
}

/// The dot product of a row of weights and a row of activations, at a level.
///
/// # Panics
/// If the processor does not have the level or the rows differ in length.
pub fn dot<D: AtEveryLevel>(isa: Isa, w: &[D], a: &[D::Activations]) -> f32 {
    let mut out = 0.0;
    dot_rows(isa, w, a, std::slice::from_mut(&mut out));
    out
}

/// Writes the product of row `r` and column `c`, the bits of [`dot`], to column `c`, place `r` of the results. Rows
/// are decoded once for several columns.
///
/// # Panics
/// If the processor does not have the level or the operands do not fit each other.
pub fn multiply<D: AtEveryLevel>(isa: Isa, rows: Matrix, columns: Columns, out: &mut Results) {
    operands::check::<D>(rows, columns, out);
    dispatch(isa, Multiply::<D> { rows, columns, out, of: std::marker::PhantomData });
}

/// As [`multiply`], in the way for many columns if `MANY` is set, however many there are, and else in the other: for
/// benches/columns.rs, which compares the two.
///
/// # Panics
/// As [`multiply`].
pub fn multiply_in_way<D: AtEveryLevel, const MANY: bool>(
    isa: Isa,
    rows: Matrix,
    columns: Columns,
    out: &mut Results,
) {
    operands::check::<D>(rows, columns, out);
    dispatch(isa, InWay::<D, MANY>(Multiply { rows, columns, out, of: std::marker::PhantomData }));
}

/// Writes the weights of some blocks, the same bits at every level.
///
/// # Panics
/// If the processor does not have the level or `out` is not as long as the blocks.
pub fn dequantize<D: AtEveryLevel>(isa: Isa, w: &[D], out: &mut [f32]) {
    assert!(w.len() * D::WEIGHTS == out.len(), "{} blocks have not {} weights", w.len(), out.len());
    dispatch(isa, Dequantize { w, out });
}

/// Kernels over whole rows, at the level of [`crate::isa::Isa::current`]. Lengths are checked.
#[derive(Clone, Copy, Debug)]
pub struct Kernels {
    /// Dot products of rows of weights that follow each other and one row of activations.
    pub dot_rows: fn(w: &[u8], a: &[u8], out: &mut [f32]),
    /// Products with many columns, the same results as `dot_rows` of each.
    pub multiply: fn(Matrix, Columns, &mut Results),
    /// Weights of a row.
    pub dequantize: fn(&[u8], &mut [f32]),
}

/// The kernels of a type at the current level, over bytes.
pub const fn kernels<D: AtEveryLevel>() -> Kernels {
    Kernels {
        dot_rows: |w, a, out| {
            let (w, a): (&[D], &[D::Activations]) = (bytemuck::cast_slice(w), bytemuck::cast_slice(a));
            dot_rows(Isa::current(), w, a, out);
            check::dot_rows(w, a, out);
        },
        multiply: |rows, columns, out| {
            multiply::<D>(Isa::current(), rows, columns, out);
            check::multiply::<D>(rows, columns, out);
        },
        dequantize: |w, out| {
            let w: &[D] = bytemuck::cast_slice(w);
            dequantize(Isa::current(), w, out);
            check::dequantize(w, out);
        },
    }
}

/// A type with a decoder for every level of this architecture.
#[cfg(target_arch = "x86_64")]
pub trait AtEveryLevel:
    Decoder<crate::isa::Avx2> + Decoder<crate::isa::AvxVnni> + Decoder<crate::isa::Avx512>
{
}
#[cfg(target_arch = "x86_64")]
impl<D> AtEveryLevel for D where
    D: Decoder<crate::isa::Avx2> + Decoder<crate::isa::AvxVnni> + Decoder<crate::isa::Avx512>
{
}

/// A type with a decoder for every level of this architecture.
#[cfg(target_arch = "aarch64")]
pub trait AtEveryLevel: Decoder<crate::isa::Neon> + Decoder<crate::isa::DotProd> {}
#[cfg(target_arch = "aarch64")]
impl<D: Decoder<crate::isa::Neon> + Decoder<crate::isa::DotProd>> AtEveryLevel for D {}

/// A type with a decoder for every level of this architecture: the definition is the only one.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub trait AtEveryLevel: Definition {}
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
impl<D: Definition> AtEveryLevel for D {}

/// Levels with vectors: all but scalar, whose products are the definition.
pub trait Vectors: Copy {}
#[cfg(target_arch = "x86_64")]
impl Vectors for crate::isa::Avx2 {}
#[cfg(target_arch = "x86_64")]
impl Vectors for crate::isa::AvxVnni {}
#[cfg(target_arch = "x86_64")]
impl Vectors for crate::isa::Avx512 {}
#[cfg(target_arch = "aarch64")]
impl Vectors for crate::isa::Neon {}
#[cfg(target_arch = "aarch64")]
impl Vectors for crate::isa::DotProd {}

/// See [`dot_rows`].
struct DotRows<'a, D: Definition> {
    w: &'a [D],
    a: &'a [D::Activations],
    out: &'a mut [f32],
}

impl<D: Definition> Operation<Scalar> for DotRows<'_, D> {
    #[inline(always)]
    fn run(self, _: Scalar) {
        for (r, out) in self.out.iter_mut().enumerate() {
            let w = &self.w[r * self.a.len()..][..self.a.len()];
            D::dots(w, &[self.a], std::slice::from_mut(out));
        }
    }
}

impl<L: Vectors, D: Decoder<L>> Operation<L> for DotRows<'_, D> {
    #[inline(always)]
    fn run(self, level: L) {
        generation::dot_rows(level, self.w, self.a, self.out);
    }
}

/// See [`multiply`].
struct Multiply<'a, 'o, D> {
    rows: Matrix<'a>,
    columns: Columns<'a>,
    out: &'a mut Results<'o>,
    of: std::marker::PhantomData<fn() -> D>,
}

impl<D: Definition> Operation<Scalar> for Multiply<'_, '_, D> {
    #[inline(always)]
    fn run(self, _: Scalar) {
        let columns: Vec<&[D::Activations]> = self.columns.iter().collect();
        let mut products = vec![0.0; columns.len()];
        for r in 0..self.rows.rows() {
            D::dots(self.rows.row(r), &columns, &mut products);
            for (c, product) in products.iter().enumerate() {
                self.out.column(c)[r] = *product;
            }
        }
    }
}

impl<L: Vectors, D: Decoder<L>> Operation<L> for Multiply<'_, '_, D> {
    #[inline(always)]
    fn run(self, level: L) {
        let Multiply { rows, columns, out, .. } = self;
        match (columns.len(), rows.all::<D>()) {
            (1, Some(w)) => generation::dot_rows(level, w, columns.column(0), out.column(0)),
            (MANY_COLUMNS.., _) => D::multiply_many(level, rows, columns, out),
            _ => columns::multiply_rows::<L, D>(level, rows, columns, out),
        }
    }
}

/// See [`multiply_in_way`].
struct InWay<'a, 'o, D, const MANY: bool>(Multiply<'a, 'o, D>);

impl<D: Definition, const MANY: bool> Operation<Scalar> for InWay<'_, '_, D, MANY> {
    #[inline(always)]
    fn run(self, level: Scalar) {
        self.0.run(level);
    }
}

impl<L: Vectors, D: Decoder<L>, const MANY: bool> Operation<L> for InWay<'_, '_, D, MANY> {
    #[inline(always)]
    fn run(self, level: L) {
        let Multiply { rows, columns, out, .. } = self.0;
        if MANY {
            D::multiply_many(level, rows, columns, out);
        } else {
            columns::multiply_rows::<L, D>(level, rows, columns, out);
        }
    }
}

/// See [`dequantize`].
struct Dequantize<'a, D> {
    w: &'a [D],
    out: &'a mut [f32],
}

impl<D: Definition> Operation<Scalar> for Dequantize<'_, D> {
    #[inline(always)]
    fn run(self, _: Scalar) {
        D::dequantize(self.w, self.out);
    }
}

impl<L: Vectors, D: Decoder<L>> Operation<L> for Dequantize<'_, D> {
    #[inline(always)]
    fn run(self, level: L) {
        <D as Decoder<L>>::dequantize(level, self.w, self.out);
    }
}
