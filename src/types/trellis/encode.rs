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
//! Costs are 16-bit integers with saturating sums, for two reasons: the 2^k successors of a state
//! are one vector register, so that a state costs one add and one minimum; and the path does not
//! depend on how a compiler orders float additions, so the same input gives the same bytes on
//! every machine. The costs of every step are kept, and the way back finds each
//! predecessor again from them, which is cheaper than to write 2^L back pointers a step.

use super::code::{Code, HASHES};

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

/// A search over one [`Code`] with `ROW` = 2^k symbols; owns its scratch memory (up to 8 MiB).
pub struct Search<const ROW: usize> {
    state_bits: u32,
    /// Reconstruction of each relabelled hash. Labels are chosen so that the newest symbol is
    /// XORed into the low k bits: the successors of a state are then one aligned row.
    values: [f32; HASHES],
    /// Relabelled hash of (state, symbol 0); `part[m][o]` for the state of symbols m and the oldest, o.
    part: Vec<[u8; ROW]>,
    cost_scale: f32,
    /// Costs before every step and after the last; `costs[i][n]` with rows of `ROW` states that
    /// differ in their newest symbol.
    costs: Vec<[i16; ROW]>,
}

impl<const ROW: usize> Search<ROW> {
    const K: u32 = ROW.trailing_zeros();

    /// A search over `code`, whose values are taken from `values[hash]`.
    ///
    /// # Panics
    /// If the code does not have `ROW` symbols, or two symbols have the same effect on the hash.
    pub fn new(code: &Code, values: &[f32; HASHES]) -> Self {
        assert_eq!(1 << code.bits, ROW);
        let state_bits = code.window_bits() - Self::K;
        let label = relabel(&code.columns()[..Self::K as usize]);
        let mut by_label = [0.0; HASHES];
        for (hash, &v) in values.iter().enumerate() {
            by_label[label[hash] as usize] = v;
        }
        let older = 1usize << (state_bits - Self::K);
        let part = |p: usize| label[code.hash((p as u32) << Self::K) as usize];
        let part = (0..older).map(|m| std::array::from_fn(|o| part(m + o * older))).collect();
        let spread: f32 = values.iter().map(|v| v * v).sum::<f32>() / HASHES as f32;
        Search {
            state_bits,
            values: by_label,
            part,
            cost_scale: COST_ONE[Self::K as usize - 2] / spread,
            costs: Vec::new(),
        }
    }

    /// Finds symbols for `targets` (in the units of the code's values) and writes them to `symbols`.
    ///
    /// Targets must be finite.
    pub fn run(&mut self, targets: &[f32], symbols: &mut [u8]) -> Path {
        debug_assert_eq!(targets.len(), symbols.len());
        let rows = 1usize << (self.state_bits - Self::K);
        self.costs.resize(rows * (targets.len() + 1), [0; ROW]);
        for (m, row) in self.costs[..rows].iter_mut().enumerate() {
            *row = [if m * ROW < 256 { 0 } else { DEAD }; ROW];
        }
        self.forward(targets);
        let start = self.walk_back(targets, symbols);
        Path { history: start as u8, error: self.error(targets, start, symbols) }
    }

    fn forward(&mut self, targets: &[f32]) {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the features were just detected.
            return unsafe { self.forward_avx2(targets) };
        }
        self.forward_portable(targets);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,bmi1,bmi2")]
    fn forward_avx2(&mut self, targets: &[f32]) {
        self.forward_portable(targets);
    }

    #[inline(always)]
    fn forward_portable(&mut self, targets: &[f32]) {
        let rows = 1usize << (self.state_bits - Self::K);
        let mut least = 0;
        for (i, &x) in targets.iter().enumerate() {
            let (before, after) = self.costs[i * rows..][..2 * rows].split_at_mut(rows);
            let metric = metric_rows::<ROW>(&self.values, x, self.cost_scale, least);
            least = step(before.as_flattened(), after, &self.part, &metric);
        }
    }

    /// Writes the symbols of the cheapest path and returns the state it starts from.
    fn walk_back(&self, targets: &[f32], symbols: &mut [u8]) -> u32 {
        let states = 1usize << self.state_bits;
        let older = states / ROW;
        let costs = self.costs.as_flattened();
        let last = &costs[targets.len() * states..][..states];
        let mut state = (0..states).min_by_key(|&n| last[n]).expect("a code has states");
        for (i, (&x, symbol)) in targets.iter().zip(symbols).enumerate().rev() {
            let (m, s) = (state / ROW, state % ROW);
            let before = &costs[i * states..][..states];
            let cost = |p: usize| {
                let e = x - self.values[self.part_of(p) ^ s];
                before[p] as f32 + e * e * self.cost_scale
            };
            *symbol = s as u8;
            state = (0..ROW)
                .map(|o| m + o * older)
                .min_by(|&p, &q| cost(p).total_cmp(&cost(q)))
                .expect("a state has predecessors");
        }
        state as u32
    }

