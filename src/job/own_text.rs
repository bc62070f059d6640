//! Texts that a model writes itself, to be calibrated on: they need no file, and are of the kinds that the model was made for.

use super::collector::{add_options, find_collector, run_collector};
use super::{Error, check_output};
use crate::gguf;
use std::path::PathBuf;
use std::process::Command;

/// The seed where nothing else is asked for.
pub const DEFAULT_SEED: u64 = 1;

/// A text that a model writes.
#[derive(Clone, Debug)]
pub struct OwnText {
    /// The file.
    pub path: PathBuf,
    /// Tokens that the model's tokenizer finds in it; what is `None` the collector decides.
    pub tokens: Option<u64>,
    /// Decides which documents are written; above zero.
    pub seed: u64,
}

impl OwnText {
    /// What a calibration on this text calls it.
    pub fn name(&self) -> String {
        format!("self, seed {}", self.seed)
    }
}

/// How a model writes texts: all at the same time, since the weights are read once for all of them. What is `None` the
/// collector decides.
#[derive(Clone, Debug)]
pub struct Writing {
    /// The model, a GGUF file with a vocabulary.
    pub base: PathBuf,
    /// The texts, one at least.
    pub texts: Vec<OwnText>,
    /// Tokens of a document at most.
    pub context: Option<u64>,
    /// Threads.
    pub threads: Option<usize>,
    /// Layers on the GPU.
    pub gpu_layers: Option<u32>,
    /// The collector or its folder, instead of looking for it.
    pub collector: Option<PathBuf>,
    /// Write over existing files.
    pub overwrite: bool,
    /// Let the collector say nothing unless it fails.
    pub quiet: bool,
}

impl Writing {
    /// Texts as the command line lets them be written without options.
    pub fn new(base: impl Into<PathBuf>, texts: Vec<OwnText>) -> Writing {
        Writing {
            base: base.into(),
            texts,
            context: None,
            threads: None,
            gpu_layers: None,
            collector: None,
            overwrite: false,
            quiet: false,
        }
    }

    /// Lets the model write the texts. The collector tells on standard error how far it is. The same model, texts and context
    /// give the same files, to the byte, on one machine and with any number of threads.
    pub fn run(&self) -> Result<(), Error> {
        let base = gguf::File::open(&self.base)?;
        for text in &self.texts {
            check_output(&text.path, base.paths(), self.overwrite)?;
        }
        drop(base);
        let mut command = Command::new(find_collector(self.collector.as_deref())?);
        command.arg("-m").arg(&self.base);
        for text in &self.texts {
            command.arg("--write-text").arg(&text.path);
            let tokens = text.tokens.map(|n| n.to_string());
            add_options(&mut command, [("--tokens", tokens), ("--seed", Some(text.seed.to_string()))]);
        }
        add_options(
            &mut command,
            [
                ("-c", self.context.map(|n| n.to_string())),
                ("-t", self.threads.map(|n| n.to_string())),
                ("-ngl", self.gpu_layers.map(|n| n.to_string())),
            ],
        );
        let outputs: Vec<_> = self.texts.iter().map(|text| text.path.as_path()).collect();
        Ok(run_collector(&mut command, &outputs, self.quiet)?)
    }
}
