//! A trial of the quantizer on the model itself: what some layers in T3 cost, beside what noise does that is expected to cost as much,
//! on text that nothing else is measured on. Costs are corrected by what it finds; docs/allocation.md, section 2.

use super::calibrate::{WorkFolder, work_folder};
use super::collector::run_collector;
use super::costs::{Cost, Known, LastFactor, TensorCosts, cost_of};
use super::extent::{CHUNKS_OF_KINDS, Extent, REST, kind};
use super::guide::Guide;
use super::measure::{Measure, Measured, write_whole};
use super::noise::noise_of;
use super::write::{Resume, write_or_resume};
use super::{Error, Event, Step};
use crate::calibration::{Sensitivities, Use};
use crate::checkpoint::Model;
use crate::llama::evaluation::CHUNK;
use crate::plan::{Plan, Recipe, Target};
use crate::quantize::Effort;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// The search of the quantizer, whatever that of the conversion is: both sides of the comparison have it.
pub(super) const SEARCH: Effort = Effort::Fast;

/// What a trial may find at the most, as a factor and as its inverse: beyond that it was no measurement of errors of weights.
const MOST: f64 = 8.0;

/// How much more or less than expected the quantizer's errors cost, by kinds of weights: those called alike in all blocks.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// Of every kind that was tried by itself.
    kinds: BTreeMap<String, f64>,
    /// Of the head and all others.
    all: f64,
    /// Of all but the head's; 1 if there are no others.
    rest: f64,
    /// Kinds of these that were tried together only.
    together: BTreeSet<String>,
}

/// What is tried, and how.
pub(super) struct Trying<'a> {
    pub model: &'a Model,
    pub measured: &'a Measured,
    pub measure: &'a Measure,
    pub sensitivities: &'a Sensitivities,
    pub costs: &'a [TensorCosts],
    /// The search of the quantizer that these costs are of.
    pub effort: Effort,
    pub threads: Option<usize>,
    pub extent: Extent,
    /// Where what the trial found is kept.
    pub place: PathBuf,
}

impl Trial {
    /// What the costs of a tensor are multiplied with: 1 if its kind was not tried.
    pub fn factor(&self, name: &str) -> f64 {
        let kind = kind(name);
        let together = self.together.contains(kind).then_some(self.rest);
        self.kinds.get(kind).copied().or(together).unwrap_or(1.0)
    }

    /// The same of all weights that were tried together.
    pub fn of_all(&self) -> f64 {
        self.all
    }

    /// Every kind that was tried by itself, with its factor.
    pub fn kinds(&self) -> impl Iterator<Item = (&str, f64)> {
        self.kinds.iter().map(|(kind, &factor)| (kind.as_str(), factor))
    }

    /// The same of the weights that were tried together only, if others were tried by themselves.
    pub fn of_rest(&self) -> Option<f64> {
        (!self.kinds.is_empty() && !self.together.is_empty()).then_some(self.rest)
    }

