//! The exact search: symbols whose reconstruction is nearest to a row of targets.
//!
//! Viterbi's search over the states of the code; a state is the symbols still in the window. There is no tail to
//! bite: the state before the first symbol is one of the 256 that a history byte names.
//!
//! ```text
//! cost[p] = 0 for the 256 states p that a history byte can name, else DEAD
//! for each target x:
//!     for each state p = (m, oldest symbol o), each symbol s:       next state n = (s, m)
//!         next[n] = min over o of cost[p] + (x - value of s after p)^2
//! walk back from the cheapest
//! ```
//!
//! Costs are 16-bit integers with saturating sums, for two reasons: many fit in a vector register, so that a
//! transition costs a fraction of an add and a minimum; and the path does not depend on how a
//! compiler orders float additions, so the same input gives the same bytes at every level.
//! The costs of every step are kept, and the way back finds each predecessor again from them,
//! which is cheaper than to write 2^L back pointers a step.
//!
//! `graph` has the code as the search wants it, `step` what a step is, `step_portable` the definition of a step, and `step_vector` the same
//! costs with vectors, whose operations are in `cost_vectors`.

#[cfg(target_arch = "x86_64")]
mod cost_vectors;
mod graph;
mod step;
mod step_portable;
#[cfg(target_arch = "x86_64")]
mod step_vector;

use crate::isa::{self, Isa, Operation};
use crate::types::trellis::code::{Code, HASHES};
use bytemuck::{Pod, Zeroable};
use graph::Graph;
use step::{DEAD, Step, least_of};

/// The best path found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Path {
    /// Symbols before the first, newest in the low bits.
    pub history: u8,
    /// Sum over the targets of the squared error.
    pub error: f32,
}

/// A search over a code, whatever the number of its symbols.
pub trait Search: Send {
    /// Finds symbols for `targets` (in the units of the code's values) and writes them to `symbols`.
    ///
    /// Targets must be finite.
    fn run(&mut self, targets: &[f32], symbols: &mut [u8]) -> Path;
}

/// A search over `code` and its own values, at the current level.
///
/// # Panics
/// As [`with_values`].
pub fn for_code(code: &Code) -> Box<dyn Search> {
    with_values(Isa::current(), code, &code.values())
}

/// A search over `code`, whose values are taken from `values[hash]`, at a given level; the same paths at every level.
///
/// # Panics
/// If there is no search for the bits of the code's symbols, two symbols have the same effect on the hash, or the level
/// is not available.
pub fn with_values(isa: Isa, code: &Code, values: &[f32; HASHES]) -> Box<dyn Search> {
    match code.bits {
        [2, 2] => Box::new(Viterbi::<4, 4>::new(isa, code, values)),
        [2, 3] => Box::new(Viterbi::<4, 8>::new(isa, code, values)),
        [3, 3] => Box::new(Viterbi::<8, 8>::new(isa, code, values)),
        [4, 3] => Box::new(Viterbi::<16, 8>::new(isa, code, values)),
        [4, 4] => Box::new(Viterbi::<16, 16>::new(isa, code, values)),
        [5, 5] => Box::new(Viterbi::<32, 32>::new(isa, code, values)),
        bits => panic!("no search for symbols of {bits:?} bits"),
    }
}

/// A search over a code with `EVEN` symbols of even weights and `ODD` of odd ones; owns its scratch memory (up to 8 MiB).
struct Viterbi<const EVEN: usize, const ODD: usize> {
    isa: Isa,
    even: Graph<EVEN, ODD>,
    odd: Graph<ODD, EVEN>,
    /// The metrics of one step, for a level with vectors: see `step_vector`.
    table: Vec<Line>,
    /// Costs before every step and after the last: those of state n before step i at `i * stride() + n`.
    costs: Vec<Line>,
}

/// A cache line of costs or metrics.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([i16; 32]);

// SAFETY: integers only, no padding, no invalid values.
unsafe impl Zeroable for Line {}
// SAFETY: as above; 32 integers of two bytes fill the 64 of the alignment.
unsafe impl Pod for Line {}

impl<const EVEN: usize, const ODD: usize> Viterbi<EVEN, ODD> {
    fn new(isa: Isa, code: &Code, values: &[f32; HASHES]) -> Self {
        let mut vector = 0;
        isa::dispatch(isa, AskVector(&mut vector));
        let lines = (HASHES * vector * size_of::<i16>()).div_ceil(size_of::<Line>());
        let (even, odd) = (Graph::new(vector, code, values), Graph::new(vector, code, values));
        Viterbi { isa, even, odd, table: vec![Line::zeroed(); lines], costs: Vec::new() }
    }

    /// The most states that there are before a step.
    fn stride(&self) -> usize {
        self.even.states().max(self.odd.states())
    }

    /// Fills `costs`; returns the least after the last target.
    fn forward(&mut self, targets: &[f32]) -> i16 {
        let stride = self.stride();
        let lines = stride * (targets.len() + 1) / 32;
        if self.costs.len() < lines {
            self.costs.resize(lines, Line::zeroed());
        }
        let Viterbi { isa, even, odd, table, costs } = self;
        let (table, costs): (&mut [i16], &mut [i16]) =
            (bytemuck::cast_slice_mut(table), bytemuck::cast_slice_mut(costs));
        costs[..256].fill(0);
        costs[256..even.states()].fill(DEAD);
        let mut least = 0;
        for (i, &x) in targets.iter().enumerate() {
            let (before, after) = costs[i * stride..][..2 * stride].split_at_mut(stride);
            if i % 2 == 0 {
                even.step(*isa, table, x, before, after, &mut least);
            } else {
                odd.step(*isa, table, x, before, after, &mut least);
            }
        }
        least
    }

