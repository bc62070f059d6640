//! The errors of finished chunks: a tree whose leaves are the survivors.

use super::lanes::Lanes;
use super::{CHUNK, Feedback, Row};

/// Finished chunks from the first in which paths still differ.
#[derive(Default)]
pub struct Lineage {
    /// Chunks that all paths share; their errors are in the targets.
    settled: usize,
    generations: Vec<Generation>,
}

/// The paths' different errors in one chunk.
#[derive(Default)]
struct Generation {
    errors: Vec<Row>,
    /// Place of each in the generation before.
    parent: Vec<u16>,
}

impl Lineage {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.settled = 0;
        self.generations.clear();
    }

    /// Adds the errors of the chunk that is finished. `ancestor` says which survivor each path was when it began.
    pub fn push(&mut self, errors: &[Row], ancestor: &[u16]) {
        self.generations.push(Generation { errors: errors.to_vec(), parent: ancestor.to_vec() });
        for g in (1..self.generations.len()).rev() {
            let (before, after) = self.generations.split_at_mut(g);
            before[g - 1].keep_parents_of(&mut after[0]);
        }
    }

    /// Writes the targets of each survivor in `chunk`. Adds settled errors to `targets` on the way.
    #[inline(always)]
    pub fn targets<L: Lanes>(
        &mut self,
        lanes: L,
        chunk: usize,
        targets: &mut [f32],
        feedback: Feedback,
        out: &mut [Row],
    ) {
        self.settle(lanes, chunk, targets, feedback);
        let base = Row(*targets[chunk * CHUNK..].first_chunk().expect("a block is whole chunks"));
        let Some(first) = self.generations.first() else {
            out.fill(base);
            return;
        };
        // Sums down to a generation and to the one before it.
        let (mut sums, mut next) = (vec![base; first.errors.len()], Vec::new());
        for (g, generation) in self.generations.iter().enumerate() {
            next.clear();
            next.resize(generation.errors.len(), base);
            if g > 0 {
                for (next, &parent) in next.iter_mut().zip(&generation.parent) {
                    *next = sums[parent as usize];
                }
            }
            for (next, errors) in next.iter_mut().zip(&generation.errors) {
                let mut sum = lanes.row(next);
                for j in 0..CHUNK {
                    let row = feedback.row((self.settled + g) * CHUNK + j, chunk);
                    sum = lanes.mul_add(lanes.splat(errors.0[j]), lanes.load(row), sum);
                }
                lanes.store(sum, &mut next.0);
            }
            std::mem::swap(&mut sums, &mut next);
        }
        out.copy_from_slice(&sums);
    }

    /// Puts the errors of generations with a single path into the targets from `chunk` on.
    #[inline(always)]
    fn settle<L: Lanes>(&mut self, lanes: L, chunk: usize, targets: &mut [f32], feedback: Feedback) {
        let Some(last) = self.generations.iter().rposition(|g| g.errors.len() == 1) else { return };
        for generation in self.generations.drain(..=last) {
            for j in 0..CHUNK {
                let e = generation.errors[0].0[j];
                for c in chunk..targets.len() / CHUNK {
                    let row = feedback.row(self.settled * CHUNK + j, c);
                    add_scaled(lanes, targets[c * CHUNK..].first_chunk_mut().expect("a whole chunk"), e, row);
                }
            }
            self.settled += 1;
        }
    }
}

impl Generation {
    /// Drops what has no child in the generation `after`.
    fn keep_parents_of(&mut self, after: &mut Generation) {
        const NONE: u16 = u16::MAX;
        let mut place = vec![NONE; self.errors.len()];
        let mut kept = Generation::default();
        for parent in &mut after.parent {
            let old = *parent as usize;
            if place[old] == NONE {
                place[old] = kept.errors.len() as u16;
                kept.errors.push(self.errors[old]);
                kept.parent.push(self.parent[old]);
            }
            *parent = place[old];
        }
        *self = kept;
    }
}

/// `sum += factor * row`.
#[inline(always)]
fn add_scaled<L: Lanes>(lanes: L, sum: &mut [f32; CHUNK], factor: f32, row: &[f32; CHUNK]) {
    lanes.store(lanes.mul_add(lanes.splat(factor), lanes.load(row), lanes.load(sum)), sum);
}
