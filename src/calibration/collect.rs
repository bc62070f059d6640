//! Runs the collector, `llama-tenpak-calibrate` of ggml-patches.

use crate::llama::find::{NotFound, Wanted};
use crate::llama::run;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The collector.
pub const COLLECTOR: Wanted =
    Wanted { name: "llama-tenpak-calibrate", option: "--collector", variable: "TENPAK_COLLECTOR" };

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
    #[error("the collector {0}")]
    NotFound(NotFound),
    /// A path that was given is no program.
    #[error(transparent)]
    NoSuchFile(NotFound),
    /// It does not start.
    #[error(transparent)]
    Start(run::Error),
    /// It reported an error.
    #[error("the collector stopped with code {0}; its message is above")]
    Failed(i32),
    /// It was ended by a signal.
    #[error(
        "the collector was ended by a signal ({0}); run the same command again to go on. If memory ran out, give a smaller --memory"
    )]
    Killed(String),
    /// It ended well and wrote nothing.
    #[error("{}: the collector {} ended well and did not write it; build it again with scripts/build_llama.sh", .0.display(), COLLECTOR.name)]
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
    let status = run::passed_on(&mut command).map_err(Error::Start)?.status;
    match status.code() {
        Some(0) if options.output.exists() => Ok(()),
        Some(0) => Err(Error::NoOutput(options.output.clone())),
        Some(code) => Err(Error::Failed(code)),
        None => Err(Error::Killed(status.to_string())),
    }
}

/// The collector: as given, of the environment, beside this program, of the search path.
pub fn find(given: Option<&Path>) -> Result<PathBuf, Error> {
    COLLECTOR.find(given).map_err(|error| match error {
        NotFound::Nowhere(_) => Error::NotFound(error),
        NotFound::NoSuchFile { .. } => Error::NoSuchFile(error),
    })
}
