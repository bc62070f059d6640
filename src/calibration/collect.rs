//! Runs the collector, `llama-tenpak-calibrate` of ggml-patches.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// File name of the collector.
pub const PROGRAM: &str = if cfg!(windows) { "llama-tenpak-calibrate.exe" } else { "llama-tenpak-calibrate" };

/// Environment variable with the path of the collector.
pub const VARIABLE: &str = "TENPAK_COLLECTOR";

/// What to collect. What is `None` the collector decides.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Text to run.
    pub text: PathBuf,
    /// File to write.
    pub output: PathBuf,
    /// Tokens of the text, from its start.
    pub tokens: Option<u64>,
    /// Tokens of a chunk.
    pub context: Option<u64>,
    /// Memory beside the model, such as `8G`.
    pub memory: Option<String>,
    /// Threads.
    pub threads: Option<usize>,
    /// Layers on the GPU.
    pub gpu_layers: Option<u32>,
    /// The input of the output layer too.
    pub with_output: bool,
    /// The collector, instead of looking for it.
    pub collector: Option<PathBuf>,
}

/// Why nothing was collected.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no collector.
    #[error(
        "the collector {PROGRAM} was not found (--collector, ${VARIABLE}, beside this program, $PATH); build it with \
         scripts/build_llama.sh, which prints its folder"
    )]
    NotFound,
    /// A path that was given is no program.
    #[error("{}: there is no such file ({from}); scripts/build_llama.sh builds {PROGRAM} and prints its folder", path.display())]
    NoSuchFile {
        /// The path.
        path: PathBuf,
        /// Who gave it.
        from: &'static str,
    },
    /// It does not start.
    #[error("{}: cannot be started: {source}", path.display())]
    Start {
        /// The collector.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It reported an error.
    #[error("the collector stopped with code {0}; its message is above")]
    Failed(i32),
    /// It was ended by a signal.
    #[error(
        "the collector was ended by a signal ({0}); run the same command again to go on. If memory ran out, give a smaller --memory"
    )]
    Killed(String),
    /// It ended well and wrote nothing.
    #[error("{}: the collector {PROGRAM} ended well and did not write it; build it again with scripts/build_llama.sh", .0.display())]
    NoOutput(PathBuf),
}

/// Runs the collector over a GGUF file; its progress goes to standard error.
pub fn run(base: &Path, options: &Options) -> Result<(), Error> {
    let collector = find(options.collector.as_deref())?;
    let mut command = Command::new(&collector);
    command.arg("-m").arg(base).arg("-f").arg(&options.text).arg("-o").arg(&options.output);
    let mut option = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            command.args([name, &value]);
        }
    };
    option("--tokens", options.tokens.map(|n| n.to_string()));
    option("-c", options.context.map(|n| n.to_string()));
    option("--memory", options.memory.clone());
    option("-t", options.threads.map(|n| n.to_string()));
    option("-ngl", options.gpu_layers.map(|n| n.to_string()));
    if options.with_output {
        command.arg("--process-output");
    }
    let status = command.stdin(Stdio::null()).status();
    let status = status.map_err(|source| Error::Start { path: collector, source })?;
    match status.code() {
        Some(0) if options.output.exists() => Ok(()),
        Some(0) => Err(Error::NoOutput(options.output.clone())),
        Some(code) => Err(Error::Failed(code)),
        None => Err(Error::Killed(status.to_string())),
    }
}

/// The collector: as given, of the environment, beside this program, of the search path.
pub fn find(given: Option<&Path>) -> Result<PathBuf, Error> {
    let variable = std::env::var_os(VARIABLE).filter(|v| !v.is_empty());
    if let Some(path) = given {
        return existing(path, "--collector");
    }
    if let Some(path) = variable {
        return existing(Path::new(&path), VARIABLE);
    }
    let own_folder = std::env::current_exe().ok().and_then(|e| e.parent().map(Path::to_owned));
    let search = std::env::var_os("PATH").unwrap_or_default();
    let folders = own_folder.into_iter().chain(std::env::split_paths(OsStr::new(&search)));
    let mut programs = folders.map(|folder| folder.join(PROGRAM));
    programs.find(|path| path.is_file()).ok_or(Error::NotFound)
}

/// The path itself, or the collector in the folder.
fn existing(path: &Path, from: &'static str) -> Result<PathBuf, Error> {
    let path = if path.is_dir() { path.join(PROGRAM) } else { path.to_owned() };
    if path.is_file() { Ok(path) } else { Err(Error::NoSuchFile { path, from }) }
}
