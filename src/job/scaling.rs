//! Columns of matrices scaled by the size of their inputs, and the norms before them by the inverse (AWQ: Lin et al.,
//! "AWQ: Activation-aware Weight Quantization for LLM Compression and Acceleration", 2023, section 3.2).
//!
//! ```text
//! s[j] = rms of input j, to a power, over the geometric mean of all
//! norm[j] / s[j]        W[i][j] * s[j]        H[i][j] / (s[i] s[j])
//! ```
//!
//! The model's function stays what it was but for the rounding of floats. What types make of the weights changes: a scale that many
//! weights share suits those of strong inputs better.

use super::Error;
use crate::calibration::{Calibration, Statistics};
use crate::checkpoint::Model;
use crate::gguf::{SCALING_KEY, Value};
use crate::names::{Input, SharedInput, TensorName};
use crate::plan::{Plan, Planned, Target};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Architectures whose graphs in llama.cpp multiply the result of `attn_norm` with queries, keys and values alone, and that of
/// `ffn_norm` with the matrices between attentions alone, router and shared experts included.
pub const SCALED: &[&str] = &[
    "gemma",
    "gemma2",
    "gemma3",
    "gpt2",
    "gptneox",
    "granite",
    "llama",
    "mistral3",
    "phi3",
    "qwen2",
    "qwen2moe",
    "qwen3",
    "qwen3moe",
    "smollm3",
    "starcoder2",
];

/// The smallest size of an input that counts, of that of all: columns without input have no other.
const LEAST: f64 = 1e-4;

/// Has the plan's norms and the matrices behind them scaled, and returns what was left as it is, in whole sentences.
pub(super) fn scale(
    model: &Model,
    plan: &mut Plan,
    power: f64,
    calibration: Option<&Calibration>,
) -> Result<Vec<String>, Error> {
    let Some(calibration) = calibration else { return Err(Error::NothingToScaleBy) };
    let architecture = model.key("general.architecture").and_then(|v| v.as_str()).unwrap_or_default();
    if !SCALED.contains(&architecture) {
        return Ok(vec![format!(
            "activation_scaling: it is not known what the norms of `{architecture}` are multiplied with, so that nothing is scaled"
        )]);
    }
    let mut left = BTreeMap::new();
    let mut is_any = false;
    for (norm, readers) in norms(plan) {
        let name = plan.tensors[norm].header.name.clone();
        match factors(plan, norm, &readers, power, calibration)? {
            Ok(factors) => {
                let inverse: Arc<[f32]> = factors.iter().map(|s| 1.0 / s).collect();
                let bias = name.replace(".weight", ".bias");
                let bias = plan.tensors.iter().position(|t| t.header.name == bias);
                let of_norm = [norm].into_iter().chain(bias).map(|at| (at, &inverse));
                for (at, factors) in of_norm.chain(readers.iter().map(|&at| (at, &factors))) {
                    plan.tensors[at].source = plan.tensors[at].source.scaled(factors.clone());
                }
                is_any = true;
            }
            Err(why) => left.entry(why).or_insert_with(Vec::new).push(name),
        }
    }
    if is_any {
        *plan = plan.clone().with_key(SCALING_KEY, Value::F32(power as f32));
    }
    let note = |(why, names): (String, Vec<String>)| {
        let more = if names.len() > 1 { format!(" and {} more", names.len() - 1) } else { String::new() };
        format!("activation_scaling: `{}`{more}: {why}", names[0])
    };
    Ok(left.into_iter().map(note).collect())
}

/// Norms, and the matrices that their results are multiplied with, by their places in the plan.
fn norms(plan: &Plan) -> Vec<(usize, Vec<usize>)> {
    let input_of = |t: &Planned| {
        let shared = SharedInput::of(&t.header.name)?;
        Some((shared.scope.to_owned(), matches!(shared.input, Input::Attention)))
    };
    let mut readers: BTreeMap<(String, bool), Vec<usize>> = BTreeMap::new();
    for (at, t) in plan.tensors.iter().enumerate() {
        if let Some(input) = input_of(t) {
            readers.entry(input).or_default().push(at);
        }
    }
    let of_norm = |(at, t): (usize, &Planned)| {
        let TensorName { scope, layer, suffix } = TensorName::parse(&t.header.name);
        let of_attention = match layer {
            "attn_norm" => true,
            "ffn_norm" => false,
            _ => return None,
        };
        let is_norm = suffix == "weight" && scope.starts_with("blk.");
        let readers = readers.get(&(scope.to_owned(), of_attention)).filter(|_| is_norm)?;
        Some((at, readers.clone()))
    };
    plan.tensors.iter().enumerate().filter_map(of_norm).collect()
}

/// What the columns behind a norm are multiplied with, or why they cannot be.
fn factors(
    plan: &Plan,
    norm: usize,
    readers: &[usize],
    power: f64,
    calibration: &Calibration,
) -> Result<Result<Arc<[f32]>, String>, Error> {
    let columns = plan.tensors[norm].source.columns();
    let measured =
        readers.iter().map(|&at| &plan.tensors[at]).find(|t| calibration.input_of(&t.header.name).is_some());
    let Some(measured) = measured else { return Ok(Err("its result was not measured".into())) };
    let fits = |t: &Planned| t.source.columns() == columns && !matches!(t.target, Target::Kept(_));
    if let Some(t) = readers.iter().map(|&at| &plan.tensors[at]).find(|t| !fits(t)) {
        return Ok(Err(format!("`{}` stays as it is stored", TensorName::parse(&t.header.name).layer)));
    }
    let inputs: BTreeSet<&str> =
        readers.iter().filter_map(|&at| calibration.input_of(&plan.tensors[at].header.name)).collect();
    let is_other = |(at, t): &(usize, &Planned)| {
        !readers.contains(at)
            && calibration.input_of(&t.header.name).is_some_and(|input| inputs.contains(input))
    };
    if let Some((_, other)) = plan.tensors.iter().enumerate().find(is_other) {
        return Ok(Err(format!("`{}` has its result too", TensorName::parse(&other.header.name).layer)));
    }
    let squares = squares(measured, calibration)?;
    let least = LEAST * (squares.iter().sum::<f64>() / columns as f64).sqrt();
    if least <= 0.0 {
        return Ok(Err("its result was zero".into()));
    }
    let logarithms: Vec<f64> = squares.iter().map(|square| power * square.sqrt().max(least).ln()).collect();
    let mean = logarithms.iter().sum::<f64>() / columns as f64;
    Ok(Ok(logarithms.iter().map(|l| (l - mean).exp() as f32).collect()))
}

/// The mean square of every column of an input, over all experts that have it.
fn squares(t: &Planned, calibration: &Calibration) -> Result<Vec<f64>, Error> {
    let columns = t.source.columns();
    let mut sums = vec![0.0; columns];
    let mut all = 0.0;
    for expert in 0..super::guided::experts(&t.source) {
        let Some(statistics) = calibration.load(&t.header.name, expert, columns)? else { continue };
        calibration.release();
        let (diagonal, tokens): (Vec<f32>, u64) = match statistics {
            Statistics::Gram { n, values, tokens } => {
                (values.iter().step_by(n + 1).copied().collect(), tokens)
            }
            Statistics::Diagonal { values, tokens } => (values, tokens),
        };
        let tokens = tokens as f64;
        sums.iter_mut().zip(diagonal).for_each(|(sum, square)| *sum += tokens * f64::from(square));
        all += tokens;
    }
    Ok(sums.into_iter().map(|sum| if all > 0.0 { sum / all } else { 0.0 }).collect())
}
