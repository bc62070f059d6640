//! A conversion from the model to the last file.

use super::allocate::{Allocation, AllocationError, Size};
use super::calibrate::work_folder;
use super::corrections::{Adapter, LowRank};
use super::event::Event;
use super::forecast::Forecast;
use super::foreign::ForeignOptions;
use super::guide::Guide;
use super::judge::{Judgement, judge};
use super::measure::{self, Measure};
use super::outputs::{Outputs, check_output};
use super::pricing::{Found, Prices, Pricing};
use super::verify::{Verify, VerifyError};
use super::write::{Resume, write_with};
use super::{Error, origin, resume, sample, scaling};
use crate::calibration::Calibration;
use crate::checkpoint::{self, Model};
use crate::plan::{Cut, Knowledge, Part, Plan, Recipe, Sample, Target, cut};
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
    /// How large the file is to be; `None` for what the recipe makes. The types are then those that cost least, if there are
    /// statistics that say so, and those of the recipe for all others.
    pub size: Option<Size>,
    /// Where statistics of its inputs come from.
    pub statistics: Statistics,
    /// How long to search with statistics.
    pub effort: Effort,
    /// Corrections of low rank beside the file, in an adapter for llama.cpp.
    pub low_rank: Option<LowRank>,
    /// Blocks that are quantized alone, the others being floats; `None` for all.
    pub sample: Option<Sample>,
    /// Pre-tokenizer name to write instead of the one that tokenizer.json shows.
    pub tokenizer_pre: Option<String>,
    /// Leave the tokenizer out: the file takes token ids only.
    pub no_tokenizer: bool,
    /// Compare a plain file of the model with the folder first; `None` for a conversion that is taken on trust.
    pub verify: Option<Verify>,
    /// How a folder is converted whose class there is no table for.
    pub foreign: ForeignOptions,
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
    /// They are measured first.
    Measured(Measure),
}

/// A model with the plan for it.
pub struct Opened<'a> {
    job: &'a Convert,
    model: Model,
    recipe: Recipe,
    plan: Plan,
}

impl Convert {
    /// A conversion as the command line does it without options.
    pub fn new(source: impl Into<PathBuf>) -> Convert {
        Convert {
            source: source.into(),
            recipe: None,
            size: None,
            statistics: Statistics::None,
            effort: Effort::default(),
            low_rank: None,
            sample: None,
            tokenizer_pre: None,
            no_tokenizer: false,
            verify: None,
            foreign: ForeignOptions::default(),
            threads: None,
        }
    }

    /// Opens the model and plans the file. Of a foreign folder llama.cpp's converter makes a GGUF file first; `tell` hears
    /// of that.
    pub fn open(&self, tell: &(dyn Fn(Event) + Sync)) -> Result<Opened<'_>, Error> {
        let options =
            [("--tokenizer-pre", self.tokenizer_pre.is_some()), ("--no-tokenizer", self.no_tokenizer)];
        if let Some((option, _)) = options.iter().find(|(_, given)| *given && self.source.is_file()) {
            return Err(Error::HasTokenizer { option, path: self.source.clone() });
        }
        if self.verify.is_some() && self.source.is_file() {
            return Err(VerifyError::NoFolder(self.source.clone()).into());
        }
        let options = checkpoint::Options {
            tokenizer_pre: self.tokenizer_pre.clone(),
            no_tokenizer: self.no_tokenizer,
            keep_tied_head: self.recipe.as_ref().is_some_and(Recipe::keep_tied_head),
        };
        let model = match self.foreign()? {
            Some(prepared) => self.convert_foreign(prepared, tell)?,
            None => Model::open(&self.source, &options)?,
        };
        let recipe = self.recipe.clone().unwrap_or_else(|| Recipe::suited_to(&model));
        let recipe = match self.low_rank {
            Some(LowRank::Rank(rank)) => recipe.with_low_rank(rank),
            Some(LowRank::Auto) | None => recipe,
        };
        let plan = match &self.statistics {
            Statistics::File(path) if recipe.needs_sensitivities() => {
                knowing(&model, &recipe, Some(&Calibration::open(path)?))?
            }
            _ => Plan::knowing(&model, &recipe, Knowledge::Later)?,
        };
        Ok(Opened { job: self, model, recipe, plan })
    }

    /// Opens the model, plans the file, and writes it.
    pub fn run(&self, outputs: &Outputs, tell: &(dyn Fn(Event) + Sync)) -> Result<(), Error> {
        let opened = self.open(tell)?;
        opened.tell_what_becomes(tell);
        opened.write(outputs, tell)
    }
}