    /// Writes the symbols of a path of cost `least` and returns the state it starts from.
    fn walk_back(&self, targets: &[f32], least: i16, symbols: &mut [u8]) -> u32 {
        let stride = self.stride();
        let costs: &[i16] = bytemuck::cast_slice(&self.costs);
        let states = if targets.len().is_multiple_of(2) { self.even.states() } else { self.odd.states() };
        let last = &costs[targets.len() * stride..][..states];
        let mut state = last.iter().position(|&cost| cost == least).expect("one has the least cost");
        for (i, (&x, symbol)) in targets.iter().zip(symbols).enumerate().rev() {
            let before = &costs[i * stride..][..stride];
            (*symbol, state) =
                if i % 2 == 0 { self.even.back(before, x, state) } else { self.odd.back(before, x, state) };
        }
        state as u32
    }

    /// Sum over the targets of the squared error of a path.
    fn error(&self, targets: &[f32], start: u32, symbols: &[u8]) -> f32 {
        let mut state = start as usize;
        let mut sum = 0.0;
        for (i, (&x, &s)) in targets.iter().zip(symbols).enumerate() {
            let (value, next) =
                if i % 2 == 0 { self.even.follow(state, s) } else { self.odd.follow(state, s) };
            let e = x - value;
            sum += e * e;
            state = next;
        }
        sum
    }
}

impl<const NEW: usize, const OLD: usize> Graph<NEW, OLD> {
    /// Takes a step at a level; `before` and `after` may be longer than there are states.
    fn step(&self, isa: Isa, table: &mut [i16], x: f32, before: &[i16], after: &mut [i16], least: &mut i16) {
        let (before, after) = (&before[..self.states()], &mut after[..self.states_after()]);
        isa::dispatch(isa, Step { graph: self, table, x, before, after, least });
    }

    /// The symbol that led to a state, and the state before it, from the costs of states before it.
    fn back(&self, before: &[i16], x: f32, state: usize) -> (u8, usize) {
        let older = self.older();
        let (m, s) = (state / NEW, state % NEW);
        let values = self.values_into(m, s);
        let cost: [f32; OLD] = std::array::from_fn(|o| {
            let e = x - values[o];
            before[m + o * older] as f32 + e * e * self.cost_scale
        });
        (s as u8, m + position_of_least(&cost) * older)
    }

    /// What symbol `s` after a state reconstructs to, and the state after it.
    fn follow(&self, state: usize, s: u8) -> (f32, usize) {
        (self.value(state, s as usize), (state * NEW + s as usize) % self.states_after())
    }
}

impl<const EVEN: usize, const ODD: usize> Search for Viterbi<EVEN, ODD> {
    fn run(&mut self, targets: &[f32], symbols: &mut [u8]) -> Path {
        debug_assert_eq!(targets.len(), symbols.len());
        let least = self.forward(targets);
        let start = self.walk_back(targets, least, symbols);
        Path { history: start as u8, error: self.error(targets, start, symbols) }
    }
}

/// What the search does at a level.
trait Level: Copy {
    /// States that are costed together: the lanes of a vector.
    const STATES: usize;

    /// Takes a step.
    fn step<const NEW: usize, const OLD: usize>(self, step: Step<NEW, OLD>);
}

impl<const NEW: usize, const OLD: usize, L: Level> Operation<L> for Step<'_, NEW, OLD> {
    #[inline(always)]
    fn run(self, level: L) {
        level.step(self);
    }
}

/// Asks for [`Level::STATES`].
struct AskVector<'a>(&'a mut usize);

impl<L: Level> Operation<L> for AskVector<'_> {
    #[inline(always)]
    fn run(self, _: L) {
        *self.0 = L::STATES;
    }
}

/// Defines what a level without vectors of its own does.
macro_rules! portable {
    ($($level:ident),*) => {$(
        impl Level for isa::$level {
            const STATES: usize = 1;

            #[inline(always)]
            fn step<const NEW: usize, const OLD: usize>(self, step: Step<NEW, OLD>) {
                step_portable::run(step);
            }
        }
    )*};
}
portable!(Scalar);
#[cfg(target_arch = "aarch64")]
portable!(Neon, DotProd);

/// Defines what a level with the vectors of `$vectors`, its own or a lower one, does.
#[cfg(target_arch = "x86_64")]
macro_rules! with_vectors {
    ($($level:ident: $vectors:ident),*) => {$(
        impl Level for isa::$level {
            const STATES: usize = <isa::$vectors as cost_vectors::CostVectors>::STATES;

            #[inline(always)]
            fn step<const NEW: usize, const OLD: usize>(self, step: Step<NEW, OLD>) {
                step_vector::run(isa::$vectors::from(self), step);
            }
        }
    )*};
}
#[cfg(target_arch = "x86_64")]
with_vectors!(Avx2: Avx2, AvxVnni: Avx2, Avx512: Avx512);

/// The first place of the least of 2^n numbers; any place if there are NaNs.
#[inline(always)]
fn position_of_least<const N: usize>(x: &[f32; N]) -> usize {
    let least = least_of(*x);
    let equal = x.iter().enumerate().map(|(i, &v)| ((v == least) as u32) << i);
    equal.fold(1 << (N - 1), |mask, bit| mask | bit).trailing_zeros() as usize
}

#[cfg(test)]
mod tests;
