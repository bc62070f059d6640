//! Folders of classes that there is no table for, with a Python that is a shell script in place of llama.cpp's converter:
//! what it is asked, what becomes of its file, and what is said when it stops. `tests/llama/foreign.rs` has what the real one
//! writes.
#![cfg(unix)]

use crate::support;
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use support::tiny_llama::{Folder, TinyLlama};
use support::{assert_says, error, files_in};
use tenpak_gguf::checkpoint::Foreign;
use tenpak_gguf::gguf::File;
use tenpak_gguf::job::{self, Cache, ForeignOptions};

/// Does what is asked: `$1` is the converter, `$2` its output, `$3` a pre-tokenizer, `$4` the folder.
const WRITES: &str = r#"echo "$@" >>asked; printf 'Writing:  50%%|##  |\r' >&2; cp made.gguf "$2""#;

/// A foreign folder with all that its conversion needs beside it.
struct Place {
    folder: Folder,
}

struct Done {
    code: i32,
    out: String,
    err: String,
}

impl Place {
    /// With a Python that is a shell script.
    fn with(script: &str) -> Place {
        Place::of(&TinyLlama::of_one_block(), script)
    }

    fn of(tiny: &TinyLlama, script: &str) -> Place {
        let place = Place { folder: tiny.write() };
        place.run_with(&["--outtype", "bf16", "-o", "made.gguf"]).succeeds();
        place.change(|tiny| tiny["architectures"] = json!(["JambaForCausalLM"]));
        let python = place.path("python");
        std::fs::write(&python, format!("#!/bin/sh\nshift 2\n{script}\n")).expect("a file");
        std::fs::set_permissions(&python, PermissionsExt::from_mode(0o755)).expect("permissions");
        std::fs::write(place.path("convert_hf_to_gguf.py"), "").expect("a file");
        std::fs::create_dir(place.path("out")).expect("a folder");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.beside(name)
    }

    /// Changes config.json.
    fn change(&self, change: impl FnOnce(&mut serde_json::Value)) {
        let path = self.folder.path.join("config.json");
        let mut config = support::tiny_llama::read_json(&path);
        change(&mut config);
        self.folder.write_json("config.json", &config);
    }

    /// `convert tiny-llama` with these options, in the folder where the converter lies.
    fn run_with(&self, options: &[&str]) -> Done {
        self.command(&[&["convert", "tiny-llama"], options].concat(), |_| ())
    }

    /// The same with Python and converter, into out/tiny.gguf.
    fn convert(&self, options: &[&str]) -> Done {
        let mine = ["--python", "./python", "--converter", ".", "-o", "out/tiny.gguf"];
        self.run_with(&[&mine, options].concat())
    }

    fn command(&self, arguments: &[&str], change: impl FnOnce(&mut Command)) -> Done {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tenpak-gguf"));
        command.current_dir(self.folder.parent.path()).args(support::uncalibrated(arguments));
        command.env("PATH", "/usr/bin:/bin").env("TENPAK_CACHE", self.path("cache"));
        for name in ["TENPAK_CONVERTER", "TENPAK_PYTHON", "TENPAK_COLLECTOR"] {
            command.env_remove(name);
        }
        change(&mut command);
        let output = command.output().expect("it starts");
        Done {
            code: output.status.code().expect("it ends by itself"),
            out: String::from_utf8(output.stdout).expect("text"),
            err: String::from_utf8(output.stderr).expect("text"),
        }
    }

    /// What Python was asked, a line for each run; words that are empty are not seen.
    fn asked(&self) -> String {
        std::fs::read_to_string(self.path("asked")).unwrap_or_default()
    }

    fn refused(&self) -> String {
        error(Foreign::of(&self.folder.path)).to_string()
    }
}

impl Done {
    #[track_caller]
    fn succeeds(self) -> Done {
        assert_eq!(self.code, 0, "{}", self.err);
        self
    }

    #[track_caller]
    fn fails(&self, words: &[&str]) {
        assert_eq!((self.code, &self.out[..]), (1, ""), "{}", self.err);
        assert_says(&self.err, words);
        assert!(self.err.contains("error: ") && !self.err.contains("panicked"), "{}", self.err);
    }
}

#[track_caller]
fn assert_same_bytes(a: &Path, b: &Path) {
    assert!(std::fs::read(a).unwrap() == std::fs::read(b).unwrap(), "{} and {}", a.display(), b.display());
}

