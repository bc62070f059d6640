//! The option that names a Python.

use std::path::PathBuf;

/// The Python whose packages are asked.
#[derive(clap::Args)]
pub struct PythonArgs {
    /// Python that runs llama.cpp's converter, and whose packages --verify asks [default: $TENPAK_PYTHON, or python3]
    #[arg(long, value_name = "PATH")]
    pub python: Option<PathBuf>,
}
