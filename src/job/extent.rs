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

/// What weights of all kinds are called that are not tried by kinds.
pub(super) const REST: &str = "rest";

/// How much is tried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Extent {
    /// Whether weights of each kind are tried by themselves too. Without, only the head is, and all kinds in layers get one factor.
    by_kinds: bool,
    /// Whether the embeddings are the head.
    tied: bool,
}

impl Extent {
    /// That of a conversion of so much effort.
    pub(super) fn of(effort: Effort, model: &Model) -> Extent {
        let has_head = model.tensors.iter().any(|t| Role::of(&t.name) == Role::Head);
        Extent { by_kinds: effort != Effort::Fast, tied: !has_head }
    }

    /// Tokens that are run if weights of so many kinds are tried by themselves.
    pub(super) fn tokens(kinds: usize) -> usize {
        (1 + 2 * (1 + kinds)) * CHUNKS * CHUNK
    }

    /// The kind that a weight is tried with: its own, or [`REST`].
    pub(super) fn kind_of(self, name: &str) -> &str {
        if self.by_kinds || self.is_head(name) { kind(name) } else { REST }
    }

    fn is_head(self, name: &str) -> bool {
        let role = Role::of(name);
        role == Role::Head || self.tied && role == Role::Embeddings
    }

    /// Whether a matrix is tried: the matrices of some layers, the head, and the embeddings if kinds are tried by themselves.
    pub(super) fn includes(self, model: &Model, name: &str) -> bool {
        let layers = model.block_count();
        let tried = layers.min(LAYERS);
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
        assert_eq!(of_all.kind_of("blk.3.ffn_down.weight"), "ffn_down.weight");
        assert_eq!(fast.kind_of("blk.3.ffn_down.weight"), REST);
        assert_eq!(fast.kind_of("output.weight"), "output.weight");
        assert_eq!(fast.kind_of("token_embd.weight"), REST);
        assert_eq!(tied.kind_of("token_embd.weight"), "token_embd.weight");
    }

    #[test]
    fn of_every_kind_weights_and_noise_are_run() {
        assert_eq!(Extent::tokens(0), 3 * CHUNKS * CHUNK);
        assert_eq!(Extent::tokens(7), 17 * CHUNKS * CHUNK);
    }
}
