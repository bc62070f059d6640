//! `release`: the folder for a model hub. `tests/llama/release.rs` has the hub's own library read the card.
#![cfg(unix)]

use crate::support::tiny_gguf;
use crate::support::tiny_llama::{Folder, TinyLlama};
use crate::support::{assert_says, files_in};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;
use tempfile::TempDir;
use tenpak_gguf::gguf::{File, GgmlType, Value};
use tenpak_gguf::job::Receipt;

const MODEL_CARD: &str = "---\nlicense: Apache-2.0\nlanguage: [en]\ntags: [tiny, 'a: b']\npipeline_tag: text-generation\nbase_model: \
                          some/ancestor\n---\n# Tiny\n";

/// The tiny model, and it in two types that are quantized in a moment: `o3.gguf` and `o4.gguf` beside it.
static MODELS: LazyLock<Folder> = LazyLock::new(|| {
    let folder = TinyLlama::of_one_block().write();
    std::fs::write(folder.path.join("README.md"), MODEL_CARD).expect("a file");
    for kind in ["o3", "o4"] {
        let (from, to) = (folder.path.to_str().unwrap(), folder.beside(&format!("{kind}.gguf")));
        let recipe = folder.beside(&format!("{kind}.toml"));
        std::fs::write(&recipe, format!("[[rule]]\ntypes = ['{kind}', 'f16']")).expect("a file");
        let args = [
            "convert",
            from,
            "-o",
            to.to_str().unwrap(),
            "--no-calibration",
            "--recipe",
            recipe.to_str().unwrap(),
        ];
        let done = Command::new(env!("CARGO_BIN_EXE_tenpak-gguf")).args(args).output().expect("it starts");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    folder
});

fn sha256(path: &Path) -> String {
    format!("{:x}", Sha256::digest(std::fs::read(path).expect("a file")))
}

/// A place with `receipt.json` of both files and another, a calibration and an `hf` that writes down what it is asked.
struct Place {
    folder: TempDir,
}

const OPTIONS: [&str; 6] =
    ["--base-model", "tiny-org/tiny-llama", "--no-calibration", "--quantized-by", "the tests", "--receipt"];

impl Place {
    fn new() -> Place {
        let place = Place { folder: tempfile::tempdir().expect("a folder") };
        let judged = |name: &str, sha256: &str, kld: f64, bytes: u64| {
            let estimate = |value: f64| json!({"value": value, "error": value / 10.0});
            let figures = |domain: &str| {
                json!({"domain": domain, "positions": 510, "kld": estimate(kld), "kld_median": 0.02, "kld_99": 0.4, "kld_999": 1.0,
                    "perplexity": estimate(11.0), "base_perplexity": estimate(10.0), "perplexity_change": estimate(10.0),
                    "same_top": estimate(90.0)})
            };
            json!({"model": model(name, sha256, bytes), "calibration_sha256": null, "domains": [figures("wiki|<b>")],
                "all": figures("all"), "tasks": [], "speed": null})
        };
        fn model(name: &str, sha256: &str, bytes: u64) -> Json {
            json!({"files": [{"name": name, "bytes": bytes, "sha256": sha256}], "bytes": bytes, "weights": 200_000,
                "bpw": 3.0, "linear_bpw": 3.0, "times_smaller_than_fp32": 10.0})
        }
        let of = |name: &str, kld| {
            let path = MODELS.beside(name);
            judged(name, &sha256(&path), kld, std::fs::metadata(&path).unwrap().len())
        };
        let receipt = json!({"receipt": 1, "tenpak_gguf": "0.1.0",
            "program": {"name": "llama-perplexity", "sha256": "00", "level": "avx2", "threads": 2},
            "base": model("base.gguf", "ba5e", 800_000),
            "domains": [{"name": "wiki|<b>", "file": {"name": "wiki.txt", "bytes": 5, "sha256": "7e47"}, "by_base": false,
                "chunks": 2, "context": 512}],
            "tasks": [], "speed": false, "models": [of("o3.gguf", 0.06), of("o4.gguf", 0.4),
                judged("tiny-llama-Q4_K_M.gguf", "0ther", 0.05, 100_000)]});
        std::fs::write(place.path("receipt.json"), receipt.to_string()).unwrap();
        std::fs::write(place.path("gram.gguf"), "sums").unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// Runs `release ... -o out` in the folder.
    fn release(&self, files: &[&str], args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tenpak-gguf"));
        command.current_dir(self.folder.path()).env("PATH", self.path("bin"));
        command.arg("release").args(files.iter().map(|name| MODELS.beside(name)));
        command.args(["-o", "out"]).args(args).output().expect("it starts")
    }

    /// A release of both files with figures.
    fn both(&self, more: &[&str]) -> Output {
        self.release(&["o3.gguf", "o4.gguf"], &[&OPTIONS[..], &["receipt.json"], more].concat())
    }

    fn hf(&self, script: &str) {
        std::fs::create_dir_all(self.path("bin")).unwrap();
        std::fs::write(self.path("bin/hf"), format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(self.path("bin/hf"), PermissionsExt::from_mode(0o755)).unwrap();
    }
}

#[track_caller]
fn succeeds(done: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success() && !err.contains("panicked"), "{out}{err}");
    out.into_owned() + &err
}

#[track_caller]
fn fails(done: &Output, words: &[&str]) {
    let err = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(1), "{err}");
    assert!(err.contains("error: ") && !err.contains("panicked"), "{err}");
    assert_says(err, words);
}

/// What is between the lines of the front matter.
fn front_matter(card: &str) -> Json {
    let yaml =
        card.strip_prefix("---\n").and_then(|rest| rest.split_once("\n---\n")).expect("front matter").0;
    serde_yaml_ng::from_str(yaml).unwrap_or_else(|e| panic!("{e}: {yaml}"))
}

#[test]
fn the_folder_has_all_that_a_hub_shows() {
    let place = Place::new();
    succeeds(&place.both(&[]));
    let names = files_in(&place.path("out"));
    let models: Vec<&String> = names.iter().filter(|name| name.ends_with(".gguf")).collect();
    let (o3, o4) = match models[..] {
        [a, b]
            if a.starts_with("tiny-llama-O3-")
                && b.starts_with("tiny-llama-O4-")
                && b.ends_with("x.gguf") =>
        {
            (a, b)
        }
        _ => panic!("{names:?}"),
    };
    let recipes = [o4, o3].map(|name| name.replace(".gguf", ".toml"));
    let mut all = ["README.md", "SHA256SUMS", "comparison.json", "quality.svg", "receipt.json"]
        .map(str::to_owned)
        .to_vec();
    all.extend(recipes.iter().chain([o4, o3]).cloned());
    all.sort();
    assert_eq!(names, all);

    // Every other file has its sum.
    let sums = place.file("out/SHA256SUMS");
    let listed: Vec<&str> = sums.lines().map(|line| line.split_once("  ").expect("two columns").1).collect();
    let others: Vec<&String> = names.iter().filter(|name| *name != "SHA256SUMS").collect();
    assert_eq!(listed, others);
    for line in sums.lines() {
        let (sum, name) = line.split_once("  ").expect("two columns");
        assert_eq!(sum, sha256(&place.path("out").join(name)), "{name}");
    }

    let card = place.file("out/README.md");
    let expected = json!({"license": "apache-2.0", "base_model": "tiny-org/tiny-llama", "base_model_relation": "quantized",
        "model_name": "Tiny Llama", "model_creator": "tiny-org", "quantized_by": "the tests", "library_name": "gguf",
        "pipeline_tag": "text-generation", "language": ["en"], "tags": ["gguf", "llama.cpp", "quantized", "tenpak", "tiny", "a: b"]});
    assert_eq!(front_matter(&card), expected);
    assert_says(
        &card,
        &[
            "[tiny-org/tiny-llama](https://huggingface.co/tiny-org/tiny-llama)",
            "**Requires a llama.cpp with the tensor types",
            "O3 (530)",
            &format!("| [{o3}]({o3}) |"),
            "![Mean KL divergence over bits per weight](quality.svg)",
            &format!("| {o4} | wiki\\|&lt;b> | 510 | 0.4000 ± 0.0400 |"),
            "| tiny-llama-Q4_K_M.gguf | wiki",
            &format!("llama-cli -m {o3}"),
            &format!("tenpak-gguf convert ./tiny-llama -o {o3} --recipe {} --no-calibration", recipes[1]),
            "sha256sum --check SHA256SUMS",
            "tenpak-gguf eval --check receipt.json --against 'base.gguf' -f 'wiki.txt'",
        ],
    );
    let chart = place.file("out/quality.svg");
    assert_says(&chart, &["prefers-color-scheme: dark", "\nQ4_K_M\n", "\nO3-"]);

    // The receipt is of the files that are there, and of no others; comparisons are kept.
    let receipt = Receipt::read(&place.path("out/receipt.json")).unwrap();
    let files = receipt.models.iter().map(|judged| (judged.model.name(), &judged.model.files[0].sha256[..]));
    let expected = [o3, o4].map(|name| (name.clone(), sha256(&place.path("out").join(name))));
    assert!(files.eq(expected.iter().map(|(name, sum)| (&name[..], &sum[..]))));
    let measured = receipt.models[0].measured.as_ref().expect("what was run");
    assert_eq!(measured[0].sha256, sha256(&MODELS.beside("o3.gguf")));
    assert_eq!(Receipt::read(&place.path("out/comparison.json")).unwrap().models.len(), 3);
}

fn text<'a>(file: &'a File, key: &str) -> Option<&'a str> {
    file.key(key).and_then(Value::as_str)
}

