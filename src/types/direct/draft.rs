//! The quantizer without calibration: for some scales the nearest codes, the best pattern of every group, and slots for the
//! largest errors; the scale of least squared error.

use super::layout::*;
use crate::isa::{Isa, Operation, dispatch};
use crate::types::RowQuantizer;
use crate::types::trellis::scale;
use bytemuck::Zeroable;
use std::marker::PhantomData;

/// Scale codes that are tried below and above the one that the power of the weights suggests. Weights without tails have
/// smaller scales than Gaussian ones.
const TRIED: [u8; 2] = [4, 3];

/// What larger weights count as: beyond what scales and slots can hold, and small enough for sums of squares.
const LIMIT: f32 = (1 << 20) as f32;

/// What the codes of a type stand for under a scale.
pub struct Scaled {
    /// By code; the last again beyond the last code.
    pub values: [f32; 16],
    /// From code to code, where the next one begins to be nearer; infinite from the last code on.
    between: [f32; 16],
}

impl Scaled {
    /// Under the scale of this code.
    #[inline(always)]
    pub fn new<C: Codes>(code: u8) -> Scaled {
        let d = scale::decode(code);
        let level = |code: usize| C::LEVELS[code.min(C::LEVELS.len() - 1)] as f32;
        let values = std::array::from_fn(|code| level(code) * d);
        let between = std::array::from_fn(|code| match d > 0.0 && code + 1 < C::LEVELS.len() {
            true => (level(code) + level(code + 1)) * 0.5 * d,
            false => f32::INFINITY,
        });
        Scaled { values, between }
    }

    /// The code of the nearest value. Numbers as wide as the floats that they count, so that all comparisons are one of vectors.
    #[inline(always)]
    pub fn nearest(&self, x: f32) -> u8 {
        let mut code = 0;
        for between in &self.between {
            code += (x > *between) as u32;
        }
        code as u8
    }
}

/// Weights as the quantizers take them: what is not finite is zero.
#[inline(always)]
pub fn finite(x: &[f32]) -> [f32; LEN] {
    std::array::from_fn(|i| if x[i].is_finite() { x[i].clamp(-LIMIT, LIMIT) } else { 0.0 })
}

/// The block of least squared error among those of the scales that are tried, with so many slots in use.
#[inline(always)]
pub fn draft<C: Codes, const SLOTS: usize>(x: &[f32; LEN], used: usize) -> Block<C, SLOTS> {
    let mut best = Block::zeroed();
    let mut least = f32::INFINITY;
    for code in scales::<C>(std::slice::from_ref(x), used) {
        let (block, error) = with_scale(x, code, used);
        if error < least {
            (best, least) = (block, error);
        }
    }
    best
}

/// The scale codes that are tried for blocks that have the same one.
#[inline(always)]
pub fn scales<C: Codes>(blocks: &[[f32; LEN]], used: usize) -> impl Iterator<Item = u8> + use<C> {
    let [middle, _] = scale::neighbours(deviation(blocks, used) / C::SIGMA);
    let around = middle.saturating_sub(TRIED[0]).max(1)..=middle.saturating_add(TRIED[1]);
    std::iter::once(0).chain(around)
}

/// The standard deviation of the weights of some blocks, without those that get a slot if the largest of each block do.
#[inline(always)]
fn deviation(blocks: &[[f32; LEN]], used: usize) -> f32 {
    let mut sum = 0.0;
    for x in blocks {
        let mut squares = x.map(|v| v * v);
        for _ in 0..used {
            squares[largest(&squares)] = 0.0;
        }
        sum += squares.iter().map(|&v| v as f64).sum::<f64>();
    }
    (sum / (blocks.len() * (LEN - used)) as f64).sqrt() as f32
}

/// Where the first of the largest values is. In lanes, and without the closures of iterators, which would be compiled without
/// the level's features.
#[inline(always)]
pub fn largest(x: &[f32; LEN]) -> usize {
    const WIDTH: usize = 16;
    let mut lanes = [f32::NEG_INFINITY; WIDTH];
    for x in x.as_chunks::<WIDTH>().0 {
        for k in 0..WIDTH {
            lanes[k] = if x[k] > lanes[k] { x[k] } else { lanes[k] };
        }
    }
    let mut most = f32::NEG_INFINITY;
    for x in lanes {
        most = if x > most { x } else { most };
    }
    for (i, &x) in x.iter().enumerate() {
        if x == most {
            return i;
        }
    }
    0
}