#[test]
fn what_the_converter_writes_is_converted() {
    let place = Place::with(WRITES);
    let done = place.convert(&[]).succeeds();
    let words = [
        "JambaForCausalLM has no table here",
        "convert_hf_to_gguf.py",
        "as bf16 into out",
        "free, deleted at the end",
    ];
    assert_says(&done.err, &words);
    assert_eq!(files_in(&place.path("out")), ["tiny.gguf"]);
    place.command(&["convert", "made.gguf", "-o", "same.gguf"], |_| ()).succeeds();
    assert_same_bytes(&place.path("out/tiny.gguf"), &place.path("same.gguf"));
}

#[test]
fn every_option_goes_on_from_there() {
    let place = Place::with(WRITES);
    for (number, options) in
        [&["--outtype", "f16"][..], &["--type", "t2"], &["--recipe", "linear"]].iter().enumerate()
    {
        place.convert(&[options, &["--force"][..]].concat()).succeeds();
        let same = format!("{number}.gguf");
        place.command(&[&["convert", "made.gguf", "-o", &same], *options].concat(), |_| ()).succeeds();
        assert_same_bytes(&place.path("out/tiny.gguf"), &place.path(&same));
    }
}

#[test]
fn the_converter_is_asked_what_the_user_asked() {
    let place = Place::with(WRITES);
    place.convert(&["--tokenizer-pre", "gpt-2", "--outtype", "f32"]).succeeds();
    let asked = place.asked();
    let words: Vec<&str> = asked.split_whitespace().collect();
    let [script, output, pre, folder, "--outfile", again, "--outtype", "f32"] = words[..] else {
        panic!("{asked}")
    };
    assert!(output.contains("/out/.tenpak-") && output == again, "{asked}");
    assert_eq!(
        (Path::new(script), pre, Path::new(folder)),
        (&*place.path("./convert_hf_to_gguf.py"), "gpt-2", &*place.folder.path)
    );
}

#[test]
fn checkpoints_of_f16_stay_f16() {
    let mut tiny = TinyLlama::of_one_block();
    for t in tiny.tensors.values_mut() {
        *t = support::tiny_llama::Stored::new(safetensors::Dtype::F16, &t.shape, &t.values());
    }
    let place = Place::of(&tiny, WRITES);
    place.convert(&[]).succeeds();
    assert!(place.asked().trim_end().ends_with("--outtype f16"), "{}", place.asked());
}

#[test]
fn what_the_converter_leaves_as_f32_stays_f32() {
    let place = Place::with(WRITES);
    let recipe = "[[rule]]\ntypes = ['bf16']";
    let forced = "[[rule]]\nnames = ['blk.0.attn_k.weight']\ntypes = ['f32']\n\n";
    std::fs::write(
        place.path("f32.toml"),
        format!("about = 'one F32'\n\n{forced}{recipe}\noptional = true\n"),
    )
    .unwrap();
    place.command(&["convert", "made.gguf", "-o", "forced.gguf", "--recipe", "f32.toml"], |_| ()).succeeds();
    std::fs::rename(place.path("forced.gguf"), place.path("made.gguf")).unwrap();
    for options in [["--outtype", "bf16"], ["--type", "t2"]] {
        place.convert(&[&options[..], &["--force"]].concat()).succeeds();
        let file = File::open(&place.path("out/tiny.gguf")).unwrap();
        let kind = |name: &str| file.tensors().iter().find(|t| t.name == name).unwrap().kind.name();
        assert_eq!(kind("blk.0.attn_k.weight"), "f32", "{options:?}");
        assert_ne!(kind("blk.0.attn_q.weight"), "f32", "{options:?}");
    }
}

#[test]
fn a_dry_run_says_what_would_be_done() {
    let place = Place::with(WRITES);
    let done = place.convert(&["--dry-run"]).succeeds();
    assert_says(&done.err, &["JambaForCausalLM", "as bf16", "kB of"]);
    assert_eq!((place.asked(), files_in(&place.path("out"))), (String::new(), vec![]));
}

#[test]
fn a_converter_that_stops_leaves_nothing() {
    let script = r#"echo half >"$2"
echo 'INFO:hf-to-gguf:Loading model: tiny' >&2
printf 'Traceback (most recent call last):\n  File "x.py", line 1\nKeyError: "ssm_cfg"\n' >&2
exit 1"#;
    let place = Place::with(script);
    let done = place.convert(&[]);
    done.fails(&["tiny-llama: llama.cpp's converter", "stopped (exit status: 1): KeyError: \"ssm_cfg\""]);
    assert!(!done.err.contains("Loading model") && !done.err.contains("x.py"), "{}", done.err);
    assert_eq!(files_in(&place.path("out")), [""; 0]);
}