#[test]
fn files_are_the_same_with_complete_keys() {
    let place = Place::new();
    let options = [
        "--base-model",
        "tiny-org/tiny-llama",
        "--calibration",
        "gram.gguf",
        "--tag",
        "mine",
        "--author",
        "who",
    ];
    let said = succeeds(&place.release(&["o3.gguf"], &options));
    assert_says(said, &["note: without --receipt", "(--quantized-by WHO)"]);
    let names = files_in(&place.path("out"));
    let name = names.iter().find(|name| name.ends_with(".gguf")).expect("a model");
    let (before, after) =
        (File::open(&MODELS.beside("o3.gguf")).unwrap(), File::open(&place.path("out").join(name)).unwrap());
    for (a, b) in before.tensors().iter().zip(after.tensors()) {
        assert_eq!((&a.name, &a.shape, a.kind), (&b.name, &b.shape, b.kind));
        assert!(before.data(a).unwrap() == after.data(b).unwrap(), "{}", a.name);
    }
    assert_eq!(before.tensors().len(), after.tensors().len());
    for (key, expected) in [
        ("general.name", "Tiny Llama"),
        ("general.author", "who"),
        ("general.license", "apache-2.0"),
        ("general.source.repo_url", "https://huggingface.co/tiny-org/tiny-llama"),
        ("general.base_model.0.name", "Tiny Llama"),
        ("general.base_model.0.organization", "Tiny Org"),
        ("general.base_model.0.repo_url", "https://huggingface.co/tiny-org/tiny-llama"),
        ("tenpak.version", env!("CARGO_PKG_VERSION")),
        ("tenpak.calibration.sha256", &sha256(&place.path("gram.gguf"))),
        ("tenpak.recipe", &place.file(&format!("out/{}", name.replace(".gguf", ".toml")))),
    ] {
        assert_eq!(text(&after, key), Some(expected), "{key}");
    }
    assert_eq!(after.key("general.base_model.count").and_then(Value::as_u64), Some(1));
    assert_eq!(after.key("general.file_type").and_then(Value::as_u64), Some(530));
    let tags: Vec<&str> = after
        .key("general.tags")
        .and_then(Value::as_array)
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(tags, ["gguf", "llama.cpp", "quantized", "tenpak", "tiny", "a: b", "mine", "text-generation"]);
    // All other keys stay.
    for (key, value) in before.keys().iter().filter(|(key, _)| !key.starts_with("general.")) {
        assert_eq!(after.key(key), Some(value), "{key}");
    }
    assert_says(
        place.file("out/README.md"),
        &["--calibration CALIBRATION", &sha256(&place.path("gram.gguf"))],
    );

    // A released file says all that is needed to be released again.
    let again = Command::new(env!("CARGO_BIN_EXE_tenpak-gguf"))
        .current_dir(place.folder.path())
        .args(["release", &format!("out/{name}"), "-o", "again"])
        .output()
        .unwrap();
    succeeds(&again);
    assert_eq!(sha256(&place.path("out").join(name)), sha256(&place.path("again").join(name)));
}

