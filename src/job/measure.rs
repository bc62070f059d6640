//! Statistics that a conversion measures first: a plain file of the model, text, a calibration. All stay in the cache.

use super::cache::{Cache, key_of, key_of_model};
use super::calibrate::{Budget, Calibrate, Text, check_text};
use super::collector::{add_options, find_collector};
use super::extent::Extent;
use super::kept_back::Shares;
use super::own_text::{DEFAULT_SEED, OwnText, Writing};
use super::write::{Resume, write_or_resume};
use super::{Error, Event};
use crate::atomic_file::AtomicFile;
use crate::calibration::Calibration;
use crate::checkpoint::{self, Dtype, Model};
use crate::names;
use crate::plan::{Plan, Recipe};
use crate::quantize::Effort;
use sha2::{Digest, Sha256};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How statistics are measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measure {
    /// The text, UTF-8; `None` for one that the model writes.
    pub text: Option<PathBuf>,
    /// Tokens of the text; `None` for what suits the effort.
    pub tokens: Option<u64>,
    /// Minutes for the sensitivities of the weights; `None` for what suits the effort.
    pub budget: Option<u64>,
    /// The collector or its folder, instead of looking for it.
    pub collector: Option<PathBuf>,
    /// Where what is made on the way stays.
    pub cache: Cache,
    /// Let the collector say nothing unless it fails.
    pub quiet: bool,
}

/// What was measured, and on what.
pub(super) struct Measured {
    pub calibration: Calibration,
    /// A plain file of the model.
    pub base: PathBuf,
    /// Text that nothing was measured on.
    pub kept_back: PathBuf,
    /// What its chunks are for.
    pub shares: Shares,
    /// Tokens such as `<|im_end|>` in that text are tokens.
    pub parse_special: bool,
}

impl Measured {
    /// The collector on so many tokens of the text that was kept back.
    pub(super) fn collector(
        &self,
        measure: &Measure,
        tokens: usize,
        threads: Option<usize>,
    ) -> Result<Command, Error> {
        let mut command = Command::new(find_collector(measure.collector.as_deref())?);
        command.arg("-m").arg(&self.base).arg("-f").arg(&self.kept_back);
        command.args(["--tokens", &tokens.to_string()]);
        add_options(&mut command, [("-t", threads.map(|n| n.to_string()))]);
        if self.parse_special {
            command.arg("--parse-special");
        }
        Ok(command)
    }
}

/// A step of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The plain file of the model is written.
    Base,
    /// The model writes text.
    OwnText,
    /// Statistics of the weights' inputs are measured.
    Calibration,
    /// How much depends on each weight is measured, by the same run.
    Sensitivities,
    /// What each type costs each tensor is found out.
    Costs,
    /// Some layers are quantized, and what they cost is compared with what was expected.
    Trial,
    /// Noise as large as the errors of the chosen mix is made in the model.
    Rehearsal,
    /// The file is written.
    File,
    /// What the file costs is measured.
    Judgement,
}

/// Where the results of the steps are or will be.
pub(super) struct Places {
    /// A digest of the model.
    model_key: String,
    /// What the plain file is to be.
    pub plain: Plan,
    /// The plain file: the model itself, if it is one.
    pub base: PathBuf,
    /// Texts of the model's own, if there is no other: the one that is kept back, and the one to measure on.
    pub own: Vec<OwnText>,
    /// Text that nothing is measured on: the model's own or the end of another.
    pub kept_back: PathBuf,
    /// The calibration, if the text is there already, which decides about its name.
    pub calibration: Option<PathBuf>,
}

