//! What callers of a conversion hear of on the way.

use super::forecast::Forecast;
use super::foreign::Prepared;
use super::judge::Judgement;
use super::measure::Step;
use super::sampled::Sampled;
use super::trial::Trial;
use super::verify::Verified;
use super::write::Done;
use crate::plan::{Plan, Planned, Target};
use std::path::Path;

/// What happens during a conversion.
#[derive(Debug)]
pub enum Event<'a> {
    /// What people should know of the file: see [`crate::checkpoint::Model::notes`].
    Note(&'a str),
    /// There is no table for the class of the folder: llama.cpp's converter makes a GGUF file of it, or has made it.
    Foreign(&'a Prepared),
    /// Tensors that were quantized already.
    Quantized {
        /// How many there are.
        tensors: usize,
        /// How they are quantized, for people.
        how: String,
        /// What becomes of them.
        target: Target,
    },
    /// Some of these are quantized again, so that both errors add up.
    QuantizedTwice,
    /// A tensor whose rows no block divides, and that is floats therefore.
    LeftPlain(&'a Planned),
    /// Models of one shape can be told apart by their names only, and the calibration has another name than the model.
    OtherModel {
        /// The calibration.
        path: &'a Path,
        /// Name of the model that was calibrated.
        calibrated: &'a str,
        /// Name of the model that is converted.
        model: &'a str,
    },
    /// What will be done, and about how long it takes.
    Forecast(&'a Forecast),
    /// A step of a measurement is taken, or its result is there already.
    Step {
        /// The step.
        step: Step,
        /// What it makes.
        path: &'a Path,
        /// Whether that is in the cache.
        is_there: bool,
    },
    /// The plain file is compared with the folder.
    Verifying,
    /// They agree.
    Verified(&'a Verified),
    /// The statistics that are used, in words.
    Statistics(String),
    /// What types cost is found out, on some rows of so many weights.
    Costs {
        /// Weights of the model.
        weights: u64,
    },
    /// Some layers are quantized for a trial of what errors cost: so many weights.
    Trying {
        /// Weights that are quantized.
        weights: u64,
    },
    /// What the trial found.
    Tried(&'a Trial),
    /// There is a size to meet, and the statistics do not say what the errors of tensors cost: the recipe decides.
    NoSensitivities,
    /// The best mix of types for the size.
    Allocated {
        /// What is to be written.
        plan: &'a Plan,
        /// The recipe of it, to be kept or changed.
        recipe: &'a str,
        /// The mean divergence that is expected, in nats.
        expected: f64,
    },
    /// Some blocks only are quantized, and stand for all.
    Sampled(&'a Sampled),
    /// What the file costs, on text that was kept back.
    Judged(&'a Judgement),
    /// That was not found out, for this reason.
    NotJudged(String),
    /// The corrections of low rank of the files that were written are complete.
    Corrections {
        /// The adapter file.
        path: &'a Path,
        /// Matrices that have one.
        matrices: usize,
        /// The size of the file.
        bytes: u64,
    },
    /// A file that need not be written again.
    Complete(&'a Path),
    /// The name of a file that a killed conversion with other options or of another model left.
    LeftByOther(String),
    /// A file is begun.
    Started {
        /// Weights of its tensors.
        weights: u64,
    },
    /// So many more weights are done. Several threads tell this.
    Progress(u64),
    /// So many weights were done by a program that was killed.
    There(u64),
    /// The file that was begun is not written further, whether complete or not.
    Stopped,
    /// A file is complete.
    Written {
        /// The file.
        path: &'a Path,
        /// Number of its tensors.
        tensors: usize,
        /// Weights of its tensors.
        weights: u64,
        /// Its size.
        bytes: u64,
    },
}

impl From<Done> for Event<'_> {
    fn from(done: Done) -> Self {
        match done {
            Done::Before(weights) => Event::There(weights),
            Done::Now(weights) => Event::Progress(weights),
        }
    }
}
