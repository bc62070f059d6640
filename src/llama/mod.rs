//! llama.cpp's programs: finding one, running it, reading what it prints.
//!
//! `find` looks for a program where users put it and `python` for a Python, `run` runs one and measures it, `printed` turns what
//! programs print into values, `evaluation` is llama-perplexity over a text, `completion` what a model writes, `converter` is llama.cpp's
//! converter of folders, and `pin` says which llama.cpp the patches are made for.

pub mod completion;
pub mod converter;
pub mod evaluation;
pub mod find;
pub mod pin;
pub mod printed;
pub mod python;
pub mod run;

pub use converter::Converter;
pub use evaluation::{Evaluation, TaskKind};
pub use printed::{Collection, Divergence, Estimate, Perplexity, Speed, TaskScore};
pub use run::{Error, Measures, logged, passed_on};
