//! The search with error feedback: a beam over trellis paths, each with its own errors.
//!
//! With the Gram matrix of the inputs factored as `H = U D U^T` (U unit upper triangular), the loss of errors e is
//!
//! ```text
//! e^T H e = sum over i of D[i] * (t[i] - q[i])^2        t[i] = w[i] + sum over j < i of U[j][i] * e[j]
//! ```
//!
//! so the target of weight i depends on every choice before it. Viterbi's search keeps one path for each state
//! and cannot follow that; a beam of the cheapest paths can (per-survivor processing: Raheli et al., 1995):
//!
//! ```text
//! survivors = the 256 states that a history byte can name, all with the targets of the block
//! for each weight:
//!     extend every survivor by every symbol:   cost + D[i] * (its target - value)^2
//!     keep the cheapest, about `width` of them
//!     add the new error times row i of U to the targets that are left
//! walk back from the cheapest
//! ```
//!
//! Targets are kept up to date for the current [`CHUNK`] of weights only, so that they fit in a register or two and
//! copying a survivor is cheap. At the end of a chunk the slot of each target holds its error. Targets of
//! the next chunk are made from the errors of the survivors' ancestors, each of them once however many
//! descendants it has; where a single ancestor is left, its errors go into the targets of the block.

mod cheapest;
mod lanes;
#[cfg(target_arch = "x86_64")]
mod lanes_x86;
mod lineage;

use crate::isa::{self, Isa, Operation};
use crate::types::feedback::{CHUNK, Feedback};
use crate::types::trellis::code::{Code, HASHES};
use cheapest::{SLACK, list_set_bits, mark_cheapest};
use lanes::{Chunk, Lanes, Level, MAX_GROUP, ZEROS};
use lineage::Lineage;

/// States that a history byte can name.
const ROOTS: usize = 256;

/// Most survivors on average: twice as many, each with 32 symbols, are as many candidates as 16 bits number.
const MOST_PATHS: usize = 1024;

/// A search with error feedback over a code, whatever the number of its symbols.
pub trait FeedbackSearch: Send {
    /// Finds symbols for `weights` (in the units of the code's values) whose targets, as far as earlier blocks
    /// decide them, are `targets`. Writes the symbols; returns the history and the loss.
    fn run(
        &mut self,
        weights: &[f32],
        targets: &mut [f32],
        feedback: Feedback,
        symbols: &mut [u8],
    ) -> (u8, f32);

    /// Writes what the symbols after a history reconstruct to.
    fn values(&self, history: u8, symbols: &[u8], out: &mut [f32]);
}

/// A search over `code` that keeps `width` survivors on average, at the current level.
///
/// # Panics
/// If there is no search for the bits of the code's symbols or `width` is not in `1..=1024`.
pub fn for_code(code: &Code, width: usize) -> Box<dyn FeedbackSearch> {
    with_isa(Isa::current(), code, width)
}

/// As [`for_code`], at a given level; the same paths at every level.
///
/// # Panics
/// Also if the level is not available.
pub fn with_isa(isa: Isa, code: &Code, width: usize) -> Box<dyn FeedbackSearch> {
    match code.bits {
        [2, 2] => Box::new(Beam::<4, 4>::new(isa, code, width)),
        [2, 3] => Box::new(Beam::<4, 8>::new(isa, code, width)),
        [3, 3] => Box::new(Beam::<8, 8>::new(isa, code, width)),
        [4, 3] => Box::new(Beam::<16, 8>::new(isa, code, width)),
        [4, 4] => Box::new(Beam::<16, 16>::new(isa, code, width)),
        [5, 5] => Box::new(Beam::<32, 32>::new(isa, code, width)),
        bits => panic!("no search for symbols of {bits:?} bits"),
    }
}

/// A beam search over a code with `EVEN` symbols of even weights and `ODD` of odd ones; owns its scratch memory.
struct Beam<const EVEN: usize, const ODD: usize> {
    isa: Isa,
    even: Symbols<EVEN>,
    /// Nothing if all symbols have the same bits: then `even` is for all, and the cache holds one table.
    odd: Symbols<ODD>,
    /// States before an even and before an odd weight, less one.
    masks: [usize; 2],
    /// Mean square of the values.
    spread: f32,
    paths: Paths,
}