/// Of the statistics' time, what the collector takes for sensitivities at most where it is not told.
pub(super) const SHARE_OF_SENSITIVITIES: f64 = 0.5;

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
        Measure { text: None, tokens: None, budget: None, collector: None, cache, quiet: false }
    }

    /// Refuses what cannot work, before anything that takes long.
    pub(super) fn check(&self) -> Result<(), Error> {
        find_collector(self.collector.as_deref())?;
        self.text.as_deref().map_or(Ok(()), check_text)
    }

    /// Where things are or will be.
    pub(super) fn places(&self, model: &Model, effort: Effort) -> Result<Places, Error> {
        let plain = plain(model)?;
        let model_key = key_of_model(model, &plain)?;
        let base = match model.gguf() {
            Some(gguf) => gguf.to_owned(),
            None => self.cache.place(&model_key, "base.gguf"),
        };
        let tokens = self.tokens.unwrap_or(default_tokens(effort));
        let own = match self.text {
            Some(_) => Vec::new(),
            None => [(Shares::of(effort).tokens(), DEFAULT_SEED + 1), (tokens, DEFAULT_SEED)]
                .into_iter()
                .map(|(tokens, seed)| {
                    let path = self.cache.place(&model_key, &format!("own-{tokens}-{seed}.txt"));
                    OwnText { path, tokens: Some(tokens), seed }
                })
                .collect(),
        };
        let (text, kept_back) = match &self.text {
            Some(text) => {
                let cut = self.cut(text)?;
                (Some(cut.first), cut.rest)
            }
            None => (Some(own[1].path.clone()), own[0].path.clone()),
        };
        let text = text.filter(|path| path.exists());
        let calibration =
            text.map(|text| self.place_of_calibration(&model_key, &text, tokens)).transpose()?;
        Ok(Places { model_key, plain, base, own, kept_back, calibration })
    }

    fn place_of_calibration(&self, model_key: &str, text: &Path, tokens: u64) -> Result<PathBuf, Error> {
        /// Counts up when the collector measures something else of the same text.
        const MEASURED: &str = "6";
        let key = key_of(&[model_key, &digest(text)?, &tokens.to_string(), MEASURED]);
        Ok(self.cache.place(&key, "gram.gguf"))
    }

    /// Where what a trial found is or will be.
    pub(super) fn place_of_trial(
        &self,
        calibration: &Path,
        kept_back: &Path,
        extent: Extent,
        shares: Shares,
    ) -> Result<PathBuf, Error> {
        /// Counts up when a trial does something else.
        const TRIED: &str = "10";
        let calibration = calibration.file_name().unwrap_or_default().to_string_lossy();
        let key = key_of(&[&calibration, &digest(kept_back)?, &format!("{extent:?} {shares:?}"), TRIED]);
        Ok(self.cache.place(&key, "trial.tsv"))
    }

    /// Where what a rehearsal found is or will be, of a mix whose errors are as large as `noise` says.
    pub(super) fn place_of_rehearsal(
        &self,
        calibration: &Path,
        kept_back: &Path,
        tokens: usize,
        noise: &str,
    ) -> Result<PathBuf, Error> {
        /// Counts up when a rehearsal does something else.
        const REHEARSED: &str = "2";
        let calibration = calibration.file_name().unwrap_or_default().to_string_lossy();
        let key = key_of(&[&calibration, &digest(kept_back)?, &tokens.to_string(), noise, REHEARSED]);
        Ok(self.cache.place(&key, "rehearsal.tsv"))
    }

    /// Measures, or takes from the cache what is there.
    pub(super) fn run(
        &self,
        model: &Model,
        effort: Effort,
        threads: Option<usize>,
        tell: &(dyn Fn(Event) + Sync),
    ) -> Result<Measured, Error> {
        self.cache.create()?;
        let Places { model_key, plain, base, own, .. } = self.places(model, effort)?;
        let begin = |step: Step, path: &Path| tell(Event::Step { step, path, is_there: path.exists() });
        if model.gguf().is_none() {
            write_base(model, &plain, &base, tell)?;
        }
        let tokens = self.tokens.unwrap_or(default_tokens(effort));
        let (text, kept_back) = match &self.text {
            Some(text) => self.cut(text)?.write(text)?,
            None => {
                own.iter().for_each(|own| begin(Step::OwnText, &own.path));
                self.write_own(&base, &own, threads)?;
                (Text::from(&own[1]), own[0].path.clone())
            }
        };
        let path_of_text = match &text {
            Text::File { path, .. } => path,
            Text::Own { .. } => unreachable!("it is written by now"),
        };
        let output = self.place_of_calibration(&model_key, path_of_text, tokens)?;
        begin(Step::Calibration, &output);
        let calibration = match output.exists() {
            true => Calibration::open(&output)?,
            false => Calibrate {
                tokens: Some(tokens),
                threads,
                budget: self.budget.map(Budget::Minutes),
                collector: self.collector.clone(),
                quiet: self.quiet,
                ..Calibrate::new(&base, text, &output)
            }
            .run()?,
        };
        let (shares, parse_special) = (Shares::of(effort), self.text.is_none());
        Ok(Measured { calibration, base, kept_back, shares, parse_special })
    }

    /// A plain file of the model, which is made if it is not there.
    pub(super) fn base(
        &self,
        model: &Model,
        effort: Effort,
        tell: &(dyn Fn(Event) + Sync),
    ) -> Result<PathBuf, Error> {
        self.cache.create()?;
        let Places { plain, base, .. } = self.places(model, effort)?;
        write_base(model, &plain, &base, tell)?;
        Ok(base)
    }

    /// Lets a model write those of the texts that are not there.
    fn write_own(&self, base: &Path, texts: &[OwnText], threads: Option<usize>) -> Result<(), Error> {
        let texts: Vec<_> = texts.iter().filter(|own| !own.path.exists()).cloned().collect();
        if texts.is_empty() {
            return Ok(());
        }
        let (collector, quiet) = (self.collector.clone(), self.quiet);
        Writing { threads, collector, quiet, ..Writing::new(base, texts) }.run()
    }

    /// The text of a model's own that conversions are judged on, which is written if it is not in the cache; `tell` hears where
    /// it is, and whether it is there.
    pub(super) fn kept_back_text(
        &self,
        base: &Path,
        threads: Option<usize>,
        tell: &dyn Fn(&Path, bool),
    ) -> Result<PathBuf, Error> {
        let model = Model::open(base, &checkpoint::Options::default())?;
        let own = self.places(&model, Effort::default())?.own.swap_remove(0);
        tell(&own.path, own.path.exists());
        self.write_own(base, std::slice::from_ref(&own), threads)?;
        Ok(own.path)
    }

    /// A text of which a tenth is to be kept back, from its end.
    fn cut(&self, text: &Path) -> Result<CutText, Error> {
        let bytes = std::fs::read(text).map_err(|source| Error::Io { path: text.to_owned(), source })?;
        let key = key_of(&[&format!("{:x}", Sha256::digest(&bytes))]);
        let whole_line =
            |at: usize| bytes[..at].iter().rposition(|&b| b == b'\n').map_or(at, |line| line + 1);
        let at = whole_line(bytes.len() - bytes.len() / 10);
        let (first, rest) = (self.cache.place(&key, "text.txt"), self.cache.place(&key, "kept-back.txt"));
        Ok(CutText { bytes, at, first, rest })
    }
}