#[test]
fn the_recipe_of_the_folder_makes_the_file_again() {
    let place = Place::new();
    succeeds(&place.both(&[]));
    let names = files_in(&place.path("out"));
    let recipe =
        names.iter().find(|name| name.contains("-O3-") && name.ends_with(".toml")).expect("a recipe");
    let mut convert = Command::new(env!("CARGO_BIN_EXE_tenpak-gguf"));
    convert.arg("convert").arg(&MODELS.path).args(["-o", "again.gguf", "--no-calibration", "--recipe"]);
    succeeds(&convert.arg(place.path("out").join(recipe)).current_dir(place.folder.path()).output().unwrap());
    let (a, b) =
        (File::open(&MODELS.beside("o3.gguf")).unwrap(), File::open(&place.path("again.gguf")).unwrap());
    for (x, y) in a.tensors().iter().zip(b.tensors()) {
        assert!(x.kind == y.kind && a.data(x).unwrap() == b.data(y).unwrap(), "{}", x.name);
    }
}

#[test]
fn large_files_are_cut() {
    let place = Place::new();
    let options =
        ["--base-model", "none", "--license", "none", "--no-calibration", "--split-max-size", "60K"];
    succeeds(&place.release(&["o3.gguf"], &options));
    let names = files_in(&place.path("out"));
    let parts: Vec<&String> = names.iter().filter(|name| name.ends_with(".gguf")).collect();
    assert!(
        parts.len() > 1 && parts[0].ends_with(&format!("-00001-of-{:05}.gguf", parts.len())),
        "{names:?}"
    );
    let (a, b) = (
        File::open(&MODELS.beside("o3.gguf")).unwrap(),
        File::open(&place.path("out").join(parts[0])).unwrap(),
    );
    assert!(a.tensors().iter().zip(b.tensors()).all(|(x, y)| a.data(x).unwrap() == b.data(y).unwrap()));
    assert_eq!(text(&b, "tenpak.version"), Some(env!("CARGO_PKG_VERSION")));
    let card = place.file("out/README.md");
    assert_says(&card, &["load the first", &format!("llama-cli -m {}", parts[0])]);
    let matter = front_matter(&card);
    assert!(matter.get("license").is_none() && matter.get("base_model").is_none(), "{matter}");
}