#[test]
fn a_class_that_the_converter_does_not_know() {
    let place = Place::with("echo 'ERROR:hf-to-gguf:Model JambaForCausalLM is not supported' >&2; exit 1");
    place.convert(&[]).fails(&["stopped (exit status: 1): Model JambaForCausalLM is not supported"]);
}

#[test]
fn a_converter_that_writes_nothing() {
    Place::with(r#"rm "$2""#).convert(&[]).fails(&["ended well and did not write it", "--converter"]);
}

#[test]
fn code_of_a_checkpoint_is_refused() {
    let said = "ValueError: contains custom code. Please pass the argument `trust_remote_code=True`";
    let place = Place::with(&format!("echo '{said}' >&2; exit 1"));
    place.convert(&[]).fails(&["Python code in its folder", "never run here"]);
}

#[test]
fn missing_packages_are_a_line_to_paste() {
    let place = Place::with(r#"echo "ModuleNotFoundError: No module named 'torch.nn'" >&2; exit 1"#);
    let done = place.convert(&[]);
    done.fails(&[
        "./python lacks the package `torch`",
        "\n./python -m venv ",
        "/pip install ",
        "torch==",
        "export TENPAK_PYTHON=",
    ]);
    std::fs::write(place.path("converter-requirements.txt"), "torch\n").unwrap();
    let requirements = format!("/pip install -r {} && ", place.path("converter-requirements.txt").display());
    place.convert(&[]).fails(&[&requirements]);
    let missing = ["--python", "/no/such/python", "--converter", ".", "-o", "out/tiny.gguf"];
    place.run_with(&missing).fails(&[
        "/no/such/python: cannot be started",
        "Python 3.11",
        "--python",
        "$TENPAK_PYTHON",
    ]);
}

#[test]
fn places_where_the_converter_is_looked_for() {
    let place = Place::with(WRITES);
    let options = ["convert", "tiny-llama", "-o", "out/tiny.gguf", "--python", "./python", "--force"];
    place.command(&options, |_| ()).fails(&[
        "JambaForCausalLM is a class that llama.cpp's converter has to convert",
        "convert_hf_to_gguf.py was not found (--converter, $TENPAK_CONVERTER, beside this program, $PATH)",
        "--collector",
    ]);
    let wrong = [&options[..], &["--converter", "nowhere"]].concat();
    place.command(&wrong, |_| ()).fails(&["nowhere: there is no such file (--converter)"]);
    place.command(&options, |c| _ = c.env("TENPAK_CONVERTER", place.path("."))).succeeds();
    // In the tree of llama.cpp, by the place of the collector.
    let programs = place.path("build/bin");
    std::fs::create_dir_all(&programs).unwrap();
    std::fs::write(programs.join("llama-tenpak-calibrate"), "").unwrap();
    place.command(&[&options[..], &["--collector", "build/bin"]].concat(), |_| ()).succeeds();
    // In a release, too.
    let (programs, scripts) = (place.path("release/bin"), place.path("release/share/tenpak-gguf/llama.cpp"));
    for folder in [&programs, &scripts] {
        std::fs::create_dir_all(folder).unwrap();
    }
    std::fs::write(programs.join("llama-tenpak-calibrate"), "").unwrap();
    std::fs::copy(place.path("convert_hf_to_gguf.py"), scripts.join("convert_hf_to_gguf.py")).unwrap();
    place.command(&[&options[..], &["--collector", "release/bin"]].concat(), |_| ()).succeeds();
    let by_variable = ["convert", "tiny-llama", "-o", "out/tiny.gguf", "--force", "--converter", "."];
    place.command(&by_variable, |c| _ = c.env("TENPAK_PYTHON", place.path("python"))).succeeds();
    assert_eq!(place.asked().lines().count(), 4);
}

#[test]
fn an_output_that_is_there_is_seen_before_the_converter_runs() {
    let place = Place::with(WRITES);
    std::fs::write(place.path("out/tiny.gguf"), "mine").unwrap();
    place.convert(&[]).fails(&["out/tiny.gguf", "exists already"]);
    assert_eq!(place.asked(), "");
}

#[test]
fn a_folder_that_is_refused_does_not_go_to_the_converter() {
    let place = Place::with(WRITES);
    place.change(|config| {
        config["architectures"] = json!(["LlamaForCausalLM"]);
        config["hidden_act"] = json!("relu2");
    });
    place.convert(&[]).fails(&["`hidden_act` is \"relu2\""]);
    place.change(|config| {
        config["architectures"] = json!(["LlamaForCausalLM"]);
        config["hidden_act"] = json!("silu");
        config["hidden_size"] = json!(512);
    });
    place.convert(&[]).fails(&["not of one model"]);
    place.change(|config| config["architectures"] = json!(["JambaForCausalLM"]));
    place.convert(&["--no-tokenizer"]).fails(&["--no-tokenizer", "JambaForCausalLM", "needs the tokenizer"]);
    assert_eq!(place.asked(), "");
}

#[test]
fn a_folder_that_the_converter_would_read_otherwise() {
    let place = Place::with(WRITES);
    let rename = |from: &str, to: &str| {
        std::fs::rename(place.folder.path.join(from), place.folder.path.join(to)).unwrap();
    };
    std::fs::copy(
        place.folder.path.join("model.safetensors"),
        place.folder.path.join("model-old.safetensors"),
    )
    .unwrap();
    assert_says(
        place.refused(),
        &[
            "`model.safetensors`, as transformers",
            "take `model-old.safetensors` and 1 more",
            "leave the weights of one model",
        ],
    );
    place.folder.remove("model-old.safetensors");
    assert!(Foreign::of(&place.folder.path).unwrap().is_some());
    rename("model.safetensors", "weights.safetensors");
    assert_says(place.refused(), &["`weights.safetensors`", "would take none", "name it model.safetensors"]);
}

#[test]
fn a_disk_that_is_too_small_is_seen_before_the_converter_runs() {
    let place = Place::with(WRITES);
    // A tensor of 4 TB, of which the file has no blocks.
    let elements = 1u64 << 40;
    let header =
        json!({"x": {"dtype": "F32", "shape": [elements], "data_offsets": [0, elements * 4]}}).to_string();
    let path = place.folder.path.join("model.safetensors");
    std::fs::write(&path, [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat()).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    if file.set_len(8 + header.len() as u64 + elements * 4).is_err() {
        eprintln!("NOT TESTED HERE: files of 4 TB with nothing in them");
        return;
    }
    place.convert(&[]).fails(&[
        "out: JambaForCausalLM",
        "about 2199.0 GB there",
        "GB are free",
        "another disk",
    ]);
    assert_eq!(place.asked(), "");
}

#[test]
fn a_cache_keeps_the_file() {
    let place = Place::with(
        &WRITES
            .replace("asked", "\"$(dirname $0)/asked\"")
            .replace("made.gguf", "\"$(dirname $0)/made.gguf\""),
    );
    let cache = Cache::new(place.path("cache"));
    let job = job::Convert {
        foreign: ForeignOptions {
            converter: Some(place.path("convert_hf_to_gguf.py")),
            python: Some(place.path("python")),
            collector: None,
            place: job::Place::Cached(cache.clone()),
        },
        ..job::Convert::new(&place.folder.path)
    };
    let told = Mutex::new(Vec::new());
    let tell = |event: job::Event| {
        if let job::Event::Foreign(prepared) = event {
            told.lock().unwrap().push(prepared.is_there());
        }
    };
    for _ in 0..2 {
        let opened = job.open(&tell).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(opened.model().gguf(), Some(&*cache.files().unwrap()[0].path));
        assert!(opened.model().files().contains(&place.folder.path.join("model.safetensors")));
    }
    assert_eq!(place.asked().lines().count(), 1);
    // Another folder is another model.
    place.change(|config| config["rope_theta"] = json!(20000.5));
    job.open(&tell).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(*told.lock().unwrap(), [false, true, false]);
    assert_eq!((place.asked().lines().count(), cache.files().unwrap().len()), (2, 2));
}

#[test]
fn what_sees_is_left_out_with_a_note() {
    let mut tiny = TinyLlama::of_one_block();
    let t = tiny.tensors["lm_head.weight"].clone();
    tiny.tensors.insert("model.vision_tower.patch.weight".into(), t.clone());
    let place = Place::of(&tiny, WRITES);
    let done = place.convert(&[]).succeeds();
    assert_says(&done.err, &["note: ", "1 tensors of what sees or hears", "--mmproj tiny-llama"]);
}
