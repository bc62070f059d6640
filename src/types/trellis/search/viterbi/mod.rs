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
/// If the code does not have 2 to 4 bits per symbol.
pub fn for_code(code: &Code) -> Box<dyn Search> {
    let values = code.values();
    match code.bits {
        2 => Box::new(Viterbi::<4>::new(code, &values)),
        3 => Box::new(Viterbi::<8>::new(code, &values)),
        4 => Box::new(Viterbi::<16>::new(code, &values)),
        bits => panic!("no search for symbols of {bits} bits"),
    }
}

/// A search over one [`Code`] with `SYMBOLS` = 2^k symbols; owns its scratch memory (up to 8 MiB).
pub struct Viterbi<const SYMBOLS: usize> {
    isa: Isa,
    graph: Graph<SYMBOLS>,
    /// The metrics of one step, for a level with vectors: see `step_vector`.
    table: Vec<Line>,
    /// Costs before every step and after the last: those of state n before step i at `i * states + n`.
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

impl<const SYMBOLS: usize> Viterbi<SYMBOLS> {
    /// A search over `code`, whose values are taken from `values[hash]`, at the current level.
    ///
    /// # Panics
    /// If the code does not have `SYMBOLS` symbols, or two symbols have the same effect on the hash.
    pub fn new(code: &Code, values: &[f32; HASHES]) -> Self {
        Self::with_isa(Isa::current(), code, values)
    }

    /// As [`Viterbi::new`], at a given level; the same paths at every level.
    ///
    /// # Panics
    /// Also if the level is not available.
    pub fn with_isa(isa: Isa, code: &Code, values: &[f32; HASHES]) -> Self {
        let mut vector = 0;
        isa::dispatch(isa, AskVector(&mut vector));
        let lines = (HASHES * vector * size_of::<i16>()).div_ceil(size_of::<Line>());
        let graph = Graph::new(vector, code, values);
        Viterbi { isa, graph, table: vec![Line::zeroed(); lines], costs: Vec::new() }
    }

    /// Fills `costs`; returns the least after the last target.
    fn forward(&mut self, targets: &[f32]) -> i16 {
        let states = self.graph.states();
        let lines = states * (targets.len() + 1) / 32;
        if self.costs.len() < lines {
            self.costs.resize(lines, Line::zeroed());
        }
        let costs: &mut [i16] = bytemuck::cast_slice_mut(&mut self.costs);
        costs[..256].fill(0);
        costs[256..states].fill(DEAD);
        let mut least = 0;
        for (i, &x) in targets.iter().enumerate() {
            let (before, after) = costs[i * states..][..2 * states].split_at_mut(states);
            let table = bytemuck::cast_slice_mut(&mut self.table);
            isa::dispatch(self.isa, Step { graph: &self.graph, table, x, before, after, least: &mut least });
        }
        least
    }

    /// Writes the symbols of a path of cost `least` and returns the state it starts from.
    fn walk_back(&self, targets: &[f32], least: i16, symbols: &mut [u8]) -> u32 {
        let states = self.graph.states();
        let older = states / SYMBOLS;
        let costs: &[i16] = bytemuck::cast_slice(&self.costs);
        let last = &costs[targets.len() * states..][..states];
        let mut state = last.iter().position(|&cost| cost == least).expect("one has the least cost");
        for (i, (&x, symbol)) in targets.iter().zip(symbols).enumerate().rev() {
            let (m, s) = (state / SYMBOLS, state % SYMBOLS);
            let before = &costs[i * states..][..states];
            let values = self.graph.values_into(m, s);
            let cost: [f32; SYMBOLS] = std::array::from_fn(|o| {
                let e = x - values[o];
                before[m + o * older] as f32 + e * e * self.graph.cost_scale
            });
            *symbol = s as u8;
            state = m + position_of_least(&cost) * older;
        }
        state as u32
    }

    /// Sum over the targets of the squared error of a path.
    fn error(&self, targets: &[f32], start: u32, symbols: &[u8]) -> f32 {
        let mask = self.graph.states() - 1;
        let mut state = start as usize;
        let mut sum = 0.0;
        for (&x, &s) in targets.iter().zip(symbols) {
            let e = x - self.graph.value(state, s as usize);
            sum += e * e;
            state = (state * SYMBOLS + s as usize) & mask;
        }
        sum
    }
}

impl<const SYMBOLS: usize> Search for Viterbi<SYMBOLS> {
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
    fn step<const SYMBOLS: usize>(self, step: Step<SYMBOLS>);
}

impl<const SYMBOLS: usize, L: Level> Operation<L> for Step<'_, SYMBOLS> {
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
            fn step<const SYMBOLS: usize>(self, step: Step<SYMBOLS>) {
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
            fn step<const SYMBOLS: usize>(self, step: Step<SYMBOLS>) {
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
