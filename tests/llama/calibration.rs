//! `calibrate` on SmolLM2, against llama-imatrix and against itself in several passes; what calibration gains.

use super::diagonals;
use super::fixtures::*;
use super::place::{Place, THREADS};
use super::quantized_folder;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tenpak_gguf::calibration::{Calibration, Statistics};
use tenpak_gguf::gguf::File;
use tenpak_gguf::llama::Collection;

/// Memory for the Gram matrices in several passes; all of SmolLM2's take 225 MB, those of its first blocks 56.
const MEGABYTES: u64 = 80;
const MEGABYTES_OF_FIRST_BLOCKS: u64 = 20;

/// What the collector takes beside the model and the sums: the logits of 512 tokens twice, 201 MB, and buffers of llama.cpp
/// (263 MB seen). None of it depends on the processor as long as the weights stay as they are in the file.
const COLLECTOR_KILOBYTES: u64 = 300_000;

/// Tokens of the runs in several passes.
const TOKENS: &str = "1024";

/// How much smaller the divergence must be with calibration (0.60 seen). It is the ratio of two divergences from one run, and
/// processors change either in its fourth digit only.
const MAX_KLD_RATIO: f64 = 0.7;

/// Bytes of text for the calibration of a conversion: about 10,000 tokens.
const TEXT_BYTES: usize = 40_000;

/// Blocks of what need not be all of the model, and chunks of 512 tokens that it is judged on.
const BLOCKS: usize = 8;
const CHUNKS: usize = 8;

/// The default types, but for embeddings.
const RECIPE: &str = r#"
about = "The default types; embeddings stay as they are"

[[rule]]
why = "no statistics are collected of their input"
roles = ["embeddings"]
types = ["f16"]

[[rule]]
why = "attention"
roles = ["attention"]
types = ["t4"]

[[rule]]
why = "the rest"
types = ["t3"]
"#;

#[test]
fn diagonals_are_those_of_llama_imatrix() {
    let place = Place::new();
    let by_imatrix = place.path("gram.imatrix");
    place.run("imatrix", &mut imatrix(&f16(), &by_imatrix, "gguf", CALIBRATION_CHUNKS));
    diagonals::compare(&f16(), &gram(), &by_imatrix).expect("the diagonals agree");
}

#[test]
fn diagonals_of_a_quantized_model_are_those_of_llama_imatrix() {
    let place = Place::new();
    let model = short(&quantized("Q4_K_M"), BLOCKS);
    let (ours, theirs) = (place.path("gram.gguf"), place.path("imatrix.gguf"));
    let printed = place.run("calibrate", &mut calibrate(&model, &ours, ["--tokens", TOKENS]));
    // Types of which processors like other orders better.
    has_no_second_copies(&printed);
    place.run("imatrix", &mut imatrix(&model, &theirs, "gguf", "2"));
    diagonals::compare(&model, &ours, &theirs).expect("the diagonals agree");
}

/// The collector says where it has the weights: they stay as they are in the file, whatever the processor would like better.
fn has_no_second_copies(printed: &str) {
    let weights: Vec<_> = printed.lines().filter(|line| line.starts_with("weights in ")).collect();
    assert!(!weights.is_empty(), "the collector does not say where it has the weights:\n{printed}");
    let copies = ["REPACK", "AMX"].iter().any(|order| weights.iter().any(|line| line.contains(order)));
    assert!(!copies, "weights were copied: {weights:?}");
}

/// q, k and v have one input, gate and up have one.
#[test]
fn weights_that_share_an_input_share_its_sums() {
    let collection = Collection::read(&log_of(&gram(), "calibrate")).expect("a plan");
    assert_eq!((collection.weights, collection.inputs), (211, 121));
}

