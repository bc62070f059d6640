//! The decoders of all types, over the 64 lanes of a level.

use super::lanes::Lanes;
use super::layout::*;
use super::scalar::{self, term};
use crate::products::prompts::{DecodeQuants, MAX_LEN, Quants, WORDS};
use crate::products::{Columns, Decoder, GROUP, Matrix, Results};
use crate::types::trellis::a8::BlockA8;
use crate::types::trellis::scale;

/// Codes with a decoder for every level.
pub trait DecodeLanes: Codes {
    /// The levels of each step's 64 lanes, plus [`ZERO_POINT`].
    fn decode<L: Lanes>(&self, level: L) -> [L::Bytes; STEPS];
}

/// The levels of some codes plus `zero`, for a byte shuffle; those of 3 bits twice.
const fn table<C: Codes>(zero: i32) -> [u8; 16] {
    let mut table = [0; 16];
    let mut code = 0;
    while code < 16 {
        table[code] = (C::LEVELS[code % C::LEVELS.len()] as i32 + zero) as u8;
        code += 1;
    }
    table
}

/// For every pattern whether the `nth` weight that is kept is that of step `t`: all bits of the byte, or none.
const fn is_nth<C: Codes>(t: usize, nth: usize) -> [u8; 16] {
    let mut table = [0; 16];
    let mut pattern = 0;
    while pattern < 16 {
        let kept = C::PATTERNS[if pattern < C::PATTERNS.len() { pattern } else { 0 }];
        let before = (kept & ((1 << t) - 1)).count_ones() as usize;
        if kept >> t & 1 == 1 && before == nth {
            table[pattern] = 0xff;
        }
        pattern += 1;
    }
    table
}

/// The first bytes of the part at `at`.
#[inline(always)]
fn part<const N: usize>(bytes: &[u8], at: usize) -> &[u8; N] {
    bytes[at..].first_chunk().expect("within the codes")
}

impl DecodeLanes for Dense4 {
    #[inline(always)]
    fn decode<L: Lanes>(&self, level: L) -> [L::Bytes; STEPS] {
        let table = const { table::<Self>(ZERO_POINT) };
        let (first, second) = (level.load(part(&self.0, 0)), level.load(part(&self.0, 64)));
        [
            level.look_up(&table, level.bits::<0>(first, 15)),
            level.look_up(&table, level.bits::<4>(first, 15)),
            level.look_up(&table, level.bits::<0>(second, 15)),
            level.look_up(&table, level.bits::<4>(second, 15)),
        ]
    }
}

impl DecodeLanes for Dense3 {
    #[inline(always)]
    fn decode<L: Lanes>(&self, level: L) -> [L::Bytes; STEPS] {
        let table = const { table::<Self>(ZERO_POINT) };
        let (low, high) = (level.load(part(&self.0, 0)), level.halves(part(&self.0, 64)));
        let value = |low, high| level.look_up(&table, level.or(low, high));
        [
            value(level.bits::<0>(low, 3), level.bits_up::<2>(high, 4)),
            value(level.bits::<2>(low, 3), level.bits_up::<1>(high, 4)),
            value(level.bits::<4>(low, 3), level.bits::<0>(high, 4)),
            value(level.bits::<6>(low, 3), level.bits::<1>(high, 4)),
        ]
    }
}

impl DecodeLanes for ThreeOfFour {
    #[inline(always)]
    fn decode<L: Lanes>(&self, level: L) -> [L::Bytes; STEPS] {
        let table = const { table::<Self>(0) };
        let both = level.load(part(&self.0, 0));
        let kept = [
            level.look_up(&table, level.bits::<0>(both, 15)),
            level.look_up(&table, level.bits::<4>(both, 15)),
            level.look_up(&table, level.halves(part(&self.0, 64))),
        ];
        spread::<Self, L, 3>(level, kept, level.bits::<0>(level.quarters(part(&self.0, 96)), 3))
    }
}

impl DecodeLanes for TwoOfFour {
    #[inline(always)]
    fn decode<L: Lanes>(&self, level: L) -> [L::Bytes; STEPS] {
        let table = const { table::<Self>(0) };
        let both = level.load(part(&self.0, 0));
        let kept = [
            level.look_up(&table, level.bits::<0>(both, 15)),
            level.look_up(&table, level.bits::<4>(both, 15)),
        ];
        let low = level.bits::<0>(level.quarters(part(&self.0, 64)), 3);
        let high = level.bits_up::<2>(level.eighths(part(&self.0, 80)), 4);
        spread::<Self, L, 2>(level, kept, level.or(low, high))
    }
}

/// The levels of each step, plus [`ZERO_POINT`], of groups of which `KEPT` weights are kept: those of step 1 are kept as the first or
/// the second, those of step 2 as the last or the one before.
#[inline(always)]
fn spread<C: Codes, L: Lanes, const KEPT: usize>(
    level: L,
    kept: [L::Bytes; KEPT],
    pattern: L::Bytes,
) -> [L::Bytes; STEPS] {
    let chosen = |nth: usize, is_nth: &[u8; 16]| level.and(kept[nth], level.look_up(is_nth, pattern));
    let from_zero = |v| level.add_byte(v, ZERO_POINT as u8);
    [
        from_zero(chosen(0, const { &is_nth::<C>(0, 0) })),
        from_zero(level.or(chosen(0, const { &is_nth::<C>(1, 0) }), chosen(1, const { &is_nth::<C>(1, 1) }))),
        from_zero(level.or(
            chosen(KEPT - 2, const { &is_nth::<C>(2, KEPT - 2) }),
            chosen(KEPT - 1, const { &is_nth::<C>(2, KEPT - 1) }),
        )),
        from_zero(chosen(KEPT - 1, const { &is_nth::<C>(3, KEPT - 1) })),
    ]
}

