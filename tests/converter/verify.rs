//! `tenpak-gguf convert --verify` with a collector and a Python that are scripts: both hand out prepared files, whatever they are
//! asked, and write down what that was. `tests/llama/verify.rs` runs llama.cpp.
#![cfg(unix)]

use crate::support::reference_case::Case;
use crate::support::tiny_llama::{BLOCKS, Folder, HIDDEN, TinyLlama, VOCAB};
use crate::support::{assert_says, files_in, tiny_gguf};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;
use tenpak_gguf::gguf::{GgmlType, TensorHeader, Writer};
use tokenizers::Tokenizer;

/// Hands out `ids` and `ours.gguf`, and keeps the texts and the model's path.
const COLLECTOR: &str = r#"if [ "$1" = --speed ]; then exit 1; fi
echo "$2" >model
case $3 in
    --tokenize) cp "$4" texts; cp ids "$6" ;;
    --trace) cp ours.gguf "$6" ;;
    *) echo "$*" >collected; exit 3 ;;
esac"#;

/// Hands out `theirs` and `report`, and keeps the program and what it is asked.
const PYTHON: &str = r#"echo "$2" >program
echo "$3 $4 $8" >asked
cp "$5" "$3.given"
if [ -e theirs ]; then cp theirs "$6"; fi
cp report "$7""#;

const DONE: &str = r#"{"versions": "transformers 5.0, torch 2.0"}"#;

/// What a model computes, by the name of the table: columns and values.
type Tables = BTreeMap<String, (usize, Vec<f32>)>;

/// A folder with a model, a collector and a Python.
struct Place {
    folder: TempDir,
    model: Folder,
}

struct Done {
    code: i32,
    out: String,
    err: String,
}