#[test]
fn sums_alone_are_those_beside_sensitivities() {
    let place = Place::new();
    let (model, alone, both) = (short(&f16(), BLOCKS), place.path("alone.gguf"), place.path("both.gguf"));
    let mut sums = calibrate(&model, &alone, ["--tokens", TOKENS, "--budget", "none"]);
    place.run("alone", &mut sums);
    place.run("both", &mut calibrate(&model, &both, ["--tokens", TOKENS]));
    let [alone, both] = [&alone, &both].map(|path| Calibration::open(path).unwrap());
    assert!(alone.sensitivities().unwrap().is_none(), "nothing was asked for");
    assert!(both.sensitivities().unwrap().is_some());
    for (weight, columns) in [("blk.0.attn_q.weight", 576), ("blk.7.ffn_down.weight", 1536)] {
        let [a, b] = [&alone, &both].map(|calibration| match calibration.load(weight, 0, columns).unwrap() {
            Some(Statistics::Gram { values, .. }) => values,
            _ => panic!("no sums for {weight}"),
        });
        assert!(a == b, "{weight}");
    }
}

#[test]
fn shows_the_time_left() {
    let collection = Collection::read(&log_of(&gram(), "calibrate")).expect("a plan");
    assert!(collection.shows_time_left, "see the log beside {}", gram().display());
}

#[test]
fn names_its_text_by_sha256() {
    let place = Place::new();
    let digest = format!("{:x}", Sha256::digest(std::fs::read(text("c4")).unwrap()));
    let keys = place.run("inspect", &mut tenpak(["inspect", arg(&gram())]));
    let line = keys.lines().find(|line| line.contains("gram.text.sha256 ")).expect("a key");
    // `inspect` shows the first 60 digits.
    assert!(line.contains(&digest[..60]), "{line} has not {digest}");
}

/// The collector itself, in several passes.
fn passes(model: &Path, out: &Path) -> Command {
    let mut command = llama("llama-tenpak-calibrate");
    command.arg("-m").arg(model).arg("-f").arg(text("c4")).arg("-o").arg(out).args(["--tokens", TOKENS]);
    // Not by the clock, as in `calibrate`.
    command.args(["-t", &THREADS.to_string(), "--budget", "0"]);
    command
}

#[test]
fn an_interrupted_run_goes_on_where_it_was() {
    let place = Place::new();
    let model = short(&f16(), BLOCKS);
    let (one_pass, out) = (place.path("one-pass.gguf"), place.path("passes.gguf"));
    place.run("one-pass", &mut calibrate(&model, &one_pass, ["--tokens", TOKENS]));

    let memory = format!("{MEGABYTES_OF_FIRST_BLOCKS}M");
    let mut running = place.start("interrupted", passes(&model, &out).args(["--memory", &memory]));
    let planned = loop {
        let printed = running.so_far();
        if printed.lines().any(|line| line.starts_with("pass 2 of ")) {
            break Collection::read(&printed).expect("a plan");
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    drop(running);
    assert!(place.path("passes.gguf.part").exists() && !out.exists(), "only a part should be there");

    let refusal = place.fails("other", passes(&model, &out).args(["-c", "256"]));
    assert!(
        refusal.contains("gram.context is 512, not 256"),
        "a part of another run was refused with: {refusal}"
    );

    let printed = place.run("passes", passes(&model, &out).args(["--memory", &memory]));
    let left = Collection::read(&printed).expect("a plan").passes_left;
    assert!(left < planned.passes_left, "all {left} passes were repeated");
    assert_same_bytes(&one_pass, &out);
    note(format!("the same file in 1 and {} passes, interrupted after the first", planned.passes_left));
}

#[test]
fn takes_no_more_memory_than_it_may() {
    let place = Place::new();
    let mut command = passes(&f16(), &place.path("passes.gguf"));
    let (printed, measures) =
        place.with_memory("passes", command.args(["--memory", &format!("{MEGABYTES}M")]));
    has_no_second_copies(&printed);
    let megabytes =
        Collection::read(&printed).and_then(|c| c.sums_megabytes).expect("the memory of the sums");
    assert!(
        megabytes > 0.0 && megabytes <= MEGABYTES as f64 * 1.048576,
        "the sums took {megabytes} MB of {MEGABYTES} MiB"
    );
    let kilobytes = measures.peak_kilobytes.expect("the system tells the peak of memory");
    let model = std::fs::metadata(f16()).unwrap().len() / 1024;
    let limit = model + MEGABYTES * 1024 + COLLECTOR_KILOBYTES;
    note(format!("{megabytes} MB for the sums, peak {kilobytes} kB of at most {limit}"));
    assert!(kilobytes <= limit, "the collector took {kilobytes} kB; the limit is {limit} kB");
}

/// The values of a tensor of floats.
fn values(file: &File, index: usize) -> Vec<f64> {
    let bytes = file.data(&file.tensors()[index]).expect("data");
    bytes.chunks_exact(4).map(|b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]]))).collect()
}

