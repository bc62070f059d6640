//! Tests of the converter, as one program, because programs take long to compile: `cargo test --test converter cli::` runs
//! those of one file. Files with the kernels alone are programs of their own, which other machines compile too.

#[path = "../support/mod.rs"]
mod support;

mod architectures;
mod calibration;
mod checkpoint;
mod cli;
mod closed_config;
mod closed_rope;
mod closed_tensors;
mod collector;
mod doctor;
mod encoder;
mod eval;
mod export;
mod faults;
mod folders;
mod foreign;
mod gguf;
mod gguf_input;
mod guide;
mod guided;
mod history;
mod hostile_checkpoint;
mod hostile_gguf;
mod inspect;
mod low_rank;
mod making;
mod manners;
mod merge;
mod plain;
mod plans;
mod pytorch;
mod quantized;
mod recipes;
mod release;
mod resume;
mod samples;
mod split;
mod tables;
mod verify;
