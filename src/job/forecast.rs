//! What a conversion will do and about how long each step takes, before it starts. This machine's speed is measured, in about two
//! seconds; the model says how much there is to do.

use super::collector::{Speed, measure_speed};
use super::costs::{EXPERTS, ROWS};
use super::extent::Extent;
use super::guided::experts;
use super::kept_back::Shares;
use super::measure::{Measure, SHARE_OF_SENSITIVITIES, Step, default_tokens};
use super::{Error, trial};
use crate::calibration::Statistics;
use crate::checkpoint::{Model, SourceTensor};
use crate::names::{Input, Role, SharedInput};
use crate::plan::{Family, Plan};
use crate::quantize::{BandQuantizer, Effort, Factor};
use crate::types::trellis::T3;
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Instant;

/// What attention, norms and sampling take beside the products.
const BESIDE_PRODUCTS: f64 = 1.35;
/// Bytes a second that are read, rounded and written; disks differ too much to be measured by a few of them.
const BYTES_PER_SECOND: f64 = 400e6;
/// Columns of the matrix that this machine's speed is measured with, and its rows for each thread.
const COLUMNS: usize = 1024;
const ROWS_PER_THREAD: usize = 16;
/// Factors of an input that a file takes: types with blocks of one length share one.
const FACTORS: f64 = 1.0;

/// The steps of a conversion in their order.
#[derive(Clone, Debug)]
pub struct Forecast {
    /// The steps.
    pub steps: Vec<ForecastStep>,
    /// Where what is made on the way stays.
    pub cache: PathBuf,
}

/// A step of a conversion.
#[derive(Clone, Debug)]
pub struct ForecastStep {
    /// The step.
    pub step: Step,
    /// Tokens that it runs or writes, or nothing.
    pub tokens: Option<u64>,
    /// Bytes that it writes, if they are many.
    pub bytes: Option<u64>,
    /// About how many seconds it takes; `None` if the collector does not say how fast this machine is.
    pub seconds: Option<f64>,
    /// Its result is in the cache, so that it takes no time.
    pub is_there: bool,
}

impl Forecast {
    /// The seconds of all steps, as far as they are known.
    pub fn seconds(&self) -> Option<f64> {
        self.steps.iter().map(|s| if s.is_there { Some(0.0) } else { s.seconds }).sum()
    }
}

/// What a token and a file of a model take.
struct Work {
    /// Weights that a token is multiplied with.
    active: f64,
    /// Operations for the sums of a token.
    sums: f64,
    /// Weights that are quantized.
    weights: f64,
    /// Weights that are quantized to find out what types cost.
    tried: f64,
    /// Cubes of the columns of all inputs, each of which is factored.
    cubes: f64,
    /// Weights that are quantized for the trial.
    trial: f64,
    /// Cubes of the columns of their inputs.
    cubes_of_trial: f64,
    /// Parts and kinds of these weights that are tried by themselves.
    parts: usize,
    kinds: usize,
}