/// Noise in all weights, made by itself as for a rehearsal, costs what the curve says, which was measured with other random numbers: the
/// noise of products as a sum of squares, that of rows as a share.
#[test]
fn noise_everywhere_costs_what_the_curve_says() {
    /// Points of the curve.
    const NOISE: [(usize, f64); 2] = [(1, 0.001), (3, 0.01)];
    /// As a share of it (0.01 seen).
    const MAX_DIFFERENCE: f64 = 0.1;
    let place = Place::new();
    let model = short(&f16(), FEW_BLOCKS);
    let calibration = place.path("gram.gguf");
    place.run("calibrate", &mut passes(&model, &calibration));
    let file = File::open(&calibration).expect("a calibration");
    let of = |name: &str| {
        values(&file, file.tensors().iter().position(|t| t.name == name).expect("sensitivities"))
    };
    let (curve, energies) = (of("sensitivity.curve"), of("sensitivity.energy"));
    let words = |key: &str| file.key(key).and_then(|v| v.as_array()).expect("names").iter();
    let noise = |share: f64| {
        let sites = words("sensitivity.weights").zip(words("sensitivity.uses")).zip(&energies);
        let lines = sites.map(|((weight, of_use), energy)| {
            let of_use = of_use.as_str().unwrap();
            let noise = if of_use == "rows" { share } else { share * energy };
            format!("{} {of_use} {noise:e}\n", weight.as_str().unwrap())
        });
        std::fs::write(place.path("noise"), lines.collect::<String>()).unwrap();
    };
    let out = place.path("noise.tsv");
    let rehearse = || {
        let mut command = passes(&model, &out);
        command.arg("--noise").arg(place.path("noise"));
        command
    };
    for (point, share) in NOISE {
        noise(share);
        place.run("noise", &mut rehearse());
        let line = std::fs::read_to_string(&out).unwrap();
        let found: f64 = line.split('\t').next().expect("a mean").parse().expect("a number");
        let expected = curve[2 * point + 1];
        note(format!("noise of {share} costs {found}, on the curve {expected}"));
        assert!((found / expected - 1.0).abs() < MAX_DIFFERENCE, "{share}: {found}, on the curve {expected}");
    }

    // What the model does not use is no part of a mix.
    std::fs::write(place.path("noise"), "token_embd.weight sums 0.1\n").unwrap();
    let refusal = place.fails("other use", &mut rehearse());
    assert!(refusal.contains("the model does not use `token_embd.weight` as `sums`"), "{refusal}");
}

