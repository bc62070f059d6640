//! C text and shader text rendered from the constants of this crate: what code outside of Rust reads the types from.
//!
//! The files in `ggml-patches` are these renderings; `tests/header.rs` compares them.

mod direct;
mod header;
mod shaders;
mod tables;
mod text;

pub use header::header;
pub use shaders::shaders;
pub use tables::tables;