/// The paths of a beam.
struct Paths {
    /// Survivors that a step keeps on average; none keeps more than twice as many.
    width: usize,
    /// Places that a step has in `chosen`.
    places: usize,
    now: Survivors,
    next: Survivors,
    /// The cost of every candidate. Of N symbols, candidate `p * N + s` goes on from survivor p with symbol s.
    candidates: Vec<Chunk>,
    /// A bit for every candidate, which is set if the candidate is among the cheapest.
    cheapest: Vec<u16>,
    /// For every step, the candidates that became its survivors.
    chosen: Vec<u16>,
    lineage: Lineage,
}

/// What `N` symbols may follow the states before even or odd weights.
#[derive(Default)]
struct Symbols<const N: usize> {
    /// The hash of every state followed by symbol 0.
    prefix: Vec<u8>,
    /// For every hash of a state in `prefix`, the values of the symbols that follow the state.
    children: Vec<[f32; N]>,
}

impl<const N: usize> Symbols<N> {
    fn new(code: &Code) -> Self {
        let states = (1 << code.window) / N as u32;
        let values = code.values();
        let symbols: [u8; N] = std::array::from_fn(|s| code.hash(s as u32));
        Symbols {
            prefix: (0..states).map(|state| code.hash(state * N as u32)).collect(),
            children: (0..HASHES).map(|h| symbols.map(|s| values[h ^ s as usize])).collect(),
        }
    }

    /// What symbol `s` after a state reconstructs to.
    #[inline(always)]
    fn value(&self, state: usize, s: usize) -> f32 {
        self.children[self.prefix[state] as usize][s]
    }
}

/// The paths that a step keeps.
#[derive(Default)]
struct Survivors {
    len: usize,
    /// Errors and targets of the current chunk.
    chunks: Vec<Chunk>,
    cost: Vec<f32>,
    state: Vec<u16>,
    /// The survivor that the path was at the start of the current chunk.
    ancestor: Vec<u16>,
}

impl Survivors {
    fn with_capacity(n: usize) -> Self {
        Survivors {
            len: 0,
            chunks: vec![ZEROS; n],
            cost: vec![0.0; n],
            state: vec![0; n],
            ancestor: vec![0; n],
        }
    }
}

impl<const EVEN: usize, const ODD: usize> Beam<EVEN, ODD> {
    fn new(isa: Isa, code: &Code, width: usize) -> Self {
        assert!(isa.is_available() && (1..=MOST_PATHS).contains(&width));
        let values = code.values();
        Beam {
            isa,
            even: Symbols::new(code),
            odd: if EVEN == ODD { Symbols::default() } else { Symbols::new(code) },
            masks: code.bits.map(|bits| (1 << (code.window - bits)) - 1),
            spread: values.iter().map(|v| v * v).sum::<f32>() / HASHES as f32,
            paths: Paths::new(width, EVEN.max(ODD)),
        }
    }

    #[inline(always)]
    fn search<L: Lanes>(
        &mut self,
        lanes: L,
        weights: &[f32],
        targets: &mut [f32],
        feedback: Feedback,
        symbols: &mut [u8],
    ) -> (u8, f32) {
        let n = weights.len();
        assert!(n.is_multiple_of(CHUNK) && targets.len() == n && symbols.len() == n);
        let Beam { even, odd, masks, spread, paths, .. } = self;
        paths.begin(n);
        // The gap of the beam is a guess at first, a tenth of the cost of the values' own spread. A few steps correct it.
        let mut gap = 0.1 * *spread * feedback.weights[0];
        for chunk in 0..n / CHUNK {
            paths.begin_chunk(lanes, chunk, targets, feedback);
            for i in chunk * CHUNK..(chunk + 1) * CHUNK {
                let weight = Weight { i, w: weights[i], d: feedback.weights[i], row: feedback.row(i, chunk) };
                let mask = masks[(i + 1) % 2];
                if EVEN == ODD || i % 2 == 0 {
                    paths.step(lanes, even, mask, weight, &mut gap);
                } else {
                    paths.step(lanes, odd, mask, weight, &mut gap);
                }
            }
        }
        let best = position_of_least(&paths.now.cost[..paths.now.len]);
        (self.walk_back(best, symbols), self.paths.now.cost[best])
    }

    /// Writes the symbols of a survivor's path and returns its history.
    fn walk_back(&self, survivor: usize, symbols: &mut [u8]) -> u8 {
        let mut p = survivor;
        let steps = symbols.iter_mut().zip(self.paths.chosen.chunks_exact(self.paths.places));
        for (i, (symbol, chosen)) in steps.enumerate().rev() {
            let candidate = chosen[p] as usize;
            let count = if i % 2 == 0 { EVEN } else { ODD };
            *symbol = (candidate % count) as u8;
            p = candidate / count;
        }
        p as u8
    }
}

