//! What disks, other processes and signals do to a conversion: nothing half-written under a final name, nothing of others
//! touched, and an error that says what happened.
#![cfg(unix)]

use crate::support;
use serde_json::json;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Once;
use std::time::{Duration, Instant};
use support::tiny_llama::{Folder, TinyLlama};
use support::{assert_says, error, files_in, plan, tiny_calibration, tiny_gguf};
use tenpak_gguf::checkpoint::{Dtype, Model, Options};
use tenpak_gguf::gguf::File;
use tenpak_gguf::job::{self, Resume};
use tenpak_gguf::plan::Recipe;

/// Longer than the clock of a file system needs for another time.
const TICK: Duration = Duration::from_millis(30);
/// Patience with a program that has to end.
const PATIENCE: Duration = Duration::from_secs(60);

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenpak-gguf"));
    command.stdin(Stdio::null()).env_remove("TENPAK_COLLECTOR");
    command
}

/// Converts a folder to plain floats.
fn convert(folder: &Path, output: &Path, options: &[&str]) -> Output {
    let mut command = program();
    command.arg("convert").arg(folder).arg("-o").arg(output).args(["--outtype", "f16"]).args(options);
    command.output().expect("it starts")
}

#[track_caller]
fn refused(done: &Output, words: &[&str]) {
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert!(said.starts_with("error: ") || said.contains("\nerror: "), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    assert_says(said, words);
}

/// Converts the tiny model to floats and does something when the first weights are done.
fn disturbed(folder: &Folder, resume: Resume, disturb: impl Fn() + Sync) -> Result<u64, job::Error> {
    std::thread::sleep(TICK);
    let model = Model::open(&folder.path, &Options::default()).unwrap_or_else(|e| panic!("{e}"));
    let plan = plan(&model, Recipe::plain(Dtype::F16));
    std::thread::sleep(TICK);
    let once = Once::new();
    let out = folder.beside("out.gguf");
    job::write_or_resume(&model, &plan, None, &out, resume, &|_| once.call_once(&disturb))
}

#[test]
fn inputs_that_change_while_they_are_read() {
    let weights = |change: &(dyn Fn(&std::fs::File) + Sync)| {
        let folder = TinyLlama::of_one_block().write();
        let path = folder.path.join("model.safetensors");
        let file = std::fs::OpenOptions::new().read(true).write(true).open(&path).expect("the weights");
        let e = error(disturbed(&folder, Resume::REPLACING, || change(&file)));
        assert_says(e, &["model.safetensors", "was changed or cut short while it was read"]);
        assert_eq!(files_in(folder.parent.path()), ["tiny-llama"]);
    };
    let bytes = |file: &std::fs::File| file.metadata().expect("a file").len();
    weights(&|file| file.set_len(bytes(file) / 3).unwrap());
    weights(&|file| file.set_len(bytes(file) - 100).unwrap());
    weights(&|file| file.set_len(bytes(file) + 1_000_000).unwrap());
    weights(&|file| std::os::unix::fs::FileExt::write_all_at(file, &[1; 100], 5000).unwrap());
    // What is not held while weights are read: both may be of another model by now.
    let folder = TinyLlama::of_one_block().write();
    let e =
        error(disturbed(&folder, Resume::REPLACING, || folder.write_json("config.json", &json!({"a": 1}))));
    assert_says(e, &["config.json", "was changed"]);
    assert_eq!(files_in(folder.parent.path()), ["tiny-llama"]);
}

#[test]
fn a_file_that_comes_meanwhile_is_replaced_with_force_only() {
    for replaces in [false, true] {
        let folder = TinyLlama::of_one_block().write();
        let out = folder.beside("out.gguf");
        let resume = Resume { goes_on: false, replaces };
        let done = disturbed(&folder, resume, || std::fs::write(&out, "theirs").unwrap());
        if replaces {
            assert!(done.is_ok() && File::open(&out).is_ok());
            continue;
        }
        assert_says(error(done), &["out.gguf", "came while this one was written", "--resume --force"]);
        assert_eq!(std::fs::read(&out).unwrap(), b"theirs");
        // The work is not lost: with the same options, nothing is computed again.
        let resume = Resume { goes_on: true, replaces: true };
        assert!(disturbed(&folder, resume, || ()).is_ok() && File::open(&out).is_ok());
        assert_eq!(files_in(folder.parent.path()), ["out.gguf", "tiny-llama"]);
    }
}

/// Half of them write one file: a conversion that finds another at it says so, and what has the name is whole at any time.
#[test]
fn many_conversions_at_once() {
    const CONVERSIONS: usize = 48;
    let folder = TinyLlama::of_one_block().write();
    let whole = {
        let alone = folder.beside("alone.gguf");
        assert!(convert(&folder.path, &alone, &[]).status.success());
        std::fs::read(&alone).unwrap()
    };
    let start = |i: usize| {
        let name = if i.is_multiple_of(2) { "one.gguf".to_owned() } else { format!("own-{i}.gguf") };
        let mut command = program();
        command.arg("convert").arg(&folder.path).arg("-o").arg(folder.beside(&name));
        command.args(["--outtype", "f16", "--force", "--threads", "1"]).stdout(Stdio::null());
        (name, command.stderr(Stdio::piped()).spawn().expect("it starts"))
    };
    let running: Vec<(String, Child)> = (0..CONVERSIONS).map(start).collect();
    let mut names = vec!["alone.gguf".to_owned(), "one.gguf".into(), "tiny-llama".into()];
    let mut written = 0;
    for (name, child) in running {
        let done = child.wait_with_output().expect("it ends");
        let is_shared = name == "one.gguf";
        if is_shared && !done.status.success() {
            refused(&done, &["one.gguf", "another process is writing it"]);
            continue;
        }
        assert!(done.status.success(), "{name}: {}", String::from_utf8_lossy(&done.stderr));
        assert!(std::fs::read(folder.beside(&name)).unwrap() == whole, "{name} has other bytes");
        match is_shared {
            true => written += 1,
            false => names.push(name),
        }
    }
    assert!(written > 0, "nobody wrote one.gguf");
    names.sort();
    assert_eq!(files_in(folder.parent.path()), names);
}

#[test]
fn devices_and_the_like_are_not_written_over() {
    let folder = TinyLlama::of_one_block().write();
    let (fifo, socket, inside) = (folder.beside("fifo"), folder.beside("socket"), folder.beside("inside"));
    assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo").success());
    let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    std::fs::create_dir(&inside).unwrap();
    let link = folder.beside("link");
    std::os::unix::fs::symlink(&fifo, &link).unwrap();
    for (path, what) in [(&fifo, "FIFO"), (&socket, "FIFO"), (&link, "FIFO"), (&inside, "a folder")] {
        refused(&convert(&folder.path, path, &["--force"]), &[what, "not written over"]);
    }
    let kind = |path: &Path| std::fs::symlink_metadata(path).expect("it is there").file_type();
    assert!(kind(&fifo).is_fifo() && kind(&socket).is_socket() && kind(&inside).is_dir());
    // A link that leads nowhere is something that is there.
    let nowhere = folder.beside("nowhere");
    std::os::unix::fs::symlink("not-there", &nowhere).unwrap();
    refused(&convert(&folder.path, &nowhere, &[]), &["exists already"]);
    // They are no inputs either: reading one might never end.
    std::fs::remove_file(folder.path.join("config.json")).unwrap();
    std::os::unix::fs::symlink(&fifo, folder.path.join("config.json")).unwrap();
    refused(&convert(&folder.path, &folder.beside("out.gguf"), &[]), &["config.json", "no file"]);
}

#[test]
fn names_of_any_bytes_and_of_any_length() {
    let folder = TinyLlama::of_one_block().write();
    let at = |name: &[u8]| folder.beside("x").with_file_name(OsStr::from_bytes(name));
    let mut long = vec![b'n'; 250];
    long.extend(b".gguf");
    for name in [&b"a\xffb.gguf"[..], &long] {
        let done = convert(&folder.path, &at(name), &[]);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        assert!(File::open(&at(name)).is_ok());
    }
    let done = convert(&folder.path, &at(b"p\xff.gguf"), &["--split-max-size", "50K"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let names = std::fs::read_dir(folder.parent.path()).unwrap().map(|e| e.expect("an entry").file_name());
    let first: Vec<OsString> = names.filter(|name| name.as_bytes().starts_with(b"p\xff-00001-of-")).collect();
    let whole = File::open(&folder.beside("x").with_file_name(&first[0])).expect("all parts");
    assert_eq!(whole.tensors().len(), 12);
    // Names of parts are longer.
    refused(
        &convert(&folder.path, &at(&long), &["-f", "--split-max-size", "50K"]),
        &["nnn-00001-of-", "too long"],
    );
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_behind_standard_output_is_an_error() {
    let folder = TinyLlama::of_one_block().write();
    let out = folder.beside("out.gguf");
    assert!(convert(&folder.path, &out, &[]).status.success());
    let out = out.to_str().expect("a plain name");
    let commands: [&[&str]; 8] = [
        &["inspect", out],
        &["inspect", "-s", out],
        &["inspect", "--digest", out],
        &["types"],
        &["recipes"],
        &["--help"],
        &["convert", "--help"],
        &["--version"],
    ];
    for command in commands {
        let full = std::fs::File::options().write(true).open("/dev/full").expect("Linux has it");
        let done = program().args(command).stdout(full).stderr(Stdio::piped()).output().expect("it starts");
        refused(&done, &["No space left"]);
    }
}

#[test]
fn names_in_files_are_escaped_when_they_are_printed() {
    let forged = "t\u{1b}[2J\ntensor blk.0.attn_q.weight deadbeef t3 64x64";
    let raw = tiny_gguf::Raw::new(3, 1, 1).string("k\u{1b}]0;title\u{7}").u32(4).u32(1);
    let (_folder, path) = tiny_gguf::file(&raw.tensor(forged, &[4], 0, 0).data(16));
    let run = |args: &[&OsStr]| program().args(args).output().expect("it starts");
    let inspect = OsStr::new("inspect");
    for done in [run(&[inspect, path.as_ref()]), run(&[inspect, "--digest".as_ref(), path.as_ref()])] {
        let said = String::from_utf8(done.stdout).expect("text");
        assert_says(&said, &["t\\u{1b}[2J\\ntensor blk.0", "k\\u{1b}]0;title\\u{7}"]);
        assert!(!said.contains(['\u{1b}', '\u{7}']) && !said.contains("\ntensor blk.0"), "{said}");
    }
    let digest = run(&[inspect, "--digest".as_ref(), path.as_ref()]).stdout;
    assert_eq!(String::from_utf8(digest).unwrap().lines().count(), 2);
    // Errors and conversions name them too.
    let done = convert(&path, &path.with_file_name("out.gguf"), &[]);
    refused(&done, &["t\\u{1b}[2J\\ntensor blk.0", "control characters"]);
    let (_folder, path) =
        tiny_gguf::file(&tiny_gguf::Raw::new(3, 1, 0).tensor("a\nb\u{1b}", &[5], 512, 0).data(64));
    refused(&run(&[inspect, path.as_ref()]), &["`a\\nb\\u{1b}`"]);
}

/// A folder with a model, a calibration, and a collector that runs until it is ended.
struct Calibration {
    folder: tempfile::TempDir,
}

impl Calibration {
    fn new() -> Calibration {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("base.gguf"), tiny_gguf::ordinary()).unwrap();
        tiny_calibration::gram().write(&at("made"));
        let script = "#!/bin/sh\necho $$ >number.new\nmv number.new number\nexec sleep 600\n";
        std::fs::write(at("llama-tenpak-calibrate"), script).unwrap();
        std::fs::set_permissions(at("llama-tenpak-calibrate"), PermissionsExt::from_mode(0o755)).unwrap();
        Calibration { folder }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts `tenpak-gguf calibrate`, which has the collector write a text first, and waits for the collector.
    fn start(&self) -> (Child, u32) {
        let mut command = program();
        command.current_dir(&self.folder).args(["calibrate", "base.gguf", "-f", "self", "-o", "out.gguf"]);
        command.args(["--collector", "./llama-tenpak-calibrate"]).stderr(Stdio::null()).stdout(Stdio::null());
        // Jobs of a shell that is not interactive ignore SIGINT, and those of nohup SIGHUP.
        let heed = || {
            for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGTERM] {
                // SAFETY: the default has no handler.
                unsafe { libc::signal(signal, libc::SIG_DFL) };
            }
            Ok(())
        };
        // SAFETY: the function makes system calls alone.
        unsafe { std::os::unix::process::CommandExt::pre_exec(&mut command, heed) };
        let child = command.spawn().expect("it starts");
        let number = self.at("number");
        wait_until(|| number.exists());
        let collector = std::fs::read_to_string(number).unwrap().trim().parse().expect("a number");
        (child, collector)
    }
}

#[track_caller]
fn wait_until(is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "it takes too long");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn send(signal: &str, process: u32) -> bool {
    let mut kill = Command::new("sh");
    kill.args(["-c", &format!("kill -{signal} {process}")]).stderr(Stdio::null());
    kill.status().expect("a shell").success()
}

/// Whether a process runs. One that nobody has waited for does not.
#[cfg(target_os = "linux")]
fn runs(process: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
#[cfg(target_os = "linux")]
fn signals_end_programs_and_take_temporary_files_away() {
    use std::os::unix::process::ExitStatusExt;
    for (signal, number) in [("TERM", 15), ("INT", 2), ("HUP", 1)] {
        let place = Calibration::new();
        let (mut child, collector) = place.start();
        assert!(files_in(place.folder.path()).iter().any(|name| name.starts_with(".tenpak-text-")));
        assert!(send(signal, child.id()));
        assert_eq!(child.wait().expect("it ends").signal(), Some(number));
        assert!(!runs(collector), "the collector still runs");
        let left = ["base.gguf", "llama-tenpak-calibrate", "made", "number"];
        assert_eq!(files_in(place.folder.path()), left);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_program_that_is_killed_takes_the_collector_with_it() {
    let place = Calibration::new();
    let (mut child, collector) = place.start();
    child.kill().expect("it is ours");
    child.wait().expect("it ends");
    wait_until(|| !runs(collector));
}
