//! Conversions of some blocks only.

use crate::support;
use std::path::Path;
use support::assert_says;
use support::tiny_llama::{Folder, TinyLlama};
use tenpak_gguf::gguf::{File, GgmlType};
use tenpak_gguf::job::Sampled;
use tenpak_gguf::names::block;

/// Exit code, standard output and standard error of a conversion of a folder.
fn convert(folder: &Folder, options: &[&str]) -> (Option<i32>, String, String) {
    let out = folder.beside("out.gguf");
    let args = [&["convert", text(&folder.path), "-o", text(&out), "--force"], options].concat();
    let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_tenpak-gguf"));
    let output = program.args(support::uncalibrated(&args)).output().expect("it starts");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A model whose second two blocks are the first two again.
fn four_blocks() -> Folder {
    let mut model = TinyLlama::new();
    model.config["num_hidden_layers"] = 4.into();
    for (name, tensor) in model.tensors.clone() {
        for (from, to) in [(0, 2), (1, 3)] {
            if let Some(rest) = name.strip_prefix(&format!("model.layers.{from}.")) {
                model.tensors.insert(format!("model.layers.{to}.{rest}"), tensor.clone());
            }
        }
    }
    model.write()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}

fn converted(folder: &Folder, options: &[&str]) -> File {
    let (code, _, err) = convert(folder, options);
    assert_eq!(code, Some(0), "{err}");
    File::open(&folder.beside("out.gguf")).expect("a file")
}

/// Tensors of the blocks of a sample, and those in no block, have the bytes of the whole file; the others those of a plain file.
#[test]
fn only_the_blocks_of_a_sample_are_quantized() {
    let folder = four_blocks();
    let whole = converted(&folder, &["--type", "t3"]);
    let bytes = whole.bytes();
    let of = |file: &File| -> Vec<(String, GgmlType, Vec<u8>)> {
        let tensor = |t| (file.data(t).expect("data").to_vec(), t);
        file.tensors().iter().map(tensor).map(|(data, t)| (t.name.clone(), t.kind, data)).collect()
    };
    let whole = of(&whole);
    let plain = ["f16", "bf16"].map(|float| of(&converted(&folder, &["--outtype", float])));
    for (options, list, sampled) in [
        (["--layers", "1,3"], "1,3", &[1, 3][..]),
        (["--sample-layers", "first:2"], "0-1", &[0, 1]),
        (["--sample-layers", "every:3"], "0,3", &[0, 3]),
        (["--sample-layers", "2"], "1,3", &[1, 3]),
        (["--sample-layers", "kinds"], "2", &[2]),
    ] {
        let file = converted(&folder, &[&["--type", "t3"], &options[..]].concat());
        for (i, (name, kind, data)) in of(&file).into_iter().enumerate() {
            let is_sampled = block(&name).is_none_or(|b| sampled.contains(&b));
            let found = (name, kind, data);
            let is_right = if is_sampled { whole[i] == found } else { plain.iter().any(|p| p[i] == found) };
            assert!(is_right, "{}, {options:?}", found.0);
        }
        let said = Sampled::of(&file).expect("the file says that it is a sample");
        assert_eq!(said.blocks, list);
        assert!(said.times.low < said.times.value && said.times.value < said.times.high, "{said:?}");
        // Four blocks of the same shapes, and embeddings and head, which take a share that is not extrapolated.
        let most = 4.0 / sampled.len() as f64;
        assert!(said.times.value > 1.0 && said.times.value < most, "{said:?}");
        // The keys of the sample are no part of the whole file.
        assert_eq!(said.file_bytes, bytes);
    }
    assert_eq!(Sampled::of(&converted(&folder, &["--type", "t3"])), None);
}

#[test]
fn the_plan_of_a_sample_is_shown() {
    let folder = four_blocks();
    let options = ["--type", "t3", "--layers", "2", "--dry-run"];
    let (code, out, err) = convert(&folder, &options);
    assert_eq!(code, Some(0), "{err}");
    assert_says(&out, &["its block is not in the sample"]);
    let (_, out, err) = convert(&folder, &["--type", "t3", "--layers", "2"]);
    assert_says(&(out + &err), &["sample: blocks 2 are quantized", "is expected to diverge"]);
}

#[test]
fn samples_that_cannot_be_are_refused() {
    let folder = four_blocks();
    for (options, words) in [
        (&["--layers", "4"][..], &["there is no block 4", "the model has 4"][..]),
        (&["--layers", "3-1"], &["not a list of blocks"]),
        (&["--sample-layers", "5"], &["a sample of 5 blocks", "which has 4"]),
        (&["--sample-layers", "last:1"], &["`first:8`, `every:4` or `kinds`"]),
        (&["--sample-layers", "2", "--layers", "1"], &["cannot be used with"]),
        (&["--sample-layers", "2", "--outtype", "f16"], &["cannot be used with"]),
    ] {
        let (code, _, err) = convert(&folder, options);
        assert!(code.is_some_and(|code| code > 0), "{options:?}");
        assert_says(&err, words);
        assert!(!folder.beside("out.gguf").exists(), "{options:?}");
    }
    let keeping = ["--recipe", "plain", "--layers", "0"];
    assert_says(&convert(&folder, &keeping).2, &["nothing in blocks 0 is quantized"]);
}

/// A sample is for measurements: nobody is to download it as the model.
#[test]
fn a_sample_is_not_released() {
    let folder = four_blocks();
    converted(&folder, &["--type", "t3", "--layers", "1,3"]);
    let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_tenpak-gguf"));
    program.arg("release").arg(folder.beside("out.gguf")).arg("-o").arg(folder.beside("release"));
    let output = program.args(["--license", "mit", "--base-model", "none"]).output().expect("it starts");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).expect("text");
    assert_says(said, &["out.gguf: only blocks 1,3 of it are quantized", "convert the whole"]);
    assert!(!folder.beside("release").exists());
}
