//! A code as the exact search wants it.

use crate::types::trellis::code::{Code, HASHES};

/// Squared error of one standard deviation of the values, in cost units. The mean cost of a step on the best path is 30 to
/// 140 of these, so rounding to units does not show in the result; an error of more than 1 to 16 squared deviations beyond
/// the best saturates.
const fn cost_one(code: &Code) -> f32 {
    match code.bits[0] + code.bits[1] {
        ..=6 => 2048.0,
        7 | 8 => 8192.0,
        _ => 32768.0,
    }
}

/// Most states in a vector.
pub const MAX_VECTOR: usize = 32;

/// An offset for each bit of a symbol.
pub type BitOffsets = [usize; 5];

/// States and what they reconstruct to, for weights whose symbols are `NEW` many and after which the window loses the
/// oldest of `OLD` symbols. A state (o, m) is that symbol o and the others, m; its number is
/// `m + o * older()`. It goes to state (s, m) with a symbol s, whose number is `m * NEW + s`.
///
/// A *label* is a hash in another basis. The labels of the states of a vector, which have the same o and neighbouring m,
/// differ in the lowest bits only, whatever o, m and the symbol are.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "only vectors use all of it"))]
pub struct Graph<const NEW: usize, const OLD: usize> {
    /// Reconstruction of each label.
    pub values: [f32; HASHES],
    /// Label of symbol 0 after a state; `labels[m][o]`.
    pub labels: Vec<[u8; OLD]>,
    /// What a symbol XORs into the label.
    symbol_labels: [u8; NEW],
    /// States in a vector, a power of two.
    vector: usize,
    /// What the place of a state in its vector XORs into the label.
    place_labels: [u16; MAX_VECTOR],
    /// The label of the first state of a vector and symbol 0, times `vector`; `offsets[vector of m][o]`.
    offsets: Vec<[u16; OLD]>,
    /// What each bit of the symbol XORs into the offset; bits past the symbol are not used.
    bit_offsets: BitOffsets,
    /// Cost of a squared error of 1.
    pub cost_scale: f32,
}

impl<const NEW: usize, const OLD: usize> Graph<NEW, OLD> {
    /// The graph of a code for vectors of `vector` states.
    ///
    /// # Panics
    /// If two symbols have the same effect on the hash.
    pub fn new(vector: usize, code: &Code, values: &[f32; HASHES]) -> Self {
        let (k, columns) = (NEW.trailing_zeros() as usize, code.columns());
        let label = relabel(&columns[k..][..vector.trailing_zeros() as usize], &columns[..k]);
        let label_of = |window: usize| label[code.hash(window as u32) as usize];
        let older = (1usize << code.window) / (NEW * OLD);
        let labels_of = |m: usize| std::array::from_fn(|o| label_of((m + o * older) << k));
        let labels: Vec<[u8; OLD]> = (0..older).map(labels_of).collect();
        let offsets_of = |labels: &[u8; OLD]| labels.map(|label| label as u16 * vector as u16);
        let graph = Graph {
            offsets: labels.iter().step_by(vector).map(offsets_of).collect(),
            labels,
            values: by_label(values, &label),
            symbol_labels: std::array::from_fn(label_of),
            vector,
            place_labels: std::array::from_fn(|place| label_of((place % vector) << k) as u16),
            bit_offsets: std::array::from_fn(|bit| label_of(1 << (bit % k)) as usize * vector),
            cost_scale: cost_one(code) / spread(values),
        };
        assert!(!graph.symbol_labels[1..].contains(&0), "symbols must change the hash independently");
        graph
    }

    /// Number of states before a symbol.
    pub fn states(&self) -> usize {
        self.labels.len() * OLD
    }

    /// Number of states after it.
    pub fn states_after(&self) -> usize {
        self.labels.len() * NEW
    }

    /// Number of states with the same oldest symbol.
    pub fn older(&self) -> usize {
        self.labels.len()
    }

    /// Reconstruction of symbol `s` after state `state`.
    pub fn value(&self, state: usize, s: usize) -> f32 {
        let older = self.older();
        let label = self.labels[state % older][state / older];
        self.values[(label ^ self.symbol_labels[s]) as usize]
    }

    /// Reconstruction of symbol `s` after each of the states (o, m).
    #[inline(always)]
    pub fn values_into(&self, m: usize, s: usize) -> [f32; OLD] {
        let (labels, symbol_label) = (&self.labels[m], self.symbol_labels[s]);
        std::array::from_fn(|o| self.values[(labels[o] ^ symbol_label) as usize])
    }
}

/// What vectors need. The fields behind it are private to this file, where [`Graph::new`] alone makes them.
#[cfg(target_arch = "x86_64")]
impl<const NEW: usize, const OLD: usize> Graph<NEW, OLD> {
    /// States in a vector.
    #[inline(always)]
    pub fn vector(&self) -> usize {
        self.vector
    }

    /// What the place of a state in its vector XORs into the label.
    #[inline(always)]
    pub fn place_labels(&self) -> &[u16; MAX_VECTOR] {
        &self.place_labels
    }

    /// For each vector of m and every o, the label of its first state and symbol 0 times [`Graph::vector`]: at most
    /// `255 * vector`, and so is what XORs with [`Graph::bit_offsets`] make of it. There are `older() / vector` vectors.
    #[inline(always)]
    pub fn offsets(&self) -> &[[u16; OLD]] {
        &self.offsets
    }

    /// What each bit of the symbol XORs into an offset: at most `255 * vector`.
    #[inline(always)]
    pub fn bit_offsets(&self) -> BitOffsets {
        self.bit_offsets
    }
}

/// Mean square of the values.
fn spread(values: &[f32; HASHES]) -> f32 {
    values.iter().map(|v| v * v).sum::<f32>() / HASHES as f32
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
