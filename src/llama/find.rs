//! Where a program of llama.cpp is.

use std::path::{Path, PathBuf};

/// A program of llama.cpp, and how users say where it is.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Name of the program, without the suffix that some systems add.
    pub name: &'static str,
    /// Whether it is a script, whose name is the same on all systems.
    pub is_script: bool,
    /// Option of the command line that names the program or its folder.
    pub option: &'static str,
    /// Environment variable that names the program or its folder.
    pub variable: &'static str,
}

/// Why a program was not found.
#[derive(Debug, thiserror::Error)]
pub enum NotFound {
    /// The program is in none of the places where it is looked for.
    #[error(
        "{} was not found ({}, ${}, beside this program, $PATH); {}",
        .0.file_name(), .0.option, .0.variable, .0.remedy()
    )]
    Nowhere(Wanted),
    /// The path that the user gave is neither a program nor a folder with the program.
    #[error(
        "{}: there is no such file ({from}); {}",
        path.display(), wanted.remedy_for_path()
    )]
    NoSuchFile {
        /// The path.
        path: PathBuf,
        /// The option or the variable that gave it.
        from: &'static str,
        /// The program.
        wanted: Wanted,
    },
}

impl Wanted {
    /// Looks for the program as the user says (`given` comes from the option), then as the environment variable says,
    /// then beside this program, in `more` folders, and in the search path.
    pub fn find(self, given: Option<&Path>, more: &[PathBuf]) -> Result<PathBuf, NotFound> {
        if let Some(path) = given {
            return self.existing(path, self.option);
        }
        if let Some(path) = std::env::var_os(self.variable).filter(|v| !v.is_empty()) {
            return self.existing(Path::new(&path), self.variable);
        }
        let own_folder = std::env::current_exe().ok().and_then(|e| e.parent().map(Path::to_owned));
        let search = std::env::var_os("PATH").unwrap_or_default();
        let folders =
            own_folder.into_iter().chain(more.iter().cloned()).chain(std::env::split_paths(&search));
        let mut programs = folders.map(|folder| folder.join(self.file_name()));
        programs.find(|path| path.is_file()).ok_or(NotFound::Nowhere(self))
    }

    /// File name of the program on this system.
    pub fn file_name(self) -> String {
        if self.is_script { self.name.to_owned() } else { file_name(self.name) }
    }

    /// What helps where there is none.
    fn remedy(self) -> &'static str {
        match self.is_script {
            true => {
                "it lies in the tree of which scripts/build_llama.sh builds the programs, and is found there if --collector \
                     names those"
            }
            false => "build it with scripts/build_llama.sh, which prints its folder",
        }
    }

    /// What helps where a path is wrong.
    fn remedy_for_path(self) -> String {
        match self.is_script {
            true => format!("{} lies in a tree of llama.cpp", self.name),
            false => format!("scripts/build_llama.sh builds {} and prints its folder", self.file_name()),
        }
    }

    /// The path itself or, if it is a folder, the program in the folder.
    fn existing(self, path: &Path, from: &'static str) -> Result<PathBuf, NotFound> {
        let path = if path.is_dir() { path.join(self.file_name()) } else { path.to_owned() };
        if path.is_file() { Ok(path) } else { Err(NotFound::NoSuchFile { path, from, wanted: self }) }
    }
}

/// File name of a compiled program on this system.
pub fn file_name(program: &str) -> String {
    format!("{program}{}", std::env::consts::EXE_SUFFIX)
}
