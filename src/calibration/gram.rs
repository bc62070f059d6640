//! Files of Gram matrices, docs/calibration.md.

use super::{Problem, Sensitivities, Statistics, TokenShares, count, floats};
use crate::gguf::{Changed, File, GgmlType, Tensor, Value};
use crate::mapped;
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// Versions of the format. Files of version 1 have no sensitivities.
const VERSIONS: std::ops::RangeInclusive<u64> = 1..=2;
/// Keys that decide the sums.
const IDENTITY: [&str; 4] = ["gram.model.sha256", "gram.text.sha256", "gram.tokens", "gram.context"];
/// Count of a matrix that the collector has not finished.
const UNFINISHED: f32 = -1.0;
/// Rows and columns that are mirrored at a time: 16 KB of each triangle.
const TILE: usize = 64;

pub(super) struct GramFile {
    file: File,
    tokens: u64,
    inputs: HashMap<String, Input>,
    /// Weight and its input, in the order of the model.
    weights: Vec<(String, String)>,
    input_of: HashMap<String, usize>,
}

/// A distinct input of linear layers.
pub(super) struct Input {
    pub columns: usize,
    pub experts: usize,
    sums: Tensor,
    counts: Tensor,
}

impl GramFile {
    pub fn new(file: File) -> Result<GramFile, Problem> {
        let number = |key: &str| {
            let value = file.key(key).and_then(Value::as_u64);
            value.ok_or_else(|| Problem::Damaged(format!("{key} is missing or not a number")))
        };
        let version = number("gram.version")?;
        if !VERSIONS.contains(&version) {
            return Err(Problem::Version(version));
        }
        let tokens = number("gram.tokens")?;
        let weights = strings(&file, "gram.weights")?;
        let names = strings(&file, "gram.inputs")?;
        if weights.len() != names.len() {
            let (w, n) = (weights.len(), names.len());
            return Err(Problem::Damaged(format!("gram.weights has {w} names and gram.inputs {n}")));
        }
        let tensors: HashMap<&str, &Tensor> = file.tensors().iter().map(|t| (&t.name[..], t)).collect();
        let mut inputs = HashMap::new();
        for name in &names {
            if !inputs.contains_key(name) {
                inputs.insert(name.clone(), Input::new(name, &tensors)?);
            }
        }
        let input_of = weights.iter().enumerate().map(|(i, w)| (w.clone(), i)).collect();
        let weights = weights.into_iter().zip(names).collect();
        Ok(GramFile { tokens, inputs, weights, input_of, file })
    }

    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    pub fn architecture(&self) -> &str {
        self.file.key("general.architecture").and_then(Value::as_str).unwrap_or("")
    }

    pub fn model_name(&self) -> Option<&str> {
        self.file.key("general.name").and_then(Value::as_str)
    }

    pub fn identity(&self) -> String {
        let mut hash = Sha256::new();
        for key in IDENTITY {
            let value = self.file.key(key).map(Value::to_bytes).unwrap_or_default();
            hash.update((value.len() as u64).to_le_bytes());
            hash.update(value);
        }
        // What depends on each weight decides how embeddings are quantized.
        for name in ["sensitivity.divergence", "sensitivity.energy"] {
            let tensor = self.file.tensors().iter().find(|t| t.name == name);
            hash.update(tensor.and_then(|t| self.file.data(t).ok()).unwrap_or_default());
        }
        format!("{:x}", hash.finalize())
    }

    pub fn sensitivities(&self) -> Result<Option<Sensitivities>, Problem> {
        Sensitivities::read(&self.file, |name| {
            let Some(tensor) = self.file.tensors().iter().find(|t| t.name == name) else { return Ok(None) };
            let data = self.file.data(tensor).map_err(|e| Problem::Damaged(e.problem.to_string()))?;
            Ok(Some(floats(data).collect()))
        })
    }

    pub fn token_shares(&self) -> Result<Option<TokenShares>, Problem> {
        let Some(tensor) = self.file.tensors().iter().find(|t| t.name == "token.counts") else {
            return Ok(None);
        };
        let data = self.file.data(tensor).map_err(|e| Problem::Damaged(e.problem.to_string()))?;
        let counts: Vec<f32> = floats(data).collect();
        if counts.iter().any(|n| !n.is_finite() || *n < 0.0) {
            return Err(Problem::Damaged("`token.counts` are no counts".into()));
        }
        Ok(TokenShares::of_counts(&counts))
    }

    /// Fails if the file was changed since it was opened.
    pub fn check_unchanged(&self) -> Result<(), Changed> {
        self.file.check_unchanged()
    }

    pub fn release(&self) {
        self.file.maps().iter().for_each(mapped::release);
    }

    pub fn describe(&self) -> String {
        let text = |key| self.file.key(key).and_then(Value::as_str).unwrap_or("?");
        format!(
            "Gram matrices of {} inputs of {}, {} tokens of {}",
            self.inputs.len(),
            text("general.name"),
            self.tokens,
            text("gram.text.name")
        )
    }

    pub fn weights(&self) -> impl Iterator<Item = &str> {
        self.weights.iter().map(|(weight, _)| &weight[..])
    }

