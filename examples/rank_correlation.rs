//! How well the costs of types, which sensitivities make, predict what one tensor alone costs.
//!
//! ```text
//! rank_correlation MODEL CALIBRATION TYPE SWAPS
//! ```
//!
//! SWAPS is what `llama-tenpak-calibrate --swap FILE` printed for a FILE of MODEL all of whose matrices are of TYPE, such as t3:
//! lines of a name, a mean KL divergence and its standard error. Printed are both sums by kinds of tensors, and the rank
//! correlation over all. scripts/check_sensitivities.sh makes it.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::process::ExitCode;
use tenpak_gguf::calibration::Calibration;
use tenpak_gguf::checkpoint::{Model, Options};
use tenpak_gguf::job::{Guide, costs};
use tenpak_gguf::plan::Family;
use tenpak_gguf::quantize::Effort;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, calibration, family, swaps] = &arguments[..] else {
        eprintln!("give MODEL CALIBRATION TYPE SWAPS");
        return ExitCode::FAILURE;
    };
    match compare(Path::new(model), Path::new(calibration), family, Path::new(swaps)) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(
    model: &Path,
    calibration: &Path,
    family: &str,
    swaps: &Path,
) -> Result<String, Box<dyn std::error::Error>> {
    let model = Model::open(model, &Options::default())?;
    let calibration = Calibration::open(calibration)?;
    let sensitivities = calibration.sensitivities()?.ok_or("the calibration has no sensitivities")?;
    let kinds = Family::named(family).ok_or("there is no such type")?.types();
    let guide = Guide { calibration: &calibration, effort: Effort::Fast };
    let mut expected = HashMap::new();
    for tensor in costs(&model, guide, &sensitivities, None, &|_| ())? {
        let of_family = |id: u32| kinds.iter().any(|kind| kind.id == id);
        if let Some((_, cost)) = tensor.offers.iter().find(|(c, _)| of_family(c.target.ggml().0)) {
            expected.insert(model.tensors[tensor.index].name.clone(), *cost);
        }
    }
    let mut pairs = Vec::new();
    let mut by_kind = BTreeMap::new();
    for line in std::fs::read_to_string(swaps)?.lines() {
        let mut fields = line.split_whitespace();
        if let (Some(name), Some(Ok(found))) = (fields.next(), fields.next().map(str::parse::<f64>))
            && let Some(&cost) = expected.get(name)
        {
            pairs.push((cost, found));
            let of_kind = by_kind.entry(kind_of(name)).or_insert((0.0, 0.0));
            *of_kind = (of_kind.0 + cost, of_kind.1 + found);
        }
    }
    if pairs.len() < 3 {
        return Err("fewer than three tensors are in both".into());
    }
    let sum = |of: &dyn Fn(&(f64, f64)) -> f64| pairs.iter().map(of).sum::<f64>();
    let kinds = by_kind.iter().map(|(kind, (expected, found))| {
        format!("{kind:<24} expected {expected:.4}, found {found:.4}, quotient {:.2}\n", expected / found)
    });
    Ok(format!(
        "{}{} tensors: rank correlation {:.3}; sum expected {:.4}, found {:.4}",
        kinds.collect::<String>(),
        pairs.len(),
        correlation(&ranks(pairs.iter().map(|p| p.0)), &ranks(pairs.iter().map(|p| p.1))),
        sum(&|p| p.0),
        sum(&|p| p.1)
    ))
}

/// The name of a tensor without the number of its block.
fn kind_of(name: &str) -> String {
    name.split('.').filter(|part| part.parse::<u32>().is_err()).collect::<Vec<_>>().join(".")
}

/// The place of each value among all in their order.
fn ranks(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let values: Vec<f64> = values.collect();
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    order.into_iter().enumerate().for_each(|(rank, at)| ranks[at] = rank as f64);
    ranks
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let mean = (a.len() - 1) as f64 / 2.0;
    let product = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - mean) * (y - mean)).sum::<f64>();
    product(a, b) / (product(a, a) * product(b, b)).sqrt()
}