impl Place {
    /// With ids that are the same on both sides. The forward pass is not answered yet.
    fn new() -> Place {
        let place = Place { folder: tempfile::tempdir().expect("a folder"), model: TinyLlama::new().write() };
        place.program("llama-tenpak-calibrate", COLLECTOR);
        place.program("python", PYTHON);
        place.write("report", r#"{"missing": "torch"}"#);
        place.write("ids", "");
        // The first run is asked for the ids of the text.
        let texts = place.run(&[]).err;
        assert_says(texts, &["0 lines of ids for"]);
        place.answer_ids(|_| {});
        place
    }

    /// With a forward pass that is the same on both sides.
    fn with_forward() -> Place {
        let place = Place::new();
        assert_eq!(place.run(&["--force"]).code, 0);
        std::fs::remove_file(place.path("out.gguf")).expect("it was written");
        place.write("report", DONE);
        place.answer_theirs(&place.tables());
        place.answer_ours(&place.tables());
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).expect("a text")
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), bytes).expect("a file");
    }

    fn program(&self, name: &str, script: &str) {
        self.write(name, format!("#!/bin/sh\n{script}\n"));
        std::fs::set_permissions(self.path(name), PermissionsExt::from_mode(0o755)).expect("permissions");
    }

    /// The ids that the tokenizer of the folder gives to the text, changed.
    fn answer_ids(&self, change: impl FnOnce(&mut Vec<Vec<u32>>)) {
        let tokenizer = Tokenizer::from_file(self.model.path.join("tokenizer.json")).expect("a tokenizer");
        let texts = self.read("texts");
        let of = |text: &str| tokenizer.encode(text, false).expect("ids").get_ids().to_vec();
        let mut ids: Vec<Vec<u32>> = texts.split_terminator('\0').map(of).collect();
        change(&mut ids);
        let line = |ids: &Vec<u32>| ids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ") + "\n";
        self.write("ids", ids.iter().map(line).collect::<String>());
    }

    /// Tables with a row for each id that was asked for.
    fn tables(&self) -> Tables {
        let ids = self.read("forward.given").split(' ').count();
        let table = |columns: usize, seed: usize| {
            let value = |i: usize| ((i * 7919 + seed * 104729) % 2003) as f32 / 1000.0 - 1.0;
            (columns, (0..ids * columns).map(value).collect::<Vec<f32>>())
        };
        let blocks = (0..BLOCKS).map(|block| (format!("block.{block}"), table(HIDDEN, block + 1)));
        let ends = [("embeddings".to_owned(), table(HIDDEN, 0)), ("logits".to_owned(), table(VOCAB, 9))];
        blocks.chain(ends).collect()
    }

    fn answer_theirs(&self, tables: &Tables) {
        let bytes: BTreeMap<_, Vec<u8>> = tables
            .iter()
            .map(|(name, (_, values))| (name, values.iter().flat_map(|v| v.to_le_bytes()).collect()))
            .collect();
        let views = tables.iter().map(|(name, (columns, values))| {
            let shape = vec![values.len() / columns, *columns];
            let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape, &bytes[name]);
            (name.clone(), view.expect("as long as its shape"))
        });
        self.write("theirs", safetensors::serialize(views, None).expect("views are whole"));
    }

    fn answer_ours(&self, tables: &Tables) {
        let header = |(name, (columns, values)): (&String, &(usize, Vec<f32>))| TensorHeader {
            name: name.clone(),
            shape: vec![*columns as u64, (values.len() / columns) as u64],
            kind: GgmlType::F32,
            bytes: values.len() as u64 * 4,
        };
        let path = self.path("ours.gguf");
        let mut writer = Writer::create(&path, &[], tables.iter().map(header).collect()).expect("a file");
        for (_, values) in tables.values() {
            writer.write(bytemuck::cast_slice(values)).expect("it is written");
        }
        writer.finish().expect("a whole file");
    }

    /// Runs `convert FOLDER -o out.gguf --outtype bf16 --verify` and `options`.
    fn run(&self, options: &[&str]) -> Done {
        self.convert(&[&["--outtype", "bf16"], options].concat())
    }

    fn convert(&self, options: &[&str]) -> Done {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tenpak-gguf"));
        command.current_dir(self.folder.path()).env_remove("TENPAK_COLLECTOR").env_remove("TENPAK_PYTHON");
        command.arg("convert").arg(&self.model.path).args(["-o", "out.gguf", "--verify"]);
        if !options.contains(&"--collector") {
            command.args(["--collector", "./llama-tenpak-calibrate"]);
        }
        if !options.contains(&"--python") {
            command.args(["--python", "./python"]);
        }
        let output = command.args(options).output().expect("it starts");
        Done {
            code: output.status.code().expect("it ends by itself"),
            out: String::from_utf8(output.stdout).expect("text"),
            err: String::from_utf8(output.stderr).expect("text"),
        }
    }

    /// Asserts that the conversion fails with these words and leaves nothing.
    #[track_caller]
    fn fails(&self, options: &[&str], words: &[&str]) {
        let before = files_in(self.folder.path());
        let done = self.run(options);
        assert_eq!((done.code, &done.out[..]), (1, ""), "{}", done.err);
        assert_says(&done.err, words);
        assert!(!done.err.contains("panicked"), "{}", done.err);
        let known = ["asked", "forward.given", "ids.given", "model", "program", "texts"];
        let mut left = files_in(self.folder.path());
        left.retain(|name| !before.contains(name) && !known.contains(&&name[..]));
        assert!(left.is_empty(), "{left:?} was left");
    }
}

#[test]
fn without_transformers_ids_are_compared() {
    let place = Place::new();
    let done = place.run(&["--threads", "3"]);
    assert_eq!(done.code, 0, "{}", done.err);
    let lines = place.read("texts").split_terminator('\0').count();
    assert_says(&done.out, &[&format!("verified: ids of {lines} lines ("), " tokens)\n", "out.gguf: "]);
    assert!(!done.out.contains("blocks"), "{}", done.out);
    let pip = "install it with `./python -m pip install torch transformers sentencepiece`";
    assert_says(
        &done.err,
        &["the forward pass was not compared", "has no torch", pip, "--python", "TENPAK_PYTHON"],
    );
    assert!(place.path("out.gguf").exists());
    assert_eq!(place.read("asked"), format!("forward {} 3\n", place.model.path.display()));
    assert_says(place.read("program"), &["\"trust_remote_code\": False", "HF_HUB_OFFLINE"]);
    let done = place.run(&["--force", "--python", "/no/such/python"]);
    assert_eq!(done.code, 0, "{}", done.err);
    assert_says(&done.err, &["/no/such/python: it is not there", "-m pip install"]);
}

#[test]
fn texts_have_the_models_added_tokens() {
    let texts = Place::new().read("texts");
    assert!(texts.contains("<s>") && texts.contains("</s>") && texts.contains("fn main"), "{texts}");
}