/// The best block with the scale of this code and so many slots in use, and its squared error.
#[inline(always)]
pub fn with_scale<C: Codes, const SLOTS: usize>(
    x: &[f32; LEN],
    code: u8,
    used: usize,
) -> (Block<C, SLOTS>, f32) {
    let scaled = Scaled::new::<C>(code);
    let mut block: Block<C, SLOTS> = Block::zeroed();
    block.d = code;
    let mut errors = [0.0; LEN];
    for (lane, (x, errors)) in x.as_chunks().0.iter().zip(errors.as_chunks_mut().0).enumerate() {
        let (group, missed) = best_group::<C>(&scaled, x);
        block.codes.set_group(lane, group);
        *errors = missed;
    }
    for slot in block.slots.iter_mut().take(used) {
        let mut sizes = errors;
        for size in &mut sizes {
            *size = size.abs();
        }
        let index = largest(&sizes);
        *slot = Slot::new(index as u8, errors[index]);
        errors[index] -= slot.value();
    }
    (block, errors.iter().map(|e| e * e).sum())
}

/// The group of least squared error, and the errors.
#[inline(always)]
fn best_group<C: Codes>(scaled: &Scaled, x: &[f32; STEPS]) -> (Group, [f32; STEPS]) {
    // No closures over arrays: those would be compiled without the level's features.
    let (mut codes, mut errors) = ([0; STEPS], [0.0; STEPS]);
    for t in 0..STEPS {
        codes[t] = scaled.nearest(x[t]);
        errors[t] = x[t] - scaled.values[codes[t] as usize];
    }
    let mut least = f32::INFINITY;
    let mut best = (Group::default(), *x);
    for (pattern, &kept) in C::PATTERNS.iter().enumerate() {
        let mut missed = *x;
        let mut error = 0.0;
        for t in 0..STEPS {
            if kept >> t & 1 == 1 {
                missed[t] = errors[t];
            }
            error += missed[t] * missed[t];
        }
        if error < least {
            least = error;
            best = (Group { pattern: pattern as u8, codes: kept_codes(codes, kept) }, missed);
        }
    }
    best
}

/// The codes of the weights that are kept, in order, and zeros.
#[inline(always)]
pub fn kept_codes(codes: [u8; STEPS], kept: u8) -> [u8; STEPS] {
    let mut all = [0; STEPS];
    let mut next = 0;
    for (t, code) in codes.into_iter().enumerate() {
        if kept >> t & 1 == 1 {
            all[next] = code;
            next += 1;
        }
    }
    all
}

/// Quantizes rows of blocks.
struct Quantizer<C, const SLOTS: usize>(PhantomData<fn() -> C>);

/// A quantizer of rows of a type.
pub fn quantizer<C: Codes, const SLOTS: usize>() -> Box<dyn RowQuantizer> {
    Box::new(Quantizer::<C, SLOTS>(PhantomData))
}

impl<C: Codes, const SLOTS: usize> RowQuantizer for Quantizer<C, SLOTS> {
    fn quantize(&mut self, x: &[f32], out: &mut [u8]) {
        let out: &mut [Block<C, SLOTS>] = bytemuck::cast_slice_mut(out);
        assert_eq!(x.len(), out.len() * LEN);
        dispatch(Isa::current().compiled(), Draft { x, out });
    }
}

/// Quantizes a row; the same bytes at every level.
struct Draft<'a, C, const SLOTS: usize> {
    x: &'a [f32],
    out: &'a mut [Block<C, SLOTS>],
}

impl<L, C: Codes, const SLOTS: usize> Operation<L> for Draft<'_, C, SLOTS> {
    #[inline(always)]
    fn run(self, _: L) {
        for (x, out) in self.x.chunks_exact(LEN).zip(self.out) {
            *out = draft(&finite(x), SLOTS);
        }
    }
}
