//! Text that a model writes itself, to be calibrated on: it needs no file, and is of the kinds that the model was made for.

use super::collector::{add_options, find_collector, run_collector};
use super::{Error, check_output};
use crate::gguf;
use std::path::PathBuf;
use std::process::Command;

/// The seed where nothing else is asked for.
pub const DEFAULT_SEED: u64 = 1;

/// What to write. What is `None` the collector decides.
#[derive(Clone, Debug)]
pub struct OwnText {
    /// The model, a GGUF file with a vocabulary.
    pub base: PathBuf,
    /// The text that is written.
    pub output: PathBuf,
    /// Tokens that the model's tokenizer finds in the text.
    pub tokens: Option<u64>,
    /// Decides which documents are written; above zero.
    pub seed: u64,
    /// Tokens of a document at most.
    pub context: Option<u64>,
    /// Threads.
    pub threads: Option<usize>,
    /// Layers on the GPU.
    pub gpu_layers: Option<u32>,
    /// The collector or its folder, instead of looking for it.
    pub collector: Option<PathBuf>,
    /// Write over an existing file.
    pub overwrite: bool,
    /// Let the collector say nothing unless it fails.
    pub quiet: bool,
}

impl OwnText {
    /// A text as the command line lets it be written without options.
    pub fn new(base: impl Into<PathBuf>, output: impl Into<PathBuf>) -> OwnText {
        OwnText {
            base: base.into(),
            output: output.into(),
            tokens: None,
            seed: DEFAULT_SEED,
            context: None,
            threads: None,
            gpu_layers: None,
            collector: None,
            overwrite: false,
            quiet: false,
        }
    }

    /// What a calibration on this text calls it.
    pub fn name(&self) -> String {
        format!("self, seed {}", self.seed)
    }

    /// Lets the model write the text. The collector tells on standard error how far it is. The same model, tokens, context
    /// and seed give the same text, to the byte, on one machine and with any number of threads.
    pub fn write(&self) -> Result<(), Error> {
        let base = gguf::File::open(&self.base)?;
        check_output(&self.output, base.paths(), self.overwrite)?;
        drop(base);
        let mut command = Command::new(find_collector(self.collector.as_deref())?);
        command.arg("-m").arg(&self.base).arg("--write-text").arg(&self.output);
        add_options(
            &mut command,
            [
                ("--tokens", self.tokens.map(|n| n.to_string())),
                ("--seed", Some(self.seed.to_string())),
                ("-c", self.context.map(|n| n.to_string())),
                ("-t", self.threads.map(|n| n.to_string())),
                ("-ngl", self.gpu_layers.map(|n| n.to_string())),
            ],
        );
        Ok(run_collector(&mut command, &self.output, self.quiet)?)
    }
}
