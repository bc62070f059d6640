//! The cheapest candidates of a step: which they are, as bits, and their places, as a list.

use super::lanes::{Chunk, Lanes};
use crate::types::feedback::CHUNK;

/// Places that [`list_set_bits`] may write past those that count.
pub const SLACK: usize = 32;

/// Writes the places of set bits to `list`, in order; stops when only `SLACK` places are left.
#[inline(always)]
pub fn list_set_bits(masks: &[u16], list: &mut [u16]) -> usize {
    let most = list.len() - SLACK;
    let mut count = 0;
    for (group, mask) in masks.iter().enumerate() {
        for (half, mask) in mask.to_le_bytes().into_iter().enumerate() {
            let first = (group * CHUNK + 8 * half) as u16;
            let list: &mut [u16; 8] = list[count..].first_chunk_mut().expect("SLACK places are left");
            *list = SET_BITS[mask as usize].map(|bit| first + bit);
            count += mask.count_ones() as usize;
        }
        if count > most {
            break;
        }
    }
    count
}

/// The places of the set bits of every byte. They are as wide as the numbers that they are added to, because the
/// compiler would widen bytes one by one.
static SET_BITS: [[u16; 8]; 256] = {
    let mut places = [[0; 8]; 256];
    let mut mask = 0;
    while mask < 256 {
        let (mut n, mut bit) = (0, 0);
        while bit < 8 {
            if mask >> bit & 1 == 1 {
                places[mask][n] = bit;
                n += 1;
            }
            bit += 1;
        }
        mask += 1;
    }
    places
};

/// Marks the candidates that cost at most `gap` more than the least: no more than `2 * width` of them, and `width` in
/// the long run.
///
/// `gap` changes slowly, so that the beam is wide where many paths are about as good and narrow where few are.
#[inline(always)]
pub fn mark_cheapest<L: Lanes>(
    lanes: L,
    candidates: &[Chunk],
    least: f32,
    width: usize,
    gap: &mut f32,
    cheapest: &mut [u16],
) {
    /// Enough for the first step of a block, where the gap is a guess.
    const TRIES: usize = 16;
    for _ in 0..TRIES {
        let count = mark_within(lanes, candidates, least + *gap, cheapest);
        let ratio = width as f32 / count as f32;
        if count <= 2 * width && 4 * count >= width {
            *gap *= ratio.sqrt().sqrt().sqrt();
            return;
        }
        // The count grows about with the square of the gap.
        *gap = (*gap * ratio.sqrt().clamp(0.25, 4.0)).max(f32::MIN_POSITIVE);
    }
    mark_within(lanes, candidates, least + *gap, cheapest);
}

/// Marks the candidates that cost no more than a limit; returns how many they are.
#[inline(always)]
fn mark_within<L: Lanes>(lanes: L, candidates: &[Chunk], limit: f32, cheapest: &mut [u16]) -> usize {
    let limit = lanes.splat(limit);
    let mut count = 0;
    for (costs, cheapest) in candidates.iter().zip(cheapest) {
        *cheapest = lanes.at_most(lanes.chunk(costs), limit);
        count += cheapest.count_ones() as usize;
    }
    count
}