#[test]
fn what_lacks_a_licence_or_an_origin_is_refused() {
    let place = Place::new();
    let tensor = tiny_gguf::tensor("blk.0.ffn_up.weight", &[256, 4], GgmlType(513));
    let keys = [("general.architecture".to_owned(), "llama".into())];
    tiny_gguf::write(&place.path("bare.gguf"), &keys, std::slice::from_ref(&tensor));
    let bare = |args: &[&str]| place.release(&[place.path("bare.gguf").to_str().unwrap()], args);
    fails(
        &bare(&["--base-model", "a/b"]),
        &["bare.gguf: says no licence", "--license apache-2.0", "--license none"],
    );
    fails(&bare(&["--license", "mit"]), &["bare.gguf: does not say which model of the hub", "--base-model"]);
    fails(
        &bare(&["--license", "mit", "--base-model", "b"]),
        &["--base-model b: not the name", "ORGANIZATION/NAME"],
    );
    assert!(!place.path("out").exists());
    let options =
        ["--license", "Our Licence", "--license-link", "https://example.org/licence", "--base-model", "a/B"];
    succeeds(&bare(&options));
    let matter = front_matter(&place.file("out/README.md"));
    let found = [&matter["license"], &matter["license_name"], &matter["license_link"]];
    assert_eq!(found, [&json!("other"), &json!("Our Licence"), &json!("https://example.org/licence")]);

    let keys = [("general.type".to_owned(), "imatrix".into())];
    tiny_gguf::write(&place.path("sums.gguf"), &keys, &[tensor]);
    let sums = place.path("sums.gguf");
    fails(
        &place.release(&[sums.to_str().unwrap()], &options),
        &["sums.gguf: is no model (general.type is `imatrix`)"],
    );
    let bare = place.path("bare.gguf");
    fails(
        &place.release(&["o3.gguf", bare.to_str().unwrap()], &options),
        &["bare.gguf: is another model than", "folder of its own"],
    );
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let place = Place::new();
    std::fs::copy(MODELS.beside("o3.gguf"), place.path("same.gguf")).unwrap();
    let same = place.path("same.gguf");
    let options = ["--base-model", "a/b", "--no-calibration"];
    fails(
        &place.release(&["o3.gguf", same.to_str().unwrap()], &options),
        &["would both be b-O3-", "release one of them"],
    );
    fails(&place.both(&["--recipe", "receipt.json"]), &["1 recipes for 2 files"]);

    let receipt = place.file("receipt.json").replace(&sha256(&MODELS.beside("o4.gguf")), "0");
    std::fs::write(place.path("receipt.json"), receipt).unwrap();
    fails(&place.both(&[]), &["receipt.json: has no figures of", "o4.gguf", "--receipt NEW.json"]);

    // The calibration of which the file says the sum, and another.
    succeeds(
        &place.release(
            &["o3.gguf"],
            &["--base-model", "a/b", "--calibration", "gram.gguf", "--with-calibration"],
        ),
    );
    assert_eq!(place.file("out/calibration.gguf"), "sums");
    let names = files_in(&place.path("out"));
    let released = place
        .path("out")
        .join(names.iter().find(|name| name.starts_with("b-O3-") && name.ends_with("f")).unwrap());
    std::fs::write(place.path("gram.gguf"), "others").unwrap();
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tenpak-gguf"));
        command.current_dir(place.folder.path()).arg("release").arg(&released).args(["-o", "more"]);
        command.args(args).output().unwrap()
    };
    fails(
        &run(&["--calibration", "gram.gguf"]),
        &["was made with another calibration than gram.gguf says", "the one that it was made with"],
    );
    fails(&run(&["--no-calibration"]), &["was made with another calibration than --no-calibration says"]);
}

