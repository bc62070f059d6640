//! Trellis tensor types for GGUF files and llama.cpp.
//!
//! `types`, `isa` and `ffi` build alone (`--no-default-features`) into the static library that ggml
//! links; the rest is the converter.

#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks, missing_docs)]

pub mod ffi;
pub mod isa;
pub mod products;
mod simd;
pub mod types;

#[cfg(feature = "converter")]
pub mod arch;
#[cfg(feature = "converter")]
mod atomic_file;
#[cfg(feature = "converter")]
pub mod calibration;
#[cfg(feature = "converter")]
pub mod chart;
#[cfg(feature = "converter")]
pub mod checkpoint;
#[cfg(feature = "converter")]
pub mod export;
#[cfg(feature = "converter")]
pub mod gguf;
#[cfg(feature = "converter")]
mod guarded;
#[cfg(feature = "converter")]
pub mod interrupt;
#[cfg(feature = "converter")]
pub mod job;
#[cfg(feature = "converter")]
mod lfs;
#[cfg(feature = "converter")]
pub mod llama;
#[cfg(feature = "converter")]
mod mapped;
#[cfg(feature = "converter")]
pub mod names;
#[cfg(feature = "converter")]
pub mod plan;
#[cfg(feature = "converter")]
pub mod printable;
#[cfg(feature = "converter")]
mod python_json;
#[cfg(feature = "converter")]
pub mod quantize;
#[cfg(feature = "converter")]
pub mod release;
#[cfg(feature = "converter")]
pub mod render;
#[cfg(feature = "converter")]
pub mod report;
#[cfg(feature = "converter")]
mod small_file;
