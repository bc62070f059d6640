//! What text is kept back for: files are judged on its first chunks, and what errors cost is tried on those after them.

use crate::llama::evaluation::CHUNK;

/// Chunks to judge files on.
pub(super) const JUDGED_CHUNKS: usize = 8;

/// Chunks to try the quantizer on: with two, a factor had an error of an eighth.
pub(super) const TRIAL_CHUNKS: usize = 6;

/// Tokens of a text that a model writes for both; a chunk more, since what is written is not always read as the same tokens.
pub(super) const TOKENS: u64 = ((JUDGED_CHUNKS + TRIAL_CHUNKS + 1) * CHUNK) as u64;
