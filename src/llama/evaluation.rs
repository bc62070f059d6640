//! llama-perplexity over a text: how well a model predicts it, and how far from another model's predictions.

use super::find::file_name;
use super::printed::{Divergence, Perplexity};
use super::run::{Error, logged};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Tokens of a chunk, unless the options say otherwise. Chunks are independent of each other.
pub const CHUNK: usize = 512;

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
}

impl Evaluation {
    /// Perplexity of a model; `log` gets what the program prints.
    pub fn perplexity(&self, model: &Path, log: &Path) -> Result<Perplexity, Error> {
        let run = logged(&mut self.command(model), log)?;
        Perplexity::read(&run.text).ok_or_else(|| Error::NotPrinted { log: log.to_owned(), what: "estimate" })
    }

    /// Writes what a model predicts into the file `logits`, for [`Self::divergence`] of others from it.
    pub fn write_logits(&self, base: &Path, logits: &Path, log: &Path) -> Result<(), Error> {
        logged(self.command(base).arg("--kl-divergence-base").arg(logits), log)?;
        Ok(())
    }

    /// Divergence of a model's predictions from those in `logits`, which were made of the same text.
    pub fn divergence(&self, model: &Path, logits: &Path, log: &Path) -> Result<Divergence, Error> {
        let mut command = self.command(model);
        let run = logged(command.arg("--kl-divergence-base").arg(logits).arg("--kl-divergence"), log)?;
        Divergence::read(&run.text)
            .ok_or_else(|| Error::NotPrinted { log: log.to_owned(), what: "divergence" })
    }

    fn command(&self, model: &Path) -> Command {
        let mut command = Command::new(self.programs.join(file_name("llama-perplexity")));
        command.arg("-m").arg(model).arg("-f").arg(&self.text);
        command.args([
            "-c",
            &CHUNK.to_string(),
            "--chunks",
            &self.chunks.to_string(),
            "-t",
            &self.threads.to_string(),
        ]);
        command.args(&self.options).envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}
