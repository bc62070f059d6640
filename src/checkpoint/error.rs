//! What is wrong with a checkpoint: the file, the tensor if it is one, and what helps.

use crate::gguf;
use crate::printable;
use std::path::{Path, PathBuf};

/// Why a model cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A GGUF file cannot be read.
    #[error(transparent)]
    Gguf(#[from] gguf::Error),
    /// The system does not let a file be read.
    #[error("{}: {error}{hint}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
        /// What helps, if that is known.
        hint: String,
    },
    /// A file of the folder is not there.
    #[error("{}: {problem}", path.display())]
    MissingFile {
        /// The file, or the folder that lacks one of several.
        path: PathBuf,
        /// What says that it should be there, and what helps.
        problem: String,
    },
    /// A file is not what its name says, or not whole.
    #[error("{}: {problem}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong and what helps.
        problem: String,
    },
    /// The model is of a kind that cannot be read.
    #[error("{}: {problem}", path.display())]
    Unsupported {
        /// The file that says so.
        path: PathBuf,
        /// What is not supported and what helps.
        problem: String,
    },
    /// There is no table for the class that config.json names.
    #[error(
        "{}: architecture {class} is not supported yet ({known} are); llama.cpp's convert_hf_to_gguf.py --outtype bf16 makes a \
         GGUF file of the folder, and `convert` takes that, whatever the architecture",
        path.display()
    )]
    Foreign {
        /// config.json.
        path: PathBuf,
        /// The class.
        class: String,
        /// Classes that there are tables for.
        known: String,
    },
    /// config.json lacks a value, has one that no model has, or contradicts the tensors.
    #[error("{}: {problem}", path.display())]
    Config {
        /// The file, or the folder where the tensors contradict it.
        path: PathBuf,
        /// What is wrong and what helps.
        problem: String,
    },
    /// A file of the tokenizer is missing, damaged, or of a kind that cannot be read.
    #[error("{}: {problem}", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What is wrong and what helps.
        problem: String,
    },
    /// A tensor is not there.
    #[error("{}: tensor `{tensor}` {problem}", path.display())]
    MissingTensor {
        /// The file that should have it, or the folder.
        path: PathBuf,
        /// Its name.
        tensor: String,
        /// What says that it should be there, and what helps.
        problem: String,
    },
    /// A tensor has another shape or type than it should have, or should not be there.
    #[error("{}: tensor `{tensor}` {problem}", path.display())]
    Tensor {
        /// The file that has it, or the folder.
        path: PathBuf,
        /// Its name.
        tensor: String,
        /// What is wrong and what helps.
        problem: String,
    },
}

impl Error {
    /// An [`Error::Read`] without a hint.
    pub(crate) fn read(path: &Path) -> impl Fn(std::io::Error) -> Error {
        move |error| Error::Read { path: path.to_owned(), error, hint: String::new() }
    }

    /// An [`Error::MissingFile`].
    pub(crate) fn missing_file(path: &Path, problem: impl Into<String>) -> Error {
        Error::MissingFile { path: path.to_owned(), problem: problem.into() }
    }

    /// An [`Error::Damaged`].
    pub(crate) fn damaged(path: &Path, problem: impl Into<String>) -> Error {
        Error::Damaged { path: path.to_owned(), problem: problem.into() }
    }

    /// An [`Error::Unsupported`].
    pub(crate) fn unsupported(path: &Path, problem: impl Into<String>) -> Error {
        Error::Unsupported { path: path.to_owned(), problem: problem.into() }
    }

    /// An [`Error::Config`].
    pub(crate) fn config(path: &Path, problem: impl ToString) -> Error {
        Error::Config { path: path.to_owned(), problem: problem.to_string() }
    }

    /// An [`Error::MissingTensor`].
    pub(crate) fn missing_tensor(path: &Path, tensor: &str, problem: impl Into<String>) -> Error {
        let tensor = printable::line(tensor);
        Error::MissingTensor { path: path.to_owned(), tensor, problem: problem.into() }
    }

    /// An [`Error::Tensor`].
    pub(crate) fn tensor(path: &Path, tensor: &str, problem: impl Into<String>) -> Error {
        let tensor = printable::line(tensor);
        Error::Tensor { path: path.to_owned(), tensor, problem: problem.into() }
    }
}
