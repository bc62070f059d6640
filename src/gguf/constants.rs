//! Numbers and names of the format.

/// First bytes of a file.
pub const MAGIC: [u8; 4] = *b"GGUF";
/// Version that is written.
pub const VERSION: u32 = 3;
/// Key of the name of the adapter file without which a file of ours is not all of its model.
pub const ADAPTER_KEY: &str = "tenpak.adapter";
/// Key of the alignment.
pub const ALIGNMENT_KEY: &str = "general.alignment";
/// Alignment of files that do not name one.
pub const DEFAULT_ALIGNMENT: u64 = 32;
/// ggml's limit.
pub const MAX_DIMS: usize = 4;
/// Arrays of arrays deeper than this are refused; real files have none.
pub const MAX_ARRAY_DEPTH: usize = 4;
/// Largest alignment. Pages of memory are not larger.
pub const MAX_ALIGNMENT: u64 = 1 << 16;
/// Bytes of a file in which all keys and the list of its tensors have to be: ten times those of the largest vocabularies.
pub const MAX_HEADER: usize = 256 << 20;
/// Keys of a file.
pub const MAX_KEYS: usize = 1 << 20;
/// Tensors of a file: a model of a thousand blocks of a thousand experts whose matrices stand alone has three times as many, and
/// in GGUF files they are stacked.
pub const MAX_TENSORS: usize = 1 << 20;
/// Numbers in arrays that are kept as values of their own; what goes beyond them is kept as the bytes that it is in the file.
pub const MAX_NUMBERS: usize = 1 << 22;

/// Key of a file whose norms and columns are scaled by the size of inputs: the power. Its weights are not those of the model that it
/// was made of, though it computes the same.
pub const SCALING_KEY: &str = "tenpak.activation_scaling";
