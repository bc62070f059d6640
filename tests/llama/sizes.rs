//! `convert --target` and the like on the first blocks of SmolLM2: the size is met, the mix costs less than one type of the
//! same size, and what was measured serves the next size.

use super::fixtures::*;
use super::place::{Place, THREADS};
use std::path::Path;
use std::process::Command;
use tenpak_gguf::gguf::File;

/// Blocks of the model: half of its weights are embeddings.
const BLOCKS: usize = 4;

/// Chunks of 512 tokens to judge on.
const CHUNKS: usize = 8;

/// Bytes of text to calibrate on, some 8000 tokens, of which a tenth is kept back.
const TEXT_BYTES: usize = 36_000;

/// How much of the size that was asked for a file may leave unused.
const UNUSED: f64 = 0.002;

/// The divergence of the mix over that of one type for all, both of the same size (0.93 seen: with four blocks and as little text as
/// possible there is not much to choose by).
const MAX_KLD_RATIO: f64 = 1.0;

/// How far the expected divergence may be from that on other text, as a factor (1.68 seen). The model is cut short and the text
/// is too, so that this finds errors of units only.
const MAX_SURPRISE: f64 = 3.0;

/// A conversion with little text, quickly.
fn sized(place: &Place, model: &Path, out: &Path, more: &[&str]) -> Command {
    let mut convert = tenpak(["convert", arg(model), "-o", arg(out), "--collector", arg(&LLAMA)]);
    convert.args(["--calibration-text", arg(&place.path("text.txt")), "--cache", arg(&place.path("cache"))]);
    convert.args(["--effort", "fast", "--budget", "0", "--threads", &THREADS.to_string()]);
    convert.args(more);
    convert
}

fn bytes(path: &Path) -> u64 {
    std::fs::metadata(path).expect("it was written").len()
}

/// The number after some words.
#[track_caller]
fn number(printed: &str, words: &str) -> f64 {
    let rest = printed.split(words).nth(1).unwrap_or_else(|| panic!("{words:?} is not in {printed}"));
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    rest[..end].parse().unwrap_or_else(|_| panic!("no number after {words:?} in {printed}"))
}

#[test]
fn sizes_are_met_by_mixes_that_cost_less() {
    let place = Place::new();
    let model = short(&f16(), BLOCKS);
    let whole = std::fs::read(text("c4")).unwrap();
    let start = whole[..TEXT_BYTES].utf8_chunks().next().expect("text").valid();
    std::fs::write(place.path("text.txt"), start).unwrap();

    let uniform = place.path("t3.gguf");
    let printed = place.run("t3", &mut sized(&place, &model, &uniform, &["--type", "t3"]));
    assert!(printed.contains("cost: KLD ") && !printed.contains("from the cache"), "{printed}");

    let (mixed, recipe) = (place.path("mixed.gguf"), place.path("mix.toml"));
    let size = bytes(&uniform).to_string();
    let options = ["--size", &size, "--save-recipe", arg(&recipe)];
    let printed = place.run("mixed", &mut sized(&place, &model, &mixed, &options));
    assert!(printed.contains("statistics and sensitivities, from the cache"), "{printed}");
    // A tenth of the text has too few tokens for both.
    assert!(printed.contains("note: no trial on ") && !printed.contains("trial: some"), "{printed}");
    let wanted = bytes(&uniform);
    let of_size = bytes(&mixed) as f64 / wanted as f64;
    assert!((1.0 - UNUSED..=1.0).contains(&of_size), "{} of {wanted} bytes", bytes(&mixed));
    let expected = number(&printed, "a divergence of ");
    let found = number(&printed, "cost: KLD ");

    let (evaluation, logits) = (evaluation(CHUNKS), place.path("logits"));
    place.write_logits("logits", &evaluation, &model, &logits);
    let of_mix = place.divergence("of_mix", &evaluation, &mixed, &logits).mean;
    let of_t3 = place.divergence("of_t3", &evaluation, &uniform, &logits).mean;
    note(format!(
        "mean KLD {of_mix}, of T3 {of_t3}; expected {expected}, on text that was kept back {found}"
    ));
    assert!(of_mix <= MAX_KLD_RATIO * of_t3, "{of_mix} is more than {MAX_KLD_RATIO} of {of_t3}");
    let surprise = of_mix / expected;
    assert!((1.0 / MAX_SURPRISE..=MAX_SURPRISE).contains(&surprise), "{of_mix}, and {expected} was expected");

    // The saved recipe makes the same file.
    let again = place.path("again.gguf");
    let cached = std::fs::read_dir(place.path("cache")).unwrap().map(|entry| entry.unwrap().path());
    let gram = cached.into_iter().find(|path| arg(path).ends_with(".gram.gguf")).expect("a calibration");
    let mut convert = tenpak(["convert", arg(&model), "-o", arg(&again), "--recipe", arg(&recipe)]);
    place.run("again", convert.args(["--calibration", arg(&gram), "--effort", "fast"]));
    assert!(std::fs::read(&again).unwrap() == std::fs::read(&mixed).unwrap());
    let kinds: std::collections::BTreeSet<String> =
        File::open(&mixed).unwrap().tensors().iter().map(|t| t.kind.name()).collect();
    assert!(kinds.len() > 4, "{kinds:?}");

    // What cannot be is refused before anything is written, with the least that can.
    let small = place.path("small.gguf");
    let printed = place.fails("small", &mut sized(&place, &model, &small, &["--target", "30x"]));
    assert!(
        printed.contains("are too few: the smallest file of this model has ") && !small.exists(),
        "{printed}"
    );
}

