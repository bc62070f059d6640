//! One step of the exact search in plain Rust; the definition.
//!
//! What plays the part of a vector are the `NEW` states that follow a state: its cost is broadcast, and their
//! metrics are one row of a table in which every group of labels stands in all `NEW` orders.

use super::step::{DEAD, Step, metric};
use crate::types::trellis::code::HASHES;

/// Takes a step.
pub fn run<const NEW: usize, const OLD: usize>(step: Step<NEW, OLD>) {
    let Step { graph, x, before, after, least: least_cost, .. } = step;
    let rows = metric_rows::<NEW>(&metric(&graph.values, x, graph.cost_scale, *least_cost));
    let older = before.len() / OLD;
    let before: [&[i16]; OLD] = std::array::from_fn(|o| &before[o * older..][..older]);
    let mut least = [DEAD; NEW];
    for (m, (labels, after)) in graph.labels.iter().zip(after.chunks_exact_mut(NEW)).enumerate() {
        let mut best = [DEAD; NEW];
        for o in 0..OLD {
            let row = &rows[labels[o] as usize];
            let cost = before[o][m];
            for s in 0..NEW {
                best[s] = best[s].min(row[s].saturating_add(cost));
            }
        }
        for s in 0..NEW {
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
