//! The option that names a Python.

use std::path::PathBuf;

/// The Python whose packages are asked.
#[derive(clap::Args)]
pub struct PythonArgs {
    /// Python with the packages that are asked [default: $TENPAK_PYTHON, or python3]
    #[arg(long, value_name = "PATH")]
    pub python: Option<PathBuf>,
}
