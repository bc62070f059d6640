//! The calibrated quantizer's side: groups from left to right with error feedback (Frantar and Alistarh, SparseGPT, 2023, for
//! groups that keep some weights only), and slots where they lower the loss most.
//!
//! With `t[i] = targets[i] + sum over j < i of U[j][i] * e[j]`, where `e = weights - q`, and the misses `z = t - q`, the loss
//! of a block is the sum of `D[i] * z[i]^2`. To add v to q[p], all codes kept, takes `v * U[p][i]` from every miss, so that
//!
//! ```text
//! best v  = A / B         A = sum over i >= p of D[i] * U[p][i] * z[i]         U[p][p] = 1
//! gain    = A^2 / B       B = sum over i >= p of D[i] * U[p][i]^2
//! ```
//!
//! (`B` is the diagonal of the loss, `A` its gradient.) The places of greatest gain are then tried in earnest: the weight there
//! is exact while the block is quantized again around it, and the value is fitted at the end.

use super::draft::{Scaled, draft, finite, kept_codes, largest};
use super::layout::*;
use crate::isa::{Isa, Operation, dispatch};
use crate::types::feedback::{Breadth, Calibrated, Feedback, FeedbackQuantizer};
use bytemuck::Zeroable;
use std::marker::PhantomData;

/// How the weights that get a slot are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outliers {
    /// Those that lower the loss most.
    ByLoss,
    /// The largest: for comparison.
    ByMagnitude,
}

/// What the calibrated quantizer needs of a type: its blocks are not rotated.
pub const fn calibrated<C: Codes, const SLOTS: usize>() -> Calibrated {
    Calibrated {
        rotate: |_| {},
        quantizer: |breadth| Box::new(Quantizer::<C, SLOTS>::new(breadth, Outliers::ByLoss)),
        makers: None,
    }
}

/// Quantizes blocks.
pub struct Quantizer<C, const SLOTS: usize> {
    outliers: Outliers,
    /// Places that are tried for a slot.
    places: usize,
    /// Scale codes that are tried below and above that of the block without feedback.
    scales: [u8; 2],
    /// The scale code of all blocks, if they share one.
    fixed: Option<u8>,
    /// Slots that are used.
    slots: usize,
    of: PhantomData<fn() -> C>,
}

impl<C: Codes, const SLOTS: usize> Quantizer<C, SLOTS> {
    /// With a search of the given breadth.
    pub fn new(breadth: Breadth, outliers: Outliers) -> Self {
        // Targets spread as errors are fed back, so that greater scales are more likely.
        let scales = if breadth.scales > 1 { [2, 3] } else { [1, 2] };
        let places = (breadth.paths / 24).max(1);
        Quantizer { outliers, places, scales, fixed: None, slots: SLOTS, of: PhantomData }
    }

    /// The same with fewer slots in use.
    pub fn with_slots(self, slots: usize) -> Self {
        Quantizer { slots: slots.min(SLOTS), ..self }
    }
}

impl<C: Codes, const SLOTS: usize> FeedbackQuantizer for Quantizer<C, SLOTS> {
    fn fix_scale(&mut self, code: u8) {
        self.fixed = Some(code);
    }

    fn quantize(
        &mut self,
        weights: &[f32],
        targets: &[f32],
        feedback: Feedback,
        out: &mut [u8],
        errors: &mut [f32],
    ) -> f32 {
        let Quantizer { outliers, places, scales, fixed, slots, .. } = *self;
        let problem = Problem { weights: finite(weights), targets: finite(targets), feedback };
        let out: &mut Block<C, SLOTS> = bytemuck::from_bytes_mut(out);
        let mut loss = 0.0;
        dispatch(
            Isa::current().compiled(),
            Search { problem, outliers, places, scales, fixed, slots, out, loss: &mut loss },
        );
        crate::products::Definition::dequantize(std::slice::from_ref(out), errors);
        for (error, weight) in errors.iter_mut().zip(weights) {
            *error = weight - *error;
        }
        loss
    }
}

/// A block that is to be quantized.
struct Problem<'a> {
    weights: [f32; LEN],
    targets: [f32; LEN],
    feedback: Feedback<'a>,
}

/// A block, its misses and its loss.
#[derive(Clone, Copy)]
struct Attempt<C, const SLOTS: usize> {
    block: Block<C, SLOTS>,
    /// Slots that are in use.
    used: usize,
    misses: [f32; LEN],
    loss: f32,
}

/// Searches for a block; the same bytes at every level.
struct Search<'a, C, const SLOTS: usize> {
    problem: Problem<'a>,
    outliers: Outliers,
    places: usize,
    scales: [u8; 2],
    fixed: Option<u8>,
    slots: usize,
    out: &'a mut Block<C, SLOTS>,
    loss: &'a mut f32,
}

