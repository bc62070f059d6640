//! One step of the search with AVX-512. Same result as `step_portable`.
//!
//! A vector is 32 states (o, m) of the same o and neighbouring m, whose costs are neighbours in memory.
//! The labels of such states differ by a fixed pattern, so the metrics of any of them for any symbol
//! are one of 256 rows of a table, and 32 transitions are a load, an add and a minimum. The pattern is
//! in the low five bits of the label, so a row is one shuffle of a vector of metrics.
//!
//! Symbols are taken in Gray order: from one to the next a single XOR gives the row. What comes out,
//! 32 states m for each symbol, is transposed by perfect shuffles.

use super::{DEAD, Graph, Scratch, metric};
use crate::types::trellis::code::HASHES;
use std::arch::x86_64::*;

/// States in a vector.
pub const LANES: usize = 32;

/// Same result as `step_portable::step`.
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl")]
pub fn step<const SYMBOLS: usize>(
    graph: &Graph<SYMBOLS>,
    scratch: &mut Scratch,
    (x, least): (f32, i16),
    before: &[i16],
    after: &mut [i16],
) -> i16 {
    let table: &mut [i16] = bytemuck::cast_slice_mut(&mut scratch.table);
    fill_table(table, &metric(&graph.values, x, graph.cost_scale, least), &graph.lanes);
    let older = before.len() / SYMBOLS;
    let mut least = _mm512_set1_epi16(DEAD);
    let groups = graph.rows.iter().zip(after.chunks_exact_mut(LANES * SYMBOLS));
    for (g, (rows, after)) in groups.enumerate() {
        let mut best = [_mm512_set1_epi16(DEAD); SYMBOLS];
        for (o, &row) in rows.iter().enumerate() {
            let cost = load(before, o * older + g * LANES);
            let mut row = row as usize;
            for i in 0..SYMBOLS {
                let s = i ^ (i >> 1);
                let sum = _mm512_adds_epi16(load(table, row), cost);
                best[s] = _mm512_min_epi16(best[s], sum);
                row ^= graph.flips[(i + 1).trailing_zeros() as usize % 4];
            }
        }
        for &best in &best {
            least = _mm512_min_epi16(least, best);
        }
        for (best, after) in transpose(best).iter().zip(after.chunks_exact_mut(LANES)) {
            store(after, *best);
        }
    }
    reduce_min(least)
}

/// `table[h][lane]` = metric of label `h ^ lanes[lane]`.
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl")]
fn fill_table(table: &mut [i16], metric: &[i16; HASHES], lanes: &[u16; LANES]) {
    let table: &mut [[i16; LANES]; HASHES] =
        bytemuck::cast_slice_mut(table).try_into().expect("a row for each label");
    let lanes = load(bytemuck::cast_slice(lanes), 0);
    let mut metrics = [_mm512_setzero_si512(); HASHES / LANES];
    for (v, metrics) in metrics.iter_mut().enumerate() {
        *metrics = load(metric, v * LANES);
    }
    for low in 0..LANES {
        let order = _mm512_xor_si512(lanes, _mm512_set1_epi16(low as i16));
        for (v, &metrics) in metrics.iter().enumerate() {
            let row = _mm512_permutexvar_epi16(order, metrics);
            store(&mut table[v * LANES + low], row);
        }
    }
}

/// From `[symbol][state]` to `[state][symbol]`.
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl")]
fn transpose<const SYMBOLS: usize>(mut v: [__m512i; SYMBOLS]) -> [__m512i; SYMBOLS] {
    // The index of a value is (symbol, quarter, state in the quarter). Each round of the first
    // kind moves a symbol bit to the end, each of the second a quarter bit to the front.
    for _ in 0..SYMBOLS.trailing_zeros() {
        let mut w = v;
        for i in 0..SYMBOLS / 2 {
            w[2 * i] = _mm512_unpacklo_epi16(v[i], v[i + SYMBOLS / 2]);
            w[2 * i + 1] = _mm512_unpackhi_epi16(v[i], v[i + SYMBOLS / 2]);
        }
        v = w;
    }
    for _ in 0..2 {
        let mut w = v;
        for i in 0..SYMBOLS / 2 {
            w[i] = _mm512_shuffle_i64x2(v[2 * i], v[2 * i + 1], 0b10_00_10_00);
            w[i + SYMBOLS / 2] = _mm512_shuffle_i64x2(v[2 * i], v[2 * i + 1], 0b11_01_11_01);
        }
        v = w;
    }
    v
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl")]
fn reduce_min(v: __m512i) -> i16 {
    let v = _mm256_min_epi16(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
    super::step_avx2::reduce_min(v)
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl")]
fn load(from: &[i16], at: usize) -> __m512i {
    debug_assert!(at + LANES <= from.len());
    // SAFETY: offsets come from `Graph`, which is made for the lengths of `before` and the table.
    unsafe { _mm512_loadu_si512(from.as_ptr().add(at).cast()) }
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl")]
fn store(to: &mut [i16], v: __m512i) {
    assert_eq!(to.len(), LANES);
    // SAFETY: `to` has the length of a vector.
    unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), v) }
}
