//! One step of the exact search in plain Rust; the definition.
//!
//! What plays the part of a vector are the `SYMBOLS` states that follow a state: its cost is broadcast, and their
//! metrics are one row of a table in which every group of labels stands in all `SYMBOLS` orders.

use super::step::{DEAD, Step, metric};
use crate::types::trellis::code::HASHES;

/// Takes a step.
pub fn run<const SYMBOLS: usize>(step: Step<SYMBOLS>) {
    let Step { graph, x, before, after, least: least_cost, .. } = step;
    let rows = metric_rows::<SYMBOLS>(&metric(&graph.values, x, graph.cost_scale, *least_cost));
    let older = before.len() / SYMBOLS;
    let before: [&[i16]; SYMBOLS] = std::array::from_fn(|o| &before[o * older..][..older]);
    let mut least = [DEAD; SYMBOLS];
    for (m, (labels, after)) in graph.labels.iter().zip(after.chunks_exact_mut(SYMBOLS)).enumerate() {
        let mut best = [DEAD; SYMBOLS];
        for o in 0..SYMBOLS {
            let row = &rows[labels[o] as usize];
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
    *least_cost = least.into_iter().fold(DEAD, i16::min);
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