impl<L, C: Codes, const SLOTS: usize> Operation<L> for Search<'_, C, SLOTS> {
    #[inline(always)]
    fn run(self, _: L) {
        let Search { problem, outliers, places, scales: [below, above], fixed, slots, out, loss } = self;
        let codes = match fixed {
            Some(code) => code..=code,
            None => {
                let middle = draft::<C, SLOTS>(&problem.targets, slots).d;
                middle.saturating_sub(below)..=middle.saturating_add(above)
            }
        };
        let mut given = [0; SLOTS];
        let mut n_given = 0;
        if outliers == Outliers::ByMagnitude {
            let mut sizes = problem.targets.map(f32::abs);
            for place in given.iter_mut().take(slots) {
                let most = largest(&sizes);
                (*place, sizes[most]) = (most as u8, 0.0);
            }
            n_given = slots;
        }
        let mut best: Option<[Attempt<C, SLOTS>; 2]> = None;
        for code in codes {
            let tried = problem.attempt(code, &given[..n_given]);
            keep_better(&mut best, problem.with_slots(tried, slots));
        }
        for n in n_given..slots {
            let [_, before] = best.expect("a scale was tried");
            let mut gains = problem.gains(&before.misses);
            let mut best_next = None;
            for _ in 0..places {
                let place = largest(&gains);
                gains[place] = f32::NEG_INFINITY;
                given[n] = place as u8;
                let tried = problem.attempt(before.block.d, &given[..n + 1]);
                keep_better(&mut best_next, problem.with_slots(tried, slots));
            }
            if let Some(next) = best_next {
                given[n] = next[1].block.slots[n].index;
                // What the next slot is to be added to is the attempt with this one, even if another has less loss.
                keep_better(&mut best, next);
                if n + 1 < slots {
                    best = best.map(|[finished, _]| [finished, next[1]]);
                }
            }
        }
        let [finished, _] = best.expect("a scale was tried");
        (*out, *loss) = (finished.block, finished.loss);
    }
}

/// Adds the products of three numbers of each lane.
#[inline(always)]
fn add_products<const N: usize>(sums: &mut [f32; N], x: &[f32; N], y: &[f32; N], z: &[f32; N]) {
    for k in 0..N {
        sums[k] += x[k] * y[k] * z[k];
    }
}

/// Takes an attempt, as finished and before, instead of the best so far if its loss is less.
#[inline(always)]
fn keep_better<C: Codes, const SLOTS: usize>(
    best: &mut Option<[Attempt<C, SLOTS>; 2]>,
    tried: [Attempt<C, SLOTS>; 2],
) {
    if best.as_ref().is_none_or(|[best, _]| tried[0].loss < best.loss) {
        *best = Some(tried);
    }
}

