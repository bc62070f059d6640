//! Numbers and names of the format.

/// First bytes of a file.
pub const MAGIC: [u8; 4] = *b"GGUF";
/// Version that is written.
pub const VERSION: u32 = 3;
/// Key of the alignment.
pub const ALIGNMENT_KEY: &str = "general.alignment";
/// Alignment of files that do not name one.
pub const DEFAULT_ALIGNMENT: u64 = 32;
/// ggml's limit.
pub const MAX_DIMS: usize = 4;
/// Arrays of arrays deeper than this are refused; real files have none.
pub const MAX_ARRAY_DEPTH: usize = 4;
