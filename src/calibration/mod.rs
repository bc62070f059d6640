//! What calibration says of the inputs of linear layers: second moments, whole (Gram matrices) or diagonal.
//!
//! Gram matrices are made by `tenpak-gguf calibrate`; docs/calibration.md is their format. llama.cpp's
//! importance matrices, both its formats, are read as diagonals.

mod gram;
mod imatrix;
mod sensitivities;
mod token_shares;

use crate::gguf;
use crate::names::in_block;
use gram::GramFile;
use imatrix::Imatrix;
pub use sensitivities::{Sensitivities, Sensitivity, Use};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
pub use token_shares::TokenShares;

/// Statistics of the inputs of linear layers, of one file.
pub struct Calibration {
    path: PathBuf,
    source: Source,
}

enum Source {
    Gram(GramFile),
    Imatrix(Imatrix),
}

/// Second moments of one input.
#[derive(Clone, Debug, PartialEq)]
pub enum Statistics {
    /// The mean of x x^T over tokens.
    Gram {
        /// Columns of the weight.
        n: usize,
        /// n * n values by rows, both triangles.
        values: Vec<f32>,
        /// Tokens seen; if none, the values are zeros.
        tokens: u64,
    },
    /// The mean of x^2 over tokens.
    Diagonal {
        /// A value for every column.
        values: Vec<f32>,
        /// Tokens seen; if none, the values are zeros.
        tokens: u64,
    },
}

impl Statistics {
    /// Those of the same inputs, divided by a factor for each column.
    pub fn divided_by(self, factors: &[f32]) -> Statistics {
        match self {
            Statistics::Gram { n, mut values, tokens } => {
                for (row, s) in values.chunks_exact_mut(n).zip(factors) {
                    row.iter_mut().zip(factors).for_each(|(h, t)| *h /= s * t);
                }
                Statistics::Gram { n, values, tokens }
            }
            Statistics::Diagonal { mut values, tokens } => {
                values.iter_mut().zip(factors).for_each(|(h, s)| *h /= s * s);
                Statistics::Diagonal { values, tokens }
            }
        }
    }
}

/// Why a calibration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading.
    #[error(transparent)]
    Gguf(#[from] gguf::Error),
    /// The content.
    #[error("{}: {problem}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: Problem,
    },
}

/// See [`Error`].
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// Reading failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// Another kind of file.
    #[error("{0}; make a calibration with `tenpak-gguf calibrate`")]
    NotCalibration(String),
    /// A version that is not read.
    #[error("version {0} of the Gram format is not supported (1 and 2 are); use a newer tenpak-gguf")]
    Version(u64),
    /// Damaged, with the words for it.
    #[error("{0}; the file is damaged: make it again")]
    Damaged(String),
    /// A matrix that the collector did not reach.
    #[error("`{0}` is not finished; run the same `tenpak-gguf calibrate` again to complete the file")]
    Unfinished(String),
    /// A calibration of another architecture.
    #[error("is the calibration of a model of architecture {found}, not {expected}; calibrate this model")]
    Architecture {
        /// In the calibration.
        found: String,
        /// Of the model.
        expected: String,
    },
    /// A weight of another shape.
    #[error(
        "is the calibration of another model: `{weight}` has {found} {what} there, {expected} here; calibrate this model"
    )]
    Shape {
        /// The weight.
        weight: String,
        /// Columns or experts.
        what: &'static str,
        /// In the calibration.
        found: usize,
        /// In the model.
        expected: usize,
    },
    /// More blocks than the model has.
    #[error(
        "is the calibration of another model: it has `{weight}`, and the model has {blocks} blocks; calibrate this model"
    )]
    OtherBlocks {
        /// A weight of a block that the model lacks.
        weight: String,
        /// Blocks of the model.
        blocks: u64,
    },
    /// Weights of the model that the calibration lacks.
    #[error("has no statistics for `{first}` ({count} such); calibrate the whole model")]
    Missing {
        /// The first of them.
        first: String,
        /// How many there are.
        count: usize,
    },
    /// An expert that does not exist.
    #[error("`{weight}` has {experts} experts, so there is no expert {expert}")]
    Expert {
        /// The weight.
        weight: String,
        /// How many there are.
        experts: usize,
        /// The one asked for.
        expert: usize,
    },
    /// NaN, infinity, or a negative square.
    #[error("`{tensor}`, {place}: {value} cannot be {what}; the file is damaged: make it again")]
    Value {
        /// The tensor.
        tensor: String,
        /// Where in it.
        place: String,
        /// The value.
        value: f32,
        /// What it should have been.
        what: &'static str,
    },
}