/// Blocks and tokens for the default command: the model writes nonsense, and quickly.
const FEW_TOKENS: &str = "1024";

/// The text is the model's own, marks of its chat template included, and so is the text that the file is judged on.
#[test]
fn without_a_text_the_model_writes_it() {
    let place = Place::new();
    let (model, out) = (short(&f16(), FEW_BLOCKS), place.path("out.gguf"));
    let with = |command_and_model: &[&str], effort: &str| {
        let mut command = tenpak([]);
        command.args(command_and_model);
        command.args(["--collector", arg(&LLAMA), "--cache", arg(&place.path("cache"))]);
        command.args([
            "--calibration-tokens",
            FEW_TOKENS,
            "--budget",
            "0",
            "--threads",
            &THREADS.to_string(),
        ]);
        command.args(["--effort", effort]);
        command
    };
    let printed = place.run("default", &mut with(&["convert", arg(&model), "-o", arg(&out)], "fast"));
    assert!(
        printed.contains("text that the model writes") && printed.contains("of self, seed 1"),
        "{printed}"
    );
    // Every layer is tried, and its quantized weights cost about what noise does.
    let of_trial = |printed: &str| number(printed, "trial: some layers in t3 cost ");
    note(format!("{} times what is expected", of_trial(&printed)));
    assert!((0.3..3.0).contains(&of_trial(&printed)), "{printed}");
    // Its embeddings are its head, which is tried by itself.
    assert!(printed.contains(" token_embd.weight, ") && printed.contains(" all others"), "{printed}");
    // The mix is rehearsed on the text that it is judged on.
    assert!(printed.contains("a rehearsal of the mix: "), "{printed}");
    let (expected, found) = (number(&printed, "a divergence of "), number(&printed, "cost: KLD "));
    note(format!("a divergence of {expected} was expected, and it is {found}"));
    assert!(
        (1.0 / MAX_SURPRISE..MAX_SURPRISE).contains(&(expected / found)),
        "{expected}, and it is {found}"
    );
    // The longer trial tells kinds of weights apart, on the same statistics.
    let planned = place.run("kinds", &mut with(&["plan", arg(&model)], "normal"));
    assert!((0.3..3.0).contains(&of_trial(&planned)), "{planned}");
    assert!(planned.contains("by kinds: ") && planned.contains(" ffn_down.weight"), "{planned}");
    // The curve has the file beside what each size would cost, and judges it as the conversion did.
    let (table, picture) = (place.path("curve.csv"), place.path("curve.svg"));
    for curve in [&table, &picture] {
        let mut plan = with(&["plan", arg(&model)], "fast");
        place.run("curve", plan.args(["--pareto", arg(curve), "--beside", arg(&out)]));
    }
    let table = std::fs::read_to_string(table).unwrap();
    let (ours, beside): (Vec<_>, Vec<_>) = table.lines().skip(1).partition(|line| line.contains(" bpw,"));
    let column = |line: &str, i: usize| line.split(',').nth(i).unwrap().parse::<f64>().expect("a number");
    let falls =
        |pair: &[&str]| column(pair[0], 1) < column(pair[1], 1) && column(pair[0], 4) > column(pair[1], 4);
    assert!(ours.len() > 10 && ours.windows(2).all(falls), "{table}");
    let [beside] = beside[..] else { panic!("more or less than a file beside: {table}") };
    assert!(beside.starts_with(&format!("out,{},", bytes(&out))), "{beside}");
    assert!((column(beside, 4) - found).abs() < 6e-5, "{beside}, and the conversion found {found}");
    let picture = std::fs::read_to_string(picture).unwrap();
    assert!(picture.starts_with("<svg") && picture.contains(">\nout\n<"), "{picture}");
    // How long each step takes is said before, of all of them.
    assert!(printed.contains("all together about ") && !printed.contains("about ?"), "{printed}");
    let bytes_of_fp32 = 4 * File::open(&model).unwrap().tensors().iter().map(|t| t.elements()).sum::<u64>();
    let of_size = 10.0 * bytes(&out) as f64 / bytes_of_fp32 as f64;
    assert!((1.0 - UNUSED..=1.0).contains(&of_size), "{} bytes, FP32 has {bytes_of_fp32}", bytes(&out));
    assert!(number(&printed, "cost: KLD ").is_finite(), "{printed}");
    assert!(printed.contains("tokens that were kept from calibration"), "{printed}");
}