impl Problem<'_> {
    /// What an error of weight `i` adds to later targets.
    #[inline(always)]
    fn row(&self, i: usize) -> &[f32; LEN] {
        self.feedback.rows[i * self.feedback.stride..].first_chunk().expect("a row of the block")
    }

    /// What an error of each weight costs.
    #[inline(always)]
    fn weights_of_errors(&self) -> &[f32; LEN] {
        self.feedback.weights.first_chunk().expect("the weights of the block")
    }

    /// Quantizes the block with a scale. The weights at the places of `exact` are exact.
    #[inline(always)]
    fn attempt<C: Codes, const SLOTS: usize>(&self, code: u8, exact: &[u8]) -> Attempt<C, SLOTS> {
        let scaled = Scaled::new::<C>(code);
        let mut block: Block<C, SLOTS> = Block::zeroed();
        block.d = code;
        let mut targets = self.targets;
        let mut misses = [0.0; LEN];
        for lane in 0..LANES {
            let first = STEPS * lane;
            let tried = self.best_group::<C, SLOTS>(&scaled, first, &targets, exact, &mut block.slots);
            block.codes.set_group(lane, tried.group);
            misses[first..][..STEPS].copy_from_slice(&tried.misses);
            let [a, b, c, d] = tried.errors;
            let rows = [self.row(first), self.row(first + 1), self.row(first + 2), self.row(first + 3)];
            for i in first + STEPS..LEN {
                targets[i] += (rows[0][i] * a + rows[1][i] * b) + (rows[2][i] * c + rows[3][i] * d);
            }
        }
        let mut attempt = Attempt { block, used: exact.len(), misses, loss: 0.0 };
        for slot in 0..exact.len() {
            self.fit(&mut attempt, slot);
        }
        attempt.loss = self.loss(&attempt.misses);
        attempt
    }

    /// The pattern and the codes of a group that cost least, with feedback within the group.
    #[inline(always)]
    fn best_group<C: Codes, const SLOTS: usize>(
        &self,
        scaled: &Scaled,
        first: usize,
        targets: &[f32; LEN],
        exact: &[u8],
        slots: &mut [Slot; SLOTS],
    ) -> TriedGroup {
        let mut best = TriedGroup::default();
        let mut least = f32::INFINITY;
        for (pattern, &kept) in C::PATTERNS.iter().enumerate() {
            let mut tried = TriedGroup::default();
            let mut codes = [0; STEPS];
            let mut loss = 0.0;
            for (t, code) in codes.iter_mut().enumerate() {
                let i = first + t;
                let mut target = targets[i];
                for before in 0..t {
                    target += self.row(first + before)[i] * tried.errors[before];
                }
                let mut value = 0.0;
                if kept >> t & 1 == 1 {
                    *code = scaled.nearest(target);
                    value = scaled.values[*code as usize];
                }
                if let Some(slot) = exact.iter().position(|&place| place as usize == i) {
                    slots[slot] = Slot::new(i as u8, target - value);
                    value += slots[slot].value();
                }
                tried.misses[t] = target - value;
                tried.errors[t] = self.weights[i] - value;
                loss += self.feedback.weights[i] * tried.misses[t] * tried.misses[t];
            }
            if loss < least {
                least = loss;
                tried.group = Group { pattern: pattern as u8, codes: kept_codes(codes, kept) };
                best = tried;
            }
        }
        best
    }

    /// The value that is best added to weight `p` when all codes stay, and what it gains.
    #[inline(always)]
    fn gain(&self, misses: &[f32; LEN], p: usize) -> (f32, f32) {
        const WIDTH: usize = 8;
        let (row, weights) = (self.row(p), self.weights_of_errors());
        let (mut a, mut b) = (weights[p] * misses[p], weights[p]);
        let start = (p + 1).next_multiple_of(WIDTH);
        for i in p + 1..start.min(LEN) {
            a += weights[i] * row[i] * misses[i];
            b += weights[i] * row[i] * row[i];
        }
        // In lanes: the order of the sums is the same at every level. One sum after the other: compilers that see both at once
        // pair them up instead of the lanes.
        let (row, weights, misses) = (row.as_chunks().0, weights.as_chunks().0, misses.as_chunks().0);
        let (mut a_lanes, mut b_lanes) = ([0.0; WIDTH], [0.0; WIDTH]);
        for i in start / WIDTH..LEN / WIDTH {
            add_products(&mut a_lanes, &weights[i], &row[i], &misses[i]);
        }
        for i in start / WIDTH..LEN / WIDTH {
            add_products(&mut b_lanes, &weights[i], &row[i], &row[i]);
        }
        a += a_lanes.iter().sum::<f32>();
        b += b_lanes.iter().sum::<f32>();
        (a / b, a * a / b)
    }

    /// What every weight gains by a slot, at most. No closure over an array: that would be compiled without the level's features.
    #[inline(always)]
    fn gains(&self, misses: &[f32; LEN]) -> [f32; LEN] {
        let mut gains = [0.0; LEN];
        for (p, gain) in gains.iter_mut().enumerate() {
            *gain = self.gain(misses, p).1;
        }
        gains
    }

    /// Gives a slot the value that suits the codes best.
    #[inline(always)]
    fn fit<C: Codes, const SLOTS: usize>(&self, attempt: &mut Attempt<C, SLOTS>, slot: usize) {
        let old = attempt.block.slots[slot];
        let place = old.index as usize;
        let (more, _) = self.gain(&attempt.misses, place);
        let new = Slot::new(old.index, old.value() + more);
        let change = new.value() - old.value();
        attempt.misses[place] -= change;
        for (miss, u) in attempt.misses[place + 1..].iter_mut().zip(&self.row(place)[place + 1..]) {
            *miss -= change * u;
        }
        attempt.block.slots[slot] = new;
    }

    /// An attempt with so many slots in use, the further ones where they gain most, all codes kept; and the attempt as it was.
    #[inline(always)]
    fn with_slots<C: Codes, const SLOTS: usize>(
        &self,
        before: Attempt<C, SLOTS>,
        slots: usize,
    ) -> [Attempt<C, SLOTS>; 2] {
        let mut finished = before;
        for slot in before.used..slots {
            let gains = self.gains(&finished.misses);
            finished.block.slots[slot].index = largest(&gains) as u8;
            self.fit(&mut finished, slot);
        }
        finished.used = slots;
        finished.loss = self.loss(&finished.misses);
        [finished, before]
    }

    /// The loss of some misses.
    #[inline(always)]
    fn loss(&self, misses: &[f32; LEN]) -> f32 {
        misses.iter().zip(self.feedback.weights).map(|(z, d)| d * z * z).sum()
    }
}

/// A group that was tried.
#[derive(Clone, Copy, Default)]
struct TriedGroup {
    group: Group,
    misses: [f32; STEPS],
    errors: [f32; STEPS],
}
