//! Checkpoints that are pickles (pytorch_model.bin) and have no tokenizer that llama.cpp knows: IgLM, IgLM-S (antibodies;
//! their licence allows measurements) and MGM (microbes; MIT). Converted to F32 they have transformers' logits in llama.cpp
//! (scripts/reference_pytorch.py); in the types of this program they run.

use super::fixtures::*;
use super::place::{Place, ROOT, script};
use std::path::Path;
use std::process::Command;

const IDS: &str = "3 7 19 22 5 11 30 8 14 2 25 17 6 28 9 21";

/// Of F32 files: llama.cpp keeps keys and values as F16, and its GELU is a table of F16, on every processor. The logits are 5
/// to 19.
const MAX_DIFFERENCE: f64 = 0.02;

/// Positions of 16 at which a quantized file has the same most likely token; these models are the smallest there are.
const MIN_SAME: usize = 8;

/// The most likely token and its logit at each position.
fn logits(text: &str) -> Vec<(u32, f64)> {
    let pairs = text.lines().filter_map(|line| line.split_once([' ', '\t']));
    pairs.filter_map(|(token, logit)| Some((token.parse().ok()?, logit.trim().parse().ok()?))).collect()
}

/// Logits of a checkpoint that is converted with these options.
fn converted(place: &Place, name: &str, folder: &Path, options: &[&str]) -> Vec<(u32, f64)> {
    let out = place.path(&format!("{name}.gguf"));
    let mut convert = tenpak(["convert", arg(folder), "-o", arg(&out), "--no-calibration", "--no-tokenizer"]);
    place.run(&format!("convert-{name}"), convert.args(options));
    logits(&place.run(name, Command::new(logits_program()).arg(out).args(IDS.split(' '))))
}

fn has_the_logits_of_transformers(name: &str, folder: &str) {
    let place = Place::new();
    let folder = script("fetch_pytorch.sh", &[], &[]).join(folder);
    let golden = Path::new(ROOT).join(format!("tests/golden/pytorch/{name}.logits"));
    let expected = logits(&std::fs::read_to_string(golden).unwrap());
    assert_eq!(expected.len(), IDS.split(' ').count());
    let plain = converted(&place, "f32", &folder, &["--outtype", "f32"]);
    let tokens = |logits: &[(u32, f64)]| logits.iter().map(|(token, _)| *token).collect::<Vec<_>>();
    assert_eq!(tokens(&plain), tokens(&expected), "most likely tokens");
    let differences = plain.iter().zip(&expected).map(|(a, b)| (a.1 - b.1).abs());
    let largest = differences.fold(0.0, f64::max);
    let quantized = converted(&place, "quantized", &folder, &[]);
    assert_eq!(quantized.len(), expected.len());
    let same = quantized.iter().zip(&expected).filter(|(a, b)| a.0 == b.0).count();
    note(format!("F32: logits within {largest:.4}; quantized: {same} tokens the same"));
    assert!(largest <= MAX_DIFFERENCE, "logits differ by {largest}");
    assert!(same >= MIN_SAME, "{same} tokens of the quantized file are the same");
}

#[test]
fn iglm_s() {
    has_the_logits_of_transformers("iglm-s", "iglm/trained_models/IgLM-S");
}

#[test]
fn iglm() {
    has_the_logits_of_transformers("iglm", "iglm/trained_models/IgLM");
}

#[test]
fn mgm() {
    has_the_logits_of_transformers("mgm", "mgm/resources/general_model");
}