impl Opened<'_> {
    /// The same model and plan, for a job that differs in nothing but size, statistics, effort and threads.
    pub fn with(self, job: &Convert) -> Opened<'_> {
        let Opened { model, recipe, plan, .. } = self;
        Opened { job, model, recipe, plan }
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Whether blocks of the plan stand for others, which are known when it has been measured what depends on them.
    pub fn is_provisional(&self) -> bool {
        self.recipe.needs_sensitivities() && !matches!(self.job.statistics, Statistics::File(_))
    }

    /// What is to be written, as if into one file. In the place of the digest of a calibration stand zeros.
    pub fn plan(&self) -> Plan {
        match self.job.statistics {
            Statistics::None => self.plan.clone(),
            Statistics::File(_) | Statistics::Measured(_) => origin::with_any_calibration(&self.plan),
        }
    }

    /// The same of a conversion that quantizes some blocks only.
    pub fn plan_of_sample(&self) -> Result<Plan, Error> {
        let plan = self.plan();
        match &self.job.sample {
            Some(sample) => Ok(sample::sampled(&self.model, plan, sample, None, None)?.0),
            None => Ok(plan),
        }
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
        let is_second =
            found.values().any(|(_, target)| matches!(target, Target::Blocks(_) | Target::Upstream(_)));
        for ((how, _), (tensors, target)) in found {
            tell(Event::Quantized { tensors, how, target });
        }
        if is_second {
            tell(Event::QuantizedTwice);
        }
        self.plan.left_plain().for_each(|planned| tell(Event::LeftPlain(planned)));
    }

    /// The steps of a conversion that measures first, and about how long they take; `None` for other conversions.
    pub fn forecast(&self) -> Result<Option<Forecast>, Error> {
        let Some(measure) = self.measure() else { return Ok(None) };
        let (effort, sized) = (self.job.effort, self.job.size.is_some());
        measure.forecast(&self.model, &self.plan_of_sample()?, effort, sized, self.job.threads).map(Some)
    }

    /// Writes all files.
    pub fn write(&self, outputs: &Outputs, tell: &(dyn Fn(Event) + Sync)) -> Result<(), Error> {
        let inputs = self.inputs();
        let known = self.known_calibration()?;
        let mut plan = origin::with_calibration(&self.plan, known.as_deref())?;
        self.check_outputs(&plan, outputs, &inputs)?;
        if let Some(sample) = &self.job.sample {
            sample.blocks(&self.model)?;
        }
        if let Some(measure) = self.measure() {
            measure.check()?;
        }
        if let Some(forecast) = self.forecast()? {
            tell(Event::Forecast(&forecast));
        }
        if let Some(verify) = &self.job.verify {
            self.verify(verify, outputs, tell)?;
        }
        let statistics = self.statistics(tell)?;
        let guide = statistics
            .as_ref()
            .map(|statistics| Guide { calibration: statistics.calibration(), effort: self.job.effort });
        if let Some(guide) = guide {
            tell(Event::Statistics(guide.calibration.describe()));
            let path = guide.calibration.path();
            if known.as_deref() != Some(path) {
                plan = origin::with_calibration(&self.plan, Some(path))?;
            }
        }
        let calibration = guide.map(|guide| guide.calibration);
        if self.recipe.needs_sensitivities() {
            plan = origin::as_in(&plan, knowing(&self.model, &self.recipe, calibration)?);
        }
        let mut costs = None;
        match (self.job.size, &statistics) {
            (Some(size), Some(statistics)) => {
                if let Some(found) = self.allocated(&plan, size, statistics, tell)? {
                    (plan, costs) = (found.plan, Some(found.costs));
                }
            }
            (Some(_), None) => tell(Event::NoSensitivities),
            (None, _) => {}
        }
        if let Some(sample) = &self.job.sample {
            let (of_sample, found) = sample::sampled(&self.model, plan, sample, guide, costs)?;
            tell(Event::Sampled(&found));
            plan = of_sample;
        }
        if let Some(power) = self.recipe.activation_scaling() {
            let notes = scaling::scale(&self.model, &mut plan, power, calibration)?;
            notes.iter().for_each(|note| tell(Event::Note(note)));
        }
        let has_corrections = plan.tensors.iter().any(|t| t.rank > 0);
        if has_corrections {
            check_output(&Adapter::path(&outputs.path), &inputs, outputs.overwrite)?;
            Adapter::name_in(&mut plan, outputs);
        }
        let mut adapter = Adapter::create(&self.model, &plan, outputs)?;
        for part in &self.check_outputs(&plan, outputs, &inputs)? {
            if is_complete(part, outputs, &inputs) {
                tell(Event::Complete(&part.path));
                continue;
            }
            let resume = Resume { goes_on: outputs.resume, replaces: outputs.overwrite };
            self.write_part(part, guide, adapter.as_mut(), resume, tell)?;
        }
        let adapter = adapter.map(|adapter| finish(adapter, tell)).transpose()?;
        if let (Some(Found::Measured(measured)), Cut::Whole) = (&statistics, outputs.cut) {
            match judge(
                measured,
                &outputs.path,
                adapter.as_deref(),
                self.measure().and_then(|m| m.collector.as_deref()),
                self.job.threads,
            ) {
                Ok(judgement) => tell(Event::Judged(&judgement)),
                Err(why) => tell(Event::NotJudged(why)),
            }
        }
        Ok(())
    }

    /// What every type would cost every tensor, for sizes to be compared. `None` if the statistics do not say it.
    pub fn priced(&self, tell: &(dyn Fn(Event) + Sync)) -> Result<Option<Priced<'_>>, Error> {
        let Some(statistics) = self.statistics(tell)? else { return Ok(None) };
        let Some(prices) = self.pricing(&statistics).prices(tell)? else { return Ok(None) };
        Ok(Some(Priced { opened: self, statistics, prices }))
    }

    /// The parts of a plan, none of which may be written over something.
    fn check_outputs(&self, plan: &Plan, outputs: &Outputs, inputs: &[PathBuf]) -> Result<Vec<Part>, Error> {
        let parts = cut(plan, outputs.cut, &outputs.path)?;
        for part in parts.iter().filter(|part| !is_complete(part, outputs, inputs)) {
            check_output(&part.path, inputs, outputs.overwrite)?;
        }
        Ok(parts)
    }

    /// Compares a plain file of the model with the folder: the one that statistics are measured with, or one that is
    /// deleted then.
    fn verify(&self, verify: &Verify, outputs: &Outputs, tell: &(dyn Fn(Event) + Sync)) -> Result<(), Error> {
        verify.check()?;
        let work = work_folder(".tenpak-verify-", &outputs.path)?;
        let plain = match (self.model.gguf(), self.measure()) {
            (Some(path), _) => path.to_owned(),
            (None, Some(measure)) => measure.base(&self.model, self.job.effort, tell)?,
            (None, None) => {
                let path = work.path().join("plain.gguf");
                measure::write_base(&self.model, &measure::plain(&self.model)?, &path, tell)?;
                path
            }
        };
        tell(Event::Verifying);
        tell(Event::Verified(&verify.run(&self.model, &plain, self.job.threads)?));
        Ok(())
    }

    /// The calibration, if it is there before anything is measured.
    fn known_calibration(&self) -> Result<Option<PathBuf>, Error> {
        match &self.job.statistics {
            Statistics::None => Ok(None),
            Statistics::File(path) => Ok(Some(path.clone())),
            Statistics::Measured(measure) => {
                let path = measure.places(&self.model, self.job.effort)?.calibration;
                Ok(path.filter(|path| path.exists()))
            }
        }
    }

    fn measure(&self) -> Option<&Measure> {
        match &self.job.statistics {
            Statistics::Measured(measure) => Some(measure),
            Statistics::None | Statistics::File(_) => None,
        }
    }

    fn statistics(&self, tell: &(dyn Fn(Event) + Sync)) -> Result<Option<Found>, Error> {
        Ok(match &self.job.statistics {
            Statistics::None => None,
            Statistics::File(path) => Some(Found::Given(self.open_calibration(path, tell)?)),
            Statistics::Measured(measure) => {
                measure.check()?;
                Some(Found::Measured(measure.run(&self.model, self.job.effort, self.job.threads, tell)?))
            }
        })
    }

    fn pricing<'a>(&'a self, statistics: &'a Found) -> Pricing<'a> {
        Pricing {
            model: &self.model,
            statistics,
            measure: self.measure(),
            effort: self.job.effort,
            low_rank: self.job.low_rank,
            threads: self.job.threads,
        }
    }

    /// The best mix for a size instead of a plan. `None` if the statistics do not say what depends on each weight.
    fn allocated(
        &self,
        plan: &Plan,
        size: Size,
        statistics: &Found,
        tell: &(dyn Fn(Event) + Sync),
    ) -> Result<Option<Allocation>, Error> {
        let pricing = self.pricing(statistics);
        let Some(mut prices) = pricing.prices(tell)? else {
            tell(Event::NoSensitivities);
            return Ok(None);
        };
        let found = pricing.rehearsed(&mut prices, plan, size, tell)?;
        tell(Event::Allocated { plan: &found.plan, recipe: &found.text, expected: found.expected });
        Ok(Some(found))
    }

    fn write_part(
        &self,
        part: &Part,
        guide: Option<Guide>,
        adapter: Option<&mut Adapter>,
        resume: Resume,
        tell: &(dyn Fn(Event) + Sync),
    ) -> Result<(), Error> {
        let Part { plan, path } = part;
        for name in resume::left_by_others(&self.model, plan, guide, path) {
            tell(Event::LeftByOther(name));
        }
        let weights = plan.weights();
        tell(Event::Started { weights });
        let written = write_with(&self.model, plan, guide, adapter, path, resume, &|done| tell(done.into()));
        tell(Event::Stopped);
        tell(Event::Written { path, tensors: plan.tensors.len(), weights, bytes: written? });
        Ok(())
    }

    /// All files that are read.
    fn inputs(&self) -> Vec<PathBuf> {
        let statistics = match &self.job.statistics {
            Statistics::None => None,
            Statistics::File(path) => Some(path.clone()),
            Statistics::Measured(measure) => measure.text.clone(),
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
}

/// A model with what every type would cost every tensor.
pub struct Priced<'a> {
    opened: &'a Opened<'a>,
    statistics: Found,
    prices: Prices,
}

