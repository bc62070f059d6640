//! The Python whose packages are asked.

use std::path::{Path, PathBuf};

/// Option of the command line that names a Python.
pub const OPTION: &str = "--python";
/// Environment variable that names a Python.
pub const VARIABLE: &str = "TENPAK_PYTHON";

/// The Python that is tried where nothing is said.
const DEFAULT: &str = if cfg!(windows) { "python" } else { "python3" };

/// The Python that the user names (`given` comes from the option), or that of the environment variable, or the one of the
/// search path.
pub fn find(given: Option<&Path>) -> PathBuf {
    let variable = || std::env::var_os(VARIABLE).filter(|v| !v.is_empty()).map(PathBuf::from);
    given.map(Path::to_owned).or_else(variable).unwrap_or_else(|| DEFAULT.into())
}
