//! C text rendered from the constants of this crate: what code outside of Rust reads the types from.
//!
//! The files in `ggml-patches` are these renderings; `tests/header.rs` compares them.

mod header;
mod tables;

pub use header::header;
pub use tables::tables;
