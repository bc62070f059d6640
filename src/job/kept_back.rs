//! What text is kept back for: files are judged on its first chunks, and what errors cost is tried on those after them.

use crate::llama::evaluation::CHUNK;
use crate::quantize::Effort;

/// How many chunks of the text are for what.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Shares {
    /// Chunks to judge files on.
    pub judged: usize,
    /// Chunks to try the quantizer on: with two, a factor had an error of an eighth.
    pub tried: usize,
}

impl Shares {
    /// Those of a conversion of so much effort.
    pub const fn of(effort: Effort) -> Shares {
        match effort {
            Effort::Fast => Shares { judged: 4, tried: 4 },
            Effort::Normal | Effort::Best => Shares { judged: 8, tried: 6 },
        }
    }

    /// Tokens of the chunks to judge files on.
    pub const fn judged_tokens(self) -> usize {
        self.judged * CHUNK
    }

    /// Tokens of a text that a model writes for both; a chunk more, since what is written is not always read as the same tokens.
    pub const fn tokens(self) -> u64 {
        ((self.judged + self.tried + 1) * CHUNK) as u64
    }
}