    pub fn input_of(&self, weight: &str) -> Option<&str> {
        self.input_of.get(weight).map(|&i| &self.weights[i].1[..])
    }

    pub fn input(&self, weight: &str) -> Option<&Input> {
        self.input_of(weight).map(|name| &self.inputs[name])
    }

    pub fn load(&self, weight: &str, expert: usize, columns: usize) -> Result<Option<Statistics>, Problem> {
        let Some(input) = self.input(weight) else { return Ok(None) };
        let weight = || weight.to_owned();
        if input.columns != columns {
            let (found, expected) = (input.columns, columns);
            return Err(Problem::Shape { weight: weight(), what: "columns", found, expected });
        }
        if expert >= input.experts {
            return Err(Problem::Expert { weight: weight(), experts: input.experts, expert });
        }
        let data = |t| self.file.data(t).map_err(|e| Problem::Damaged(e.problem.to_string()));
        let tokens = floats(data(&input.counts)?).nth(expert).expect("as many as experts");
        if tokens == UNFINISHED {
            return Err(Problem::Unfinished(input.sums.name.clone()));
        }
        let tokens = count(&input.counts.name, expert, tokens)?;
        let bytes = 4 * triangle(columns);
        let packed = &data(&input.sums)?[expert * bytes..][..bytes];
        let scale = if tokens == 0 { 0.0 } else { 1.0 / tokens as f64 };
        let values = square(packed, columns, scale).map_err(|e| e.in_tensor(&input.sums.name, expert))?;
        Ok(Some(Statistics::Gram { n: columns, values, tokens }))
    }
}

impl Input {
    fn new(name: &str, tensors: &HashMap<&str, &Tensor>) -> Result<Input, Problem> {
        let tensor = |suffix: &str| {
            let name = format!("{name}.{suffix}");
            let t = tensors.get(&name[..]).ok_or_else(|| Problem::Damaged(format!("`{name}` is missing")))?;
            match t.kind {
                GgmlType::F32 => Ok((*t).clone()),
                kind => Err(Problem::Damaged(format!("`{name}` is {}, not f32", kind.name()))),
            }
        };
        let (sums, counts) = (tensor("in_gram")?, tensor("counts")?);
        let len = sums.columns();
        let columns = (((8.0 * len as f64 + 1.0).sqrt() - 1.0) / 2.0).round() as usize;
        let experts = sums.elements().checked_div(len).unwrap_or(0);
        if triangle(columns) as u64 != len || experts == 0 {
            return Err(Problem::Damaged(format!("`{}` has rows of {len}, no triangle", sums.name)));
        }
        if counts.elements() != experts {
            let n = counts.elements();
            return Err(Problem::Damaged(format!("`{}` has {n} values for {experts} experts", counts.name)));
        }
        Ok(Input { columns, experts: experts as usize, sums, counts })
    }
}

fn strings(file: &File, key: &str) -> Result<Vec<String>, Problem> {
    let values = file.key(key).and_then(Value::as_array);
    let strings = values.and_then(|v| v.iter().map(|v| v.as_str().map(str::to_owned)).collect());
    strings.ok_or_else(|| Problem::Damaged(format!("{key} is missing or not a list of names")))
}

/// Values of the lower triangle of n columns.
fn triangle(n: usize) -> usize {
    n * (n + 1) / 2
}

/// A value that cannot be in a Gram matrix.
struct BadValue {
    row: usize,
    column: usize,
    value: f32,
}

impl BadValue {
    fn in_tensor(self, tensor: &str, expert: usize) -> Problem {
        let what = if self.row == self.column { "a sum of squares" } else { "a sum of products" };
        let place = format!("expert {expert}, row {}, column {}", self.row, self.column);
        Problem::Value { tensor: tensor.to_owned(), place, value: self.value, what }
    }
}

/// The square of a packed lower triangle, times `scale`. The first bad value in the order of rows is the error.
fn square(packed: &[u8], n: usize, scale: f64) -> Result<Vec<f32>, BadValue> {
    let row = |i: usize| &packed[4 * triangle(i)..][..4 * (i + 1)];
    let mut values = vec![0.0f32; n * n];
    let bands = values.par_chunks_mut(TILE * n).enumerate();
    let errors = bands.map(|(band, out)| {
        let first = band * TILE;
        let rows = out.len() / n;
        for i in first..first + rows {
            let out = &mut out[(i - first) * n..][..i + 1];
            for (j, (out, v)) in out.iter_mut().zip(floats(row(i))).enumerate() {
                if !v.is_finite() || (i == j && v < 0.0) {
                    return Some(BadValue { row: i, column: j, value: v });
                }
                *out = (v as f64 * scale) as f32;
            }
        }
        // The upper part is the lower one of later rows, in which the columns of this band lie side by side.
        for j in first + 1..n {
            let columns = rows.min(j - first);
            for (i, v) in floats(&row(j)[4 * first..][..4 * columns]).enumerate() {
                out[i * n + j] = (v as f64 * scale) as f32;
            }
        }
        None
    });
    match errors.find_first(Option::is_some).flatten() {
        Some(bad) => Err(bad),
        None => Ok(values),
    }
}