impl Problem {
    fn at(self, path: &Path) -> Error {
        Error::Content { path: path.to_owned(), problem: self }
    }
}

impl Calibration {
    /// Opens a file of Gram matrices or an importance matrix, GGUF or `.dat`.
    pub fn open(path: &Path) -> Result<Calibration, Error> {
        let source = match gguf::File::open(path) {
            Ok(file) => {
                let kind = file.key("general.type").and_then(|v| v.as_str()).unwrap_or("model").to_owned();
                let result = match &kind[..] {
                    "gram" => GramFile::new(file).map(Source::Gram),
                    "imatrix" => Imatrix::from_gguf(&file).map(Source::Imatrix),
                    other => Err(Problem::NotCalibration(format!("is a GGUF file of kind {other:?}"))),
                };
                result.map_err(|p| p.at(path))?
            }
            Err(gguf::Error { problem: gguf::Problem::Magic(_), .. }) => {
                Source::Imatrix(Imatrix::from_dat(path).map_err(|p| p.at(path))?)
            }
            Err(e) => return Err(e.into()),
        };
        Ok(Calibration { path: path.to_owned(), source })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The input that a weight uses: weights with the same answer share statistics. `None` if there are none for it.
    pub fn input_of(&self, weight: &str) -> Option<&str> {
        match &self.source {
            Source::Gram(g) => g.input_of(weight),
            Source::Imatrix(i) => i.entry(weight).map(|(name, _)| name),
        }
    }

    /// Tokens that were run. For `.dat` files, which count chunks, an estimate.
    pub fn tokens(&self) -> u64 {
        match &self.source {
            Source::Gram(g) => g.tokens(),
            Source::Imatrix(i) => i.tokens(),
        }
    }

    /// What it is, in a line.
    pub fn describe(&self) -> String {
        match &self.source {
            Source::Gram(g) => g.describe(),
            Source::Imatrix(i) => i.describe(),
        }
    }

    /// Name of the model that was run, where the file says it.
    pub fn model_name(&self) -> Option<&str> {
        match &self.source {
            Source::Gram(g) => g.model_name(),
            Source::Imatrix(_) => None,
        }
    }

    /// Digest of what decides the statistics, the same for every run that gives the same: model, text, tokens and
    /// context of Gram matrices; the sums of an importance matrix, which does not name them.
    pub fn identity(&self) -> String {
        match &self.source {
            Source::Gram(g) => g.identity(),
            Source::Imatrix(i) => i.identity(),
        }
    }

    /// How much the predictions depend on each weight, where the file says it.
    pub fn sensitivities(&self) -> Result<Option<Sensitivities>, Error> {
        match &self.source {
            Source::Gram(g) => g.sensitivities().map_err(|p| p.at(&self.path)),
            Source::Imatrix(_) => Ok(None),
        }
    }

    /// How often tokens come, where the file says it.
    pub fn token_shares(&self) -> Result<Option<TokenShares>, Error> {
        match &self.source {
            Source::Gram(g) => g.token_shares().map_err(|p| p.at(&self.path)),
            Source::Imatrix(_) => Ok(None),
        }
    }

    /// Fails if the file was changed since it was opened. An importance matrix was read as a whole.
    pub fn check_unchanged(&self) -> Result<(), gguf::Changed> {
        match &self.source {
            Source::Gram(g) => g.check_unchanged(),
            Source::Imatrix(_) => Ok(()),
        }
    }

    /// Lets go of the memory of matrices that have been loaded; they are read again when they are needed.
    pub fn release(&self) {
        match &self.source {
            Source::Gram(g) => g.release(),
            Source::Imatrix(_) => {}
        }
    }

    /// Checks that this is a calibration of a model of so many blocks that has these weights (name, columns, experts
    /// or 1), and maybe others.
    ///
    /// A role (`ffn_down.weight`) that the calibration has for no block at all may be missing: not every tensor is
    /// multiplied. One that it has for some blocks may not be missing in others.
    pub fn check(
        &self,
        architecture: &str,
        blocks: u64,
        weights: &[(String, usize, usize)],
    ) -> Result<(), Error> {
        self.compare(architecture, blocks, weights).map_err(|p| p.at(&self.path))
    }

    fn compare(
        &self,
        architecture: &str,
        blocks: u64,
        weights: &[(String, usize, usize)],
    ) -> Result<(), Problem> {
        let found = match &self.source {
            Source::Gram(g) => Some(g.architecture()),
            Source::Imatrix(_) => None,
        };
        if let Some(found) = found.filter(|&f| f != architecture) {
            return Err(Problem::Architecture { found: found.into(), expected: architecture.into() });
        }
        let shape = |weight: &str, what, found, expected| {
            if found == expected {
                return Ok(());
            }
            Err(Problem::Shape { weight: weight.into(), what, found, expected })
        };
        for (name, columns, experts) in weights {
            match &self.source {
                Source::Gram(g) => {
                    let Some(input) = g.input(name) else { continue };
                    shape(name, "columns", input.columns, *columns)?;
                    shape(name, "experts", input.experts, *experts)?;
                }
                Source::Imatrix(i) => {
                    let Some((_, entry)) = i.entry(name) else { continue };
                    shape(name, "values", entry.sums.len(), columns * experts)?;
                }
            }
        }
        if let Some(weight) = self.weights().find(|w| in_block(w).is_some_and(|(n, _)| n >= blocks)) {
            return Err(Problem::OtherBlocks { weight: weight.into(), blocks });
        }
        let mut roles = BTreeMap::new();
        for weight in self.weights() {
            if let Some((_, role)) = in_block(weight) {
                roles.insert(role, ());
            }
        }
        let is_missing = |name: &str| {
            self.input_of(name).is_none() && in_block(name).is_some_and(|(_, role)| roles.contains_key(role))
        };
        let mut missing = weights.iter().map(|(name, ..)| name).filter(|name| is_missing(name));
        match missing.next() {
            None if self.weights().next().is_some() => Ok(()),
            None => Err(Problem::NotCalibration("has no statistics at all".into())),
            Some(first) => Err(Problem::Missing { first: first.clone(), count: 1 + missing.count() }),
        }
    }

    /// Names of the weights that there are statistics for.
    fn weights(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        match &self.source {
            Source::Gram(g) => Box::new(g.weights()),
            Source::Imatrix(i) => Box::new(i.weights()),
        }
    }

    /// Loads the statistics of a weight's input; expert 0 for dense weights. `None` if there are none.
    pub fn load(&self, weight: &str, expert: usize, columns: usize) -> Result<Option<Statistics>, Error> {
        let result = match &self.source {
            Source::Gram(g) => g.load(weight, expert, columns),
            Source::Imatrix(i) => i.load(weight, expert, columns),
        };
        result.map_err(|p| p.at(&self.path))
    }
}

/// Little-endian floats.
fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> + '_ {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

/// A count of tokens, which must be a natural number.
fn count(tensor: &str, expert: usize, value: f32) -> Result<u64, Problem> {
    if value >= 0.0 && value.fract() == 0.0 && value.is_finite() {
        return Ok(value as u64);
    }
    let (tensor, place) = (tensor.to_owned(), format!("expert {expert}"));
    Err(Problem::Value { tensor, place, value, what: "a number of tokens" })
}
