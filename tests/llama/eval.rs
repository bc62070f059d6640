//! `eval` by llama-perplexity and llama-bench, on the first blocks of SmolLM2.

use super::fixtures::*;
use super::place::{Place, THREADS};
use serde_json::Value as Json;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Chunks of each text.
const CHUNKS: usize = 2;

/// Positions that a chunk of 512 tokens has.
const POSITIONS: u64 = 255;

/// What F16 caches and sums in another order may change of a figure that is printed with six digits.
const ROUNDING: f64 = 1e-6;

fn eval(place: &Place, args: &[&str]) -> Command {
    let mut command = tenpak(["eval", "--collector", arg(&LLAMA), "--cache", arg(&place.path("cache"))]);
    command.args(["--threads", &THREADS.to_string()]).args(args);
    command
}

/// The first blocks in the types that are the default, as `small.gguf`.
fn small(place: &Place) -> PathBuf {
    let path = place.path("small.gguf");
    std::fs::copy(short(&out(), FEW_BLOCKS), &path).expect("a copy");
    path
}

/// Whether a line of a table begins with these cells.
fn has_row(printed: &str, cells: &str) -> bool {
    let mut rows = printed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    rows.any(|row| row.starts_with(cells))
}

fn read(path: &Path) -> Json {
    serde_json::from_str(&std::fs::read_to_string(path).expect("a receipt")).expect("JSON")
}

