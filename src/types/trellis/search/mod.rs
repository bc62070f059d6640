//! The search: symbols whose reconstructions are near to the weights of a block.
//!
//! `quantize` takes rows to blocks without calibration. It looks for symbols with `viterbi`, which is exact where each
//! weight's error counts by itself. `calibrated` takes blocks whose errors are fed back to later weights, with `beam`.
//!
//! The search builds on `code`, `layout`, `rotation` and `scale`; none of them knows of it.

#[cfg(feature = "converter")]
pub mod beam;
#[cfg(feature = "converter")]
pub mod calibrated;
pub mod quantize;
pub mod viterbi;
