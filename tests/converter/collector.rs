//! `tenpak-gguf calibrate` with a collector that is a script: what it is asked, and what is said when it fails.
#![cfg(unix)]

use crate::support;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use support::tiny_calibration::of_tiny_llama;
use support::tiny_llama::TinyLlama;
use support::{assert_says, files_in, tiny_calibration, tiny_gguf};
use tempfile::TempDir;

/// A folder with a model, a text, a calibration to be copied, and perhaps a collector.
struct Place {
    folder: TempDir,
}

struct Done {
    code: i32,
    out: String,
    err: String,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("base.gguf"), tiny_gguf::ordinary()).expect("a file");
        std::fs::write(folder.path().join("text.txt"), "words").expect("a file");
        tiny_calibration::gram().write(&folder.path().join("made"));
        Place { folder }
    }

    /// With a collector that is a shell script; `$1` and so on are what it is asked.
    fn with(script: &str) -> Place {
        let place = Place::new();
        place.program("llama-tenpak-calibrate", script);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn program(&self, name: &str, script: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a file");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("permissions");
    }

    /// Runs `calibrate base.gguf -f text.txt -o out.gguf` and `options` in the folder.
    fn run(&self, options: &[&str]) -> Done {
        self.run_with(options, |command| command)
    }

    /// The same with another text.
    fn run_on(&self, text: &str, options: &[&str]) -> Done {
        self.run_as(text, options, |command| command)
    }

    fn run_with(&self, options: &[&str], change: impl FnOnce(&mut Command) -> &mut Command) -> Done {
        self.run_as("text.txt", options, change)
    }

    fn run_as(
        &self,
        text: &str,
        options: &[&str],
        change: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Done {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tenpak-gguf"));
        command.current_dir(self.folder.path()).env_remove("TENPAK_COLLECTOR").env("PATH", "/usr/bin:/bin");
        command.args(["calibrate", "base.gguf", "-f", text, "-o", "out.gguf"]).args(options);
        let output = change(&mut command).output().expect("it starts");
        Done {
            code: output.status.code().expect("it ends by itself"),
            out: String::from_utf8(output.stdout).expect("text"),
            err: String::from_utf8(output.stderr).expect("text"),
        }
    }
}

impl Done {
    /// Asserts a failure with these words.
    #[track_caller]
    fn fails(&self, words: &[&str]) {
        assert_eq!((self.code, &self.out[..]), (1, ""), "{}", self.err);
        assert_says(&self.err, words);
        assert!(self.err.contains("error: ") && !self.err.contains("panicked"), "{}", self.err);
    }
}

const HERE: [&str; 2] = ["--collector", "./llama-tenpak-calibrate"];

#[test]
fn the_collector_is_asked_what_the_user_asked() {
    let place = Place::with(r#"echo "$@" >asked; echo progress >&2; cp made "$6""#);
    let mine =
        ["--tokens", "4096", "--context", "128", "--memory", "8G", "--threads", "3", "--gpu-layers", "7"];
    let done = place.run(&[&HERE[..], &mine].concat());
    assert_eq!(done.code, 0, "{}", done.err);
    assert_says(&done.out, &["out.gguf: Gram matrices of 4 inputs of Tiny, 8 tokens of text.txt", "kB"]);
    assert_says(&done.err, &["progress"]);
    let asked = std::fs::read_to_string(place.path("asked")).unwrap();
    let expected = "-m base.gguf -f text.txt -o out.gguf --tokens 4096 -c 128 --memory 8G -t 3 -ngl 7\n";
    assert_eq!(asked, expected);
}

#[test]
fn a_budget_is_minutes_or_none() {
    for (given, asked) in [("5", "--budget 5"), ("0", "--budget 0"), ("none", "--budget none")] {
        let place = Place::with(r#"echo "$@" >asked; cp made "$6""#);
        assert_eq!(place.run(&[&HERE[..], &["--budget", given]].concat()).code, 0);
        assert_says(std::fs::read_to_string(place.path("asked")).unwrap(), &[asked]);
    }
    for nonsense in ["50%", "-1", "all"] {
        let place = Place::with("echo >asked");
        let refused = place.run(&[&HERE[..], &[&format!("--budget={nonsense}")]].concat());
        assert_eq!(refused.code, 2);
        assert_says(&refused.err, &[nonsense, "is neither a number of minutes nor none"]);
        assert!(!place.path("asked").exists(), "the collector was run");
    }
}

#[test]
fn without_options_the_collector_decides() {
    let place = Place::with(r#"echo "$@" >asked; cp made "$6""#);
    assert_eq!(place.run(&HERE).code, 0);
    let asked = std::fs::read_to_string(place.path("asked")).unwrap();
    assert_eq!(asked, "-m base.gguf -f text.txt -o out.gguf\n");
}

/// Writes what it is asked to write, and remembers that.
const WRITES: &str = r#"echo "$@" >>asked
case $3 in
    --write-text) echo words >"$4" ;;
    *) cat "$4" >read; cp made "$6" ;;
esac"#;

#[test]
fn a_text_of_the_models_own_is_written_and_collected_over() {
    let place = Place::with(WRITES);
    let mine = ["--tokens", "512", "-c", "64", "--threads", "2", "--seed", "7"];
    let done = place.run_on("self", &[&HERE[..], &mine].concat());
    assert_eq!(done.code, 0, "{}", done.err);
    let asked = std::fs::read_to_string(place.path("asked")).unwrap();
    let (write, collect) = asked.trim_end().split_once('\n').expect("two runs");
    let text = write.split(' ').nth(3).expect("a path");
    assert_eq!(write, format!("-m base.gguf --write-text {text} --tokens 512 --seed 7 -c 64 -t 2"));
    let options = "--text-name self, seed 7 --tokens 512 -c 64 -t 2 --parse-special";
    assert_eq!(collect, format!("-m base.gguf -f {text} -o out.gguf {options}"));
    assert_eq!(std::fs::read_to_string(place.path("read")).unwrap(), "words\n");
    assert!(!place.path(text).exists(), "{text} was left");
}

/// Writes what it is asked to write, a calibration too, and remembers what that was.
const MEASURES: &str = r#"echo "$@" >>asked
while [ $# -gt 0 ]; do
    case $1 in
    --write-text) echo words >"$2" ;;
    -o) cp made "$2" ;;
    esac
    shift
done"#;

#[test]
fn a_conversion_asks_for_what_suits_its_effort() {
    for (effort, kept_back, tokens) in [("fast", 4608, 8192), ("normal", 7680, 32768)] {
        let place = Place::with(MEASURES);
        of_tiny_llama().write(&place.path("made"));
        let model = TinyLlama::new().write();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tenpak-gguf"));
        command.current_dir(place.folder.path()).env("PATH", "/usr/bin:/bin");
        command
            .arg("convert")
            .arg(&model.path)
            .args(["-o", "out.gguf", "--cache", "cache", "--effort", effort]);
        let done = command.args(HERE).output().expect("it starts");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let asked = std::fs::read_to_string(place.path("asked")).unwrap();
        let line = |word: &str| asked.lines().find(|line| line.contains(word)).expect("it was asked");
        assert_says(
            line("--write-text"),
            &[&format!("--tokens {kept_back} --seed 2"), &format!("--tokens {tokens} --seed 1")],
        );
        assert_says(line(".gram.gguf"), &[&format!("--tokens {tokens} --parse-special")]);
    }
}

#[test]
fn a_text_of_the_models_own_can_be_kept() {
    let place = Place::with(WRITES);
    let keep = [&HERE[..], &["--keep-text", "kept.txt"]].concat();
    assert_eq!(place.run_on("self", &keep).code, 0);
    assert_eq!(std::fs::read_to_string(place.path("kept.txt")).unwrap(), "words\n");
    std::fs::remove_file(place.path("out.gguf")).unwrap();
    place.run_on("self", &keep).fails(&["kept.txt", "exists already", "--force"]);
    std::fs::write(place.path("self"), "a file").unwrap();
    assert_eq!(place.run_on("./self", &HERE).code, 0);
    assert_eq!(std::fs::read_to_string(place.path("read")).unwrap(), "a file");
}

#[test]
fn options_of_a_text_of_the_models_own() {
    let place = Place::with(WRITES);
    for option in [["--seed", "2"], ["--keep-text", "kept.txt"]] {
        place.run(&[&HERE[..], &option].concat()).fails(&[option[0], "-f self"]);
    }
    assert!(!place.path("asked").exists());
    assert_eq!(place.run(&[&HERE[..], &["--parse-special"]].concat()).code, 0);
    let asked = std::fs::read_to_string(place.path("asked")).unwrap();
    assert_eq!(asked, "-m base.gguf -f text.txt -o out.gguf --parse-special\n");
}

#[test]
fn a_text_that_was_not_written() {
    Place::with("true").run_on("self", &HERE).fails(&[
        "own.txt",
        "did not write it",
        "scripts/build_llama.sh",
    ]);
    Place::with("exit 3").run_on("self", &HERE).fails(&["stopped with code 3"]);
}

#[test]
fn places_where_the_collector_is_looked_for() {
    let place = Place::with(r#"cp made "$6""#);
    type Change = fn(&Place, &mut Command);
    let changes: [Change; 4] = [
        |place, c| _ = c.env("TENPAK_COLLECTOR", place.path("llama-tenpak-calibrate")),
        |place, c| _ = c.env("TENPAK_COLLECTOR", place.folder.path()),
        |place, c| _ = c.env("PATH", format!("{}:/usr/bin:/bin", place.folder.path().display())),
        |_, c| _ = c.args(["--collector", "."]),
    ];
    for change in changes {
        let done = place.run_with(&["--force"], |command| {
            change(&place, command);
            command
        });
        assert_eq!(done.code, 0, "{}", done.err);
    }
}

#[test]
fn no_collector() {
    Place::new().run(&[]).fails(&["llama-tenpak-calibrate", "not found", "scripts/build_llama.sh"]);
}

#[test]
fn a_collector_that_is_not_there() {
    let place = Place::new();
    place.run(&["--collector", "/no/such"]).fails(&["/no/such", "--collector", "scripts/build_llama.sh"]);
    let done = place.run_with(&[], |c| c.env("TENPAK_COLLECTOR", "/no/such"));
    done.fails(&["/no/such", "TENPAK_COLLECTOR", "scripts/build_llama.sh"]);
}

#[test]
fn a_collector_that_does_not_start() {
    let place = Place::new();
    place.run(&["--collector", "text.txt"]).fails(&["text.txt", "cannot be started"]);
}

#[test]
fn a_collector_that_fails() {
    let place = Place::with("echo 'error: the text is too short' >&2; exit 3");
    place.run(&HERE).fails(&["the text is too short", "stopped with code 3"]);
    assert!(!files_in(place.folder.path()).contains(&"out.gguf".into()));
}

#[test]
fn a_collector_that_is_killed() {
    Place::with("kill -9 $$").run(&HERE).fails(&["signal", "run the same command again", "--memory"]);
}

#[test]
fn a_collector_that_writes_nothing() {
    Place::with("exit 0").run(&HERE).fails(&["out.gguf", "did not write it", "scripts/build_llama.sh"]);
}

#[test]
fn a_collector_that_writes_nonsense() {
    Place::with(r#"echo nonsense >"$6""#).run(&HERE).fails(&["out.gguf", "neither a GGUF file"]);
}

#[test]
fn inputs_are_checked_first() {
    let never = "touch started";
    let place = Place::with(never);
    std::fs::remove_file(place.path("text.txt")).unwrap();
    place.run(&HERE).fails(&["text.txt"]);
    let place = Place::with(never);
    std::fs::write(place.path("base.gguf"), "no model").unwrap();
    place.run(&HERE).fails(&["base.gguf", "not a GGUF file"]);
    let place = Place::with(never);
    std::fs::write(place.path("out.gguf"), "precious").unwrap();
    place.run(&HERE).fails(&["out.gguf", "exists already", "--force"]);
    assert_eq!(std::fs::read(place.path("out.gguf")).unwrap(), b"precious");
    assert!(!place.path("started").exists());
}

#[test]
fn help() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_tenpak-gguf")).args(["calibrate", "--help"]).output().unwrap();
    let words =
        ["Examples:", "--tokens", "--memory", "--collector", "TENPAK_COLLECTOR", "scripts/build_llama.sh"];
    assert_says(String::from_utf8(output.stdout).unwrap(), &words);
}
