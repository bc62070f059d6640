//! The errors of the chunks that are finished: a tree whose leaves are the survivors.

use super::lanes::{Chunk, Lanes, ZEROS};
use crate::types::feedback::{CHUNK, Feedback};

/// The finished chunks from the first in which paths still differ.
#[derive(Default)]
pub struct Lineage {
    /// Number of chunks before these. All paths share their errors, which are in the targets already.
    settled: usize,
    generations: Vec<Generation>,
    /// Generations that are no longer needed, kept for their memory.
    spare: Vec<Generation>,
    /// Targets with what the errors add to them down to a generation, and down to the next.
    sums: [Vec<Chunk>; 2],
    /// Where each error of a generation is put that drops some.
    place: Vec<u16>,
}

/// The different errors that paths have in one chunk.
#[derive(Default)]
struct Generation {
    errors: Vec<Chunk>,
    /// For each of them, the place in the generation before of the errors that precede it.
    parent: Vec<u16>,
}

impl Lineage {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.settled = 0;
        self.spare.append(&mut self.generations);
    }

    /// Adds the errors of a chunk that is finished. `ancestor` says which survivor each path was when the chunk began.
    pub fn push(&mut self, errors: &[Chunk], ancestor: &[u16]) {
        let mut generation = self.spare.pop().unwrap_or_default();
        generation.errors.clear();
        generation.errors.extend_from_slice(errors);
        generation.parent.clear();
        generation.parent.extend_from_slice(ancestor);
        self.generations.push(generation);
        for g in (1..self.generations.len()).rev() {
            let (before, after) = self.generations.split_at_mut(g);
            before[g - 1].keep_parents_of(&mut after[0], &mut self.place);
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
        out: &mut [Chunk],
    ) {
        self.settle(lanes, chunk, targets, feedback);
        let base = Chunk(*targets[chunk * CHUNK..].first_chunk().expect("a block is whole chunks"));
        let Some(first) = self.generations.first() else {
            out.fill(base);
            return;
        };
        let [sums, next] = &mut self.sums;
        sums.clear();
        sums.resize(first.errors.len(), base);
        for (g, generation) in self.generations.iter().enumerate() {
            // A copy, side by side: rows of the factor may be so far apart that they push each other out of the cache.
            let rows: [Chunk; CHUNK] =
                std::array::from_fn(|j| Chunk(*feedback.row((self.settled + g) * CHUNK + j, chunk)));
            next.resize(generation.errors.len(), ZEROS);
            let to = if g + 1 < self.generations.len() { &mut next[..] } else { &mut *out };
            for ((to, errors), &parent) in to.iter_mut().zip(&generation.errors).zip(&generation.parent) {
                let mut sum = lanes.chunk(if g == 0 { &base } else { &sums[parent as usize] });
                for (e, row) in errors.0.iter().zip(&rows) {
                    sum = lanes.mul_add(lanes.splat(*e), lanes.chunk(row), sum);
                }
                lanes.store(sum, &mut to.0);
            }
            std::mem::swap(sums, next);
        }
    }

    /// Adds what the errors of generations do that have a single path left to the targets from `chunk` on.
    #[inline(always)]
    fn settle<L: Lanes>(&mut self, lanes: L, chunk: usize, targets: &mut [f32], feedback: Feedback) {
        let Some(last) = self.generations.iter().rposition(|g| g.errors.len() == 1) else { return };
        for generation in &self.generations[..=last] {
            for j in 0..CHUNK {
                let e = generation.errors[0].0[j];
                for c in chunk..targets.len() / CHUNK {
                    let row = feedback.row(self.settled * CHUNK + j, c);
                    add_scaled(lanes, targets[c * CHUNK..].first_chunk_mut().expect("a whole chunk"), e, row);
                }
            }
            self.settled += 1;
        }
        self.spare.extend(self.generations.drain(..=last));
    }
}

impl Generation {
    /// Drops the errors that no path in the generation `after` goes through.
    fn keep_parents_of(&mut self, after: &mut Generation, place: &mut Vec<u16>) {
        const CHILDLESS: u16 = u16::MAX;
        place.clear();
        place.resize(self.errors.len(), CHILDLESS);
        for &parent in &after.parent {
            place[parent as usize] = 0;
        }
        let mut kept = 0;
        for (p, place) in place.iter_mut().enumerate().filter(|(_, place)| **place != CHILDLESS) {
            self.errors[kept] = self.errors[p];
            self.parent[kept] = self.parent[p];
            *place = kept as u16;
            kept += 1;
        }
        self.errors.truncate(kept);
        self.parent.truncate(kept);
        for parent in &mut after.parent {
            *parent = place[*parent as usize];
        }
    }
}

/// `sum += factor * row`.
#[inline(always)]
fn add_scaled<L: Lanes>(lanes: L, sum: &mut [f32; CHUNK], factor: f32, row: &[f32; CHUNK]) {
    lanes.store(lanes.mul_add(lanes.splat(factor), lanes.load(row), lanes.load(sum)), sum);
}