    fn part_of(&self, state: usize) -> usize {
        let older = self.part.len();
        self.part[state % older][state / older] as usize
    }

    fn error(&self, targets: &[f32], start: u32, symbols: &[u8]) -> f32 {
        let mask = (1u32 << self.state_bits) - 1;
        let mut state = start;
        let mut sum = 0.0;
        for (&x, &s) in targets.iter().zip(symbols) {
            let e = x - self.values[self.part_of(state as usize) ^ s as usize];
            sum += e * e;
            state = (state << Self::K | s as u32) & mask;
        }
        sum
    }
}

/// `rows[h][s]` = cost of label `h ^ s` beyond the cheapest label, less `least`.
#[inline(always)]
fn metric_rows<const ROW: usize>(
    values: &[f32; HASHES],
    x: f32,
    scale: f32,
    least: i16,
) -> [[i16; ROW]; HASHES] {
    let mut error = [0f32; HASHES];
    let mut nearest = [f32::INFINITY; 16];
    for (error, values) in error.chunks_exact_mut(16).zip(values.chunks_exact(16)) {
        for j in 0..16 {
            let e = (x - values[j]) * (x - values[j]) * scale;
            error[j] = e;
            nearest[j] = if e < nearest[j] { e } else { nearest[j] };
        }
    }
    let nearest = nearest.into_iter().fold(f32::INFINITY, f32::min);
    let mut metric = [0i16; HASHES];
    for (m, e) in metric.iter_mut().zip(&error) {
        *m = round_to_i16(e - nearest).wrapping_sub(least);
    }
    let mut rows = [[0i16; ROW]; HASHES];
    for (rows, metric) in rows.chunks_exact_mut(ROW).zip(metric.chunks_exact(ROW)) {
        for low in 0..ROW {
            for s in 0..ROW {
                rows[low][s] = metric[low ^ s];
            }
        }
    }
    rows
}

/// Nearest integer of `0.0..`, at most `i16::MAX`; in a form that compilers turn into vector code.
#[inline(always)]
fn round_to_i16(x: f32) -> i16 {
    /// At 2^23 the unit in the last place is one: adding it leaves the integer in the low bits.
    const INTEGER_AT: f32 = (1 << 23) as f32;
    let x = if x < DEAD as f32 { x } else { DEAD as f32 };
    (x + INTEGER_AT).to_bits() as i16
}

/// One step of the search; returns the least cost after it.
#[inline(always)]
fn step<const ROW: usize>(
    before: &[i16],
    after: &mut [[i16; ROW]],
    part: &[[u8; ROW]],
    metric: &[[i16; ROW]; HASHES],
) -> i16 {
    let older = after.len();
    assert!(part.len() == older);
    let before: [&[i16]; ROW] = std::array::from_fn(|o| &before[o * older..][..older]);
    let mut least = [DEAD; ROW];
    for m in 0..older {
        let mut best = [DEAD; ROW];
        for o in 0..ROW {
            let row = &metric[part[m][o] as usize];
            let cost = before[o][m];
            for s in 0..ROW {
                best[s] = best[s].min(row[s].saturating_add(cost));
            }
        }
        for s in 0..ROW {
            least[s] = least[s].min(best[s]);
        }
        after[m] = best;
    }
    least.into_iter().fold(DEAD, i16::min)
}

/// A linear relabelling of hashes that sends `columns[b]` to `1 << b`.
///
/// # Panics
/// If the columns are not independent.
fn relabel(columns: &[u8]) -> [u8; HASHES] {
    // Complete the columns to a basis; the label of a hash is its coordinates.
    let mut basis = Vec::new();
    let mut span = vec![0u8];
    for &c in columns.iter().chain(&[1, 2, 4, 8, 16, 32, 64, 128]) {
        if !span.contains(&c) {
            basis.push(c);
            span.extend(span.clone().iter().map(|v| v ^ c));
        }
    }
    assert!(basis.starts_with(columns), "symbols must change the hash independently");
    let mut label = [0u8; HASHES];
    for (index, &hash) in span.iter().enumerate() {
        label[hash as usize] = index as u8;
    }
    label
}
