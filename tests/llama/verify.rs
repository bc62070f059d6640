//! `convert --verify` with llama.cpp, on the first blocks of SmolLM2. PyTorch is not installed for tests: a script stands for the
//! Python with transformers and hands out what `llama_forward` computes of the checkpoint. With transformers itself every
//! architecture is verified by `scripts/reference_architectures.py`.

use super::fixtures::*;
use super::llama_forward::{self, Tables};
use super::place::{Place, THREADS};
use super::quantized_folder;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde_json::{Value as Json, json};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Blocks of the model: what differs in one of them, those before it do not.
const BLOCKS: usize = 3;

/// How far llama.cpp may be from plain loops, in percent. Both compute in F32 from the same weights, and differ in the order of
/// sums and in exp alone.
const MAX_PERCENT: f64 = 0.05;

/// Hands out `theirs`, once it is there, and keeps the ids that it is asked for.
const STANDS_FOR_PYTHON: &str = r#"#!/bin/sh
cd "$(dirname "$0")"
cp "$5" ids
if [ -e theirs ]; then
    cp theirs "$6"
    echo '{"versions": "plain loops"}' >"$7"
else
    echo '{"missing": "torch"}' >"$7"
fi
"#;

struct Test {
    place: Place,
    folder: PathBuf,
}

impl Test {
    fn new() -> Test {
        let place = Place::new();
        let folder = place.path("checkpoint");
        quantized_folder::make(&MODEL, None, BLOCKS, &folder).expect("a checkpoint");
        let python = place.path("python");
        std::fs::write(&python, STANDS_FOR_PYTHON).unwrap();
        std::fs::set_permissions(&python, PermissionsExt::from_mode(0o755)).unwrap();
        Test { place, folder }
    }

    fn convert(&self) -> Command {
        let (out, python) = (self.place.path("out.gguf"), self.place.path("python"));
        let mut command =
            tenpak(["convert", arg(&self.folder), "-o", arg(&out), "--outtype", "bf16", "--force"]);
        command.args(["--verify", "--collector", arg(&LLAMA), "--python", arg(&python)]);
        command.args(["--threads", &THREADS.to_string()]);
        command
    }

    /// Converts, which has to fail with these words and to write nothing.
    #[track_caller]
    fn fails(&self, name: &str, options: &[&str], words: &[&str]) {
        let out = self.place.path("out.gguf");
        if out.exists() {
            std::fs::remove_file(&out).unwrap();
        }
        let printed = self.place.fails(name, self.convert().args(options));
        let error = printed.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
        note(error);
        for word in words {
            assert!(error.contains(word), "{word:?} is not in {printed}");
        }
        assert!(!out.exists(), "{} was written", out.display());
    }

    /// Runs `during` with a file of the folder changed.
    fn with(&self, name: &str, change: impl FnOnce(&mut Vec<u8>), during: impl FnOnce()) {
        let path = self.folder.join(name);
        let before = std::fs::read(&path).unwrap();
        let mut bytes = before.clone();
        change(&mut bytes);
        std::fs::write(&path, bytes).unwrap();
        during();
        std::fs::write(&path, before).unwrap();
    }
}

fn write(tables: &Tables, path: &Path) {
    let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let parts: Vec<_> = tables.iter().map(|(name, (c, v))| (name, vec![v.len() / c, *c], bytes(v))).collect();
    let view =
        |shape: &Vec<usize>, bytes| TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes).unwrap();
    let views: Vec<_> = parts.iter().map(|(name, shape, bytes)| (name, view(shape, bytes))).collect();
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

/// Doubles elements of a tensor of F16 in a safetensors file: adds one to their exponents.
fn double(file: &mut [u8], name: &str, elements: std::ops::Range<usize>) {
    let tensors = SafeTensors::deserialize(file).unwrap();
    let t = tensors.tensor(name).unwrap();
    assert_eq!(t.dtype(), safetensors::Dtype::F16);
    let at = t.data().as_ptr() as usize - file.as_ptr() as usize;
    for i in elements {
        let value = &mut file[at + 2 * i..][..2];
        let bits = u16::from_le_bytes([value[0], value[1]]);
        value.copy_from_slice(&(bits + 0x400).to_le_bytes());
    }
}

#[test]
fn what_differs_first_is_named() {
    let test = Test::new();
    let printed = test.place.run("ids", &mut test.convert());
    assert!(printed.contains("verified: ids of ") && printed.contains("pip install"), "{printed}");
    let ids = std::fs::read_to_string(test.place.path("ids")).unwrap();
    let ids: Vec<usize> = ids.split(' ').map(|id| id.parse().unwrap()).collect();
    let tables = llama_forward::tables(&test.folder, &ids);
    write(&tables, &test.place.path("theirs"));

    let printed = test.place.run("all", &mut test.convert());
    let line = printed.lines().find(|line| line.starts_with("verified: ")).expect("a line");
    note(line);
    let all = format!("embeddings, {BLOCKS} of {BLOCKS} blocks and logits of {} tokens", ids.len());
    assert!(line.contains(&all), "{line}");
    let largest =
        line.split_once("differ by ").and_then(|(_, rest)| rest.split_once(" %")).expect("a number").0;
    let largest: f64 = largest.parse().expect("a number");
    assert!(largest < MAX_PERCENT, "{line}");

    // Every digit is cut off from what is before it, a space too, but for this pre-tokenizer.
    test.fails(
        "pre-tokenizer",
        &["--tokenizer-pre", "gpt-2"],
        &["ids differ first in line 20, token 78", "١٢٣٤٥"],
    );
    let (tensors, hidden) = ("model.safetensors", tables["embeddings"].0);
    let row = ids[5] * hidden..(ids[5] + 1) * hidden;
    test.with(
        tensors,
        |file| double(file, "model.embed_tokens.weight", row),
        || test.fails("embeddings", &[], &["the embeddings differ first", &format!("(id {})", ids[5])]),
    );
    test.with(
        tensors,
        |file| double(file, "model.layers.1.mlp.down_proj.weight", 0..100 * hidden),
        || test.fails("weights", &[], &["block 1 differs first"]),
    );
    test.with(
        tensors,
        |file| double(file, "model.norm.weight", 0..hidden / 4),
        || test.fails("norm", &[], &["the logits differ first", "all blocks agree"]),
    );
    let rope = |file: &mut Vec<u8>| {
        let mut config: Json = serde_json::from_slice(file).unwrap();
        config["rope_theta"] = json!(10000.0);
        *file = config.to_string().into_bytes();
    };
    test.with("config.json", rope, || test.fails("rope", &[], &["block 0 differs first"]));
}