impl Priced<'_> {
    /// The best mix for a size.
    pub fn allocation(&self, size: Size) -> Result<Allocation, AllocationError> {
        self.prices.allocation(&self.opened.model, &self.opened.plan(), size)
    }

    /// The same, rehearsed if it can be: what it costs, and what all others cost from then on, is expected by what that finds.
    pub fn rehearsed(&mut self, size: Size, tell: &(dyn Fn(Event) + Sync)) -> Result<Allocation, Error> {
        let pricing = self.opened.pricing(&self.statistics);
        pricing.rehearsed(&mut self.prices, &self.opened.plan(), size, tell)
    }

    /// What a file of the same model costs, on text that was kept back. The error says why that was not found out.
    pub fn judge(&self, file: &Path) -> Result<Judgement, String> {
        let Found::Measured(measured) = &self.statistics else {
            return Err("no text was kept back from a calibration that was made before".into());
        };
        let collector = self.opened.measure().and_then(|m| m.collector.as_deref());
        judge(measured, file, None, collector, self.opened.job.threads)
    }
}

/// The plan with what a calibration says of sensitivities.
fn knowing(model: &Model, recipe: &Recipe, calibration: Option<&Calibration>) -> Result<Plan, Error> {
    let sensitivities = calibration.map(Calibration::sensitivities).transpose()?.flatten();
    let knowledge = sensitivities.as_ref().map_or(Knowledge::Nothing, Knowledge::Measured);
    Ok(Plan::knowing(model, recipe, knowledge)?)
}

/// Completes an adapter; returns its path.
fn finish(adapter: Adapter, tell: &(dyn Fn(Event) + Sync)) -> Result<PathBuf, Error> {
    let path = adapter.path.clone();
    let (matrices, bytes) = adapter.finish()?;
    tell(Event::Corrections { path: &path, matrices, bytes });
    Ok(path)
}

fn is_complete(part: &Part, outputs: &Outputs, inputs: &[PathBuf]) -> bool {
    outputs.resume && resume::is_complete(&part.plan, &part.path, inputs)
}

/// What decides the order in which fates of tensors are told.
fn becomes(target: Target) -> (u8, String) {
    let order = match target {
        Target::Kept(_) => 0,
        Target::Blocks(_) | Target::Upstream(_) => 1,
        Target::Plain(_) => 2,
    };
    (order, target.ggml().name())
}