    /// From lines of the collector's: a part or a kind, what its weights cost and what noise did, each with its standard error. `None`
    /// if nothing was measured. Kinds are tried on less text than all weights but the head's together, so that their factors are
    /// scaled to what these found.
    fn parse(text: &str, extent: Extent) -> Result<Option<Trial>, Damaged> {
        let mut measured = BTreeMap::new();
        for line in text.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            let [name, of_weights, _, of_noise, _] = fields[..] else { return Err(Damaged) };
            let number = |text: &str| text.parse::<f64>().map_err(|_| Damaged);
            let (of_weights, of_noise) = (number(of_weights)?, number(of_noise)?);
            // Weights that are all zero have no errors, and no noise stands for them.
            if of_weights.is_finite() && of_noise > 0.0 {
                measured.insert(name.to_owned(), (of_weights, of_noise));
            }
        }
        let factor = |(of_weights, of_noise): (f64, f64)| (of_weights / of_noise).clamp(1.0 / MOST, MOST);
        let sum =
            |some: &mut dyn Iterator<Item = (f64, f64)>| some.fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
        let of_rest = measured.remove(REST);
        let (heads, kinds): (BTreeMap<_, _>, BTreeMap<_, _>) =
            measured.into_iter().partition(|(name, _)| extent.is_head(name));
        let all = sum(&mut heads.values().copied().chain(of_rest));
        if all.1 == 0.0 {
            return Ok(None);
        }
        let of_kinds = sum(&mut kinds.values().copied());
        let scale = match of_rest {
            Some(of_rest) if of_kinds.0 > 0.0 => factor(of_rest) / factor(of_kinds),
            _ => 1.0,
        };
        let kinds =
            kinds.into_iter().map(|(kind, (of_weights, of_noise))| (kind, (scale * of_weights, of_noise)));
        Ok(Some(Trial {
            kinds: heads.into_iter().chain(kinds).map(|(kind, measured)| (kind, factor(measured))).collect(),
            all: factor(all),
            rest: of_rest.map_or(1.0, factor),
            together: BTreeSet::new(),
        }))
    }
}

/// The name of a weight, the collector's word for a use of it, the noise.
type NoiseOfUse<'p> = (&'p str, &'static str, f64);

/// Lines for the collector: noise, and what the weight is tried with, if it is.
fn lines<'a>(noise: &[NoiseOfUse<'a>], tried_with: impl Fn(&'a str) -> Option<&'a str>) -> String {
    let mut lines = String::new();
    for &(name, word, noise) in noise {
        if let Some(kind) = tried_with(name) {
            let _ = writeln!(lines, "{name} {word} {noise} {kind}");
        }
    }
    lines
}

/// A text that no trial wrote.
#[derive(Debug, PartialEq)]
struct Damaged;

