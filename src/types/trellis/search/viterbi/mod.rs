//! The trellis search: symbols whose reconstruction is nearest to a row of targets.
//!
//! An exact Viterbi search over the states of the code (the symbols still in the window). There
//! is no tail to bite: the state before the first symbol is one of the 256 that a history byte names.
//!
//! ```text
//! cost[p] = 0 for the 256 states p that a history byte can name, else DEAD
//! for each target x:
//!     for each state p = (m, oldest symbol o), each symbol s:       next state n = (s, m)
//!         next[n] = min over o of cost[p] + (x - value[part[p] ^ s])^2
//! walk back from the cheapest
//! ```
//!
//! Costs are 16-bit integers with saturating sums, for two reasons: many fit in a vector register, so that a
//! transition costs a fraction of an add and a minimum; and the path does not depend on how a
//! compiler orders float additions, so the same input gives the same bytes at every level.
//! The costs of every step are kept, and the way back finds each predecessor again from them,
//! which is cheaper than to write 2^L back pointers a step.
//!
//! `step_portable` is the definition of a step, the other steps give the same costs.

#[cfg(target_arch = "x86_64")]
mod step_avx2;
#[cfg(target_arch = "x86_64")]
mod step_avx512;
mod step_portable;

use crate::isa::Isa;
use crate::types::trellis::code::{Code, HASHES};
use bytemuck::{Pod, Zeroable};

/// Squared error of one standard deviation of the values, in cost units, by k - 2. The mean cost of a
/// step on the best path is 30 to 140 of these, so rounding to units does not show in the result;
/// an error of more than 2 to 16 squared deviations beyond the best saturates.
const COST_ONE: [f32; 3] = [2048.0, 2048.0, 8192.0];

/// Cost of a state that cannot be reached.
const DEAD: i16 = i16::MAX;

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
    scratch: Scratch,
}

/// A code as the search wants it. A state (o, m) is its oldest symbol and the others.
///
/// Labels are hashes in another basis, in which what tells the states of a vector apart has the lowest bits.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "only vectors use all of it"))]
struct Graph<const SYMBOLS: usize> {
    /// Reconstruction of each label.
    values: [f32; HASHES],
    /// Label of a state and symbol 0; `part[m][o]`.
    part: Vec<[u8; SYMBOLS]>,
    /// What a symbol XORs into the label.
    symbol: [u8; SYMBOLS],
    /// What the place of a state in its vector XORs into the label.
    lanes: [u16; MAX_LANES],
    /// Offset in the table of metrics for a vector of states and symbol 0; `rows[vector of m][o]`.
    rows: Vec<[u16; SYMBOLS]>,
    /// What each bit of the symbol XORs into the offset; bits past the symbol are not used.
    flips: [usize; 4],
    cost_scale: f32,
}

/// Memory that is kept from one run to the next.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "only vectors use all of it"))]
struct Scratch {
    /// Metrics of one step, a row of one vector for each label; see `step_avx512`.
    table: Vec<Line>,
    /// Costs before every step and after the last; `costs[i][n]`.
    costs: Vec<Line>,
}

/// Most states in a vector.
const MAX_LANES: usize = 32;

/// A cache line of costs.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([i16; 32]);

// SAFETY: integers only, no padding, no invalid values.
unsafe impl Zeroable for Line {}
// SAFETY: as above; 32 integers of two bytes fill the 64 of the alignment.
unsafe impl Pod for Line {}

impl<const SYMBOLS: usize> Graph<SYMBOLS> {
    const K: u32 = SYMBOLS.trailing_zeros();

    fn new(lanes: usize, code: &Code, values: &[f32; HASHES]) -> Self {
        assert_eq!(1 << code.bits, SYMBOLS);
        let (k, columns) = (Self::K as usize, code.columns());
        let label = relabel(&columns[k..][..lanes.trailing_zeros() as usize], &columns[..k]);
        let label_of = |window: usize| label[code.hash(window as u32) as usize];
        let older = 1usize << (code.window_bits() - 2 * Self::K);
        let part = |m: usize| std::array::from_fn(|o| label_of((m + o * older) << k));
        let part: Vec<[u8; SYMBOLS]> = (0..older).map(part).collect();
        let row = |part: &[u8; SYMBOLS]| part.map(|p| p as u16 * lanes as u16);
        let graph = Graph {
            rows: part.iter().step_by(lanes).map(row).collect(),
            part,
            values: by_label(values, &label),
            symbol: std::array::from_fn(label_of),
            lanes: std::array::from_fn(|lane| label_of((lane % lanes) << k) as u16),
            flips: std::array::from_fn(|bit| label_of(1 << (bit % k)) as usize * lanes),
            cost_scale: COST_ONE[k - 2] / spread(values),
        };
        assert!(!graph.symbol[1..].contains(&0), "symbols must change the hash independently");
        graph
    }

    fn states(&self) -> usize {
        self.part.len() * SYMBOLS
    }

