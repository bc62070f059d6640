//! What a job may write over.

use crate::plan::Cut;
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
}

/// Refuses to write over an input or, if `overwrite` is not set, over anything.
pub fn check_output(output: &Path, inputs: &[PathBuf], overwrite: bool) -> Result<(), OutputError> {
    let existing = output.canonicalize().ok();
    if existing.is_some() && inputs.iter().any(|input| input.canonicalize().ok() == existing) {
        return Err(OutputError::IsInput(output.to_owned()));
    }
    if !overwrite && output.exists() {
        return Err(OutputError::Exists(output.to_owned()));
    }
    Ok(())
}