#[test]
fn nothing_is_written_over_unasked() {
    let place = Place::new();
    let said = succeeds(&place.both(&["--dry-run"]));
    assert_says(said, &["out/tiny-llama-O3-", "out/SHA256SUMS", "base_model_relation: quantized"]);
    assert!(!place.path("out").exists());
    succeeds(&place.both(&[]));
    let sums = place.file("out/SHA256SUMS");
    std::fs::write(place.path("out/mine"), "stays").unwrap();
    fails(&place.both(&[]), &["out/tiny-llama-O3-", "exists already", "--force"]);
    succeeds(&place.both(&["--force"]));
    assert_eq!((place.file("out/SHA256SUMS"), &place.file("out/mine")[..]), (sums, "stays"));
    // What is released stays what it is.
    let own = files_in(&place.path("out")).into_iter().find(|name| name.ends_with(".gguf")).unwrap();
    let own = place.path("out").join(own);
    let options = ["--base-model", "tiny-org/tiny-llama", "--no-calibration", "--force"];
    fails(&place.release(&[own.to_str().unwrap()], &options), &["is the input"]);
}

#[test]
fn hf_gets_whole_folders() {
    let place = Place::new();
    fails(&place.release(&[], &["--upload", "me/tiny"]), &["out: is no release: it has no SHA256SUMS"]);
    fails(
        &place.both(&["--upload", "me/tiny"]),
        &["hf, the command line of the hub, is not in $PATH", "pip install"],
    );
    place.hf("printf '%s\\n' \"$@\" >asked");
    let asked = || std::fs::read_to_string(place.path("asked")).unwrap_or_default();
    succeeds(&place.release(&[], &["--upload", "me/tiny"]));
    assert_eq!(asked(), "upload\nme/tiny\nout\n.\n--repo-type\nmodel\n");
    succeeds(&place.both(&["--force", "--upload", "me/tiny-GGUF", "--private"]));
    assert_eq!(asked(), "upload\nme/tiny-GGUF\nout\n.\n--repo-type\nmodel\n--private\n");
    assert_says(place.file("out/README.md"), &["hf download me/tiny-GGUF tiny-llama-O3-"]);
    std::fs::remove_file(place.path("asked")).unwrap();
    let said = succeeds(&place.release(&[], &["--upload", "me/tiny", "--dry-run"]));
    assert_says(said, &["hf upload me/tiny out . --repo-type model"]);
    fails(&place.release(&[], &["--upload", "tiny"]), &["--upload tiny: not the name"]);

    let card = place.file("out/README.md");
    std::fs::write(place.path("out/README.md"), "another").unwrap();
    fails(&place.release(&[], &["--upload", "me/tiny"]), &["out/README.md: has another sha256", "--force"]);
    std::fs::write(place.path("out/README.md"), card).unwrap();
    std::fs::write(place.path("out/.secret"), "").unwrap();
    fails(
        &place.release(&[], &["--upload", "me/tiny"]),
        &["out/.secret: is no part of the release", "take it away"],
    );
    std::fs::remove_file(place.path("out/.secret")).unwrap();
    assert_eq!(asked(), "", "nothing was uploaded");
    place.hf("echo 401 >&2; exit 3");
    fails(
        &place.release(&[], &["--upload", "me/tiny"]),
        &["401", "hf upload failed (exit status: 3)", "tries again"],
    );
    std::fs::remove_file(place.path("out/receipt.json")).unwrap();
    fails(
        &place.release(&[], &["--upload", "me/tiny"]),
        &["out/receipt.json: is in SHA256SUMS and is not there"],
    );
}

#[test]
fn help_teaches_by_examples() {
    let help = Command::new(env!("CARGO_BIN_EXE_tenpak-gguf")).args(["release", "--help"]).output().unwrap();
    assert_says(
        succeeds(&help),
        &["Examples:", "--receipt", "--base-model", "--upload", "--dry-run", "SHA256SUMS"],
    );
}
