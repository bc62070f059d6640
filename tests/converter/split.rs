//! Files in parts: the same model, whoever writes them.

use crate::support;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::reference_case::Case;
use support::tiny_calibration::of_tiny_llama;
use support::tiny_llama::{Folder, TinyLlama};
use support::{assert_says, family, files_in, plan};
use tenpak_gguf::calibration::Calibration;
use tenpak_gguf::checkpoint::{Dtype, Model, Options};
use tenpak_gguf::gguf::File;
use tenpak_gguf::job::{self, Guide};
use tenpak_gguf::plan::{Cut, Recipe, cut};
use tenpak_gguf::quantize::Effort;

fn convert(folder: &Folder, output: &Path, options: &[&str]) -> Result<(), String> {
    let mut program = Command::new(env!("CARGO_BIN_EXE_tenpak-gguf"));
    let mut args: Vec<&OsStr> =
        vec!["convert".as_ref(), folder.path.as_ref(), "-o".as_ref(), output.as_ref()];
    args.extend(options.iter().map(OsStr::new));
    let program = program.args(crate::support::uncalibrated(&args));
    let out = program.output().expect("it runs");
    let says = String::from_utf8_lossy(&out.stderr).into_owned();
    if out.status.success() { Ok(()) } else { Err(says) }
}

/// The same keys, and the same tensors byte for byte.
#[track_caller]
fn assert_same(a: &Path, b: &Path) {
    let (a, b) = (File::open(a).expect("a file"), File::open(b).expect("a file"));
    assert_eq!(a.keys(), b.keys());
    let tensors = |f: &File| {
        f.tensors()
            .iter()
            .map(|t| (t.name.clone(), t.kind, f.data(t).expect("data").to_vec()))
            .collect::<Vec<_>>()
    };
    assert!(tensors(&a) == tensors(&b));
}

fn parts(folder: &Folder, stem: &str) -> Vec<PathBuf> {
    let names = files_in(folder.parent.path());
    names.iter().filter(|n| n.starts_with(stem)).map(|n| folder.beside(n)).collect()
}

/// Three jobs, in any order, write what one does.
#[test]
fn shards_are_the_whole() {
    for case in ["mixtral-8x7B-Instruct-v0.1", "gpt2"] {
        let case = Case::read(case);
        let folder = case.write();
        let plain = ["--outtype", "bf16", "--tokenizer-pre", "gpt-2"];
        convert(&folder, &folder.beside("whole.gguf"), &plain).unwrap();
        for shard in ["3/3", "1/3", "2/3"] {
            convert(&folder, &folder.beside("part.gguf"), &[&plain[..], &["--shard", shard]].concat())
                .unwrap();
        }
        let parts = parts(&folder, "part-");
        assert_eq!(parts.len(), 3);
        assert!(parts[2].ends_with("part-00003-of-00003.gguf"));
        assert_same(&parts[0], &folder.beside("whole.gguf"));
    }
}

/// Of every recipe, calibrated too: what the jobs of `--shard` write is, byte for byte, what one process writes that
/// makes all parts one after the other.
#[test]
fn shards_are_the_parts_of_one_run() {
    let folder = TinyLlama::new().write();
    let statistics = folder.beside("statistics.gguf");
    of_tiny_llama().write(&statistics);
    let calibration = Calibration::open(&statistics).unwrap();
    let guide = Guide { calibration: &calibration, effort: Effort::Fast };
    let calibrated = ["--type", "t3", "--effort", "fast", "--calibration", statistics.to_str().unwrap()];
    for (options, recipe, guide) in [
        (&["--outtype", "bf16"][..], Recipe::plain(Dtype::BF16), None),
        (&["--type", "t3"], Recipe::all(family("t3")), None),
        (&calibrated, Recipe::all(family("t3")), Some(guide)),
    ] {
        let keep_tied_head = recipe.keep_tied_head();
        let model = Model::open(&folder.path, &Options { keep_tied_head, ..Options::default() }).unwrap();
        let plan = plan(&model, recipe);
        let plan = job::with_calibration(&plan, guide.map(|guide| guide.calibration.path())).unwrap();
        for i in 0..3 {
            let shard = format!("{}/3", i + 1);
            self::convert(
                &folder,
                &folder.beside("job.gguf"),
                &[options, &["--shard", &shard, "--force"]].concat(),
            )
            .unwrap();
            let one = Cut::One { number: i + 1, of: 3 };
            let part = |whole: &str| cut(&plan, one, &folder.beside(whole)).unwrap().remove(0);
            let path = |whole: &str| part(whole).path;
            let run = part("run.gguf");
            job::write(&model, &run.plan, guide, &run.path, &|_| ()).unwrap();
            let bytes = |whole| std::fs::read(path(whole)).unwrap();
            assert!(bytes("job.gguf") == bytes("run.gguf"), "{options:?}, part {i}");
        }
        // And of the whole file, every tensor.
        self::convert(&folder, &folder.beside("whole.gguf"), &[options, &["--force"]].concat()).unwrap();
        assert_same(&folder.beside("job-00001-of-00003.gguf"), &folder.beside("whole.gguf"));
    }
}

