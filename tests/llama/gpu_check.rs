//! scripts/gpu_check.sh without a GPU, so that no typo is found on a machine that has one: what it packs and measures.

use super::fixtures::*;
use super::place::{Place, ROOT, TARGET};
use std::path::Path;
use std::process::Command;

/// The maker of synthetic models.
fn synthetic_model() -> String {
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--profile", "quick", "--example", "synthetic_model"]).current_dir(ROOT);
    assert!(build.status().expect("cargo runs").success(), "examples/synthetic_model.rs does not compile");
    arg(&TARGET.join("quick/examples/synthetic_model")).to_owned()
}

#[test]
fn every_part_that_needs_no_gpu_runs() {
    let place = Place::new();
    let script = || {
        let mut command = Command::new(Path::new(ROOT).join("scripts/gpu_check.sh"));
        command.env("CARGO_TARGET_DIR", place.path("target")).env("GPU_CHECK_DEVICE", "none");
        command
    };
    let maker = synthetic_model();
    place.run(
        "prepare",
        script()
            .arg("prepare")
            .env("LLAMA_CUDA_BIN", &*LLAMA)
            .env("TENPAK", TENPAK)
            .env("SYNTHETIC_MODEL", maker)
            .envs([("REAL_MODEL", short(&out(), FEW_BLOCKS)), ("TEXT", text("wiki"))]),
    );
    let printed = place.run(
        "run",
        script()
            .args(["run", "real", "bench", "types", "cpu", "pipes", "sanitize"])
            .envs([("ROUNDS", "1"), ("CHUNKS", "2"), ("THREADS", "1")])
            .env("WORK", place.path("work")),
    );
    let passed = printed.lines().filter(|line| line.starts_with("PASS  real: perplexity"));
    assert!(passed.count() >= 2, "the perplexities are compared:\n{printed}");

    let records = place.path("target/gpu-check-none");
    let record = std::fs::read_dir(records).expect("a folder").map(|entry| entry.expect("an entry").path());
    let record = record.filter(|path| path.extension().is_some_and(|e| e == "csv")).max().expect("a record");
    let record = std::fs::read_to_string(record).expect("a file of text");
    for model in ["bench,tiny", "bench,tiny-moe", "cpu,tiny"] {
        let others = ["t25", "t35", "t5", "o4", "o3", "s34", "s24"].iter().filter(|_| model == "bench,tiny");
        for kind in ["t2", "t3", "t4", "q4_k_m", "iq3_xxs", "q4_0"].iter().chain(others) {
            for test in ["pp16", "tg2"] {
                let line = record.lines().find(|line| {
                    line.starts_with(&format!("{model},{kind},cpu,")) && line.contains(&format!(",{test},"))
                });
                let line = line.unwrap_or_else(|| panic!("no {test} of {model},{kind} in:\n{record}"));
                let rate: f64 = line.split(',').nth(6).expect("a value").parse().expect("a number");
                assert!(rate > 0.0, "{line}");
            }
        }
    }
}
