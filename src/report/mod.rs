//! A page about an evaluation, in one file that loads nothing: figures over size, tensors over depth, errors and distributions of
//! weights, texts side by side.
//!
//! ```text
//! weights    what is found out about the tensors of files: bits, errors, distributions
//! page       template, style and scripts with the data in between; vendor/ has the library that draws
//! ```

mod error;
mod page;
mod weights;

pub use error::Error;

use crate::gguf::File;
use crate::job::{EvalError, Receipt};
use crate::{job, llama};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Tokens of a text, if nothing else is asked for.
pub const DEFAULT_TOKENS: u64 = 64;

/// Prompts, if none are given: something to know, to write, and to program.
pub const DEFAULT_PROMPTS: [&str; 3] = [
    "The three largest cities of France are",
    "It was a cold morning when the old fisherman",
    "def is_prime(n):\n    \"\"\"Whether n is a prime number.\"\"\"\n",
];

/// What a page is about, beside the receipt.
#[derive(Clone, Debug)]
pub struct Report {
    /// The files of the receipt, in its order.
    pub files: Vec<PathBuf>,
    /// What they were compared with.
    pub base: PathBuf,
    /// What texts begin with; if there are none, no texts are written.
    pub prompts: Vec<String>,
    /// Tokens of a text.
    pub tokens: u64,
    /// The calibration that the files were made with, which says what errors do.
    pub calibration: Option<PathBuf>,
    /// llama-completion or its folder, instead of looking for it.
    pub programs: Option<PathBuf>,
    /// Threads.
    pub threads: Option<usize>,
}

/// What happens.
pub enum Event<'a> {
    /// The weights of a file are compared with those of the base.
    Weights(&'a Path),
    /// A model writes texts.
    Texts(&'a Path),
}

/// What the scripts of the page read.
#[derive(Serialize)]
struct Data<'a> {
    version: &'a str,
    receipt: &'a Receipt,
    base: weights::Tensors,
    files: Vec<weights::Tensors>,
    samples: Vec<Sample>,
}

/// What all models write after a prompt, the base first.
#[derive(Serialize)]
struct Sample {
    prompt: String,
    texts: Vec<Text>,
}

#[derive(Serialize)]
struct Text {
    name: String,
    text: String,
}

impl Report {
    /// The page. The files are read in part, and run for the texts.
    pub fn page(&self, receipt: &Receipt, tell: &dyn Fn(Event)) -> Result<String, Error> {
        let base = File::open(&self.base)?;
        let files = self.files.iter().map(|path| File::open(path)).collect::<Result<Vec<_>, _>>()?;
        let of_base = weights::of_base(&base)?;
        let mut tensors = Vec::new();
        for file in &files {
            tell(Event::Weights(file.path()));
            tensors.push(weights::of_file(file, &base, &of_base, self.calibration.as_deref())?);
            file.check_unchanged()?;
        }
        base.check_unchanged()?;
        let samples = self.samples(tell)?;
        let version = env!("CARGO_PKG_VERSION");
        let data = Data { version, receipt, base: of_base, files: tensors, samples };
        let title = match &receipt.models[..] {
            [one] => format!("{} beside {}", one.model.name(), receipt.base.name()),
            all => format!("{} files beside {}", all.len(), receipt.base.name()),
        };
        Ok(page::of(&title, &serde_json::to_string(&data).expect("numbers and texts")))
    }

    fn samples(&self, tell: &dyn Fn(Event)) -> Result<Vec<Sample>, Error> {
        let mut samples: Vec<Sample> =
            self.prompts.iter().map(|prompt| Sample { prompt: prompt.clone(), texts: Vec::new() }).collect();
        if samples.is_empty() {
            return Ok(samples);
        }
        let programs = job::programs(self.programs.as_deref()).map_err(EvalError::from)?;
        let folder = job::WorkFolder::temporary("tenpak-report-");
        let folder = folder.map_err(|source| Error::Io { path: std::env::temp_dir(), source })?;
        let threads =
            self.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        for path in std::iter::once(&self.base).chain(&self.files) {
            tell(Event::Texts(path));
            for sample in &mut samples {
                let text = llama::completion::greedy(
                    &programs,
                    path,
                    &sample.prompt,
                    self.tokens,
                    threads,
                    folder.path(),
                );
                let text =
                    text.map_err(|source| Error::Program { file: path.clone(), source: Box::new(source) })?;
                sample.texts.push(Text { name: weights::name(path), text });
            }
        }
        Ok(samples)
    }
}
