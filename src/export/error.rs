//! Why an export stops.

use crate::gguf::{self, File};
use crate::printable;
use std::path::{Path, PathBuf};

/// Why an export stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading or writing GGUF.
    #[error(transparent)]
    Gguf(#[from] gguf::Error),
    /// The file was changed while it was read.
    #[error(transparent)]
    Changed(#[from] gguf::Changed),
    /// The system does not let a file be written.
    #[error("{}: {error}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// A file has something that the form to export has no words for.
    #[error("{}: {problem}", path.display())]
    Unsupported {
        /// The GGUF file.
        path: PathBuf,
        /// The key or tensor, and what helps.
        problem: String,
    },
}

/// An [`Error::Unsupported`].
pub fn unsupported(file: &File, problem: impl Into<String>) -> Error {
    Error::Unsupported { path: file.path().to_owned(), problem: printable::line(&problem.into()) }
}

/// An [`Error::Write`].
pub fn write(path: &Path) -> impl Fn(std::io::Error) -> Error {
    move |error| Error::Write { path: path.to_owned(), error }
}