/// A text in two parts.
struct CutText {
    bytes: Vec<u8>,
    /// Where the second part begins.
    at: usize,
    /// Place of the first part, to measure on.
    first: PathBuf,
    /// Place of the second part, to judge on.
    rest: PathBuf,
}

impl CutText {
    /// Writes the parts that are not there, of the text in the file `of`.
    fn write(self, of: &Path) -> Result<(Text, PathBuf), Error> {
        let CutText { bytes, at, first, rest } = self;
        for (path, part) in [(&first, &bytes[..at]), (&rest, &bytes[at..])] {
            if !path.exists() {
                write_whole(path, part).map_err(|source| Error::Io { path: path.clone(), source })?;
            }
        }
        let name = of.file_name().map(|name| name.to_string_lossy().into_owned());
        Ok((Text::File { path: first, name, parse_special: false }, rest))
    }
}

/// Writes a file that has its name only when it is whole.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes)?;
    file.persist().map(drop)
}

fn digest(path: &Path) -> Result<String, Error> {
    let bytes = std::fs::read(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    Ok(format!("{:x}", Sha256::digest(bytes)))
}

/// The plan of a plain file, in the float type that most of the model's weights have.
pub(super) fn plain(model: &Model) -> Result<Plan, Error> {
    Ok(Plan::new(model, &Recipe::plain(matrix_dtype(model)))?)
}

/// Writes a plain file, unless it is there.
pub(super) fn write_base(
    model: &Model,
    plain: &Plan,
    path: &Path,
    tell: &(dyn Fn(Event) + Sync),
) -> Result<(), Error> {
    tell(Event::Step { step: Step::Base, path, is_there: path.exists() });
    if path.exists() {
        return Ok(());
    }
    tell(Event::Started { weights: plain.weights() });
    // What a killed program left in the cache is of use.
    let resume = Resume { goes_on: true, replaces: true };
    let written = write_or_resume(model, plain, None, path, resume, &|done| tell(done.into()));
    tell(Event::Stopped);
    written.map(drop)
}

/// The float type of the first matrix, which stands for that of all.
pub(super) fn matrix_dtype(model: &Model) -> Dtype {
    let first = model.tensors.iter().find(|t| names::is_matrix(&t.name, &t.shape));
    first.map_or(Dtype::F16, |t| t.dtype.written())
}
