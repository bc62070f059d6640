//! Inputs that a fuzzer makes, for every reader, every decoder and the C ABI (docs/testing.md, "Fuzzing").
//!
//! Each test is a target of bolero. By itself (`scripts/fuzz.sh`) it gets random inputs; with `cargo bolero` and libFuzzer,
//! inputs that reach new code. Readers get valid files with a few edits ([`edits`]), because random bytes end at the first
//! check. What an input takes is measured ([`watched`]): no more than a second of processor time, no more memory than a multiple
//! of the input.

#[path = "../tests/support/mod.rs"]
mod support;

mod abi;
mod decoders;
mod edits;
mod found;
mod readers;
mod watched;

#[global_allocator]
static ALLOCATOR: watched::Counting = watched::Counting;
