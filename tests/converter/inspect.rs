//! `inspect`: what is shown of files of any kind, what differs between two, and how much of a file is read for it.

use crate::support;
use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use support::assert_says;
use support::tiny_gguf::{Raw, file, ordinary, tensor, write};
use support::tiny_llama::TinyLlama;
use tempfile::TempDir;
use tenpak_gguf::gguf::{GgmlType, TensorHeader, Value};

/// Code, standard output and standard error.
fn inspect(args: &[&str]) -> (i32, String, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_tenpak-gguf")).arg("inspect").args(args).output();
    let done = done.expect("it starts");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (done.status.code().expect("it ends by itself"), text(done.stdout), text(done.stderr))
}

#[track_caller]
fn shown(args: &[&str]) -> String {
    let (code, out, err) = inspect(args);
    assert_eq!((code, &err[..]), (0, ""), "{out}");
    out
}

#[track_caller]
fn json(args: &[&str]) -> Json {
    serde_json::from_str(&shown(args)).expect("JSON")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}

/// `model.gguf` with these keys and tensors.
fn made(keys: &[(&str, Value)], tensors: &[TensorHeader]) -> (TempDir, PathBuf) {
    let (folder, path) = file(&[]);
    let keys: Vec<_> = keys.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    write(&path, &keys, tensors);
    (folder, path)
}

/// Matrices of two kinds in three blocks.
fn blocks() -> Vec<TensorHeader> {
    let (f16, t3, q8) = (GgmlType::F16, GgmlType(515), GgmlType(8));
    let mut all = vec![tensor("token_embd.weight", &[64, 8], q8)];
    for (block, kind) in [(0, f16), (1, t3), (2, t3)] {
        all.push(tensor(&format!("blk.{block}.ffn_down.weight"), &[64, 4], kind));
        all.push(tensor(&format!("blk.{block}.attn_q.weight"), &[64, 2], q8));
        all.push(tensor(&format!("blk.{block}.attn_norm.weight"), &[64], GgmlType::F32));
    }
    all
}

#[test]
fn sums_by_type_and_kind_and_types_over_depth() {
    let (_folder, path) = made(&[], &blocks());
    let out = shown(&[text(&path), "--summary"]);
    let row = |first: &str| {
        let line = out.lines().find(|line| line.split_whitespace().next() == Some(first));
        line.unwrap_or_else(|| panic!("no {first} in {out}")).split_whitespace().collect::<Vec<_>>()
    };
    assert_eq!(row("q8_0")[1..3], ["4", "896"]);
    assert_eq!(row("norm")[1..3], ["3", "192"]);
    let depth = out.split("types over depth:").nth(1).expect("a strip");
    let name = GgmlType(515).name();
    assert_says(depth, &[&format!("a {name} ("), "b q8_0 (8.50 bpw)", "c f16 (16.00 bpw)"]);
    let line = |kind: &str| depth.lines().find(|l| l.trim_start().starts_with(kind)).expect("a line");
    assert_eq!(line("mlp.down").split_whitespace().nth(1), Some("caa"));
    assert_eq!(line("attention.q").split_whitespace().nth(1), Some("bbb"));
}

#[test]
fn a_block_of_any_number_makes_no_strip_without_end() {
    let (_folder, path) =
        made(&[], &[tensor("blk.18446744073709551614.ffn_up.weight", &[64, 2], GgmlType::F16)]);
    assert!(shown(&[text(&path), "--summary"]).len() < 4000);
}

#[test]
fn parts_are_shown_alone() {
    let long = "x".repeat(200);
    let (_folder, path) = made(&[("general.description", Value::String(long.clone()))], &blocks());
    let tensors = shown(&[text(&path), "--tensors"]);
    assert!(tensors.contains("blk.2.attn_q.weight") && !tensors.contains("general."));
    assert!(!tensors.contains("linear layers"), "{tensors}");
    let metadata = shown(&[text(&path), "--metadata"]);
    assert!(metadata.contains(&long) && !metadata.contains("attn_q"), "{metadata}");
    assert!(!shown(&[text(&path)]).contains(&long));
}

#[test]
fn json_has_keys_tensors_and_sums() {
    let (_folder, path) = file(&ordinary());
    let all = json(&[text(&path), "--json"]);
    let keys = &all["metadata"];
    assert_eq!(keys["test.u64"], u64::MAX);
    assert_eq!(keys["test.i64"], i64::MIN);
    assert_eq!(keys["test.string"], "κλειδί\n\"\0\"");
    assert_eq!(keys["test.nested"][0][1], i32::MAX);
    assert_eq!(keys["test.f32"].as_f64(), Some(f32::MIN_POSITIVE.to_string().parse().unwrap()));
    let t = &all["tensors"][2];
    assert_eq!((&t["name"], &t["type"]), (&"blk.0.ffn_up.weight".into(), &"q4_K".into()));
    assert_eq!((&t["shape"][0], &t["block"], &t["kind"]), (&256.into(), &0.into(), &"mlp.up".into()));
    assert_eq!(all["tensors"][4]["type_id"], 9999);
    assert_eq!(all["types"]["q4_K"]["weights"], 512);
    assert_eq!(all["kinds"]["embeddings"]["tensors"], 1);
    let sums = json(&[text(&path), "--json", "--summary"]);
    assert!(sums.get("tensors").is_none() && sums.get("metadata").is_none() && sums["bytes"].is_u64());
}

