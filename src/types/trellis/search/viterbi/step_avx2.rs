//! One step of the search with AVX2. Same result as `step_portable`.
//!
//! As `step_avx512` with 16 states in a vector. Symbols are taken eight at a time, which is what
//! the 16 registers allow.

use super::{DEAD, Graph, Scratch, metric};
use crate::types::trellis::code::HASHES;
use std::arch::x86_64::*;

/// States in a vector.
pub const LANES: usize = 16;

/// Same result as `step_portable::step`.
#[target_feature(enable = "avx2")]
pub fn step<const SYMBOLS: usize>(
    graph: &Graph<SYMBOLS>,
    scratch: &mut Scratch,
    (x, least): (f32, i16),
    before: &[i16],
    after: &mut [i16],
) -> i16 {
    let table: &mut [i16] = bytemuck::cast_slice_mut(&mut scratch.table);
    fill_table(table, &metric(&graph.values, x, graph.cost_scale, least), &graph.lanes);
    let mut least = _mm256_set1_epi16(DEAD);
    let groups = graph.rows.iter().zip(after.chunks_exact_mut(LANES * SYMBOLS));
    for (g, (rows, after)) in groups.enumerate() {
        let mut best = [_mm256_setzero_si256(); SYMBOLS];
        if SYMBOLS <= 8 {
            best = relax::<SYMBOLS, SYMBOLS>(graph, rows, 0, &before[g * LANES..], table);
        } else {
            let low = relax::<SYMBOLS, 8>(graph, rows, 0, &before[g * LANES..], table);
            let high = relax::<SYMBOLS, 8>(graph, rows, 8, &before[g * LANES..], table);
            best[..8].copy_from_slice(&low);
            best[8..].copy_from_slice(&high);
        }
        for &best in &best {
            least = _mm256_min_epi16(least, best);
        }
        for (best, after) in transpose(best).iter().zip(after.chunks_exact_mut(LANES)) {
            store(after, *best);
        }
    }
    reduce_min(least)
}

/// Least costs of `N` symbols from `first` on, for the states m with which `before` starts.
#[inline]
#[target_feature(enable = "avx2")]
fn relax<const SYMBOLS: usize, const N: usize>(
    graph: &Graph<SYMBOLS>,
    rows: &[u16; SYMBOLS],
    first: usize,
    before: &[i16],
    table: &[i16],
) -> [__m256i; N] {
    let mut best = [_mm256_set1_epi16(DEAD); N];
    let skip = if first == 8 { graph.flips[3] } else { 0 };
    for (o, &row) in rows.iter().enumerate() {
        let cost = load(before, o * graph.part.len());
        let mut row = row as usize ^ skip;
        for i in 0..N {
            let s = i ^ (i >> 1);
            let sum = _mm256_adds_epi16(load(table, row), cost);
            best[s] = _mm256_min_epi16(best[s], sum);
            row ^= graph.flips[(i + 1).trailing_zeros() as usize % 4];
        }
    }
    best
}

/// `table[h][lane]` = metric of label `h ^ lanes[lane]`.
#[inline]
#[target_feature(enable = "avx2")]
fn fill_table(table: &mut [i16], metric: &[i16; HASHES], lanes: &[u16; 32]) {
    let table: &mut [[i16; LANES]; HASHES] =
        bytemuck::cast_slice_mut(table).try_into().expect("a row for each label");
    let lanes = load(bytemuck::cast_slice(lanes), 0);
    for low in 0..LANES {
        // A byte shuffle picks from eight labels, and yields zero where the index has its high bit.
        let label = _mm256_xor_si256(lanes, _mm256_set1_epi16(low as i16));
        let bytes = _mm256_mullo_epi16(label, _mm256_set1_epi16(0x0202));
        let bytes = _mm256_add_epi16(bytes, _mm256_set1_epi16(0x0100));
        let from_low = _mm256_add_epi8(bytes, _mm256_set1_epi8(0x70));
        let from_high = _mm256_sub_epi8(bytes, _mm256_set1_epi8(0x10));
        for (v, metric) in metric.chunks_exact(LANES).enumerate() {
            let metric = load(metric, 0);
            let low_half = _mm256_permute4x64_epi64(metric, 0b01_00_01_00);
            let high_half = _mm256_permute4x64_epi64(metric, 0b11_10_11_10);
            let row = _mm256_or_si256(
                _mm256_shuffle_epi8(low_half, from_low),
                _mm256_shuffle_epi8(high_half, from_high),
            );
            store(&mut table[v * LANES + low], row);
        }
    }
}

/// From `[symbol][state]` to `[state][symbol]`.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose<const SYMBOLS: usize>(mut v: [__m256i; SYMBOLS]) -> [__m256i; SYMBOLS] {
    for _ in 0..SYMBOLS.trailing_zeros() {
        let mut w = v;
        for i in 0..SYMBOLS / 2 {
            w[2 * i] = _mm256_unpacklo_epi16(v[i], v[i + SYMBOLS / 2]);
            w[2 * i + 1] = _mm256_unpackhi_epi16(v[i], v[i + SYMBOLS / 2]);
        }
        v = w;
    }
    let mut w = v;
    for i in 0..SYMBOLS / 2 {
        w[i] = _mm256_permute2x128_si256(v[2 * i], v[2 * i + 1], 0x20);
        w[i + SYMBOLS / 2] = _mm256_permute2x128_si256(v[2 * i], v[2 * i + 1], 0x31);
    }
    w
}

/// Least of 16 values.
#[inline]
#[target_feature(enable = "avx2")]
pub fn reduce_min(v: __m256i) -> i16 {
    let v = _mm_min_epi16(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    // The instruction is for unsigned values: flip the sign bit before and after.
    let sign = _mm_set1_epi16(i16::MIN);
    _mm_cvtsi128_si32(_mm_minpos_epu16(_mm_xor_si128(v, sign))) as i16 ^ i16::MIN
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(from: &[i16], at: usize) -> __m256i {
    debug_assert!(at + LANES <= from.len());
    // SAFETY: offsets come from `Graph`, which is made for the lengths of `before` and the table.
    unsafe { _mm256_loadu_si256(from.as_ptr().add(at).cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(to: &mut [i16], v: __m256i) {
    assert_eq!(to.len(), LANES);
    // SAFETY: `to` has the length of a vector.
    unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), v) }
}