    /// Reconstruction of symbol `s` after state `state`.
    fn value(&self, state: usize, s: usize) -> f32 {
        let older = self.part.len();
        let part = self.part[state % older][state / older];
        self.values[(part ^ self.symbol[s]) as usize]
    }
}

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
        assert!(isa.is_available());
        let lanes = lanes(isa);
        let table = vec![Line::zeroed(); HASHES * lanes / size_of::<Line>() * size_of::<i16>()];
        let scratch = Scratch { table, costs: Vec::new() };
        Viterbi { isa, graph: Graph::new(lanes, code, values), scratch }
    }

    /// Fills `costs`; returns the least after the last target.
    fn forward(&mut self, targets: &[f32]) -> i16 {
        let states = self.graph.states();
        let lines = states * (targets.len() + 1) / 32;
        let mut costs = std::mem::take(&mut self.scratch.costs);
        if costs.len() < lines {
            costs.resize(lines, Line::zeroed());
        }
        // Moved out while `step` borrows the rest.
        let all: &mut [i16] = bytemuck::cast_slice_mut(&mut costs);
        all[..256].fill(0);
        all[256..states].fill(DEAD);
        let mut least = 0;
        for (i, &x) in targets.iter().enumerate() {
            let (before, after) = all[i * states..][..2 * states].split_at_mut(states);
            least = self.step((x, least), before, after);
        }
        self.scratch.costs = costs;
        least
    }

    fn step(&mut self, target: (f32, i16), before: &[i16], after: &mut [i16]) -> i16 {
        match self.isa {
            // SAFETY: the level is available.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 | Isa::AvxVnni => unsafe {
                step_avx2::step(&self.graph, &mut self.scratch, target, before, after)
            },
            // SAFETY: the level is available.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => unsafe {
                step_avx512::step(&self.graph, &mut self.scratch, target, before, after)
            },
            _ => step_portable::step(&self.graph, target, before, after),
        }
    }

    /// Writes the symbols of a path of cost `least` and returns the state it starts from.
    fn walk_back(&self, targets: &[f32], least: i16, symbols: &mut [u8]) -> u32 {
        let states = self.graph.states();
        let older = states / SYMBOLS;
        let costs: &[i16] = bytemuck::cast_slice(&self.scratch.costs);
        let last = &costs[targets.len() * states..][..states];
        let mut state = last.iter().position(|&cost| cost == least).expect("one has the least cost");
        for (i, (&x, symbol)) in targets.iter().zip(symbols).enumerate().rev() {
            let (m, s) = (state / SYMBOLS, state % SYMBOLS);
            let before = &costs[i * states..][..states];
            let part = &self.graph.part[m];
            let cost: [f32; SYMBOLS] = std::array::from_fn(|o| {
                let e = x - self.graph.values[(part[o] ^ self.graph.symbol[s]) as usize];
                before[m + o * older] as f32 + e * e * self.graph.cost_scale
            });
            *symbol = s as u8;
            state = m + position_of_least(&cost) * older;
        }
        state as u32
    }

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

/// States in a vector.
fn lanes(isa: Isa) -> usize {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 | Isa::AvxVnni => step_avx2::LANES,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => step_avx512::LANES,
        _ => 1,
    }
}

/// Mean square of the values.
fn spread(values: &[f32; HASHES]) -> f32 {
    values.iter().map(|v| v * v).sum::<f32>() / HASHES as f32
}

/// Cost of each label beyond the cheapest, less `least`.
#[inline(always)]
fn metric(values: &[f32; HASHES], x: f32, scale: f32, least: i16) -> [i16; HASHES] {
    let mut error = [0f32; HASHES];
    let mut nearest = [f32::INFINITY; 16];
    for (error, values) in error.chunks_exact_mut(16).zip(values.chunks_exact(16)) {
        for j in 0..16 {
            let e = (x - values[j]) * (x - values[j]) * scale;
            error[j] = e;
            nearest[j] = if e < nearest[j] { e } else { nearest[j] };
        }
    }
    let nearest = least_of(nearest);
    let mut metric = [0i16; HASHES];
    for (m, e) in metric.iter_mut().zip(&error) {
        *m = round_to_i16(e - nearest).wrapping_sub(least);
    }
    metric
}

/// Nearest integer of `0.0..`, at most `i16::MAX`; in a form that compilers turn into vector code.
#[inline(always)]
fn round_to_i16(x: f32) -> i16 {
    /// At 2^23 the unit in the last place is one: adding it leaves the integer in the low bits.
    const INTEGER_AT: f32 = (1 << 23) as f32;
    let x = if x < DEAD as f32 { x } else { DEAD as f32 };
    (x + INTEGER_AT).to_bits() as i16
}

/// The first place of the least of 2^n numbers; any place if there are NaNs.
#[inline(always)]
fn position_of_least<const N: usize>(x: &[f32; N]) -> usize {
    let least = least_of(*x);
    let equal = x.iter().enumerate().map(|(i, &v)| ((v == least) as u32) << i);
    equal.fold(1 << (N - 1), |mask, bit| mask | bit).trailing_zeros() as usize
}

/// The least of 2^n numbers, without a long chain of comparisons.
#[inline(always)]
fn least_of<const N: usize>(mut x: [f32; N]) -> f32 {
    let mut half = N / 2;
    while half > 0 {
        for j in 0..half {
            x[j] = if x[j + half] < x[j] { x[j + half] } else { x[j] };
        }
        half /= 2;
    }
    x[0]
}

/// A linear relabelling of hashes under which the span of `first` has the lowest labels and, where they are
/// independent, the columns `first` and `next` in turn have the powers of two.
fn relabel(first: &[u8], next: &[u8]) -> [u8; HASHES] {
    // Complete the columns to a basis; the label of a hash is its coordinates.
    let mut span = vec![0u8];
    for &c in first.iter().chain(next).chain(&[1, 2, 4, 8, 16, 32, 64, 128]) {
        if !span.contains(&c) {
            span.extend(span.clone().iter().map(|v| v ^ c));
        }
    }
    let mut label = [0u8; HASHES];
    for (index, &hash) in span.iter().enumerate() {
        label[hash as usize] = index as u8;
    }
    label
}

fn by_label(values: &[f32; HASHES], label: &[u8; HASHES]) -> [f32; HASHES] {
    let mut by_label = [0.0; HASHES];
    for (&label, &value) in label.iter().zip(values) {
        by_label[label as usize] = value;
    }
    by_label
}

#[cfg(test)]
mod tests;
