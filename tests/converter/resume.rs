//! A conversion that was killed goes on where it was, and gives the same bytes.

use crate::support;
use sha2::{Digest, Sha256};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use support::tiny_calibration::of_tiny_llama;
use support::tiny_llama::{Folder, TinyLlama};
use support::{assert_says, files_in};
use tenpak_gguf::gguf::File;
use tenpak_gguf::job::calibration_of;

fn command(folder: &Folder, output: &Path, options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenpak-gguf"));
    let mut args: Vec<&OsStr> =
        vec!["convert".as_ref(), folder.path.as_ref(), "-o".as_ref(), output.as_ref()];
    args.extend(options.iter().map(OsStr::new));
    command.args(support::uncalibrated(&args)).stdout(Stdio::null());
    command
}

#[track_caller]
fn convert(folder: &Folder, output: &Path, options: &[&str]) -> Output {
    let done = command(folder, output, options).stderr(Stdio::piped()).output().expect("it runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    done
}

/// The bytes of a conversion, whose file is removed.
#[track_caller]
fn bytes_of(folder: &Folder, output: &Path, options: &[&str]) -> Vec<u8> {
    convert(folder, output, options);
    let bytes = std::fs::read(output).unwrap();
    std::fs::remove_file(output).unwrap();
    bytes
}

/// The file that a killed conversion of `name` left.
fn part(folder: &Folder, name: &str) -> Option<PathBuf> {
    let names = files_in(folder.parent.path());
    let is_part = |n: &&String| n.starts_with(&format!(".{name}.")) && n.ends_with(".part");
    names.iter().find(is_part).map(|n| folder.beside(n))
}

/// Kills conversions until one has written something, but not all.
fn killed(folder: &Folder, name: &str, options: &[&str]) -> PathBuf {
    let output = folder.beside(name);
    for _ in 0..50 {
        let mut running = command(folder, &output, options).stderr(Stdio::null()).spawn().expect("it starts");
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(60) && running.try_wait().expect("a process").is_none() {
            let part = part(folder, name);
            if part.is_some_and(|p| std::fs::metadata(p).is_ok_and(|m| m.len() > 20_000)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        // SIGKILL: nothing can clean up.
        running.kill().expect("it is ours");
        running.wait().expect("a process");
        match part(folder, name) {
            Some(part) => {
                assert!(!output.exists(), "half a file under the final name");
                return part;
            }
            None => drop(std::fs::remove_file(&output)),
        }
    }
    panic!("no conversion could be killed in the middle");
}

/// Resumes: the whole file, and nothing else is left.
#[track_caller]
fn goes_on(folder: &Folder, output: &Path, options: &[&str], whole: &[u8]) {
    convert(folder, output, &[options, &["--resume"]].concat());
    assert!(std::fs::read(output).unwrap() == whole);
    assert_eq!(files_in(folder.parent.path()), ["out.gguf", "tiny-llama"]);
    std::fs::remove_file(output).unwrap();
}

#[test]
fn a_killed_conversion_goes_on() {
    let folder = TinyLlama::of_one_block().write();
    for options in [&["--type", "t3"][..], &["--outtype", "f32"]] {
        let out = folder.beside("out.gguf");
        let whole = bytes_of(&folder, &out, options);
        let left = killed(&folder, "out.gguf", options);
        let there = std::fs::read(&left).unwrap();
        assert!(whole.starts_with(&there), "a killed conversion left other bytes");
        goes_on(&folder, &out, options, &whole);

        // Killed anywhere: in the header, at its end, within tensors and between them.
        let anywhere = (0..whole.len()).step_by(whole.len() / 5);
        for length in anywhere.chain([1, 100, whole.len() - 1, whole.len()]) {
            std::fs::write(&left, &whole[..length]).unwrap();
            let resumed = bytes_of(&folder, &out, &[options, &["--resume"]].concat());
            assert!(resumed == whole, "{length} bytes were there");
        }
        // What is no start of this file is not used, and without --resume nothing is.
        for (start, resume) in [(vec![b'x'; whole.len()], &["--resume"][..]), (vec![b'x'; 9], &[])] {
            std::fs::write(&left, start).unwrap();
            assert!(bytes_of(&folder, &out, &[options, resume].concat()) == whole);
        }
    }
}

/// Tensors that are there are taken as they are: this is what makes it go on, and why others must not be used.
#[test]
fn what_is_there_is_not_made_again() {
    let folder = TinyLlama::of_one_block().write();
    let out = folder.beside("out.gguf");
    let left = killed(&folder, "out.gguf", &["--type", "t3"]);
    let mut bytes = bytes_of(&folder, &out, &["--type", "t3"]);
    // The last byte of the file but one tensor's padding: changed, and still there afterwards.
    let place = bytes.len() - 40;
    bytes[place] ^= 0xff;
    std::fs::write(&left, &bytes).unwrap();
    assert!(bytes_of(&folder, &out, &["--type", "t3", "--resume"]) == bytes);

    // Of other options, or of a model that has changed: begun anew, and told.
    std::fs::write(&left, &bytes).unwrap();
    let done = convert(&folder, &out, &["--type", "t2", "--resume"]);
    let name = left.file_name().unwrap().to_string_lossy().into_owned();
    assert_says(String::from_utf8_lossy(&done.stderr), &[&name, "other options", "delete it"]);
    std::fs::remove_file(&out).unwrap();
    let tensors = folder.path.join("model.safetensors");
    let stored = std::fs::read(&tensors).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    std::fs::write(&tensors, stored).unwrap();
    convert(&folder, &out, &["--type", "t3", "--resume"]);
    assert!(std::fs::read(&out).unwrap() != bytes);
}

#[test]
fn parts_that_are_complete_stay() {
    let folder = TinyLlama::new().write();
    let options = ["--outtype", "f16", "--split-max-size", "100K"];
    let out = folder.beside("out.gguf");
    convert(&folder, &out, &options);
    let read = || {
        let names = files_in(folder.parent.path());
        names
            .into_iter()
            .filter(|n| n.ends_with(".gguf"))
            .map(|n| (std::fs::read(folder.beside(&n)).unwrap(), n))
            .collect::<Vec<_>>()
    };
    let all = read();
    assert!(all.len() > 3);
    // One is missing, one is of something else.
    std::fs::remove_file(folder.beside(&all[1].1)).unwrap();
    let done = convert(&folder, &out, &[&options[..], &["--resume"]].concat());
    assert_says(String::from_utf8_lossy(&done.stderr), &[&all[0].1, "complete already"]);
    assert!(read() == all);
    std::fs::write(folder.beside(&all[2].1), b"GGUF").unwrap();
    let refused = command(&folder, &out, &options).arg("--resume").stderr(Stdio::piped()).output().unwrap();
    assert_says(String::from_utf8_lossy(&refused.stderr), &[&all[2].1, "exists already", "--force"]);
}

/// The error of a conversion.
#[track_caller]
fn refused(folder: &Folder, output: &Path, options: &[&str]) -> String {
    let done = command(folder, output, options).stderr(Stdio::piped()).output().expect("it runs");
    assert_eq!(done.status.code(), Some(1));
    String::from_utf8_lossy(&done.stderr).into_owned()
}

/// Times of files are those of a clock that ticks.
fn wait_for_the_clock() {
    std::thread::sleep(Duration::from_millis(20));
}

#[test]
fn a_killed_calibrated_conversion_goes_on() {
    let folder = TinyLlama::new().write();
    let elsewhere = tempfile::tempdir().unwrap();
    let calibration = elsewhere.path().join("calibration.gguf");
    of_tiny_llama().write(&calibration);
    let options = ["--type", "t3", "--calibration", calibration.to_str().unwrap()];
    let (plain, out) = (elsewhere.path().join("plain.gguf"), folder.beside("out.gguf"));
    let plain = bytes_of(&folder, &plain, &options[..2]);
    let whole = bytes_of(&folder, &out, &options);
    assert!(whole != plain);
    let left = killed(&folder, "out.gguf", &options);
    assert!(whole.starts_with(&std::fs::read(&left).unwrap()), "a killed conversion left other bytes");
    goes_on(&folder, &out, &options, &whole);

    // Of another calibration, or of none: begun anew.
    for length in [whole.len() / 2, whole.len()] {
        std::fs::write(&left, &whole[..length]).unwrap();
        assert!(bytes_of(&folder, &out, &["--type", "t3", "--resume"]) == plain);
    }
}

/// A plain file is not taken for the calibrated one, which says in its keys what it was made with.
#[test]
fn a_plain_part_is_not_complete_for_a_calibration_made_later() {
    let folder = TinyLlama::new().write();
    let (out, calibration) = (folder.beside("out.gguf"), folder.beside("calibration.gguf"));
    convert(&folder, &out, &["--type", "t3"]);
    let plain = std::fs::read(&out).unwrap();
    wait_for_the_clock();
    of_tiny_llama().write(&calibration);
    let options = ["--type", "t3", "--calibration", calibration.to_str().unwrap(), "--resume"];
    assert_says(refused(&folder, &out, &options), &["out.gguf", "exists already", "--force"]);
    assert!(std::fs::read(&out).unwrap() == plain);
    wait_for_the_clock();
    convert(&folder, &out, &[&options[..], &["--force"]].concat());
    let calibrated = std::fs::read(&out).unwrap();
    assert!(calibrated != plain);
    let again = convert(&folder, &out, &options);
    assert_says(String::from_utf8_lossy(&again.stderr), &["out.gguf", "complete already"]);
}

/// Every file that decides about the tensors, not only those that hold them.
#[test]
fn a_changed_file_of_the_model_is_another_model() {
    let folder = TinyLlama::of_one_block().write();
    let out = folder.beside("out.gguf");
    let left = killed(&folder, "out.gguf", &["--type", "t3"]);
    convert(&folder, &out, &["--type", "t3"]);
    let whole = std::fs::read(&out).unwrap();
    let resume = ["--type", "t3", "--resume"];
    assert_says(String::from_utf8_lossy(&convert(&folder, &out, &resume).stderr), &["complete already"]);
    let mut marked = whole.clone();
    let place = marked.len() - 40;
    marked[place] ^= 0xff;
    for name in ["config.json", "tokenizer_config.json", "model.safetensors"] {
        wait_for_the_clock();
        let path = folder.path.join(name);
        std::fs::write(&path, std::fs::read(&path).unwrap()).unwrap();
        assert_says(refused(&folder, &out, &resume), &["out.gguf", "exists already"]);
        // A part that was left before is not gone on with either.
        std::fs::remove_file(&out).unwrap();
        std::fs::write(&left, &marked).unwrap();
        convert(&folder, &out, &resume);
        assert!(std::fs::read(&out).unwrap() == whole, "{name}");
    }
}

/// The second part of a model in parts counts as the first does.
#[test]
fn a_changed_part_of_the_model_is_another_model() {
    let folder = TinyLlama::of_one_block().write();
    let part = folder.beside("part.gguf");
    convert(&folder, &part, &["--outtype", "f32", "--split-max-size", "200K"]);
    let parts: Vec<_> =
        files_in(folder.parent.path()).into_iter().filter(|n| n.starts_with("part-")).collect();
    let model = Folder { parent: tempfile::tempdir().unwrap(), path: folder.beside(&parts[0]) };
    let out = model.beside("out.gguf");
    wait_for_the_clock();
    convert(&model, &out, &["--type", "t2"]);
    let resume = ["--type", "t2", "--resume"];
    assert_says(String::from_utf8_lossy(&convert(&model, &out, &resume).stderr), &["complete already"]);
    wait_for_the_clock();
    let second = folder.beside(&parts[1]);
    std::fs::write(&second, std::fs::read(&second).unwrap()).unwrap();
    assert_says(refused(&model, &out, &resume), &["out.gguf", "exists already"]);
}

/// A calibrated file names its calibration, is complete for that one, and has the size that a dry run tells.
#[test]
fn a_calibrated_file_names_its_calibration() {
    let folder = TinyLlama::new().write();
    let (gram, out) = (folder.beside("tiny.gram.gguf"), folder.beside("out.gguf"));
    of_tiny_llama().write(&gram);
    let options = ["--type", "t3", "--calibration", gram.to_str().expect("a plain name")];
    convert(&folder, &out, &options);
    let named = |path: &Path| {
        let file = File::open(path).expect("a file");
        calibration_of(&file).map(str::to_owned)
    };
    let expected = format!("{:x}", Sha256::digest(std::fs::read(&gram).expect("a file")));
    assert_eq!(named(&out), Some(expected));

    let again = convert(&folder, &out, &[&options[..], &["--resume"]].concat());
    assert_says(String::from_utf8_lossy(&again.stderr), &["out.gguf: complete already"]);
    let mut dry = command(&folder, &out, &[&options[..], &["--dry-run", "--json"]].concat());
    let dry = dry.stdout(Stdio::piped()).output().expect("it runs").stdout;
    let plan: serde_json::Value = serde_json::from_slice(&dry).expect("JSON");
    assert_eq!(plan["bytes"], std::fs::metadata(&out).expect("a file").len());

    let plain = folder.beside("plain.gguf");
    convert(&folder, &plain, &["--type", "t3", "--no-calibration"]);
    assert_eq!(named(&plain), None);
}
