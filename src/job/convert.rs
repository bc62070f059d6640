//! A conversion from the model to the last file.

use super::calibrate::{Calibrate, Text, check_text, work_folder};
use super::collector::find_collector;
use super::guided::Guide;
use super::outputs::{Outputs, check_output};
use super::write::{write, write_or_resume};
use super::{Error, resume};
use crate::calibration::Calibration;
use crate::checkpoint::{self, Dtype, Model};
use crate::names;
use crate::plan::{Part, Plan, Planned, Recipe, Target, cut};
use crate::quantize::Effort;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What to convert and how.
#[derive(Clone, Debug)]
pub struct Convert {
    /// The model: a Hugging Face folder or a GGUF file.
    pub source: PathBuf,
    /// What becomes of its tensors; `None` for the recipe that suits the model ([`Recipe::suited_to`]).
    pub recipe: Option<Recipe>,
    /// Where statistics of its inputs come from.
    pub statistics: Statistics,
    /// How long to search with statistics.
    pub effort: Effort,
    /// Pre-tokenizer name to write instead of the one that tokenizer.json shows.
    pub tokenizer_pre: Option<String>,
    /// Leave the tokenizer out: the file takes token ids only.
    pub no_tokenizer: bool,
    /// Threads of the collector. Those of everything else are rayon's.
    pub threads: Option<usize>,
}

/// Where the statistics of a model's inputs come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Statistics {
    /// There are none: weights are quantized each by itself.
    #[default]
    None,
    /// A file of [`Calibrate`], or an importance matrix of llama.cpp.
    File(PathBuf),
    /// They are measured first, on a text.
    Text {
        /// The text, UTF-8.
        text: PathBuf,
        /// The collector or its folder, instead of looking for it.
        collector: Option<PathBuf>,
    },
}

/// What happens during a conversion.
#[derive(Debug)]
pub enum Event<'a> {
    /// What people should know of the file: see [`Model::notes`].
    Note(&'a str),
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
    /// The statistics that are used, in words.
    Statistics(String),
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

/// A model with the plan for it.
pub struct Opened<'a> {
    job: &'a Convert,
    model: Model,
    plan: Plan,
}

impl Convert {
    /// A conversion as the command line does it without options.
    pub fn new(source: impl Into<PathBuf>) -> Convert {
        Convert {
            source: source.into(),
            recipe: None,
            statistics: Statistics::None,
            effort: Effort::default(),
            tokenizer_pre: None,
            no_tokenizer: false,
            threads: None,
        }
    }

    /// Opens the model and plans the file.
    pub fn open(&self) -> Result<Opened<'_>, Error> {
        let options =
            [("--tokenizer-pre", self.tokenizer_pre.is_some()), ("--no-tokenizer", self.no_tokenizer)];
        if let Some((option, _)) = options.iter().find(|(_, given)| *given && self.source.is_file()) {
            return Err(Error::HasTokenizer { option, path: self.source.clone() });
        }
        let options = checkpoint::Options {
            tokenizer_pre: self.tokenizer_pre.clone(),
            no_tokenizer: self.no_tokenizer,
            keep_tied_head: self.recipe.as_ref().is_some_and(Recipe::keep_tied_head),
        };
        let model = Model::open(&self.source, &options)?;
        let plan = match &self.recipe {
            Some(recipe) => Plan::new(&model, recipe)?,
            None => Plan::new(&model, &Recipe::suited_to(&model))?,
        };
        Ok(Opened { job: self, model, plan })
    }

    /// Opens the model, plans the file, and writes it.
    pub fn run(&self, outputs: &Outputs, tell: &(dyn Fn(Event) + Sync)) -> Result<(), Error> {
        let opened = self.open()?;
        opened.tell_what_becomes(tell);
        opened.write(outputs, tell)
    }
}

