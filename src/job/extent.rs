//! How much of a model a trial tries, and on how many tokens.

use super::kept_back;
use crate::checkpoint::Model;
use crate::llama::evaluation::CHUNK;
use crate::names::{Role, block, in_block};
use crate::quantize::Effort;

/// Chunks of text that weights are tried on, after those that files are judged on.
pub(super) const CHUNKS: usize = kept_back::TRIAL_CHUNKS;

/// Layers that are tried, spread evenly over all.
const LAYERS: u64 = 7;

/// How much is tried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Extent {
    /// Whether weights of each kind are tried by themselves too. Without, only the head is, and all kinds in layers get one factor.
    by_kinds: bool,
}

impl Extent {
    /// That of a conversion of so much effort.
    pub(super) fn of(effort: Effort) -> Extent {
        Extent { by_kinds: effort != Effort::Fast }
    }

    /// Tokens that are run if weights of so many kinds are tried by themselves.
    pub(super) fn tokens(kinds: usize) -> usize {
        (1 + 2 * (1 + kinds)) * CHUNKS * CHUNK
    }

    /// The kind that a weight is tried by itself with; `None` for one that is tried together with others only.
    pub(super) fn kind_of(self, name: &str) -> Option<&str> {
        (self.by_kinds || Role::of(name) == Role::Head).then(|| kind(name))
    }

    /// Whether a matrix is tried: the matrices of some layers, the head, and the embeddings if kinds are tried by themselves.
    pub(super) fn includes(self, model: &Model, name: &str) -> bool {
        let layers = model.block_count();
        let tried = layers.min(LAYERS);
        let is_of_tried = |block| (0..tried).any(|i| (2 * i + 1) * layers / (2 * tried) == block);
        match Role::of(name) {
            Role::Embeddings => self.by_kinds,
            Role::Head => true,
            _ => block(name).is_some_and(is_of_tried),
        }
    }
}

/// The name of a tensor without its block.
pub(super) fn kind(name: &str) -> &str {
    in_block(name).map_or(name, |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_tried_by_themselves_with_more_effort() {
        let kind_of = |effort, name| Extent::of(effort).kind_of(name);
        assert_eq!(kind_of(Effort::Normal, "blk.3.ffn_down.weight"), Some("ffn_down.weight"));
        assert_eq!(kind_of(Effort::Fast, "blk.3.ffn_down.weight"), None);
        assert_eq!(kind_of(Effort::Fast, "output.weight"), Some("output.weight"));
    }

    #[test]
    fn of_every_kind_weights_and_noise_are_run() {
        assert_eq!(Extent::tokens(0), 3 * CHUNKS * CHUNK);
        assert_eq!(Extent::tokens(7), 17 * CHUNKS * CHUNK);
    }
}