/// Task files as llama.cpp has them: two tasks each.
fn tasks(place: &Place) -> [String; 2] {
    let endings = ["went to the shop", "sang a song", "is blue", "and or not"].join("\n");
    let swag = format!("Cooking: The man\n0\n{endings}\nMusic: The choir\n1\n{endings}");
    std::fs::write(place.path("swag.txt"), swag).expect("a file");

    let string = |text: &str| [&(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat();
    let answers = |labels: [u32; 2]| {
        let mut bytes = 2u32.to_le_bytes().to_vec();
        ["yes", "no"].iter().for_each(|answer| bytes.extend(string(answer)));
        labels.iter().for_each(|label| bytes.extend(label.to_le_bytes()));
        bytes
    };
    let task = |question: &str| [string(question), answers([1, 0]), answers([1, 0])].concat();
    let (one, two) = (task("Is water wet?"), task("Is fire hot?"));
    let mut bytes = 2u32.to_le_bytes().to_vec();
    [12, 12 + one.len() as u32].iter().for_each(|at| bytes.extend(at.to_le_bytes()));
    std::fs::write(place.path("choice.bin"), [bytes, one, two].concat()).expect("a file");
    ["hellaswag=swag.txt".into(), "multiple-choice=choice.bin".into()]
}

/// Figures are those of llama-perplexity alone; the receipt can be repeated.
#[test]
fn figures_are_those_of_llama_perplexity_and_come_again() {
    let place = Place::new();
    let model = short(&f16(), FEW_BLOCKS);
    let small = small(&place);
    let (wiki, code) = (format!("wiki={}", arg(&text("wiki"))), format!("code={}", arg(&text("code"))));
    let chunks = CHUNKS.to_string();
    let [swag, choice] = tasks(&place);
    let args =
        ["small.gguf", arg(&model), "--against", arg(&model), "-f", &wiki, "-f", &code, "--chunks", &chunks];
    let more = ["--receipt", "receipt.json", "--tasks", &swag, "--tasks", &choice, "--speed"];
    let page = ["--report", "report.html", "--text-tokens", "8", "--prompt", "The capital of France is"];
    let printed = place.run("eval", &mut eval(&place, &[&args[..], &more, &page].concat()));
    assert!(
        has_row(&printed, "small.gguf wiki 510 ") && has_row(&printed, "small.gguf all 1020 "),
        "{printed}"
    );

    let receipt = read(&place.path("receipt.json"));
    let (of_small, of_base) = (&receipt["models"][0], &receipt["models"][1]);
    let (evaluation, logits) = (evaluation(CHUNKS), place.path("logits"));
    place.write_logits("logits", &evaluation, &model, &logits);
    let alone = place.divergence("alone", &evaluation, &small, &logits);
    let number = |value: &Json| value.as_f64().unwrap_or_else(|| panic!("no number: {value}"));
    let figures = &of_small["domains"][0];
    for (found, expected) in [
        (&figures["kld"]["value"], alone.mean),
        (&figures["kld"]["error"], alone.uncertainty),
        (&figures["kld_999"], alone.percentile_999),
        (&figures["perplexity"]["value"], alone.perplexity),
        (&figures["same_top"]["value"], alone.same_top),
    ] {
        assert!(
            (number(found) - expected).abs() <= ROUNDING * expected.abs().max(1.0),
            "{found}, {expected}"
        );
    }
    assert_eq!(figures["positions"], CHUNKS as u64 * POSITIONS);
    assert!(number(&figures["kld_median"]) <= number(&figures["kld_99"]));
    assert!(number(&figures["kld_99"]) <= number(&figures["kld_999"]));
    // The base beside itself: divergences are those of 16 bits that logits are kept in.
    assert!(number(&of_base["all"]["kld"]["value"]).abs() < 1e-3, "{of_base}");
    assert!(number(&of_base["all"]["same_top"]["value"]) > 99.0);
    for (i, kind) in ["hellaswag", "multiple-choice"].iter().enumerate() {
        let score = &of_small["tasks"][i];
        assert_eq!((score["kind"].as_str(), &score["tasks"]), (Some(*kind), &2.into()), "{score}");
    }
    assert!(number(&of_small["speed"]["prompt"]["value"]) > 0.0);
    assert!(number(&of_small["speed"]["generation"]["value"]) > 0.0);
    // The base beside itself has no errors and writes the same, and the small file has some.
    let page = std::fs::read_to_string(place.path("report.html")).expect("a page");
    let (_, json) = page.split_once("id=\"data\">").expect("data");
    let data: Json = serde_json::from_str(json.split_once("</script>").expect("an end").0).expect("JSON");
    let text = |i: usize| data["samples"][0]["texts"][i]["text"].as_str().expect("a text");
    assert!(!text(0).is_empty() && text(0) == text(2), "{} {}", text(0), text(2));
    let of = |file: usize| data["files"][file]["tensors"].as_array().expect("tensors").iter();
    let errors = |file: usize| of(file).filter_map(|t| t["error"].as_f64()).collect::<Vec<_>>();
    assert!(errors(1).iter().all(|error| *error == 0.0) && errors(0).iter().any(|error| *error > 1e-3));
    note(format!("KLD of two blocks without calibration: {}", figures["kld"]));

    // The same again, with the base's predictions from the cache, and not of another file.
    let mut check = vec!["--check", "receipt.json", arg(&model), "-f", &wiki, "-f", &code];
    let printed = place.run("check", &mut eval(&place, &check));
    assert!(printed.contains("the figures are those of the receipt"), "{printed}");
    assert!(printed.contains("predictions of the base, from the cache"), "{printed}");
    std::fs::rename(&small, place.path("gone.gguf")).expect("it is there");
    check.truncate(3);
    let refusal = place.fails("gone", &mut eval(&place, &check));
    assert!(refusal.contains("small.gguf, sha256 ") && refusal.contains("is not there"), "{refusal}");
}

/// A limit that is exceeded ends the command with an error, after the table.
#[test]
fn limits_end_it_with_an_error() {
    let place = Place::new();
    let model = short(&f16(), FEW_BLOCKS);
    small(&place);
    let wiki = format!("wiki={}", arg(&text("wiki")));
    let args =
        ["small.gguf", "--against", arg(&model), "-f", &wiki, "--chunks", "1", "--max-kld", "0.000001"];
    let printed = place.fails("limits", &mut eval(&place, &args));
    assert!(
        has_row(&printed, "small.gguf wiki 255 ") && printed.contains("is above --max-kld 0.000001"),
        "{printed}"
    );
}