/// A weight that the search comes to.
struct Weight<'a> {
    i: usize,
    w: f32,
    /// Its factor in the loss.
    d: f32,
    /// What its error adds to the targets of the chunk.
    row: &'a [f32; CHUNK],
}

impl Paths {
    fn new(width: usize, symbols: usize) -> Self {
        let capacity = (2 * width).max(ROOTS).next_multiple_of(MAX_GROUP);
        Paths {
            width,
            places: 2 * width + SLACK,
            now: Survivors::with_capacity(capacity),
            next: Survivors::with_capacity(capacity),
            candidates: vec![ZEROS; (capacity * symbols).div_ceil(CHUNK)],
            cheapest: vec![0; (capacity * symbols).div_ceil(CHUNK)],
            chosen: Vec::new(),
            lineage: Lineage::default(),
        }
    }

    /// Begins a block of `n` weights with a path from every state that a history byte names.
    fn begin(&mut self, n: usize) {
        self.chosen.resize(n * self.places, 0);
        self.lineage.clear();
        self.now.len = ROOTS;
        self.now.cost[..ROOTS].fill(0.0);
        for root in 0..ROOTS {
            self.now.state[root] = root as u16;
        }
    }

    /// Takes the paths on over a weight.
    #[inline(always)]
    fn step<L: Lanes, const N: usize>(
        &mut self,
        lanes: L,
        symbols: &Symbols<N>,
        mask: usize,
        weight: Weight,
        gap: &mut f32,
    ) {
        let (used, least) = self.extend(lanes, symbols, weight.i % CHUNK, weight.d);
        let (candidates, cheapest) = (&self.candidates[..used], &mut self.cheapest[..used]);
        mark_cheapest(lanes, candidates, least, self.width, gap, cheapest);
        self.choose(lanes, symbols, mask, weight, used);
    }

    /// Gives every survivor the targets of the chunk.
    #[inline(always)]
    fn begin_chunk<L: Lanes>(&mut self, lanes: L, chunk: usize, targets: &mut [f32], feedback: Feedback) {
        let now = &mut self.now;
        if chunk > 0 {
            self.lineage.push(&now.chunks[..now.len], &now.ancestor[..now.len]);
        }
        self.lineage.targets(lanes, chunk, targets, feedback, &mut now.chunks[..now.len]);
        for (p, ancestor) in now.ancestor[..now.len].iter_mut().enumerate() {
            *ancestor = p as u16;
        }
    }

    /// Writes the costs of all candidates; returns how many chunks they take, and the least cost. The rest of the last
    /// chunk is NaN, which no limit of costs includes.
    #[inline(always)]
    fn extend<L: Lanes, const N: usize>(
        &mut self,
        lanes: L,
        symbols: &Symbols<N>,
        step: usize,
        weight: f32,
    ) -> (usize, f32) {
        // Survivors to a chunk of candidates, or chunks to a survivor.
        let (group, parts) = ((CHUNK / N).max(1), (N / CHUNK).max(1));
        let Paths { now, candidates, .. } = self;
        // Slices: the compiler would read the address of a vector's elements again after every store.
        let (prefix, children) = (&symbols.prefix[..], &symbols.children[..]);
        let groups = now.len.div_ceil(group);
        let used = groups * parts;
        now.cost[now.len..groups * group].fill(f32::NAN);
        let weight = lanes.splat(weight);
        let mut least = lanes.splat(f32::INFINITY);
        let survivors = now.chunks.chunks_exact(group).zip(now.state.chunks_exact(group));
        let survivors = survivors.zip(now.cost.chunks_exact(group));
        for (out, ((chunks, state), cost)) in candidates[..used].chunks_exact_mut(parts).zip(survivors) {
            let (mut hash, mut target, mut sum) = ([0; MAX_GROUP], [0.0; MAX_GROUP], [0.0; MAX_GROUP]);
            for g in 0..group {
                hash[g] = prefix[state[g] as usize];
                target[g] = chunks[g].0[step];
                sum[g] = cost[g];
            }
            for (part, out) in out.iter_mut().enumerate() {
                let e = lanes.sub(lanes.spread::<N>(target), lanes.gather(children, hash, part));
                let cost = lanes.mul_add(lanes.mul(e, weight), e, lanes.spread::<N>(sum));
                least = lanes.min(cost, least);
                lanes.store(cost, &mut out.0);
            }
        }
        let mut each = [0.0; CHUNK];
        lanes.store(least, &mut each);
        (used, each.into_iter().fold(f32::INFINITY, f32::min))
    }

