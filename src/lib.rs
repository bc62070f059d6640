//! Trellis tensor types for GGUF files and llama.cpp.

#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks, missing_docs)]

pub mod ffi;
pub mod isa;
pub mod types;