/// Four chunks in one run, and in three parts that are added up: the sums differ by the order of additions.
#[test]
fn parts_add_up_to_the_whole() {
    const MAX_DIFFERENCE: f64 = 1e-5;
    const MAX_ERRORS: f64 = 6.0;
    let place = Place::new();
    let model = short(&f16(), FEW_BLOCKS);
    let whole = place.path("whole.gguf");
    place.run("whole", &mut calibrate(&model, &whole, ["--tokens", "2048"]));
    let mut merge = tenpak(["calibrate", "-o", arg(&place.path("merged.gguf")), "--merge"]);
    for part in ["1/3", "2/3", "3/3"] {
        let path = place.path(&format!("part{}.gguf", &part[..1]));
        place.run("part", &mut calibrate(&model, &path, ["--tokens", "2048", "--part", part]));
        merge.arg(path);
    }
    let printed = place.run("merge", &mut merge);
    assert!(printed.contains("2048 tokens"), "{printed}");
    let [whole, merged] =
        [whole, place.path("merged.gguf")].map(|path| File::open(&path).expect("a calibration"));
    assert_eq!(whole.keys(), merged.keys());
    let mut sums = 0;
    for (i, t) in whole.tensors().iter().enumerate() {
        assert_eq!((&t.name, &t.shape), (&merged.tensors()[i].name, &merged.tensors()[i].shape));
        if t.name.starts_with("sensitivity.") {
            continue;
        }
        let (a, b) = (values(&whole, i), values(&merged, i));
        let largest = a.iter().fold(0.0f64, |most, v| most.max(v.abs()));
        let differs = a.iter().zip(&b).fold(0.0f64, |most, (a, b)| most.max((a - b).abs()));
        assert!(differs <= MAX_DIFFERENCE * largest, "{}: {differs} of {largest}", t.name);
        sums += 1;
    }
    assert!(sums > 8 * FEW_BLOCKS, "{sums}");

    // Every part measures sensitivities on chunks of its own: they differ by chance.
    let [whole, merged] = [&whole, &merged].map(|file| {
        let tensor = |name: &str| {
            let index = file.tensors().iter().position(|t| t.name == name).expect("a tensor");
            values(file, index)
        };
        (tensor("sensitivity.divergence"), tensor("sensitivity.error"))
    });
    let differences = whole.0.iter().zip(&merged.0).zip(whole.1.iter().zip(&merged.1));
    let errors = differences.map(|((a, b), (of_a, of_b))| (a - b).abs() / of_a.hypot(*of_b));
    let most = errors.fold(0.0, f64::max);
    note(format!("sensitivities differ by {most:.1} of their standard errors at most"));
    assert!(most <= MAX_ERRORS, "{most} standard errors");
}

/// The text that is judged on is another than the one that is calibrated on. The model is short, and its embeddings, of which
/// nothing is collected, stay floats: the search takes all of the time of this test.
#[test]
fn conversion_with_a_text_is_closer_to_the_model() {
    let place = Place::new();
    let whole = std::fs::read(text("c4")).unwrap();
    let start = whole[..TEXT_BYTES].utf8_chunks().next().expect("text").valid();
    std::fs::write(place.path("calibration.txt"), start).unwrap();
    std::fs::write(place.path("recipe.toml"), RECIPE).unwrap();
    let (checkpoint, calibrated) = (place.path("checkpoint"), place.path("calibrated.gguf"));
    quantized_folder::make(&MODEL, None, SOME_BLOCKS, &checkpoint).expect("a checkpoint");
    let mut convert =
        tenpak(["convert", arg(&checkpoint), "-o", arg(&calibrated), "--collector", arg(&LLAMA)]);
    convert.args(["--calibration-text", arg(&place.path("calibration.txt"))]);
    convert.args(["--cache", arg(&place.path("cache")), "--budget", "0"]);
    place.run("convert", convert.args(["--recipe", arg(&place.path("recipe.toml"))]));

    let plain = short(&f16(), SOME_BLOCKS);
    let uncalibrated = short_with(&uncalibrated(), &f16(), SOME_BLOCKS);
    let (evaluation, logits) = (evaluation(CHUNKS), place.path("logits"));
    place.write_logits("logits", &evaluation, &plain, &logits);
    let with = place.divergence("with", &evaluation, &calibrated, &logits).mean;
    let without = place.divergence("without", &evaluation, &uncalibrated, &logits).mean;
    note(format!("mean KLD {with}, without calibration {without}"));
    assert!(with <= MAX_KLD_RATIO * without, "{with} is more than {MAX_KLD_RATIO} of {without}");
    let types = |path: &Path| {
        let file = File::open(path).expect("a model");
        file.tensors().iter().map(|t| (t.name.clone(), t.kind)).collect::<BTreeMap<_, _>>()
    };
    assert!(types(&calibrated) == types(&uncalibrated), "calibration changed types");
    let left = std::fs::read_dir(place.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> =
        left.filter(|name| name.to_string_lossy().starts_with(".tenpak-calibration-")).collect();
    assert!(left.is_empty(), "intermediate files were left: {left:?}");
}
