//! One step of the search in plain Rust; the definition.
//!
//! A vector is the `SYMBOLS` successors of a state: its cost is broadcast, its metrics are one row of a
//! table in which every group of labels stands in all `SYMBOLS` orders.

use super::{DEAD, Graph, metric};
use crate::types::trellis::code::HASHES;

/// Costs `after` target `x` from those `before` it; returns the least of `after`.
///
/// `least` is the least of `before`; it is taken off, which keeps the costs in range.
pub fn step<const SYMBOLS: usize>(
    graph: &Graph<SYMBOLS>,
    (x, least): (f32, i16),
    before: &[i16],
    after: &mut [i16],
) -> i16 {
    let rows = metric_rows::<SYMBOLS>(&metric(&graph.values, x, graph.cost_scale, least));
    let older = before.len() / SYMBOLS;
    let before: [&[i16]; SYMBOLS] = std::array::from_fn(|o| &before[o * older..][..older]);
    let mut least = [DEAD; SYMBOLS];
    for (m, (part, after)) in graph.part.iter().zip(after.chunks_exact_mut(SYMBOLS)).enumerate() {
        let mut best = [DEAD; SYMBOLS];
        for o in 0..SYMBOLS {
            let row = &rows[part[o] as usize];
            let cost = before[o][m];
            for s in 0..SYMBOLS {
                best[s] = best[s].min(row[s].saturating_add(cost));
            }
        }
        for s in 0..SYMBOLS {
            least[s] = least[s].min(best[s]);
        }
        after.copy_from_slice(&best);
    }
    least.into_iter().fold(DEAD, i16::min)
}

/// `rows[h][s]` = metric of label `h ^ s`.
#[inline(always)]
fn metric_rows<const SYMBOLS: usize>(metric: &[i16; HASHES]) -> [[i16; SYMBOLS]; HASHES] {
    let mut rows = [[0i16; SYMBOLS]; HASHES];
    for (rows, metric) in rows.chunks_exact_mut(SYMBOLS).zip(metric.chunks_exact(SYMBOLS)) {
        for low in 0..SYMBOLS {
            for s in 0..SYMBOLS {
                rows[low][s] = metric[low ^ s];
            }
        }
    }
    rows
}
