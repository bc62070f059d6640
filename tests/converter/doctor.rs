//! `doctor` with programs that are scripts; `tests/llama/doctor.rs` has llama.cpp's.
#![cfg(unix)]

use crate::support::assert_says;
use serde_json::Value as Json;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;
use tenpak_gguf::isa::Isa;
use tenpak_gguf::llama::pin;

/// A program of llama.cpp's with our types: it refuses the file that is no model, but not its types.
const PATCHED: &str = r#"case $1 in
    --version) echo "version: VERSION-dev (build 0, commit unknown)" ;;
    --list-devices) printf 'Available devices:\n  CUDA0: NVIDIA H100 (80000 MiB, 79000 MiB free)\n' ;;
    *) echo "error: unknown model architecture: 'none'"; exit 1 ;;
esac"#;

/// One without.
const STOCK: &str = r#"case $1 in
    --version) echo "version: VERSION-dev (build 0, commit unknown)" ;;
    --list-devices) printf 'Available devices:\n  (none)\n' ;;
    *) echo "gguf_init_from_reader: tensor 't3' has invalid ggml type 513. should be in [0, 43)"; exit 1 ;;
esac"#;

/// Prints versions of Python and packages: all but the first of those that are asked for.
const PYTHON: &str = r#"echo 3.12.1; shift 3; echo; for name; do echo 1.0; done"#;

const ALL: [&str; 6] = [
    "llama-tenpak-calibrate",
    "llama-perplexity",
    "llama-cli",
    "llama-server",
    "llama-bench",
    "llama-quantize",
];

struct Place {
    folder: TempDir,
}

struct Done {
    code: i32,
    out: String,
}

impl Place {
    fn new() -> Place {
        let place = Place { folder: tempfile::tempdir().expect("a folder") };
        place.program("python3", PYTHON);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn program(&self, name: &str, script: &str) {
        let path = self.path("bin").join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        let script = script.replace("VERSION", pin::LLAMA);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a file");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("permissions");
    }

    fn doctor(&self, args: &[&str], environment: &[(&str, &str)]) -> Done {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tenpak-gguf"));
        command.env_clear().env("PATH", format!("{}:/usr/bin:/bin", self.path("bin").display()));
        command.env("TENPAK_CACHE", self.path("cache")).envs(environment.iter().copied());
        let output = command.arg("doctor").args(args).output().expect("it starts");
        let out = String::from_utf8(output.stdout).expect("text");
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!err.contains("error:") && !err.contains("panicked"), "{out}{err}");
        Done { code: output.status.code().expect("it ends by itself"), out }
    }

    fn json(&self, environment: &[(&str, &str)]) -> Json {
        serde_json::from_str(&self.doctor(&["--json"], environment).out).expect("JSON")
    }
}

/// The element of a list that has this under that key.
#[track_caller]
fn of<'a>(list: &'a Json, key: &str, name: &str) -> &'a Json {
    let list = list.as_array().expect("a list");
    list.iter().find(|one| one[key] == name).unwrap_or_else(|| panic!("no {name}: {list:?}"))
}

#[test]
fn what_is_missing_is_named_with_what_gets_it() {
    let place = Place::new();
    let done = place.doctor(&[], &[]);
    assert_eq!(done.code, 1, "{}", done.out);
    assert_says(
        &done.out,
        &[
            "made for llama.cpp",
            "llama-tenpak-calibrate   MISSING",
            "scripts/build_llama.sh",
            "yes  convert --no-calibration, inspect, export",
            "no   convert: llama-tenpak-calibrate\n",
            "no   convert --verify: ",
            "-m venv ",
            "not known: there is no program",
        ],
    );
    // A remedy stands once, whatever it helps.
    assert_eq!(done.out.matches("scripts/build_llama.sh)").count(), 1, "{}", done.out);
    assert!(!place.path("cache").exists());
}

