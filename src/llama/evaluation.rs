//! llama-perplexity over a text: how well a model predicts it, and how far from another model's predictions.

use super::find::file_name;
use super::printed::{Divergence, Perplexity, Speed, TaskScore, chunks_done};
use super::run::{Error, logged, watched};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Tokens of a chunk, unless the options say otherwise. Chunks are independent of each other.
pub const CHUNK: usize = 512;

/// Tokens of a chunk that are predicted and count: those that half a chunk stands before.
pub const COUNTED: usize = CHUNK - 1 - CHUNK / 2;

/// What models are judged on, and with what.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// Folder of llama.cpp's programs.
    pub programs: PathBuf,
    /// The text, UTF-8.
    pub text: PathBuf,
    /// Chunks of the text, from its start.
    pub chunks: usize,
    /// Threads.
    pub threads: usize,
    /// Further options of llama-perplexity.
    pub options: Vec<OsString>,
    /// Environment variables of llama-perplexity.
    pub environment: Vec<(OsString, OsString)>,
    /// A LoRA adapter that belongs to the model.
    pub adapter: Option<PathBuf>,
}

impl Evaluation {
    /// The same of a model with a LoRA adapter.
    pub fn with_adapter(self, adapter: Option<&Path>) -> Evaluation {
        Evaluation { adapter: adapter.map(Path::to_owned), ..self }
    }

    /// Perplexity of a model; `log` gets what the program prints.
    pub fn perplexity(&self, model: &Path, log: &Path) -> Result<Perplexity, Error> {
        let run = logged(&mut self.command(model), log)?;
        Perplexity::read(&run.text).ok_or_else(|| Error::NotPrinted { log: log.to_owned(), what: "estimate" })
    }

    /// Writes what a model predicts into the file `logits`, for [`Self::divergence`] of others from it.
    pub fn write_logits(&self, base: &Path, logits: &Path, log: &Path) -> Result<(), Error> {
        self.write_logits_watched(base, logits, log, &|_| {})
    }

    /// The same; `watch` is given the number of chunks that are done, now and then.
    pub fn write_logits_watched(
        &self,
        base: &Path,
        logits: &Path,
        log: &Path,
        watch: &(dyn Fn(usize) + Sync),
    ) -> Result<(), Error> {
        let mut command = self.command(base);
        command.arg("--kl-divergence-base").arg(logits);
        watched(&mut command, log, &|text| watch(chunks_done(text)))?;
        Ok(())
    }

    /// Divergence of a model's predictions from those in `logits`, which were made of the same text.
    pub fn divergence(&self, model: &Path, logits: &Path, log: &Path) -> Result<Divergence, Error> {
        self.divergence_watched(model, logits, log, &|_| {})
    }

    /// The same; `watch` is given the number of chunks that are done, now and then.
    pub fn divergence_watched(
        &self,
        model: &Path,
        logits: &Path,
        log: &Path,
        watch: &(dyn Fn(usize) + Sync),
    ) -> Result<Divergence, Error> {
        let mut command = self.command(model);
        command.arg("--kl-divergence-base").arg(logits).arg("--kl-divergence");
        let run = watched(&mut command, log, &|text| watch(chunks_done(text)))?;
        Divergence::read(&run.text)
            .ok_or_else(|| Error::NotPrinted { log: log.to_owned(), what: "divergence" })
    }

    /// How many of the tasks in a file a model does well; 0 for all of them. The text of this evaluation has no part in it.
    pub fn tasks(
        &self,
        model: &Path,
        kind: TaskKind,
        file: &Path,
        tasks: u64,
        log: &Path,
    ) -> Result<TaskScore, Error> {
        let (kind, number, given_by) = match kind {
            TaskKind::HellaSwag => ("--hellaswag", "--hellaswag-tasks", "-f"),
            TaskKind::MultipleChoice => ("--multiple-choice", "--multiple-choice-tasks", "-bf"),
        };
        // HellaSwag's mode takes its number of tasks as it is.
        let tasks = if tasks == 0 && kind == "--hellaswag" { i32::MAX as u64 } else { tasks };
        let mut command = self.perplexity_of(model);
        command.arg(given_by).arg(file).args([kind, number, &tasks.to_string()]);
        let run = logged(&mut command, log)?;
        TaskScore::read(&run.text)
            .ok_or_else(|| Error::NotPrinted { log: log.to_owned(), what: "score of tasks" })
    }

    /// Tokens a second, by llama-bench, which takes no adapters.
    pub fn speed(&self, model: &Path, log: &Path) -> Result<Speed, Error> {
        let mut command = self.program("llama-bench", model);
        command.args(["-p", "512", "-n", "64", "-o", "json"]);
        let run = logged(&mut command, log)?;
        Speed::read(&run.text).ok_or_else(|| Error::NotPrinted { log: log.to_owned(), what: "speed" })
    }

    /// A program with a model and threads.
    fn program(&self, name: &str, model: &Path) -> Command {
        let mut command = Command::new(self.programs.join(file_name(name)));
        command.arg("-m").arg(model).args(["-t", &self.threads.to_string()]);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// llama-perplexity with a model and its adapter.
    fn perplexity_of(&self, model: &Path) -> Command {
        let mut command = self.program("llama-perplexity", model);
        if let Some(adapter) = &self.adapter {
            command.arg("--lora").arg(adapter);
        }
        command
    }

    fn command(&self, model: &Path) -> Command {
        let mut command = self.perplexity_of(model);
        command.arg("-f").arg(&self.text);
        command.args(["-c", &CHUNK.to_string(), "--chunks", &self.chunks.to_string()]);
        command.args(&self.options);
        command
    }
}

/// Tasks that llama-perplexity gives to models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskKind {
    /// The likeliest of four endings: a text with six lines for each task.
    HellaSwag,
    /// Questions with several answers: a binary file.
    MultipleChoice,
}

impl TaskKind {
    /// Its name on the command line and in receipts.
    pub fn name(self) -> &'static str {
        match self {
            TaskKind::HellaSwag => "hellaswag",
            TaskKind::MultipleChoice => "multiple-choice",
        }
    }

    /// The kind of this name.
    pub fn named(name: &str) -> Option<TaskKind> {
        [TaskKind::HellaSwag, TaskKind::MultipleChoice].into_iter().find(|kind| kind.name() == name)
    }
}
