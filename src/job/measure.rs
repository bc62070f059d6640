//! Statistics that a conversion measures first: a plain file of the model, text, a calibration. All stay in the cache.

use super::cache::{Cache, key_of, key_of_model};
use super::calibrate::{Calibrate, Text, check_text};
use super::collector::find_collector;
use super::own_text::{DEFAULT_SEED, OwnText};
use super::{Error, Event, write};
use crate::calibration::Calibration;
use crate::checkpoint::{Dtype, Model};
use crate::names;
use crate::plan::{Plan, Recipe};
use crate::quantize::Effort;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// How statistics are measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measure {
    /// The text, UTF-8; `None` for one that the model writes.
    pub text: Option<PathBuf>,
    /// Tokens of the text; `None` for what suits the effort.
    pub tokens: Option<u64>,
    /// Minutes for the sensitivities of the weights; `None` for as long as the statistics take.
    pub budget: Option<u64>,
    /// The collector or its folder, instead of looking for it.
    pub collector: Option<PathBuf>,
    /// Where what is made on the way stays.
    pub cache: Cache,
}

/// What was measured, and on what.
pub(super) struct Measured {
    pub calibration: Calibration,
    /// A plain file of the model.
    pub base: PathBuf,
    /// Text that nothing was measured on.
    pub kept_back: PathBuf,
    /// Tokens such as `<|im_end|>` in that text are tokens.
    pub parse_special: bool,
}

/// A step of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The plain file of the model is written.
    Base,
    /// The model writes text.
    OwnText,
    /// Statistics and sensitivities are measured.
    Calibration,
}

/// Tokens that the model writes for the judgement of the result.
const TOKENS_KEPT_BACK: u64 = 4608;

/// Tokens to measure on.
pub(super) fn default_tokens(effort: Effort) -> u64 {
    match effort {
        Effort::Fast => 8192,
        Effort::Normal => 32768,
        Effort::Best => 131072,
    }
}

impl Measure {
    /// On text that the model writes.
    pub fn new(cache: Cache) -> Measure {
        Measure { text: None, tokens: None, budget: None, collector: None, cache }
    }

    /// Refuses what cannot work, before anything that takes long.
    pub(super) fn check(&self) -> Result<(), Error> {
        find_collector(self.collector.as_deref())?;
        self.text.as_deref().map_or(Ok(()), check_text)
    }

    /// Measures, or takes from the cache what is there.
    pub(super) fn run(
        &self,
        model: &Model,
        effort: Effort,
        threads: Option<usize>,
        tell: &(dyn Fn(Event) + Sync),
    ) -> Result<Measured, Error> {
        let plain = Plan::new(model, &Recipe::plain(matrix_dtype(model)))?;
        let model_key = key_of_model(model, &plain)?;
        let begin = |step: Step, path: &Path| tell(Event::Step { step, path, is_there: path.exists() });
        let base = if model.path.is_dir() {
            let base = self.cache.place(&model_key, "base.gguf")?;
            begin(Step::Base, &base);
            if !base.exists() {
                tell(Event::Started { weights: plain.weights() });
                let written = write(model, &plain, None, &base, &|n| tell(Event::Progress(n)));
                tell(Event::Stopped);
                written?;
            }
            base
        } else {
            model.path.clone()
        };
        let tokens = self.tokens.unwrap_or(default_tokens(effort));
        let (text, kept_back) = match &self.text {
            Some(text) => self.cut(text)?,
            None => {
                let write = |seed: u64, tokens: u64| {
                    let name = format!("own-{tokens}-{seed}.txt");
                    let mut own = OwnText::new(&base, self.cache.place(&model_key, &name)?);
                    begin(Step::OwnText, &own.output);
                    if !own.output.exists() {
                        (own.tokens, own.seed) = (Some(tokens), seed);
                        (own.threads, own.collector) = (threads, self.collector.clone());
                        own.write()?;
                    }
                    Ok::<OwnText, Error>(own)
                };
                let kept_back = write(DEFAULT_SEED + 1, TOKENS_KEPT_BACK)?.output;
                (Text::from(&write(DEFAULT_SEED, tokens)?), kept_back)
            }
        };
        let text_key = match &text {
            Text::File { path, .. } => digest(path)?,
            Text::Own { .. } => unreachable!("it is written by now"),
        };
        let key = key_of(&[&model_key, &text_key, &tokens.to_string()]);
        let output = self.cache.place(&key, "gram.gguf")?;
        begin(Step::Calibration, &output);
        let calibration = match output.exists() {
            true => Calibration::open(&output)?,
            false => Calibrate {
                tokens: Some(tokens),
                threads,
                budget: self.budget,
                collector: self.collector.clone(),
                ..Calibrate::new(&base, text, &output)
            }
            .run()?,
        };
        Ok(Measured { calibration, base, kept_back, parse_special: self.text.is_none() })
    }

    /// Keeps a tenth of a text back, from its end.
    fn cut(&self, text: &Path) -> Result<(Text, PathBuf), Error> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Io { path, source }
        };
        let bytes = std::fs::read(text).map_err(io(text))?;
        let key = key_of(&[&format!("{:x}", Sha256::digest(&bytes))]);
        let whole_line =
            |at: usize| bytes[..at].iter().rposition(|&b| b == b'\n').map_or(at, |line| line + 1);
        let at = whole_line(bytes.len() - bytes.len() / 10);
        let (first, rest) = (self.cache.place(&key, "text.txt")?, self.cache.place(&key, "kept-back.txt")?);
        for (path, part) in [(&first, &bytes[..at]), (&rest, &bytes[at..])] {
            if !path.exists() {
                std::fs::write(path, part).map_err(io(path))?;
            }
        }
        let name = text.file_name().map(|name| name.to_string_lossy().into_owned());
        Ok((Text::File { path: first, name, parse_special: false }, rest))
    }
}

fn digest(path: &Path) -> Result<String, Error> {
    let bytes = std::fs::read(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    Ok(format!("{:x}", Sha256::digest(bytes)))
}

/// The float type of the first matrix, which stands for that of all.
fn matrix_dtype(model: &Model) -> Dtype {
    let first = model.tensors.iter().find(|t| names::is_matrix(&t.name, &t.shape));
    first.map_or(Dtype::F16, |t| t.dtype.written())
}