    /// Makes the cheapest candidates the new survivors.
    #[inline(always)]
    fn choose<L: Lanes, const N: usize>(
        &mut self,
        lanes: L,
        symbols: &Symbols<N>,
        mask: usize,
        weight: Weight,
        used: usize,
    ) {
        let Weight { i, w, row, .. } = weight;
        let Paths { now, next, candidates, cheapest, chosen, places, .. } = self;
        // Slices, as in `extend`.
        let (prefix, children, candidates) = (&symbols.prefix[..], &symbols.children[..], &candidates[..]);
        let (chunks, states, ancestors) = (&now.chunks[..], &now.state[..], &now.ancestor[..]);
        let chosen = &mut chosen[i * *places..][..*places];
        let count = list_set_bits(&cheapest[..used], chosen).min(*places - SLACK);
        let step = i % CHUNK;
        // The slot of the target that is decided takes its error; the slots before it keep theirs.
        let (mut factor, mut keep) = ([0.0; CHUNK], [f32::from_bits(u32::MAX); CHUNK]);
        factor[step + 1..].copy_from_slice(&row[step + 1..]);
        factor[step] = 1.0;
        keep[step] = 0.0;
        let (factor, keep) = (lanes.load(&factor), lanes.load(&keep));
        let to = next.chunks[..count].iter_mut().zip(&mut next.cost[..count]);
        let to = to.zip(next.state[..count].iter_mut().zip(&mut next.ancestor[..count]));
        for (&candidate, ((to_chunk, to_cost), (to_state, to_ancestor))) in chosen[..count].iter().zip(to) {
            let (p, s) = (candidate as usize / N, candidate as usize % N);
            let state = states[p] as usize;
            let e = lanes.splat(w - children[prefix[state] as usize][s]);
            let targets = lanes.mul_add(e, factor, lanes.and(lanes.chunk(&chunks[p]), keep));
            lanes.store(targets, &mut to_chunk.0);
            *to_cost = candidates[candidate as usize / CHUNK].0[candidate as usize % CHUNK];
            *to_state = ((state * N + s) & mask) as u16;
            *to_ancestor = ancestors[p];
        }
        next.len = count;
        std::mem::swap(now, next);
    }
}

/// A call of [`FeedbackSearch::run`].
struct Run<'a, const EVEN: usize, const ODD: usize> {
    beam: &'a mut Beam<EVEN, ODD>,
    weights: &'a [f32],
    targets: &'a mut [f32],
    feedback: Feedback<'a>,
    symbols: &'a mut [u8],
    /// The history and the loss.
    found: &'a mut (u8, f32),
}

impl<const EVEN: usize, const ODD: usize, L: Level> Operation<L> for Run<'_, EVEN, ODD> {
    #[inline(always)]
    fn run(self, level: L) {
        let Run { beam, weights, targets, feedback, symbols, found } = self;
        *found = beam.search(level.lanes(), weights, targets, feedback, symbols);
    }
}

impl<const EVEN: usize, const ODD: usize> FeedbackSearch for Beam<EVEN, ODD> {
    fn run(
        &mut self,
        weights: &[f32],
        targets: &mut [f32],
        feedback: Feedback,
        symbols: &mut [u8],
    ) -> (u8, f32) {
        let mut found = (0, 0.0);
        let isa = self.isa;
        isa::dispatch(isa, Run { beam: self, weights, targets, feedback, symbols, found: &mut found });
        found
    }

    fn values(&self, history: u8, symbols: &[u8], out: &mut [f32]) {
        let mut state = history as usize;
        for (i, (value, &s)) in out.iter_mut().zip(symbols).enumerate() {
            let even = EVEN == ODD || i % 2 == 0;
            let (state_value, count) = if even {
                (self.even.value(state, s as usize), EVEN)
            } else {
                (self.odd.value(state, s as usize), ODD)
            };
            *value = state_value;
            state = (state * count + s as usize) & self.masks[(i + 1) % 2];
        }
    }
}

fn position_of_least(x: &[f32]) -> usize {
    x.iter().enumerate().fold(0, |best, (i, &v)| if v < x[best] { i } else { best })
}

#[cfg(test)]
mod tests;