impl Work {
    fn of(model: &Model, tried: Extent) -> Work {
        let architecture = model.key("general.architecture").and_then(|v| v.as_str()).unwrap_or_default();
        let number = |name: &str| model.key(&format!("{architecture}.{name}")).and_then(|v| v.as_u64());
        let share = match (number("expert_used_count"), number("expert_count")) {
            (Some(used), Some(all)) if all > 0 => used as f64 / all as f64,
            _ => 1.0,
        };
        let has_head = model.tensors.iter().any(|t| Role::of(&t.name) == Role::Head);
        let mut work = Work {
            active: 0.0,
            sums: 0.0,
            weights: 0.0,
            tried: 0.0,
            cubes: 0.0,
            trial: 0.0,
            cubes_of_trial: 0.0,
            parts: 0,
            kinds: 0,
        };
        let (mut parts, mut kinds) = (BTreeSet::new(), BTreeSet::new());
        let mut inputs = BTreeMap::new();
        for t in model.tensors.iter().filter(|t| model.is_quantizable(t)) {
            let (n, matrices) = (t.columns() as f64, experts(t));
            work.weights += t.elements() as f64;
            let is_tried = tried.includes(model, &t.name);
            if is_tried {
                work.trial += t.elements() as f64;
                parts.insert(tried.part_of(&t.name));
                kinds.extend(tried.kind_of(&t.name));
            }
            work.tried += (ROWS * matrices.min(EXPERTS)) as f64 * n;
            if Role::of(&t.name) == Role::Embeddings && has_head {
                continue;
            }
            work.active += t.elements() as f64 * if matrices > 1 { share } else { 1.0 };
            inputs.insert(input(t), (n, matrices, is_tried));
        }
        (work.parts, work.kinds) = (parts.len(), kinds.len());
        for (n, matrices, is_tried) in inputs.into_values() {
            work.sums += n * n * if matrices > 1 { share * matrices as f64 } else { 1.0 };
            let cubes = n.powi(3) * matrices as f64;
            work.cubes += cubes;
            work.cubes_of_trial += if is_tried { cubes } else { 0.0 };
        }
        work
    }
}

/// A name for the input of a tensor.
fn input(t: &SourceTensor) -> String {
    match SharedInput::of(&t.name) {
        Some(SharedInput { scope, input }) => {
            let input = ["attention", "mlp", "experts"][match input {
                Input::Attention => 0,
                Input::Mlp => 1,
                Input::Experts => 2,
            }];
            format!("{scope} {input}")
        }
        None => t.name.clone(),
    }
}

/// How fast the calibrated quantizer is here.
struct Quantizing {
    /// Weights a second, by all threads.
    weights: f64,
    /// Seconds to factor a matrix over the cube of its columns.
    of_cube: f64,
}

impl Quantizing {
    fn measured(effort: Effort) -> Option<Quantizing> {
        let mut values = vec![0.0; COLUMNS * COLUMNS];
        values.iter_mut().step_by(COLUMNS + 1).for_each(|v| *v = 1.0);
        let start = Instant::now();
        let statistics = Statistics::Gram { n: COLUMNS, values, tokens: 1 };
        let factor = Factor::new(&T3, statistics, 0.01).ok()?;
        let of_cube = start.elapsed().as_secs_f64() / (COLUMNS as f64).powi(3);
        let band: Vec<f32> =
            (0..ROWS_PER_THREAD * COLUMNS).map(|i| ((i * 7919) % 255) as f32 - 127.0).collect();
        let threads = rayon::current_num_threads();
        let start = Instant::now();
        (0..threads).into_par_iter().for_each(|_| {
            let mut out = vec![0; T3.row_bytes(band.len()).expect("whole blocks")];
            BandQuantizer::new(&T3, effort.breadth()).quantize(&factor, &mut band.clone(), &mut out);
        });
        let weights = (threads * band.len()) as f64 / start.elapsed().as_secs_f64();
        Some(Quantizing { weights, of_cube })
    }
}