/// A level with the tile of the matrix product that fits its registers.
pub trait Tiles: Lanes {
    /// `prompts::multiply` with that tile.
    fn multiply_many<C: DecodeLanes, const SLOTS: usize>(
        self,
        rows: Matrix,
        columns: Columns,
        out: &mut Results,
    );
}

macro_rules! tiles {
    ($($level:ident $rows:literal $columns:literal;)*) => { $(
        impl Tiles for crate::isa::$level {
            #[inline(always)]
            fn multiply_many<C: DecodeLanes, const SLOTS: usize>(
                self,
                rows: Matrix,
                columns: Columns,
                out: &mut Results,
            ) {
                crate::products::prompts::multiply::<_, Block<C, SLOTS>, $rows, $columns>(self, rows, columns, out);
            }
        }
    )* };
}
#[cfg(target_arch = "x86_64")]
tiles! {
    Avx2 16 4;
    AvxVnni 16 6;
    Avx512 32 8;
}
#[cfg(target_arch = "aarch64")]
tiles! {
    Neon 8 8;
    DotProd 8 8;
}

impl<L: Tiles, C: DecodeLanes, const SLOTS: usize> Decoder<L> for Block<C, SLOTS> {
    const GROUPS: bool = true;
    type Decoded = [L::Bytes; STEPS];
    type Lanes = L::Vector;
    type Term = f32;
    type Sum = f32;

    #[inline(always)]
    fn decode(level: L, w: &Self) -> [L::Bytes; STEPS] {
        w.codes.decode(level)
    }

    #[inline(always)]
    fn product(level: L, _: &Self, r: &[L::Bytes; STEPS], a: &BlockA8<LEN>) -> L::Vector {
        let [q0, q1, q2, q3]: &[[i8; LANES]; STEPS] = bytemuck::cast_ref(&a.qs);
        let sums = level.multiply(level.multiply(level.splat(0), r[0], q0), r[1], q1);
        level.multiply(level.multiply(sums, r[2], q2), r[3], q3)
    }

    #[inline(always)]
    fn term(level: L, w: &Self, a: &BlockA8<LEN>, lanes: L::Vector) -> f32 {
        term(w, a, level.sum(lanes) - ZERO_POINT * a.sum)
    }

    #[inline(always)]
    fn terms(
        level: L,
        w: &[Self; GROUP],
        a: [&BlockA8<LEN>; GROUP],
        lanes: [L::Vector; GROUP],
    ) -> [f32; GROUP] {
        let sums = level.sum_group(lanes);
        [
            term(&w[0], a[0], sums[0] - ZERO_POINT * a[0].sum),
            term(&w[1], a[1], sums[1] - ZERO_POINT * a[1].sum),
            term(&w[2], a[2], sums[2] - ZERO_POINT * a[2].sum),
            term(&w[3], a[3], sums[3] - ZERO_POINT * a[3].sum),
        ]
    }

    #[inline(always)]
    fn add(_: L, sum: f32, term: f32) -> f32 {
        sum + term
    }

    #[inline(always)]
    fn multiply_many(level: L, rows: Matrix, columns: Columns, out: &mut Results) {
        level.multiply_many::<C, SLOTS>(rows, columns, out);
    }

    #[inline(always)]
    fn dequantize(level: L, w: &[Self], out: &mut [f32]) {
        for (w, out) in w.iter().zip(out.chunks_exact_mut(LEN)) {
            let steps: [[u8; LANES]; STEPS] = bytemuck::cast(w.codes.decode(level));
            let mut levels = [[0; STEPS]; LANES];
            // Closures over arrays would be calls, one for each lane.
            for j in 0..LANES {
                for t in 0..STEPS {
                    levels[j][t] = steps[t][j].wrapping_sub(ZERO_POINT as u8) as i8;
                }
            }
            scalar::dequantize(w, &levels, out);
        }
    }
}

impl<C: Codes, const SLOTS: usize> Quants for Block<C, SLOTS> {
    const SLOTS: usize = SLOTS;

    #[inline(always)]
    fn scale(w: &Self) -> f32 {
        scale::decode(w.d)
    }

    #[inline(always)]
    fn slot(w: &Self, slot: usize) -> (u8, f32) {
        (w.slots[slot].place() as u8, w.slots[slot].value())
    }

    #[inline(always)]
    fn column_scale(a: &BlockA8<LEN>) -> f32 {
        a.d
    }

    #[inline(always)]
    fn words(a: &BlockA8<LEN>) -> &[[i32; WORDS]] {
        bytemuck::cast_slice(&a.qs)
    }
}

impl<L: Lanes, C: DecodeLanes, const SLOTS: usize> DecodeQuants<L> for Block<C, SLOTS> {
    #[inline(always)]
    fn quants(level: L, w: &Self) -> [u8; MAX_LEN] {
        bytemuck::cast(w.codes.decode(level))
    }

    #[inline(always)]
    fn start(a: &BlockA8<LEN>) -> i32 {
        -ZERO_POINT * a.sum
    }
}