#[test]
fn all_is_there() {
    let place = Place::new();
    ALL.iter().for_each(|name| place.program(name, PATCHED));
    place.program("convert_hf_to_gguf.py", "");
    let done = place.doctor(&[], &[]);
    assert_eq!(done.code, 0, "{}", done.out);
    assert_says(&done.out, &["yes  convert\n", "CUDA0: NVIDIA H100", "eval --speed", "python3 (3.12.1)"]);
    assert!(!done.out.contains("USELESS") && !done.out.contains("scripts/build_llama.sh"), "{}", done.out);
    let json = place.json(&[]);
    assert_eq!(of(&json["jobs"], "job", "convert")["can"], true);
    let collector = of(&json["parts"], "name", ALL[0]);
    assert_eq!((&collector["works"], &collector["problem"]), (&true.into(), &Json::Null));
    assert_eq!(collector["found"], place.path("bin").join(ALL[0]).display().to_string());
    // The Python lacks a package, and has another version of others than what was tried.
    assert_eq!(of(&json["parts"], "name", "numpy")["works"], false);
    let torch = of(&json["parts"], "name", "torch");
    assert_eq!((&torch["works"], &torch["found"]), (&true.into(), &"1.0".into()));
    assert!(torch["problem"].as_str().is_some_and(|p| p.contains("is the version that was tried")));
    assert_eq!(place.doctor(&["-q"], &[]).out, "");
}

#[test]
fn programs_without_our_types_are_useless() {
    let place = Place::new();
    ALL.iter().for_each(|name| place.program(name, PATCHED));
    let [collector, .., quantize] = ALL;
    place.program(quantize, STOCK);
    let done = place.doctor(&[], &[]);
    assert_eq!(done.code, 1, "{}", done.out);
    assert_says(
        &done.out,
        &["USELESS: it does not know the type ", "no   convert: llama-tenpak-calibrate\n"],
    );
    assert_says(&done.out, &["no   eval, and what a file costs after convert: llama-perplexity\n"]);
    // Where there is no such program, each says it itself.
    std::fs::remove_file(place.path("bin").join(quantize)).expect("it is there");
    place.program(collector, STOCK);
    let done = place.doctor(&[], &[]);
    assert_eq!(done.code, 1, "{}", done.out);
    assert_says(
        &done.out,
        &["USELESS: it does not know the type ", "yes  eval, and what a file costs after"],
    );
    // One that does not run at all, and one of another version, which is no fault.
    place.program(collector, "echo cannot open shared object file; exit 127");
    assert_says(place.doctor(&[], &[]).out, &["USELESS: it does not run", "shared object"]);
    place.program(collector, &PATCHED.replace("VERSION", "9.9.9"));
    let done = place.doctor(&[], &[]);
    assert_eq!(done.code, 0, "{}", done.out);
    assert_says(&done.out, &["its version is 9.9.9-dev, and the patches are made for"]);
}

#[test]
fn levels_are_those_that_kernels_run_at() {
    let place = Place::new();
    let levels = place.json(&[("TENPAK_ISA", "scalar")])["levels"].clone();
    assert_eq!((&levels["used"], &levels["asked"]), (&"scalar".into(), &"TENPAK_ISA=scalar holds".into()));
    let levels = place.json(&[("TENPAK_ISA", "mmx")])["levels"].clone();
    let highest = Isa::available().last().expect("scalar").name();
    assert_eq!(levels["used"], highest);
    assert_says(levels["asked"].as_str().expect("words"), &["TENPAK_ISA=mmx is ignored"]);
    for isa in Isa::ALL.iter().filter(|isa| !isa.is_available()) {
        let levels = place.json(&[("TENPAK_ISA", isa.name())])["levels"].clone();
        assert_says(levels["asked"].as_str().expect("words"), &["is refused: this processor lacks it"]);
    }
}

#[test]
fn a_cache_that_cannot_be_written_stops_conversions() {
    let place = Place::new();
    ALL.iter().for_each(|name| place.program(name, PATCHED));
    std::fs::write(place.path("file"), "").expect("a file");
    let cache = place.path("file").join("cache");
    let done = place.doctor(&[], &[("TENPAK_CACHE", cache.to_str().expect("text"))]);
    assert_eq!(done.code, 1, "{}", done.out);
    assert_says(&done.out, &["no   convert: folder for the cache", "export TENPAK_CACHE=FOLDER"]);
}

#[test]
fn a_python_that_does_not_start() {
    let place = Place::new();
    let done = place.doctor(&["--python", "/no/such/python"], &[]);
    assert_says(
        &done.out,
        &["Python                   MISSING: /no/such/python", "export TENPAK_PYTHON=PATH"],
    );
}