impl Trying<'_> {
    /// Makes the trial, or reads what one found before. `None` if the text is too short for one, or no weight can be tried.
    pub fn run(&self, tell: &(dyn Fn(Event) + Sync)) -> Result<Option<Trial>, Error> {
        let plan = self.plan()?;
        if plan.tensors.is_empty() {
            return Ok(None);
        }
        // A token has a byte at least. Of longer texts the collector says whether they are long enough.
        let Measured { kept_back, shares, .. } = self.measured;
        let bytes = std::fs::metadata(kept_back)
            .map_err(|source| Error::Io { path: kept_back.clone(), source })?
            .len();
        if bytes < (shares.judged_tokens() + CHUNKS_OF_KINDS * CHUNK) as u64 {
            tell(Event::Note("too little text is kept back for a trial of what errors cost"));
            return Ok(None);
        }
        let guide = Guide { calibration: &self.measured.calibration, effort: SEARCH };
        tell(Event::Step { step: Step::Trial, path: &self.place, is_there: self.place.exists() });
        if !self.place.exists() {
            let work = work_folder(".tenpak-trial-", &self.place)?;
            let file = work.path().join("trial.gguf");
            tell(Event::Trying { weights: plan.weights() });
            let progress = |done| tell(Event::from(done));
            let written =
                write_or_resume(self.model, &plan, Some(guide), &file, Resume::REPLACING, &progress);
            tell(Event::Stopped);
            written?;
            let noise = self.noise(&plan, guide)?;
            let mut found =
                self.judge(&file, &lines(&noise, |name| Some(self.extent.part_of(name))), shares.tried)?;
            let by_kinds = lines(&noise, |name| self.extent.kind_of(name));
            // The collector finds nothing where the text is too short.
            if !found.is_empty() && !by_kinds.is_empty() {
                found += &self.judge(&file, &by_kinds, CHUNKS_OF_KINDS)?;
            }
            let io = |source| Error::Io { path: self.place.clone(), source };
            write_whole(&self.place, found.as_bytes()).map_err(io)?;
        }
        let text = std::fs::read_to_string(&self.place)
            .map_err(|source| Error::Io { path: self.place.clone(), source })?;
        let trial = Trial::parse(&text, self.extent).map_err(|Damaged| Error::Damaged(self.place.clone()))?;
        let names = plan.tensors.iter().map(|planned| planned.header.name.as_str());
        let together = names.filter(|name| self.is_together(name)).map(|name| kind(name).to_owned());
        Ok(trial.map(|trial| Trial { together: together.collect(), ..trial }))
    }

    /// Whether a weight is tried together with all but the head's only.
    fn is_together(&self, name: &str) -> bool {
        self.extent.kind_of(name).is_none() && !self.extent.is_head(name)
    }

    /// For every use of every weight its name, the use, and the noise that is expected to cost as much as its errors do.
    fn noise<'p>(&self, plan: &'p Plan, guide: Guide) -> Result<Vec<NoiseOfUse<'p>>, Error> {
        let known = Known::of(guide.calibration, self.sensitivities)?;
        let by_name: BTreeMap<&str, &TensorCosts> =
            self.costs.iter().map(|t| (self.model.tensors[t.index].name.as_str(), t)).collect();
        let mut factors = LastFactor::default();
        let mut all = Vec::new();
        for planned in &plan.tensors {
            let name = planned.header.name.as_str();
            // Costs of the same search are those of both uses together.
            let is_product = self.sensitivities.of(name, Use::Rows).is_none();
            let found = by_name.get(name).filter(|_| is_product && self.effort == SEARCH);
            let cost = match found.and_then(|t| t.of(planned.target)) {
                Some(products) => Cost { products, rows: 0.0 },
                None => {
                    let (t, target) = (&planned.source, planned.target);
                    cost_of(self.model, guide, &known, t, target, &mut factors)?.unwrap_or_default()
                }
            };
            all.extend(noise_of(self.sensitivities, name, cost).map(|(word, noise)| (name, word, noise)));
        }
        Ok(all)
    }

    /// T3 for the weights of some layers, for embeddings and head, as far as it is known what they cost; nothing else.
    fn plan(&self) -> Result<Plan, Error> {
        let text = "[[rule]]\ntypes = ['t3', 'keep', 'stored']\n";
        let plan = Plan::new(self.model, &Recipe::parse("the trial", text, &[])?)?;
        let of = |name: &str, site| self.sensitivities.of(name, site);
        let is_used = |name: &&str| of(name, Use::Product).is_some() || of(name, Use::Rows).is_some();
        let names = self.costs.iter().map(|t| self.model.tensors[t.index].name.as_str());
        let priced: BTreeSet<&str> = names.filter(is_used).collect();
        Ok(plan.only(|planned| {
            let name = planned.header.name.as_str();
            self.extent.includes(self.model, name)
                && matches!(planned.target, Target::Blocks(_))
                && priced.contains(name)
        }))
    }

    /// What the collector finds that the weights of a file cost, on so many chunks.
    fn judge(&self, file: &Path, noise: &str, chunks: usize) -> Result<String, Error> {
        let work = WorkFolder::temporary("tenpak-trial-")
            .map_err(|source| Error::Io { path: std::env::temp_dir(), source })?;
        let (lines, found) = (work.path().join("noise.tsv"), work.path().join("found.tsv"));
        std::fs::write(&lines, noise).map_err(|source| Error::Io { path: lines.clone(), source })?;
        let mut command = self.measured.collector(self.measure, chunks * CHUNK, self.threads)?;
        command.arg("--swap").arg(file).arg("--swap-kinds").arg(&lines).arg("-o").arg(&found);
        // The weights have to be where they can be swapped.
        command.args(["-ngl", "0", "--no-op-offload"]);
        for (option, n) in [("--skip", self.measured.shares.judged_tokens()), ("-c", CHUNK)] {
            command.args([option, &n.to_string()]);
        }
        run_collector(&mut command, &[&found], self.measure.quiet)?;
        std::fs::read_to_string(&found).map_err(|source| Error::Io { path: found, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BY_KINDS: Extent = Extent::new(true, false);

    const LINES: &str = "\
output.weight\t0.03\t0.01\t0.02\t0.01
rest\t0.21\t0.01\t0.2\t0.01
attn_q.weight\t0.02\t0.001\t0.04\t0.002
ffn_down.weight\t0.12\t0.004\t0.06\t0.002
";

    #[test]
    fn weights_cost_what_those_of_their_kind_did_beside_noise() {
        let found = Trial::parse(LINES, BY_KINDS).unwrap().unwrap();
        assert!((found.of_all() - 0.24 / 0.22).abs() < 1e-9);
        assert!((found.factor("output.weight") - 1.5).abs() < 1e-9);
        // Each by itself cost 2 and .5 times what its noise did, and their sum is 1.4 times; on more text both together cost 1.05 times.
        assert!((found.factor("blk.7.ffn_down.weight") - 2.0 * 0.75).abs() < 1e-9);
        assert!((found.factor("blk.0.attn_q.weight") - 0.5 * 0.75).abs() < 1e-9);
        assert_eq!(found.factor("token_embd.weight"), 1.0);
        assert_eq!(
            found.kinds().map(|(kind, _)| kind).collect::<Vec<_>>(),
            ["attn_q.weight", "ffn_down.weight", "output.weight"]
        );
    }

    #[test]
    fn kinds_that_were_tried_together_only_have_one_factor() {
        let lines = "output.weight\t0.12\t0\t0.1\t0\nrest\t0.18\t0\t0.1\t0\n";
        let found = Trial::parse(lines, Extent::new(false, false)).unwrap().unwrap();
        let found = Trial { together: ["ffn_down.weight".to_owned()].into(), ..found };
        assert!((found.factor("blk.7.ffn_down.weight") - 1.8).abs() < 1e-9);
        assert!((found.factor("output.weight") - 1.2).abs() < 1e-9);
        assert_eq!(found.factor("token_embd.weight"), 1.0);
        assert_eq!(found.of_rest(), Some(found.rest));
    }

    #[test]
    fn embeddings_that_are_the_head_are_tried_as_that() {
        let lines =
            "rest\t0.1\t0\t0.1\t0\ntoken_embd.weight\t0.3\t0\t0.1\t0\nattn_q.weight\t0.2\t0\t0.1\t0\n";
        let of = |tied| Trial::parse(lines, Extent::new(true, tied)).unwrap().unwrap();
        assert!((of(true).factor("token_embd.weight") - 3.0).abs() < 1e-9);
        assert!((of(true).factor("blk.0.attn_q.weight") - 1.0).abs() < 1e-9);
        // Embeddings that are not the head are one of the kinds of the rest: 3 and 2 times, 2.5 times as a sum, 1 time on more text.
        assert!((of(false).factor("token_embd.weight") - 1.2).abs() < 1e-9);
    }

    #[test]
    fn what_was_not_measured_corrects_nothing() {
        assert_eq!(Trial::parse("", BY_KINDS), Ok(None));
        let wild = Trial::parse("rest\t1.0\t0.1\t1e-9\t0.1\n", BY_KINDS).unwrap().unwrap();
        assert_eq!(wild.of_all(), MOST);
    }

    #[test]
    fn kinds_without_errors_are_as_if_not_tried() {
        let lines = "rest\t0.3\t0\t0.2\t0\nattn_q.weight\t0\t0\t0\t0\nattn_k.weight\tnan\t0\t1\t0\n";
        let found = Trial::parse(lines, BY_KINDS).unwrap().unwrap();
        assert_eq!(found.kinds().count(), 0);
        assert_eq!(Trial::parse("rest\t0\t0\t0\t0\n", BY_KINDS), Ok(None));
    }

    #[test]
    fn damage_is_told() {
        for damaged in ["rest\t1.0\n", "rest\t1.0\t0.1\tmuch\t0\n", "note: nothing\n"] {
            assert_eq!(Trial::parse(damaged, BY_KINDS), Err(Damaged), "{damaged:?}");
        }
    }
}
