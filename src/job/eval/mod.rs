//! What files cost: predictions of a model's files beside those of the model, on texts of several kinds, with error bars.

mod digest;
mod error;
mod merge;
mod receipt;
mod repeat;
mod tables;

pub use digest::of_file as digest;
pub use error::EvalError;
pub use receipt::{
    Domain, Estimate, Figures, FileDigest, Judged, Model, Program, Receipt, Score, Speed, Tasks,
};
pub use repeat::Found;
pub use tables::{Tables, markdown_table};

use super::Cache;
use super::cache::key_of;
use super::calibrate::WorkFolder;
use super::file_sizes::FileSizes;
use super::judge::{evaluation, find_judge};
use super::kept_back::Shares;
use super::measure::Measure;
use super::origin;
use super::sampled::Sampled;
use crate::gguf;
use crate::isa::Isa;
use crate::llama::{Evaluation, TaskKind};
use crate::quantize::Effort;
use std::path::{Path, PathBuf};

/// Chunks of 512 tokens of each text, if nothing else is asked for.
pub const DEFAULT_CHUNKS: usize = 16;

/// Name of the domain of a text that the base writes itself.
const OWN: &str = "self";

/// Chunks of a text that the base writes itself.
const OWN_CHUNKS: usize = Shares::of(Effort::Normal).judged;

/// What is compared, with what, on what.
#[derive(Clone, Debug)]
pub struct Eval {
    /// GGUF files.
    pub files: Vec<PathBuf>,
    /// What they are compared with.
    pub base: PathBuf,
    /// Texts with their names; if there are none, the base writes one.
    pub texts: Vec<(String, PathBuf)>,
    /// Chunks of 512 tokens of each text.
    pub chunks: usize,
    /// Files of tasks.
    pub tasks: Vec<(TaskKind, PathBuf)>,
    /// Tasks of each such file; 0 for all.
    pub task_count: u64,
    /// Measure tokens a second.
    pub speed: bool,
    /// The calibration that the files were made with, for the receipt.
    pub calibration: Option<PathBuf>,
    /// llama-perplexity or its folder, instead of looking for it.
    pub programs: Option<PathBuf>,
    /// Where predictions of the base stay.
    pub cache: Cache,
    /// Threads.
    pub threads: Option<usize>,
    /// Let the program that writes a text say nothing unless it fails.
    pub quiet: bool,
}

