//! What a job may write over.

use crate::atomic_file::AtomicFile;
use crate::plan::Cut;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// What a conversion writes.
#[derive(Clone, Debug)]
pub struct Outputs {
    /// The file, or what the names of its parts are made of.
    pub path: PathBuf,
    /// How the model is cut into files.
    pub cut: Cut,
    /// Write over existing files. Inputs are never written over.
    pub overwrite: bool,
    /// Go on where the same job was killed: parts that are complete stay, and of the others the whole tensors.
    pub resume: bool,
}

impl Outputs {
    /// One new file.
    pub fn new(path: impl Into<PathBuf>) -> Outputs {
        Outputs { path: path.into(), cut: Cut::Whole, overwrite: false, resume: false }
    }
}

/// Why an output may not be written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The output is read by the same job.
    #[error("{}: is the input or a part of it; choose another output", .0.display())]
    IsInput(PathBuf),
    /// There is such a file, and nobody said that it may go.
    #[error("{}: exists already; choose another output or give --force", .0.display())]
    Exists(PathBuf),
    /// Part of a conversion whose corrections of low rank are one file.
    #[error(
        "{}: an adapter of low rank is written in one go: leave --resume and --shard away, or --low-rank", .0.display()
    )]
    WholeOnly(PathBuf),
    /// What is there is a device, a FIFO, a folder or the like.
    #[error("{}: is {what} and is not written over; choose another output", path.display())]
    NotAFile {
        /// The output.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// The system does not say what is there, as with names that are too long.
    #[error("{}: {error}; choose another output", path.display())]
    Unusable {
        /// The output.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
}

/// Refuses to write over an input, over what is no file, such as a device, or, if `overwrite` is not set, over anything.
pub fn check_output(output: &Path, inputs: &[PathBuf], overwrite: bool) -> Result<(), OutputError> {
    check(output, inputs, overwrite, false)
}

/// The same of an output that may be a folder.
pub fn check_folder(output: &Path, inputs: &[PathBuf], overwrite: bool) -> Result<(), OutputError> {
    check(output, inputs, overwrite, true)
}

fn check(output: &Path, inputs: &[PathBuf], overwrite: bool, may_be_folder: bool) -> Result<(), OutputError> {
    let existing = output.canonicalize().ok();
    if existing.is_some() && inputs.iter().any(|input| input.canonicalize().ok() == existing) {
        return Err(OutputError::IsInput(output.to_owned()));
    }
    match std::fs::symlink_metadata(output) {
        Ok(_) => {}
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(()),
        Err(error) => return Err(OutputError::Unusable { path: output.to_owned(), error }),
    }
    // A link that leads nowhere is there too.
    let what = match std::fs::metadata(output) {
        Ok(found) if found.is_dir() => (!may_be_folder).then_some("a folder"),
        Ok(found) if !found.is_file() => Some("a device, a FIFO or the like"),
        _ => None,
    };
    match what {
        Some(what) => Err(OutputError::NotAFile { path: output.to_owned(), what }),
        None if !overwrite => Err(OutputError::Exists(output.to_owned())),
        None => Ok(()),
    }
}

/// Writes a small file in place of what is there, if that is a file.
pub fn save(path: &Path, bytes: &[u8]) -> Result<(), super::Error> {
    check_output(path, &[], true)?;
    let written = AtomicFile::create(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.persist()
    });
    written.map(drop).map_err(|source| super::Error::Io { path: path.to_owned(), source })
}