impl Opened<'_> {
    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// What is to be written, as if into one file.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Tells the model's notes, what becomes of tensors that are quantized already, and which matrices fit no block.
    pub fn tell_what_becomes(&self, tell: &(dyn Fn(Event) + Sync)) {
        self.model.notes.iter().for_each(|note| tell(Event::Note(note)));
        let mut found = BTreeMap::new();
        for planned in &self.plan.tensors {
            let Some(how) = self.model.quantization(&planned.source) else { continue };
            let (kind, target) = (becomes(planned.target), planned.target);
            found.entry((how, kind)).or_insert((0, target)).0 += 1;
        }
        let is_second = found.values().any(|(_, target)| matches!(target, Target::Blocks(_)));
        for ((how, _), (tensors, target)) in found {
            tell(Event::Quantized { tensors, how, target });
        }
        if is_second {
            tell(Event::QuantizedTwice);
        }
        self.plan.left_plain().for_each(|planned| tell(Event::LeftPlain(planned)));
    }

    /// Writes all files.
    pub fn write(&self, outputs: &Outputs, tell: &(dyn Fn(Event) + Sync)) -> Result<(), Error> {
        let parts = cut(&self.plan, outputs.cut, &outputs.path)?;
        let inputs = self.inputs();
        let is_complete =
            |part: &Part| outputs.resume && resume::is_complete(&part.plan, &part.path, &inputs);
        for part in parts.iter().filter(|part| !is_complete(part)) {
            check_output(&part.path, &inputs, outputs.overwrite)?;
        }
        let calibration = match &self.job.statistics {
            Statistics::None => None,
            Statistics::File(path) => Some(self.open_calibration(path, tell)?),
            Statistics::Text { text, collector } => {
                Some(self.calibrate(text, collector.as_deref(), &outputs.path)?)
            }
        };
        if let Some(calibration) = &calibration {
            tell(Event::Statistics(calibration.describe()));
        }
        let guide = calibration.as_ref().map(|calibration| Guide { calibration, effort: self.job.effort });
        for part in &parts {
            if is_complete(part) {
                tell(Event::Complete(&part.path));
                continue;
            }
            self.write_part(part, guide, outputs.resume, tell)?;
        }
        Ok(())
    }

    fn write_part(
        &self,
        part: &Part,
        guide: Option<Guide>,
        resume: bool,
        tell: &(dyn Fn(Event) + Sync),
    ) -> Result<(), Error> {
        let Part { plan, path } = part;
        for name in resume::left_by_others(&self.model, plan, guide, path) {
            tell(Event::LeftByOther(name));
        }
        let weights = plan.weights();
        tell(Event::Started { weights });
        let written = write_or_resume(&self.model, plan, guide, path, resume, &|n| tell(Event::Progress(n)));
        tell(Event::Stopped);
        tell(Event::Written { path, tensors: plan.tensors.len(), weights, bytes: written? });
        Ok(())
    }

    /// All files that are read.
    fn inputs(&self) -> Vec<PathBuf> {
        let statistics = match &self.job.statistics {
            Statistics::None => None,
            Statistics::File(path) | Statistics::Text { text: path, .. } => Some(path.clone()),
        };
        self.model.files().into_iter().chain(statistics).collect()
    }

    /// Opens a calibration, which may well be of a quantized file of the same model.
    fn open_calibration(&self, path: &Path, tell: &(dyn Fn(Event) + Sync)) -> Result<Calibration, Error> {
        let calibration = Calibration::open(path)?;
        let model = self.model.key("general.name").and_then(|v| v.as_str());
        if let (Some(calibrated), Some(model)) = (calibration.model_name(), model)
            && calibrated != model
        {
            tell(Event::OtherModel { path, calibrated, model });
        }
        Ok(calibration)
    }

    /// Measures statistics on a text. The files that this takes on the way lie beside the output and go again.
    fn calibrate(&self, text: &Path, collector: Option<&Path>, output: &Path) -> Result<Calibration, Error> {
        find_collector(collector)?;
        check_text(text)?;
        let work = work_folder(".tenpak-calibration-", output)?;
        let base = if self.model.path.is_dir() {
            let base = work.path().join("base.gguf");
            let plan = Plan::new(&self.model, &Recipe::plain(self.matrix_dtype()))?;
            write(&self.model, &plan, None, &base, &|_| ())?;
            base
        } else {
            self.model.path.clone()
        };
        let calibrate = Calibrate {
            threads: self.job.threads,
            collector: collector.map(Path::to_owned),
            ..Calibrate::new(base, Text::file(text), work.path().join("model.gram.gguf"))
        };
        let calibration = calibrate.run()?;
        // Open files outlive their names where systems allow it; elsewhere the folder stays until the end.
        drop(work);
        Ok(calibration)
    }

    /// The float type of the first matrix, which stands for that of all.
    fn matrix_dtype(&self) -> Dtype {
        let first = self.model.tensors.iter().find(|t| names::is_matrix(&t.name, &t.shape));
        first.map_or(Dtype::F16, |t| t.dtype.written())
    }
}

/// What decides the order in which fates of tensors are told.
fn becomes(target: Target) -> (u8, String) {
    let order = match target {
        Target::Kept(_) => 0,
        Target::Blocks(_) => 1,
        Target::Plain(_) => 2,
    };
    (order, target.ggml().name())
}