#[test]
fn numbers_that_json_has_not_are_strings() {
    let keys =
        [("a", Value::F32(f32::NAN)), ("b", Value::F64(f64::NEG_INFINITY)), ("c", Value::Bytes(vec![0xff]))];
    let (_folder, path) = made(&keys, &[]);
    let all = json(&[text(&path), "--json"]);
    assert_eq!(all["metadata"]["a"], "NaN");
    assert_eq!(all["metadata"]["b"], "-inf");
    assert_eq!(all["metadata"]["c"]["hex"], "ff");
}

/// 210 GB, of which the file system has the header only.
#[test]
fn a_large_file_costs_no_more_than_its_header() {
    const ROWS: u64 = 50_000;
    let header = Raw::new(3, 1, 0).tensor("blk.0.ffn_up.weight", &[1 << 20, ROWS], 0, 0).data(0);
    let (_folder, path) = file(&header);
    let opened = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    if let Err(e) = opened.set_len(header.len() as u64 + 4 * (ROWS << 20)) {
        // Some file systems end before that.
        eprintln!("not tested here: {e}");
        return;
    }
    let start = Instant::now();
    let out = shown(&[text(&path)]);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert_says(out, &["209.7 GB"]);
}

#[test]
fn of_a_split_file_all_parts_are_shown() {
    let folder = TinyLlama::new().write();
    let convert = |name: &str, more: &[&str]| {
        let out = folder.beside(name);
        let args = ["convert", text(&folder.path), "-o", text(&out), "--outtype", "f16"];
        let done = Command::new(env!("CARGO_BIN_EXE_tenpak-gguf")).args(args).args(more).output().unwrap();
        assert!(done.status.success());
        out
    };
    let whole = convert("whole.gguf", &[]);
    convert("split.gguf", &["--split-max-size", "100K"]);
    let names = support::files_in(folder.parent.path());
    let first = names.iter().find(|name| name.starts_with("split-00001")).expect("parts");
    let first = folder.beside(first);
    let of = |path: &Path| json(&[text(path), "--json", "--tensors", "--sha256"]);
    let (a, b) = (of(&whole), of(&first));
    assert!(b["files"].as_array().unwrap().len() > 2);
    assert_eq!(a["weights"], b["weights"]);
    assert_eq!(a["sha256_of_all_data"], b["sha256_of_all_data"]);
    assert_says(shown(&["diff", text(&whole), text(&first)]), &["the same keys and tensors"]);
}

#[test]
fn digests_are_those_of_the_data() {
    let (_folder, path) = file(&[]);
    let headers = [
        tensor("a", &[64], GgmlType::F32),
        TensorHeader { name: "b".into(), shape: vec![100], kind: GgmlType(9999), bytes: 96 },
    ];
    let data = write(&path, &[], &headers);
    let all = json(&[text(&path), "--json", "--sha256"]);
    let out = shown(&[text(&path), "--tensors", "--sha256"]);
    for (i, data) in data.iter().enumerate() {
        let digest = format!("{:x}", Sha256::digest(data));
        assert_eq!(all["tensors"][i]["sha256"], digest[..]);
        assert!(out.contains(&digest));
    }
    let lines: String =
        (0..2).map(|i| format!("{} {:x}\n", headers[i].name, Sha256::digest(&data[i]))).collect();
    assert_says(out, &[&format!("all data: {:x}", Sha256::digest(lines))]);
}

#[test]
fn strings_of_files_do_not_reach_the_terminal_as_they_are() {
    let bad = "\u{1b}]0;owned\u{7}\r\u{202e}";
    let strings = Value::strings([bad, "\u{9b}31m"]);
    let keys = [
        ("general.name", Value::String(bad.into())),
        (bad, strings.clone()),
        ("tokenizer.ggml.model", Value::String(bad.into())),
        ("tokenizer.ggml.tokens", strings),
        ("tokenizer.chat_template", Value::String(format!("{{{{ x }}}}\n\t{bad}"))),
    ];
    let name = format!("blk.0.{bad}.weight");
    let (folder, path) = made(&keys, &[tensor(&name, &[64, 2], GgmlType::F16)]);
    let (_other, other) = made(&[], &[]);
    let path = text(&path);
    let is_clean =
        |out: &str| out.chars().all(|c| c == '\n' || c == '\t' || !c.is_control() && c != '\u{202e}');
    for options in
        [&[][..], &["--metadata"], &["--digest"], &["--vocabulary"], &["--template"], &["--tensors"]]
    {
        let out = shown(&[&[path], options].concat());
        assert!(is_clean(&out), "{options:?}: {out:?}");
        assert!(out.contains("owned") || options == ["--summary"], "{options:?}: {out:?}");
    }
    let (code, out, _) = inspect(&["diff", path, text(&other)]);
    assert!(code == 1 && is_clean(&out), "{out:?}");
    // Errors name tensors too.
    let header = Raw::new(3, 1, 0).tensor(bad, &[1 << 40], 0, 0).data(0);
    let broken = folder.path().join("broken.gguf");
    std::fs::write(&broken, header).unwrap();
    let (code, _, err) = inspect(&[text(&broken)]);
    assert!(code == 1 && is_clean(&err) && err.contains("owned"), "{err:?}");
}