/// What happens.
pub enum EvalEvent<'a> {
    /// A file is read for its digest.
    Reading(&'a Path),
    /// The base writes a text, or it is in the cache.
    OwnText {
        /// The text.
        path: &'a Path,
        /// Whether it is in the cache.
        is_there: bool,
    },
    /// Predictions of the base are in the cache.
    Cached(&'a Path),
    /// A model is run over a text.
    Started {
        /// The model.
        file: &'a Path,
        /// The text.
        domain: &'a str,
        /// Chunks that are run at most.
        chunks: usize,
    },
    /// So many chunks of it are done.
    Chunks(usize),
    /// The model has run.
    Stopped,
    /// A model does tasks, or its speed is measured.
    Doing {
        /// The model.
        file: &'a Path,
        /// What it does.
        what: &'a str,
    },
}

/// A text with the predictions of the base.
struct Ready {
    domain: Domain,
    evaluation: Evaluation,
    logits: PathBuf,
}

impl Eval {
    /// Evaluates. All that is missing is found before anything that takes long.
    pub fn run(&self, tell: &(dyn Fn(EvalEvent) + Sync)) -> Result<Receipt, EvalError> {
        let program = find_judge(self.programs.as_deref())?;
        let files = self.files.iter().map(|path| gguf::File::open(path)).collect::<Result<Vec<_>, _>>()?;
        let adapters = self.files.iter().zip(&files).map(|(path, file)| self.adapter_of(path, file));
        let adapters = adapters.collect::<Result<Vec<_>, _>>()?;
        let base = gguf::File::open(&self.base)?;
        refuse_adapter(&self.base, &base, "what others are compared with has to be one file")?;
        let is_there = |path: &PathBuf| {
            let io = |source| EvalError::Io { path: path.clone(), source };
            std::fs::File::open(path).map(drop).map_err(io)
        };
        let given = self.texts.iter().map(|(_, path)| path).chain(self.tasks.iter().map(|(_, path)| path));
        given.chain(&self.calibration).try_for_each(is_there)?;
        for (i, (name, _)) in self.texts.iter().enumerate() {
            if self.texts[..i].iter().any(|(other, _)| other == name) {
                return Err(EvalError::SameName(name.clone()));
            }
        }
        self.cache.create().map_err(Box::new)?;
        let work = WorkFolder::temporary("tenpak-eval-");
        let work = work.map_err(|source| EvalError::Io { path: std::env::temp_dir(), source })?;
        let log = work.path().join("log");

        let program = Program {
            name: "llama-perplexity".into(),
            sha256: digest::of_program(&program)?,
            level: Isa::current().name().to_owned(),
            threads: self.threads(),
        };
        let base = model(&base, None, tell)?;
        let ready = self.ready(&program, &base, &log, tell)?;
        let tasks = self.tasks.iter().map(|(kind, path)| {
            let file = digest::of_file(path)?;
            Ok(Tasks { kind: kind.name().into(), file, tasks: self.task_count })
        });
        let tasks = tasks.collect::<Result<Vec<_>, EvalError>>()?;
        let calibration = self.calibration.as_deref().map(digest::of_file).transpose()?;
        let calibration = calibration.map(|file| file.sha256);
        let calibrations = files
            .iter()
            .map(|file| calibration_of(file, calibration.as_deref()))
            .collect::<Result<Vec<_>, _>>()?;
        let mut models = Vec::new();
        let files = self.files.iter().zip(&files).zip(adapters).zip(calibrations);
        for (((path, file), adapter), calibration) in files {
            let adapter = adapter.as_deref();
            let model = model(file, adapter, tell)?;
            models.push(self.judged((path, adapter), model, calibration, &ready, &log, tell)?);
        }
        Ok(Receipt {
            receipt: receipt::VERSION,
            tenpak_gguf: env!("CARGO_PKG_VERSION").into(),
            program,
            base,
            domains: ready.into_iter().map(|ready| ready.domain).collect(),
            tasks,
            speed: self.speed,
            models,
        })
    }

    /// The adapter of a file, which has to be beside it; `None` if it needs none.
    fn adapter_of(&self, path: &Path, file: &gguf::File) -> Result<Option<PathBuf>, EvalError> {
        let Some(adapter) = file.adapter() else { return Ok(None) };
        // A name with a folder would lead elsewhere.
        let beside = path.with_file_name(digest::file_name(Path::new(adapter)));
        if !beside.is_file() {
            refuse_adapter(path, file, "that is not beside it: put it there, or convert the model again")?;
        }
        if self.speed {
            refuse_adapter(path, file, "llama-bench takes no adapter: leave --speed out")?;
        }
        Ok(Some(beside))
    }

    fn threads(&self) -> usize {
        self.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
    }

    /// Texts with the predictions of the base, from the cache or made now.
    fn ready(
        &self,
        program: &Program,
        base: &Model,
        log: &Path,
        tell: &(dyn Fn(EvalEvent) + Sync),
    ) -> Result<Vec<Ready>, EvalError> {
        let mut texts: Vec<(String, PathBuf, bool)> =
            self.texts.iter().map(|(name, path)| (name.clone(), path.clone(), false)).collect();
        if texts.is_empty() {
            let own_text = |path: &Path, is_there| tell(EvalEvent::OwnText { path, is_there });
            let (collector, quiet) = (self.programs.clone(), self.quiet);
            let measure = Measure { collector, quiet, ..Measure::new(self.cache.clone()) };
            let text = measure.kept_back_text(&self.base, self.threads, &own_text);
            texts.push((OWN.into(), text.map_err(Box::new)?, true));
        }
        let mut ready = Vec::new();
        for (name, path, by_base) in texts {
            let chunks = if by_base { self.chunks.min(OWN_CHUNKS) } else { self.chunks };
            let domain = Domain::new(name, digest::of_file(&path)?, by_base, chunks);
            let evaluation =
                evaluation(self.programs.as_deref(), path, chunks, Some(self.threads()), by_base)?;
            let digests: Vec<&str> = base.files.iter().map(|file| &file.sha256[..]).collect();
            let (chunks, special) = (chunks.to_string(), by_base.to_string());
            let more = [&program.sha256, &program.level, &domain.file.sha256, &chunks, &special];
            let key = key_of(&[&digests[..], &more.map(|text| &text[..])].concat());
            let logits = self.cache.place(&key, "logits");
            if logits.exists() {
                tell(EvalEvent::Cached(&logits));
            } else {
                let part = self.cache.place(&key, &format!("logits.{}.part", std::process::id()));
                let written = watched(&self.base, &domain, tell, |watch| {
                    evaluation.write_logits_watched(&self.base, &part, log, watch)
                });
                let named = written.and_then(|()| {
                    let io = |source| EvalError::Io { path: logits.clone(), source };
                    std::fs::rename(&part, &logits).map_err(io)
                });
                if named.is_err() {
                    let _ = std::fs::remove_file(&part);
                }
                named?;
            }
            ready.push(Ready { domain, evaluation, logits });
        }
        Ok(ready)
    }

    /// One file with its adapter, if it has one, on all texts and tasks.
    fn judged(
        &self,
        (path, adapter): (&Path, Option<&Path>),
        model: Model,
        calibration_sha256: Option<String>,
        ready: &[Ready],
        log: &Path,
        tell: &(dyn Fn(EvalEvent) + Sync),
    ) -> Result<Judged, EvalError> {
        let mut domains = Vec::new();
        for Ready { domain, evaluation, logits } in ready {
            let evaluation = evaluation.clone().with_adapter(adapter);
            let found =
                watched(path, domain, tell, |watch| evaluation.divergence_watched(path, logits, log, watch));
            domains.push(Figures::of(&domain.name, &found?));
        }
        let failed = |what: &str| {
            let (file, domain) = (path.to_owned(), what.to_owned());
            move |source| EvalError::Program { file, domain, source: Box::new(source) }
        };
        let mut tasks = Vec::new();
        let evaluation = ready[0].evaluation.clone().with_adapter(adapter);
        for (kind, file) in &self.tasks {
            tell(EvalEvent::Doing { file: path, what: kind.name() });
            let score = evaluation.tasks(path, *kind, file, self.task_count, log);
            tasks.push(Score::of(*kind, &score.map_err(failed(kind.name()))?));
        }
        let mut speed = None;
        if self.speed {
            tell(EvalEvent::Doing { file: path, what: "tokens a second" });
            let found = evaluation.speed(path, log).map_err(failed("llama-bench"))?;
            speed = Some(Speed { prompt: found.prompt.into(), generation: found.generation.into() });
        }
        let all = Figures::together(&domains);
        let whole = Sampled::of(&gguf::File::open(path)?).map(|sampled| all.of_whole(&sampled));
        Ok(Judged { model, measured: None, calibration_sha256, domains, all, tasks, speed, whole })
    }
}

/// sha256 of the calibration that a file was made with: what the file says, or of the one that was given.
fn calibration_of(file: &gguf::File, given: Option<&str>) -> Result<Option<String>, EvalError> {
    let said = origin::calibration_of(file);
    match (said, given) {
        (Some(said), Some(given)) if said != given => {
            Err(EvalError::OtherCalibration { file: file.path().to_owned(), said: said.to_owned() })
        }
        (said, given) => Ok(said.or(given).map(str::to_owned)),
    }
}

/// Runs a model over a text, with what is told of it.
fn watched<T>(
    file: &Path,
    domain: &Domain,
    tell: &(dyn Fn(EvalEvent) + Sync),
    run: impl FnOnce(&(dyn Fn(usize) + Sync)) -> Result<T, crate::llama::Error>,
) -> Result<T, EvalError> {
    tell(EvalEvent::Started { file, domain: &domain.name, chunks: domain.chunks });
    let done = run(&|chunks| tell(EvalEvent::Chunks(chunks)));
    tell(EvalEvent::Stopped);
    done.map_err(|source| EvalError::Program {
        file: file.to_owned(),
        domain: domain.name.clone(),
        source: Box::new(source),
    })
}

/// Refuses a file that is not all of its model: corrections of low rank are another. `what` is what cannot be done then.
pub fn refuse_adapter(path: &Path, file: &gguf::File, what: &'static str) -> Result<(), EvalError> {
    match file.adapter() {
        Some(adapter) => {
            Err(EvalError::NeedsAdapter { path: path.to_owned(), adapter: adapter.to_owned(), what })
        }
        None => Ok(()),
    }
}

/// Digests and sizes of a model, with its adapter if it has one.
fn model(
    file: &gguf::File,
    adapter: Option<&Path>,
    tell: &(dyn Fn(EvalEvent) + Sync),
) -> Result<Model, EvalError> {
    let digest = |path: &Path| {
        tell(EvalEvent::Reading(path));
        digest::of_file(path)
    };
    let paths = file.paths().iter().map(PathBuf::as_path).chain(adapter);
    let files = paths.map(digest).collect::<Result<Vec<_>, _>>()?;
    let sizes = FileSizes::of(file);
    let bytes = files.iter().map(|file| file.bytes).sum();
    Ok(Model::of(files, FileSizes { bytes, ..sizes }))
}