#[test]
fn ids_that_differ_are_named() {
    let place = Place::new();
    let texts = place.read("texts");
    let third = texts.split('\0').nth(2).expect("a line");
    place.answer_ids(|ids| ids[2][1] = 23);
    let words = [
        "ids differ first in line 3, token 2",
        "llama.cpp has 23",
        &format!("{third:?}"),
        "nothing was written",
    ];
    place.fails(&[], &words);
    place.answer_ids(|ids| ids[2].push(7));
    place.fails(
        &[],
        &["ids differ first in line 3", "llama.cpp has 7 (\"f\")", "the folder's tokenizer none"],
    );
}

#[test]
fn what_agrees_is_counted() {
    let place = Place::with_forward();
    let done = place.run(&[]);
    assert_eq!(done.code, 0, "{}", done.err);
    let tokens = place.read("forward.given").split(' ').count();
    let words = format!(
        "embeddings, 2 of 2 blocks and logits of {tokens} tokens, which differ by 0.0e0 % at most (transformers 5.0, torch 2.0)"
    );
    assert_says(&done.out, &["verified: ids of ", &words, "out.gguf: "]);
    assert!((32..=128).contains(&tokens), "{tokens}");
    assert!(place.path("out.gguf").exists());
}

#[test]
fn what_differs_first_is_named() {
    let place = Place::with_forward();
    let off = |names: &[&str], factor: f32| {
        let mut tables = place.tables();
        for name in names {
            // The row of the fourth token.
            let (columns, values) = tables.get_mut(*name).expect("a table");
            values[3 * *columns..4 * *columns].iter_mut().for_each(|v| *v *= factor);
        }
        place.answer_ours(&tables);
    };
    off(&["embeddings", "block.1", "logits"], 1.25);
    let id = place.read("forward.given").split(' ').nth(3).expect("an id").to_owned();
    let words = format!("most by 25 % for token 4 (id {id})");
    place.fails(&[], &["the embeddings differ first", &words, "for 1 of ", "nothing was written"]);
    off(&["block.1", "logits"], 1.25);
    place.fails(&[], &["block 1 differs first", &words, "what comes before it by 0.0e0 % at most"]);
    off(&["logits"], 1.25);
    place.fails(&[], &["the logits differ first", "all blocks agree", "output head"]);
    off(&["block.0", "block.1"], f32::NAN);
    place.fails(&[], &["block 0 differs first"]);
    off(&["embeddings", "block.0", "block.1", "logits"], 1.002);
    let done = place.run(&[]);
    assert_eq!(done.code, 0, "{}", done.err);
    assert_says(&done.out, &["differ by 0.20 % at most"]);
}

#[test]
fn blocks_that_a_side_does_not_show_are_not_counted() {
    let place = Place::with_forward();
    let mut tables = place.tables();
    tables.remove("block.0");
    place.answer_theirs(&tables);
    assert_says(place.run(&[]).out, &["embeddings, 1 of 2 blocks and logits"]);
    tables.remove("logits");
    place.answer_theirs(&tables);
    place.fails(&["--force"], &["there is no `logits`"]);
}

#[test]
fn answers_that_are_none() {
    let place = Place::with_forward();
    place.write("theirs", "nonsense");
    place.fails(&[], &["forward.out"]);
    place.answer_theirs(&place.tables());
    place.write("ours.gguf", "nonsense");
    place.fails(&[], &["trace.gguf"]);
    let mut tables = place.tables();
    tables.get_mut("logits").expect("a table").1.truncate(VOCAB);
    place.answer_ours(&tables);
    place.fails(&[], &["`logits` has 1 rows for"]);
}

#[test]
fn where_transformers_computes_nothing() {
    let place = Place::new();
    for (report, words) in [
        (
            r#"{"refused": "ValueError: no such model", "versions": "transformers 5.0"}"#,
            "transformers 5.0 does not read the folder: ValueError",
        ),
        ("nonsense", "forward.report"),
    ] {
        place.write("report", report);
        let done = place.run(&["--force"]);
        assert_eq!(done.code, 0, "{}", done.err);
        assert_says(&done.err, &["note: the forward pass was not compared", words]);
        assert_says(&done.out, &["verified: ids of "]);
    }
    place.program("python", "echo loading >&2; echo killed >&2; kill -9 $$");
    let done = place.run(&["--force"]);
    assert_says(&done.err, &["signal: 9", "four bytes a weight", "killed"]);
    assert_eq!(done.code, 0, "{}", done.err);
}

