//! Measures what the linear layers of a model get as input, with the collector of ggml-patches.

use super::{Error, check_output};
use crate::calibration::Calibration;
use crate::gguf;
use crate::llama::find::{NotFound, Wanted};
use crate::llama::run;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The collector.
const COLLECTOR: Wanted =
    Wanted { name: "llama-tenpak-calibrate", option: "--collector", variable: "TENPAK_COLLECTOR" };

/// What to measure. What is `None` the collector decides.
#[derive(Clone, Debug, Default)]
pub struct Calibrate {
    /// The model, a GGUF file.
    pub base: PathBuf,
    /// The text that the model is run over, UTF-8.
    pub text: PathBuf,
    /// The file that is written.
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
    /// The collector or its folder, instead of looking for it.
    pub collector: Option<PathBuf>,
    /// Write over an existing file.
    pub overwrite: bool,
}

/// Why the collector collected nothing.
#[derive(Debug, thiserror::Error)]
pub enum CollectorError {
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

impl Calibrate {
    /// Runs the collector, which tells on standard error how far it is, and opens what it wrote. A job that was
    /// interrupted goes on where it was.
    pub fn run(&self) -> Result<Calibration, Error> {
        let base = gguf::File::open(&self.base)?;
        let inputs = [base.paths(), std::slice::from_ref(&self.text)].concat();
        check_output(&self.output, &inputs, self.overwrite)?;
        drop(base);
        check_text(&self.text)?;
        self.collect()?;
        Ok(Calibration::open(&self.output)?)
    }

    fn collect(&self) -> Result<(), CollectorError> {
        let mut command = Command::new(find_collector(self.collector.as_deref())?);
        command.arg("-m").arg(&self.base).arg("-f").arg(&self.text).arg("-o").arg(&self.output);
        let mut option = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                command.args([name, &value]);
            }
        };
        option("--tokens", self.tokens.map(|n| n.to_string()));
        option("-c", self.context.map(|n| n.to_string()));
        option("--memory", self.memory.clone());
        option("-t", self.threads.map(|n| n.to_string()));
        option("-ngl", self.gpu_layers.map(|n| n.to_string()));
        if self.with_output {
            command.arg("--process-output");
        }
        let status = run::passed_on(&mut command).map_err(CollectorError::Start)?.status;
        match status.code() {
            Some(0) if self.output.exists() => Ok(()),
            Some(0) => Err(CollectorError::NoOutput(self.output.clone())),
            Some(code) => Err(CollectorError::Failed(code)),
            None => Err(CollectorError::Killed(status.to_string())),
        }
    }
}

/// Refuses a text that cannot be opened, before anything that takes long.
pub(super) fn check_text(text: &Path) -> Result<(), Error> {
    let opened = std::fs::File::open(text).map(drop);
    opened.map_err(|source| Error::Io { path: text.to_owned(), source })
}

/// The collector: as given, of the environment, beside this program, of the search path.
pub(super) fn find_collector(given: Option<&Path>) -> Result<PathBuf, CollectorError> {
    COLLECTOR.find(given).map_err(|error| match error {
        NotFound::Nowhere(_) => CollectorError::NotFound(error),
        NotFound::NoSuchFile { .. } => CollectorError::NoSuchFile(error),
    })
}
