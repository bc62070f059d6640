//! One step of the exact search with vectors of costs. Same result as `step_portable`.
//!
//! A vector is states (o, m) of the same o and neighbouring m, whose costs are neighbours in memory.
//! The labels of such states differ by a fixed pattern, so the metrics of any of them for any symbol
//! are one of 256 rows of a table, and as many transitions as a vector has states are a load, an add and a minimum.
//! The pattern is in the lowest bits of the label, so a row is a shuffle of neighbouring metrics.
//!
//! Symbols are taken in Gray order: from one to the next a single XOR gives the row. What comes out,
//! the states m of a vector for each symbol, is transposed by perfect shuffles.

use super::cost_vectors::CostVectors;
use super::graph::BitOffsets;
use super::step::{DEAD, Step, metric};
use crate::types::trellis::code::HASHES;

/// Takes a step.
#[inline(always)]
pub fn run<L: CostVectors, const NEW: usize, const OLD: usize>(level: L, step: Step<NEW, OLD>) {
    let Step { graph, table, x, before, after, least: least_cost } = step;
    // `relax` reads without checks what these sizes and those of `Graph` make safe.
    assert!(graph.vector() == L::STATES && table.len() == HASHES * L::STATES);
    assert!(before.len() == graph.states() && after.len() == graph.states_after());
    level.fill_table(table, &metric(&graph.values, x, graph.cost_scale, *least_cost), graph.place_labels());
    let mut least = level.splat(DEAD);
    let (older, bit_offsets) = (graph.older(), graph.bit_offsets());
    let groups = graph.offsets().iter().zip(after.chunks_exact_mut(L::STATES * NEW));
    for (g, (offsets, after)) in groups.enumerate() {
        let before = &before[g * L::STATES..];
        let mut best = [level.splat(DEAD); NEW];
        if NEW <= L::SYMBOLS_AT_ONCE {
            // SAFETY: g is less than `older / STATES`, so `before` goes on long enough; `Graph` promises as much of its
            // offsets, and the lengths are asserted above.
            best = unsafe { relax::<L, OLD, NEW>(level, older, bit_offsets, offsets, 0, before, table) };
        } else {
            for first in (0..NEW).step_by(8) {
                // SAFETY: as above.
                let some =
                    unsafe { relax::<L, OLD, 8>(level, older, bit_offsets, offsets, first, before, table) };
                best[first..first + 8].copy_from_slice(&some);
            }
        }
        for &best in &best {
            least = level.min(least, best);
        }
        for (best, after) in transpose(level, best).iter().zip(after.chunks_exact_mut(L::STATES)) {
            level.store(after, *best);
        }
    }
    *least_cost = level.least(least);
}

/// Least costs of `N` symbols from `first`, a multiple of `N`, on, for the states m with which `before` starts.
///
/// # Safety
/// - `before` has at least `(OLD - 1) * older + STATES` costs.
/// - `offsets`, `bit_offsets` and what XORs make of them are at most `255 * STATES`, and `table` has `256 * STATES`
///   metrics.
#[inline(always)]
unsafe fn relax<L: CostVectors, const OLD: usize, const N: usize>(
    level: L,
    older: usize,
    bit_offsets: BitOffsets,
    offsets: &[u16; OLD],
    first: usize,
    before: &[i16],
    table: &[i16],
) -> [L::Vector; N] {
    let mut best = [level.splat(DEAD); N];
    let of_first = |bit: usize| if first >> bit & 1 == 1 { bit_offsets[bit] } else { 0 };
    let skip = of_first(3) ^ of_first(4);
    for (o, &offset) in offsets.iter().enumerate() {
        // SAFETY: o is less than OLD.
        let cost = unsafe { level.load(before, o * older) };
        let mut offset = offset as usize ^ skip;
        for i in 0..N {
            let s = i ^ (i >> 1);
            // SAFETY: offsets and their XORs are at most `255 * STATES`.
            let sum = level.add(unsafe { level.load(table, offset) }, cost);
            best[s] = level.min(best[s], sum);
            offset ^= bit_offsets[(i + 1).trailing_zeros() as usize % 5];
        }
    }
    best
}

/// From `[symbol][state]` to `[state][symbol]`.
///
/// The index of a cost is (symbol, 128-bit part of the vector, state in the part). Each round of the first kind moves a
/// symbol bit to the end of the index, each of the second kind a part bit to the front.
#[inline(always)]
fn transpose<L: CostVectors, const SYMBOLS: usize>(
    level: L,
    mut v: [L::Vector; SYMBOLS],
) -> [L::Vector; SYMBOLS] {
    for _ in 0..SYMBOLS.trailing_zeros() {
        let mut w = v;
        for i in 0..SYMBOLS / 2 {
            [w[2 * i], w[2 * i + 1]] = level.interleave(v[i], v[i + SYMBOLS / 2]);
        }
        v = w;
    }
    for _ in 0..(L::STATES / 8).trailing_zeros() {
        let mut w = v;
        for i in 0..SYMBOLS / 2 {
            [w[i], w[i + SYMBOLS / 2]] = level.deal(v[2 * i], v[2 * i + 1]);
        }
        v = w;
    }
    v
}
