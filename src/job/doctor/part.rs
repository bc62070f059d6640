//! What jobs need: programs, packages, folders.

use serde::Serialize;

/// What jobs need.
#[derive(Clone, Debug, Serialize)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// Where it is, or which version.
    pub found: Option<String>,
    /// What is wrong with it, or why it was not found.
    pub problem: Option<String>,
    /// Whether it does its work all the same.
    pub works: bool,
    /// The line for a shell that gets it.
    pub remedy: Option<String>,
}
