//! How much of a model a trial tries, and on how many tokens.

use super::kept_back::Shares;
use crate::checkpoint::Model;
use crate::llama::evaluation::CHUNK;
use crate::names::{Role, block, in_block};
use crate::quantize::Effort;

/// Those that single kinds are tried on: their factors say how kinds differ, and not what all cost.
pub(super) const CHUNKS_OF_KINDS: usize = 2;

/// Layers that are tried, spread evenly over all, and those with little effort.
const LAYERS: u64 = 7;
const FEW_LAYERS: u64 = 5;

/// What all weights but the head's are called.
pub(super) const REST: &str = "rest";

/// How much is tried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Extent {
    /// Whether weights of each kind are tried by themselves too. Without, all but the head's get one factor.
    by_kinds: bool,
    /// Whether the embeddings are the head.
    tied: bool,
}

impl Extent {
    #[cfg(test)]
    pub(super) const fn new(by_kinds: bool, tied: bool) -> Extent {
        Extent { by_kinds, tied }
    }

    /// That of a conversion of so much effort.
    pub(super) fn of(effort: Effort, model: &Model) -> Extent {
        let has_head = model.tensors.iter().any(|t| Role::of(&t.name) == Role::Head);
        Extent { by_kinds: effort != Effort::Fast, tied: !has_head }
    }

    /// Tokens that are run for so many parts (the head, the rest) and so many kinds.
    pub(super) fn tokens(parts: usize, kinds: usize, shares: Shares) -> usize {
        let runs = |tried: usize| if tried == 0 { 0 } else { 1 + 2 * tried };
        (runs(parts) * shares.tried + runs(kinds) * CHUNKS_OF_KINDS) * CHUNK
    }

    /// What a weight is tried with first: the head, or [`REST`].
    pub(super) fn part_of(self, name: &str) -> &str {
        if self.is_head(name) { kind(name) } else { REST }
    }

    /// The kind that a weight is tried with then, if kinds are and it is not the head's.
    pub(super) fn kind_of(self, name: &str) -> Option<&str> {
        (self.by_kinds && !self.is_head(name)).then(|| kind(name))
    }

    /// Whether a weight, or the kind of one, is the head.
    pub(super) fn is_head(self, name: &str) -> bool {
        let role = Role::of(name);
        role == Role::Head || self.tied && role == Role::Embeddings
    }

    /// Whether a matrix is tried: the matrices of some layers, the head, and the embeddings if kinds are tried by themselves.
    pub(super) fn includes(self, model: &Model, name: &str) -> bool {
        let layers = model.block_count();
        let tried = layers.min(if self.by_kinds { LAYERS } else { FEW_LAYERS });
        let is_of_tried = |block| (0..tried).any(|i| (2 * i + 1) * layers / (2 * tried) == block);
        match Role::of(name) {
            Role::Embeddings => self.by_kinds || self.tied,
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
        let of_all = Extent { by_kinds: true, tied: false };
        let fast = Extent { by_kinds: false, tied: false };
        let tied = Extent { by_kinds: false, tied: true };
        assert_eq!(of_all.kind_of("blk.3.ffn_down.weight"), Some("ffn_down.weight"));
        assert_eq!(of_all.kind_of("token_embd.weight"), Some("token_embd.weight"));
        assert_eq!(of_all.kind_of("output.weight"), None);
        assert_eq!(fast.kind_of("blk.3.ffn_down.weight"), None);
        for extent in [of_all, fast] {
            assert_eq!(extent.part_of("blk.3.ffn_down.weight"), REST);
            assert_eq!(extent.part_of("output.weight"), "output.weight");
            assert_eq!(extent.part_of("token_embd.weight"), REST);
        }
        assert_eq!(tied.part_of("token_embd.weight"), "token_embd.weight");
    }

    #[test]
    fn of_everything_tried_weights_and_noise_are_run() {
        let shares = Shares { judged: 3, tried: 9 };
        assert_eq!(Extent::tokens(2, 0, shares), 5 * 9 * CHUNK);
        assert_eq!(Extent::tokens(2, 7, shares), (5 * 9 + 15 * CHUNKS_OF_KINDS) * CHUNK);
    }
}
