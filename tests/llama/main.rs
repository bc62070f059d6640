//! Acceptance tests: real models through the converter and llama.cpp's programs. docs/testing.md says how they are run.
//!
//! A plain `cargo test` leaves them out (`test = false` in Cargo.toml), because they build llama.cpp and download models.

#[path = "../support/mod.rs"]
mod support;

mod place;

mod fixtures;

mod diagonals;
mod experts_model;
mod llama_forward;
mod quantized_folder;
mod short_model;
mod vocabulary;

mod aarch64;
mod calibration;
mod calibration_experts;
mod clusters;
mod conversion;
mod doctor;
mod eval;
mod experts;
mod foreign;
mod ggml;
mod gpu_check;
mod guide;
mod importance;
mod kernels;
mod loads;
mod low_rank;
mod memory;
mod own_text;
mod package;
mod parts;
mod pieces;
mod programs;
mod pytorch;
mod quantized_checkpoints;
mod quantized_gguf;
mod release;
mod rpc;
mod samples;
mod scaling;
mod server;
mod sizes;
mod stock;
mod verify;
mod vocabularies;
mod vulkan;