impl Measure {
    /// The steps of this measurement and of the conversion after it. `sized`: there is a mix to be found.
    pub(super) fn forecast(
        &self,
        model: &Model,
        plan: &Plan,
        effort: Effort,
        sized: bool,
        threads: Option<usize>,
    ) -> Result<Forecast, Error> {
        let places = self.places(model, effort)?;
        let (tried, shares) = (Extent::of(effort, model), Shares::of(effort));
        let work = Work::of(model, tried);
        let speed = measure_speed(self.collector.as_deref(), super::measure::matrix_dtype(model), threads);
        let quantizing = Quantizing::measured(effort);
        let of_collector = |seconds: &dyn Fn(&Speed) -> f64| speed.as_ref().map(seconds);
        let of_quantizer = |seconds: &dyn Fn(&Quantizing) -> f64| quantizing.as_ref().map(seconds);
        let run = |tokens: u64, speed: f64| tokens as f64 * 2.0 * work.active * BESIDE_PRODUCTS / speed;

        let tokens = self.tokens.unwrap_or(default_tokens(effort));
        let step = |step, seconds| ForecastStep { step, tokens: None, bytes: None, seconds, is_there: false };
        let mut steps = Vec::new();
        if model.gguf().is_none() {
            let bytes = places.plain.file_bytes;
            let seconds = Some(bytes as f64 / BYTES_PER_SECOND);
            let is_there = places.base.exists();
            steps.push(ForecastStep { bytes: Some(bytes), is_there, ..step(Step::Base, seconds) });
        }
        for own in &places.own {
            let seconds = of_collector(&|s| run(own.tokens.unwrap_or(tokens), s.few));
            let is_there = own.path.exists();
            steps.push(ForecastStep { tokens: own.tokens, is_there, ..step(Step::OwnText, seconds) });
        }
        let sums = of_collector(&|s| run(tokens, s.many) + tokens as f64 * work.sums / s.sums);
        let is_there = places.calibration.as_ref().is_some_and(|path| path.exists());
        steps.push(ForecastStep { tokens: Some(tokens), is_there, ..step(Step::Calibration, sums) });
        let of_sums = sums.map(|seconds| SHARE_OF_SENSITIVITIES * seconds);
        let sensitivities = self.budget.map(|minutes| 60.0 * minutes as f64).or(of_sums);
        steps.push(ForecastStep { is_there, ..step(Step::Sensitivities, sensitivities) });
        if sized {
            let kinds = Family::all().into_iter().filter(|family| family.is_trellis()).count() as f64;
            steps.push(step(
                Step::Costs,
                of_quantizer(&|q| kinds * work.tried / q.weights + work.cubes * q.of_cube),
            ));
            let tokens = Extent::tokens(work.parts, work.kinds, shares) as u64;
            let quantized = Quantizing::measured(trial::SEARCH)
                .map(|q| work.trial / q.weights + work.cubes_of_trial * q.of_cube);
            let judged = of_collector(&|s| run(tokens, s.many));
            let seconds = quantized.zip(judged).map(|(quantized, judged)| quantized + judged);
            let is_there = match &places.calibration {
                Some(calibration) if is_there && places.kept_back.exists() => {
                    self.place_of_trial(calibration, &places.kept_back, tried, shares)?.exists()
                }
                _ => false,
            };
            steps.push(ForecastStep { tokens: Some(tokens), is_there, ..step(Step::Trial, seconds) });
            let tokens = 2 * shares.judged_tokens() as u64;
            let seconds = of_collector(&|s| run(tokens, s.many));
            steps.push(ForecastStep { tokens: Some(tokens), ..step(Step::Rehearsal, seconds) });
        }
        let file = of_quantizer(&|q| work.weights / q.weights + FACTORS * work.cubes * q.of_cube);
        steps
            .push(ForecastStep { bytes: Some(plan.file_bytes).filter(|_| !sized), ..step(Step::File, file) });
        let judged = shares.judged_tokens() as u64;
        steps.push(ForecastStep {
            tokens: Some(judged),
            ..step(Step::Judgement, of_collector(&|s| 2.0 * run(judged, s.many)))
        });
        Ok(Forecast { steps, cache: self.cache.folder().to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_takes_no_time() {
        let step = |seconds, is_there| ForecastStep {
            step: Step::Calibration,
            tokens: None,
            bytes: None,
            seconds,
            is_there,
        };
        let all = |steps: Vec<ForecastStep>| Forecast { steps, cache: PathBuf::new() }.seconds();
        assert_eq!(all(vec![step(Some(3.0), false), step(Some(5.0), true)]), Some(3.0));
        assert_eq!(all(vec![step(None, true), step(Some(5.0), false)]), Some(5.0));
        assert_eq!(all(vec![step(None, false), step(Some(5.0), false)]), None);
    }

    #[test]
    fn the_quantizer_is_slower_if_it_searches_more() {
        let [fast, best] = [Effort::Fast, Effort::Best].map(|effort| Quantizing::measured(effort).unwrap());
        assert!(fast.weights > best.weights && fast.of_cube > 0.0);
    }
}
