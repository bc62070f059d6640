//! One step of the search in plain Rust; the definition.
//!
//! A vector is the `ROW` successors of a state: its cost is broadcast, its metrics are one row of a
//! table in which every group of labels stands in all `ROW` orders.

use super::{DEAD, Graph, metric};
use crate::types::trellis::code::HASHES;

/// Costs `after` target `x` from those `before` it; returns the least of `after`.
///
/// `least` is the least of `before`; it is taken off, which keeps the costs in range.
pub fn step<const ROW: usize>(
    graph: &Graph<ROW>,
    (x, least): (f32, i16),
    before: &[i16],
    after: &mut [i16],
) -> i16 {
    let rows = metric_rows::<ROW>(&metric(&graph.values, x, graph.cost_scale, least));
    let older = before.len() / ROW;
    let before: [&[i16]; ROW] = std::array::from_fn(|o| &before[o * older..][..older]);
    let mut least = [DEAD; ROW];
    for (m, (part, after)) in graph.part.iter().zip(after.chunks_exact_mut(ROW)).enumerate() {
        let mut best = [DEAD; ROW];
        for o in 0..ROW {
            let row = &rows[part[o] as usize];
            let cost = before[o][m];
            for s in 0..ROW {
                best[s] = best[s].min(row[s].saturating_add(cost));
            }
        }
        for s in 0..ROW {
            least[s] = least[s].min(best[s]);
        }
        after.copy_from_slice(&best);
    }
    least.into_iter().fold(DEAD, i16::min)
}

/// `rows[h][s]` = metric of label `h ^ s`.
#[inline(always)]
fn metric_rows<const ROW: usize>(metric: &[i16; HASHES]) -> [[i16; ROW]; HASHES] {
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