#[test]
fn a_collector_that_fails() {
    let place = Place::new();
    place.program("llama-tenpak-calibrate", "echo 'error: there is no memory' >&2; exit 3");
    place.fails(
        &[],
        &["llama-tenpak-calibrate ended with exit status: 3", "there is no memory", "nothing was written"],
    );
    place.program("llama-tenpak-calibrate", "exit 0");
    place.fails(&[], &["did not write it", "scripts/build_llama.sh"]);
    place.fails(&["--collector", "/no/such"], &["/no/such", "--collector"]);
}

#[test]
fn nothing_that_can_be_compared() {
    let place = Place::new();
    place.fails(
        &["--no-tokenizer"],
        &["nothing could be verified", "the file has no tokenizer", "pip install"],
    );
    // Ids that are no text serve the forward pass alone.
    let ids: Vec<usize> =
        place.read("forward.given").split(' ').map(|id| id.parse().expect("an id")).collect();
    assert!(ids.len() == VOCAB && ids.iter().all(|&id| id < VOCAB), "{ids:?}");
}

/// A tokenizer.model alone is read by SentencePiece's library, which is asked for lines without added tokens.
#[test]
fn a_sentencepiece_model_alone() {
    let place = Place::new();
    let case = Case::read("mistral").write();
    let place = Place { model: case, ..place };
    let done = place.run(&[]);
    assert_says(&done.err, &["lines of ids for"]);
    let lines = place.read("texts").split_terminator('\0').count();
    place.write("ids", "7 8 9\n".repeat(lines));
    let done = place.run(&[]);
    assert_says(&done.err, &["nothing could be verified", "a tokenizer.model alone", "has no torch"]);
    place.write("report", r#"{"versions": "sentencepiece 0.2"}"#);
    // Lines with an added token, two spaces among them, are left out.
    place.run(&[]);
    let given = place.read("ids.given");
    assert!(given.contains("fn main") && !given.contains("  "), "{given}");
    let lines = given.split_terminator('\0').count();
    place.write("theirs", "7 8 9\n".repeat(lines));
    // The forward pass gets the same answer, which is none of its kind.
    assert_says(place.run(&[]).err, &["forward.out"]);
    place.write("theirs", "7 8 9\n".repeat(lines - 1) + "7 8 8\n");
    let line =
        format!("ids differ first in line {lines}, token 3: llama.cpp has 9, the folder's tokenizer 8");
    place.fails(&[], &[&line]);
}

/// What a calibrated conversion measures with is verified, before it measures.
#[test]
fn the_base_of_the_cache_is_verified_first() {
    let place = Place::new();
    place.write("text.txt", "words\n".repeat(100));
    let done = place.convert(&["--calibration-text", "text.txt", "--cache", "cache"]);
    assert_eq!(done.code, 1, "{}", done.err);
    assert_says(&done.out, &["verified: ids of "]);
    assert_says(&done.err, &["stopped with code 3"]);
    let model = place.read("model");
    assert!(model.contains("cache/") && model.trim_end().ends_with(".base.gguf"), "{model}");
    assert!(place.path("collected").exists() && !place.path("out.gguf").exists());
    place.answer_ids(|ids| ids[0][0] += 1);
    std::fs::remove_file(place.path("collected")).expect("it is there");
    let done = place.convert(&["--calibration-text", "text.txt", "--cache", "cache"]);
    assert_says(&done.err, &["ids differ first in line 1, token 1"]);
    assert!(!place.path("collected").exists());
}

#[test]
fn a_gguf_file_has_no_folder() {
    let place = Place::new();
    place.write("base.gguf", tiny_gguf::ordinary());
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenpak-gguf"));
    command.current_dir(place.folder.path()).args([
        "convert",
        "base.gguf",
        "-o",
        "out.gguf",
        "--outtype",
        "f16",
    ]);
    let output = command.args(["--verify", "--collector", "."]).output().expect("it starts");
    let err = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert_says(&err, &["--verify: base.gguf is a GGUF file", "give the folder"]);
    assert!(!place.path("out.gguf").exists());
}

#[test]
fn help() {
    let output = Command::new(env!("CARGO_BIN_EXE_tenpak-gguf"))
        .args(["convert", "--help"])
        .output()
        .expect("it starts");
    let words = ["--verify", "--python", "TENPAK_PYTHON", "pip install torch transformers sentencepiece"];
    assert_says(String::from_utf8(output.stdout).expect("text"), &words);
}