#[test]
fn vocabularies_and_templates_are_readable() {
    let keys = [
        ("tokenizer.ggml.model", Value::from("gpt2")),
        ("tokenizer.ggml.pre", Value::from("smollm")),
        ("tokenizer.ggml.tokens", Value::strings(["<s>", "ĠHello", "Ċ"])),
        (
            "tokenizer.ggml.token_type",
            Value::Array(tenpak_gguf::gguf::Kind::I32, [3, 1, 1].map(Value::I32).into()),
        ),
        ("tokenizer.ggml.bos_token_id", Value::U32(0)),
        ("tokenizer.ggml.eos_token_id", Value::U32(7)),
        (
            "tokenizer.chat_template",
            Value::from("{% for m in messages %}\n{{ m.content + '\\n' }}\n{% endfor %}"),
        ),
    ];
    let (_folder, path) = made(&keys, &[]);
    let out = shown(&[text(&path), "--vocabulary"]);
    assert_says(
        &out,
        &["model gpt2, pre-tokenizer smollm, 3 tokens", "bos: 0 \"<s>\"", "eos: 7 not in the vocabulary"],
    );
    assert_says(&out, &["0  control   \"<s>\"", "1  normal    \" Hello\"", "2  normal    \"\\n\""]);
    let template = shown(&[text(&path), "--template"]);
    assert_eq!(template, "{% for m in messages %}\n{{ m.content + '\\n' }}\n{% endfor %}\n");
    let (_folder, none) = made(&[], &[]);
    for option in ["--vocabulary", "--template"] {
        let (code, out, err) = inspect(&[text(&none), option]);
        assert_eq!((code, &out[..]), (1, ""));
        assert_says(err, &["model.gguf: has no ", "tokenizer."]);
    }
}

#[test]
fn what_differs_between_two_files() {
    let keys = [("general.name", Value::from("one")), ("only.here", Value::U32(1))];
    let (_a, a) = made(&keys, &blocks());
    assert_says(shown(&["diff", text(&a), text(&a)]), &["the same keys and tensors"]);

    let mut others = blocks();
    others[1] = tensor("blk.0.ffn_down.weight", &[64, 4], GgmlType(515));
    others.remove(2);
    let (_b, b) = made(&[("general.name", Value::from("two"))], &others);
    let (code, out, err) = inspect(&["diff", text(&a), text(&b)]);
    assert_eq!((code, &err[..]), (1, ""));
    let t3 = GgmlType(515).name();
    assert_says(
        &out,
        &[
            "keys that differ: 2",
            "- general.name  \"one\"",
            "+ general.name  \"two\"",
            "- only.here  1",
            "- blk.0.ffn_down.weight  f16 64 x 4",
            &format!("+ blk.0.ffn_down.weight  {t3} 64 x 4"),
            "- blk.0.attn_q.weight  q8_0 64 x 2\n",
            &format!("types: 1 from f16 to {t3}"),
        ],
    );
    let all: Json = serde_json::from_str(&inspect(&["diff", text(&a), text(&b), "--json"]).1).unwrap();
    assert_eq!(all["keys"][1]["name"], "only.here");
    assert_eq!(all["keys"][1]["b"], Json::Null);
}

#[test]
fn data_are_compared_unless_told_otherwise() {
    let (folder, a) = made(&[], &[tensor("a", &[64], GgmlType::F32), tensor("b", &[64], GgmlType::F32)]);
    let mut bytes = std::fs::read(&a).unwrap();
    *bytes.last_mut().expect("bytes") ^= 1;
    let b = folder.path().join("other.gguf");
    std::fs::write(&b, bytes).unwrap();
    let (code, out, _) = inspect(&["diff", text(&a), text(&b)]);
    assert_eq!(code, 1);
    assert_says(&out, &["tensors that differ: 1", "- b  f32 64, other data"]);
    assert_says(shown(&["diff", text(&a), text(&b), "--no-data"]), &["the same keys, types and shapes"]);
}
