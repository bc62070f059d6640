//! Measures what the linear layers of a model get as input, with the collector of ggml-patches.

use super::collector::{CollectorError, add_options, find_collector, run_collector};
use super::own_text::{OwnText, Writing};
use super::{Error, check_output};
use crate::calibration::Calibration;
use crate::gguf;
use crate::interrupt::{self, Watched};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a model is run over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// A file, UTF-8.
    File {
        /// The file.
        path: PathBuf,
        /// What the calibration calls it; `None` for the name of the file.
        name: Option<String>,
        /// Tokens such as `<|im_end|>` in the text are tokens.
        parse_special: bool,
    },
    /// The model writes it first.
    Own {
        /// Decides which documents are written; above zero.
        seed: u64,
        /// Where the text stays; `None` for beside the output until the statistics are collected.
        keep: Option<PathBuf>,
    },
}

impl Text {
    /// A file with nothing special about it.
    pub fn file(path: impl Into<PathBuf>) -> Text {
        Text::File { path: path.into(), name: None, parse_special: false }
    }
}

impl From<&OwnText> for Text {
    /// The text once it is written.
    fn from(own: &OwnText) -> Text {
        Text::File { path: own.path.clone(), name: Some(own.name()), parse_special: true }
    }
}

/// What to measure. What is `None` the collector decides.
#[derive(Clone, Debug)]
pub struct Calibrate {
    /// The model, a GGUF file.
    pub base: PathBuf,
    /// The text that the model is run over.
    pub text: Text,
    /// The file that is written.
    pub output: PathBuf,
    /// Tokens of the text, from its start.
    pub tokens: Option<u64>,
    /// One of some equal parts of these tokens: which, counted from 1, and of how many.
    pub part: Option<(usize, usize)>,
    /// Tokens of a chunk.
    pub context: Option<u64>,
    /// Memory beside the model, such as `8G`.
    pub memory: Option<String>,
    /// Threads.
    pub threads: Option<usize>,
    /// Layers on the GPU.
    pub gpu_layers: Option<u32>,
    /// Time for the sensitivities of the weights, after the sums; `None` for half of what these take.
    pub budget: Option<Budget>,
    /// The collector or its folder, instead of looking for it.
    pub collector: Option<PathBuf>,
    /// Write over an existing file.
    pub overwrite: bool,
    /// Let the collector say nothing unless it fails.
    pub quiet: bool,
}

/// Time for sensitivities, at the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// Minutes.
    Minutes(u64),
    /// None: sums alone.
    Nothing,
}

/// As the collector reads it.
impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Budget::Minutes(n) => write!(f, "{n}"),
            Budget::Nothing => write!(f, "none"),
        }
    }
}

impl Calibrate {
    /// A calibration as the command line does it without options.
    pub fn new(base: impl Into<PathBuf>, text: Text, output: impl Into<PathBuf>) -> Calibrate {
        Calibrate {
            base: base.into(),
            text,
            output: output.into(),
            tokens: None,
            part: None,
            context: None,
            memory: None,
            threads: None,
            gpu_layers: None,
            budget: None,
            collector: None,
            overwrite: false,
            quiet: false,
        }
    }

    /// Runs the collector, which tells on standard error how far it is, and opens what it wrote. A job that was
    /// interrupted goes on where it was; a text of the model's own is the same in the second run.
    pub fn run(&self) -> Result<Calibration, Error> {
        let base = gguf::File::open(&self.base)?;
        let mut inputs = base.paths().to_vec();
        if let Text::File { path, .. } = &self.text {
            inputs.push(path.clone());
        }
        check_output(&self.output, &inputs, self.overwrite)?;
        drop(base);
        match &self.text {
            Text::File { path, name, parse_special } => {
                check_text(path)?;
                self.collect(path, name.as_deref(), *parse_special)?;
            }
            Text::Own { seed, keep } => {
                let work = work_folder(".tenpak-text-", &self.output)?;
                let path = keep.clone().unwrap_or_else(|| work.path().join("own.txt"));
                let own = OwnText { path, tokens: self.tokens, seed: *seed };
                let text = Text::from(&own);
                Writing {
                    context: self.context,
                    threads: self.threads,
                    gpu_layers: self.gpu_layers,
                    collector: self.collector.clone(),
                    overwrite: self.overwrite,
                    quiet: self.quiet,
                    ..Writing::new(&self.base, vec![own])
                }
                .run()?;
                return Calibrate { text, ..self.clone() }.run();
            }
        }
        Ok(Calibration::open(&self.output)?)
    }

    fn collect(&self, text: &Path, name: Option<&str>, parse_special: bool) -> Result<(), CollectorError> {
        let mut command = Command::new(find_collector(self.collector.as_deref())?);
        command.arg("-m").arg(&self.base).arg("-f").arg(text).arg("-o").arg(&self.output);
        add_options(
            &mut command,
            [
                ("--text-name", name.map(str::to_owned)),
                ("--tokens", self.tokens.map(|n| n.to_string())),
                ("--part", self.part.map(|(i, n)| format!("{i}/{n}"))),
                ("-c", self.context.map(|n| n.to_string())),
                ("--memory", self.memory.clone()),
                ("-t", self.threads.map(|n| n.to_string())),
                ("--budget", self.budget.map(|n| n.to_string())),
                ("-ngl", self.gpu_layers.map(|n| n.to_string())),
            ],
        );
        if parse_special {
            command.arg("--parse-special");
        }
        run_collector(&mut command, &[&self.output], self.quiet)
    }
}

/// A folder that goes with the value, and if a signal ends the program.
pub struct WorkFolder {
    folder: tempfile::TempDir,
    _watched: Watched,
}

impl WorkFolder {
    /// Makes one in the system's folder for such.
    pub fn temporary(prefix: &str) -> std::io::Result<WorkFolder> {
        WorkFolder::new(|| tempfile::Builder::new().prefix(prefix).tempdir())
    }

    /// Makes one.
    pub fn new(make: impl FnOnce() -> std::io::Result<tempfile::TempDir>) -> std::io::Result<WorkFolder> {
        let (folder, watched) = interrupt::temporary(make, |folder| folder.path().to_owned())?;
        Ok(WorkFolder { folder, _watched: watched })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// A folder beside an output for what is needed on the way to it; it goes with the value.
pub(super) fn work_folder(prefix: &str, output: &Path) -> Result<WorkFolder, Error> {
    let folder = match output.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    WorkFolder::new(|| tempfile::Builder::new().prefix(prefix).tempdir_in(folder))
        .map_err(|source| Error::Io { path: folder.to_owned(), source })
}

/// Refuses a text that cannot be opened, before anything that takes long.
pub(super) fn check_text(text: &Path) -> Result<(), Error> {
    let opened = std::fs::File::open(text).map(drop);
    opened.map_err(|source| Error::Io { path: text.to_owned(), source })
}