/// One part is a file like any other, as of llama.cpp's converter.
#[test]
fn the_only_part_is_the_whole() {
    let folder = TinyLlama::of_one_block().write();
    convert(&folder, &folder.beside("whole.gguf"), &["--type", "t2"]).unwrap();
    for (name, options) in [("size.gguf", ["--split-max-size", "1G"]), ("count-v0.1", ["--shard", "1/1"])] {
        convert(&folder, &folder.beside(name), &[&["--type", "t2"][..], &options].concat()).unwrap();
        let bytes = |name| std::fs::read(folder.beside(name)).unwrap();
        assert!(bytes(name) == bytes("whole.gguf"), "{name}");
    }
    convert(&folder, &folder.beside("model-v0.1"), &["--outtype", "f32", "--shard", "2/2"]).unwrap();
    let names = files_in(folder.parent.path());
    assert_eq!(
        names,
        ["count-v0.1", "model-v0.1-00002-of-00002.gguf", "size.gguf", "tiny-llama", "whole.gguf"]
    );
}

#[test]
fn shards_are_deterministic_and_of_like_size() {
    let folder = Case::read("llama-linear").write();
    for name in ["a", "b"] {
        for shard in ["1/4", "2/4", "3/4", "4/4"] {
            let options = ["--outtype", "f32", "--shard", shard];
            convert(&folder, &folder.beside(&format!("{name}.gguf")), &options).unwrap();
        }
    }
    let (a, b) = (parts(&folder, "a-"), parts(&folder, "b-"));
    let sizes: Vec<u64> = a.iter().map(|p| p.metadata().unwrap().len()).collect();
    assert!(a.iter().zip(&b).all(|(a, b)| std::fs::read(a).unwrap() == std::fs::read(b).unwrap()));
    // The largest tensor, the embeddings, is a fifth of the whole.
    assert!(sizes.iter().max().unwrap() < &(2 * sizes.iter().min().unwrap()), "{sizes:?}");
}

#[test]
fn parts_are_no_larger_than_asked() {
    let folder = TinyLlama::new().write();
    convert(&folder, &folder.beside("whole.gguf"), &["--type", "t4"]).unwrap();
    convert(&folder, &folder.beside("part.gguf"), &["--type", "t4", "--split-max-size", "60K"]).unwrap();
    let parts = parts(&folder, "part-");
    assert!(parts.len() > 2 && parts[0].ends_with(format!("part-00001-of-{:05}.gguf", parts.len())));
    assert!(parts.iter().all(|p| p.metadata().unwrap().len() <= 60_000));
    assert_same(&parts[0], &folder.beside("whole.gguf"));
}

/// A model in parts is converted like any other.
#[test]
fn parts_are_a_model() {
    let folder = TinyLlama::of_one_block().write();
    let part = folder.beside("part.gguf");
    convert(&folder, &part, &["--outtype", "f32", "--split-max-size", "200K"]).unwrap();
    convert(&folder, &folder.beside("direct.gguf"), &["--type", "t3"]).unwrap();
    let first = parts(&folder, "part-").remove(0);
    let from_parts = Folder { parent: tempfile::tempdir().unwrap(), path: first };
    convert(&from_parts, &folder.beside("again.gguf"), &["--type", "t3"]).unwrap();
    assert_same(&folder.beside("again.gguf"), &folder.beside("direct.gguf"));
}

#[test]
fn parts_that_cannot_be() {
    let folder = TinyLlama::new().write();
    for (options, words) in [
        (["--shard", "0/3"], ["2/8", "1/8"]),
        (["--shard", "4/3"], ["2/8", "1/8"]),
        (["--shard", "1/1000"], ["21 tensors", "1000 parts"]),
        (["--split-max-size", "4T"], ["4G", "2.8GB"]),
        (["--split-max-size", "0"], ["4G", "2.8GB"]),
    ] {
        let says = convert(&folder, &folder.beside("part.gguf"), &options).unwrap_err();
        assert_says(says, &words);
    }
    assert!(parts(&folder, "part").is_empty());
}
