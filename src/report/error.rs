//! Why a page was not made.

use crate::job::EvalError;
use crate::{export, gguf, job, llama};
use std::path::PathBuf;

/// Why a page was not made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading a GGUF file.
    #[error(transparent)]
    Gguf(#[from] gguf::Error),
    /// An input was changed while it was read.
    #[error(transparent)]
    Changed(#[from] gguf::Changed),
    /// Weights that cannot be read as floats.
    #[error(transparent)]
    Export(#[from] export::Error),
    /// What errors do to predictions.
    #[error(transparent)]
    Job(#[from] Box<job::Error>),
    /// Finding programs.
    #[error(transparent)]
    Eval(#[from] EvalError),
    /// A program failed.
    #[error("{}: it writes no text: {} (--text-tokens 0 leaves texts out)", file.display(), source.without_log())]
    Program {
        /// The model.
        file: PathBuf,
        /// What the program printed last.
        source: Box<llama::Error>,
    },
    /// A folder for the time being cannot be made.
    #[error("{}: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}
