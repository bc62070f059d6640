//! Why an evaluation stopped.

use crate::job;
use crate::llama::find::NotFound;
use crate::{gguf, llama};
use std::path::PathBuf;

/// Why an evaluation stopped.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// Reading a GGUF file.
    #[error(transparent)]
    Gguf(#[from] gguf::Error),
    /// llama.cpp's programs are not there.
    #[error(transparent)]
    NotFound(#[from] NotFound),
    /// A model whose corrections are another file, where that is not taken.
    #[error(
        "{}: computes what its model does with its adapter `{adapter}` only (--low-rank), and {what}",
        path.display()
    )]
    NeedsAdapter {
        /// The model.
        path: PathBuf,
        /// The name of the adapter's file.
        adapter: String,
        /// What cannot be done, and what helps.
        what: &'static str,
    },
    /// A program failed.
    #[error("{} on {domain}: {}", file.display(), source.without_log())]
    Program {
        /// The model.
        file: PathBuf,
        /// The text or the tasks.
        domain: String,
        /// What it printed last.
        source: Box<llama::Error>,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The text that the base writes itself.
    #[error(transparent)]
    OwnText(#[from] Box<job::Error>),
    /// A file says that it was made with another calibration than the one that was given.
    #[error(
        "--calibration: {} was made with another one, of sha256 {said}; leave it out, and the receipt names that",
        file.display()
    )]
    OtherCalibration {
        /// The file.
        file: PathBuf,
        /// sha256 of the calibration that it was made with.
        said: String,
    },
    /// Two texts would have one row.
    #[error("{0}: two texts have this name; give one of them another (-f NAME=FILE)")]
    SameName(String),
    /// No receipt is given.
    #[error("--merge: no receipt is given")]
    NothingToMerge,
    /// Receipts that cannot be one.
    #[error("{}: has {what} {}, so that they are no parts of one evaluation", path.display(), first.display())]
    NotOfOne {
        /// The receipt.
        path: PathBuf,
        /// The first of the receipts.
        first: PathBuf,
        /// What differs.
        what: String,
    },
    /// A receipt that cannot be read.
    #[error("{}: not a receipt of tenpak-gguf eval: {why}", path.display())]
    NoReceipt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file of a receipt is nowhere.
    #[error(
        "{name}, sha256 {sha256}, is not there: put it beside the receipt or into the current folder, or name it (files, --against, \
         -f, --tasks){}",
        others.iter().map(|path| format!("; {} has other bytes", path.display())).collect::<String>()
    )]
    Missing {
        /// Its name.
        name: String,
        /// Its digest.
        sha256: String,
        /// Files of its name, or that were given for it, with other bytes.
        others: Vec<PathBuf>,
    },
}
