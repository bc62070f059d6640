//! How much of a model a trial tries, and on how many tokens.

use super::kept_back;
use crate::checkpoint::Model;
use crate::llama::evaluation::CHUNK;
use crate::names::{Role, block};
use crate::quantize::Effort;

/// Chunks of text that weights are tried on, after those that files are judged on.
pub(super) const CHUNKS: usize = kept_back::TRIAL_CHUNKS;

/// How much is tried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Extent {
    /// Layers, spread evenly over all.
    layers: u64,
    /// Whether weights of each kind are tried by themselves too; without, all kinds get the factor of all together.
    pub by_kinds: bool,
}

impl Extent {
    /// That of a conversion of so much effort.
    pub(super) fn of(effort: Effort) -> Extent {
        match effort {
            Effort::Fast => Extent { layers: 4, by_kinds: false },
            _ => Extent { layers: 7, by_kinds: true },
        }
    }

    /// Tokens that are run for so many kinds of weights.
    pub(super) fn tokens(self, kinds: usize) -> usize {
        let tried = 1 + if self.by_kinds { kinds } else { 0 };
        (1 + 2 * tried) * CHUNKS * CHUNK
    }

    /// Whether a matrix is tried: the matrices of some layers, the head, and the embeddings if kinds are tried by themselves.
    pub(super) fn includes(self, model: &Model, name: &str) -> bool {
        let layers = model.block_count();
        let tried = layers.min(self.layers);
        let is_of_tried = |block| (0..tried).any(|i| (2 * i + 1) * layers / (2 * tried) == block);
        match Role::of(name) {
            Role::Embeddings => self.by_kinds,
            Role::Head => true,
            _ => block(name).is_some_and(is_of_tried),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_of_kinds_runs_many_times_as_many_tokens() {
        assert_eq!(Extent::of(Effort::Fast).tokens(7), 3 * CHUNKS * CHUNK);
        assert_eq!(Extent::of(Effort::Normal).tokens(7), 17 * CHUNKS * CHUNK);
    }
}
