//! GGUF files: a memory-mapped [`File`] to read and a streaming [`Writer`].
//!
//! Versions 2 and 3, little-endian, any alignment that is a power of two, split files on reading. Tensor types
//! are open: an id that nobody here knows is data, not an error.
//!
//! ```text
//! header     "GGUF", u32 version, u64 tensors, u64 keys
//! keys       string key, u32 value type, value
//! tensors    string name, u32 dims, u64 extent of each (innermost first), u32 type, u64 offset
//! data       aligned; every tensor starts at data + offset, a multiple of general.alignment
//! ```

mod constants;
mod dequantize;
mod error;
mod file;
mod quantize;
mod tensor_type;
mod value;
mod writer;

pub use crate::mapped::Changed;
pub use constants::{ADAPTER_KEY, DEFAULT_ALIGNMENT, SCALING_KEY};
pub use dequantize::Dequantize;
pub use error::{Error, Problem};
pub use file::{File, Tensor};
pub use quantize::{UPSTREAM_TYPES, UpstreamType};
pub use tensor_type::GgmlType;
pub use value::{Kind, Value};
pub use writer::{TensorHeader, Writer};
