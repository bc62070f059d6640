//! What is wrong with a GGUF file.

use super::constants::MAX_ALIGNMENT;
use crate::lfs;
use crate::printable;
use std::path::{Path, PathBuf};

/// What is wrong with a GGUF file.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct Error {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: Problem,
}

/// See [`Error`].
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// Reading or writing failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// No room for the rest of a file.
    #[error("the disk is full: free {missing} bytes, or choose another folder")]
    Full {
        /// Bytes that are not written yet.
        missing: u64,
    },
    /// Another format.
    #[error("not a GGUF file: it begins with {0:02x?} instead of \"GGUF\"")]
    Magic(Vec<u8>),
    /// What a clone without git-lfs has in place of the file.
    #[error("{}", lfs::PROBLEM)]
    LfsPointer,
    /// A version that is not read.
    #[error("GGUF version {0} is not supported (2 and 3 are); convert the model again with a current tool")]
    Version(u32),
    /// Big-endian.
    #[error("a big-endian GGUF file; convert the model again for little-endian machines")]
    BigEndian,
    /// The file ends too early.
    #[error("the file ends in the middle of {0}; it was probably cut short: fetch it again")]
    Truncated(&'static str),
    /// A count, length or extent that cannot be.
    #[error("{} is {value}, which cannot be; the file is damaged", printable::line(.what))]
    Absurd {
        /// What has the value.
        what: String,
        /// The value.
        value: u64,
    },
    /// A string that is not UTF-8.
    #[error("{} is not UTF-8; the file is damaged", printable::line(.0))]
    Utf8(String),
    /// Two of a name.
    #[error("{what} `{}` stands twice; the file is damaged", printable::line(.name))]
    Duplicate {
        /// Key or tensor.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// An alignment that is not a power of two, or a large one.
    #[error(
        "general.alignment is {0}, which is not a power of two up to {MAX_ALIGNMENT}; the file is damaged"
    )]
    Alignment(u64),
    /// Data past the end.
    #[error("tensor `{}` ends at byte {end}, the file at {len}; it was cut short: fetch it again", printable::line(.name))]
    TensorOutside {
        /// The tensor.
        name: String,
        /// Where it would end.
        end: u64,
        /// Where the file ends.
        len: u64,
    },
    /// A row that is not whole blocks.
    #[error("tensor `{}`: rows of {columns} are not a multiple of the block of {kind} ({block})", printable::line(.name))]
    Block {
        /// The tensor.
        name: String,
        /// Its type.
        kind: String,
        /// Elements of a row.
        columns: u64,
        /// Elements of a block.
        block: u64,
    },
    /// A tensor of unknown type whose bytes were asked for.
    #[error("tensor `{}` has ggml type {id}, which this program does not know; its size cannot be told", printable::line(.name))]
    UnknownType {
        /// The tensor.
        name: String,
        /// The type id.
        id: u32,
    },
    /// Another part of a split file was given.
    #[error("this is part {number} of a split file; give the first part, {first}")]
    NotFirstPart {
        /// Counted from one.
        number: u64,
        /// Name of the first part.
        first: String,
    },
    /// A part that does not belong.
    #[error("{0}")]
    Split(String),
    /// The bytes given to the writer are not those that the header promised.
    #[error("tensor `{}`: {got} bytes were written where the header says {expected}", printable::line(.name))]
    WrongLength {
        /// The tensor.
        name: String,
        /// Bytes by the header.
        expected: u64,
        /// Bytes given.
        got: u64,
    },
}

impl Problem {
    /// The problem of this file.
    pub(super) fn at(self, path: &Path) -> Error {
        Error { path: path.to_owned(), problem: self }
    }
}
