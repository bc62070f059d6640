//! The command line, as a user meets it.

use crate::support;
use std::path::Path;
use std::process::Command;
use support::quantized_case::Case;
use support::tiny_gguf::{self, Raw};
use support::tiny_llama::{self, Folder, TinyLlama};
use support::{assert_says, files_in};
use tenpak_gguf::types::REGISTRY;

/// A finished command.
struct Done {
    code: i32,
    out: String,
    err: String,
}

fn tenpak<S: AsRef<std::ffi::OsStr>>(args: &[S]) -> Done {
    let output = Command::new(env!("CARGO_BIN_EXE_tenpak-gguf"))
        .args(support::uncalibrated(args))
        .output()
        .expect("it starts");
    Done {
        code: output.status.code().expect("it ends by itself"),
        out: String::from_utf8(output.stdout).expect("text"),
        err: String::from_utf8(output.stderr).expect("text"),
    }
}

/// Standard output of a command that succeeds.
#[track_caller]
fn succeeds<S: AsRef<std::ffi::OsStr>>(args: &[S]) -> String {
    let done = tenpak(args);
    assert_eq!(done.code, 0, "{}{}", done.out, done.err);
    done.out
}

/// Asserts that a command ends with `code` and one message with these words, and no panic's.
#[track_caller]
fn fails<S: AsRef<std::ffi::OsStr>>(args: &[S], code: i32, words: &[&str]) {
    let done = tenpak(args);
    assert_eq!((done.code, &done.out[..]), (code, ""), "{}", done.err);
    assert_says(&done.err, words);
    assert!(done.err.starts_with("error: ") && !done.err.contains("panicked"), "{}", done.err);
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}

/// The tiny model and `name` beside it, converted with `options`.
fn converted(name: &str, options: &[&str]) -> (Folder, std::path::PathBuf) {
    let folder = TinyLlama::of_one_block().write();
    let path = folder.beside(name);
    let args = ["convert", text(&folder.path), "-o", text(&path)];
    let out = succeeds(&[&args[..], options].concat());
    assert_says(out, &[name, "12 tensors", "bpw", "smaller than FP32"]);
    (folder, path)
}

#[test]
fn help_of_every_command() {
    assert_says(succeeds(&["--help"]), &["convert", "inspect", "export", "types"]);
    assert_says(
        succeeds(&["convert", "--help"]),
        &["Examples:", "--type", "--outtype", "--dry-run", "--force"],
    );
    assert_says(succeeds(&["inspect", "--help"]), &["--summary", "GGUF file"]);
    assert_says(succeeds(&["export", "--help"]), &["Examples:", "--outtype", "--force"]);
    assert_says(succeeds(&["types", "--help"]), &["type"]);
    assert_says(succeeds(&["--version"]), &[env!("CARGO_PKG_VERSION")]);
}

#[test]
fn no_command_shows_the_help() {
    let done = tenpak::<&str>(&[]);
    assert_eq!(done.code, 2);
    assert_says(done.err, &["Usage:", "convert"]);
}

#[test]
fn types_has_a_line_for_each() {
    let out = succeeds(&["types"]);
    for t in REGISTRY {
        let line = out.lines().find(|l| l.split_whitespace().next() == Some(t.name)).expect(t.name);
        let cells: Vec<_> = line.split_whitespace().collect();
        let expected = [t.id.to_string(), t.block_len.to_string(), t.block_bytes.to_string()];
        assert_eq!(cells[1..4], expected);
        assert_eq!(cells[4], format!("{:.4}", t.bpw()));
    }
}

/// The line of a plan or a conversion that tells the file's size.
fn size_line(out: &str) -> String {
    let line = out.lines().find(|l| l.contains("smaller than FP32")).expect("a line with the size");
    line.split_once(", ")
        .map_or(line, |(start, rest)| if start.contains("tensors") { rest } else { line })
        .into()
}

#[test]
fn dry_run_tells_the_real_size() {
    for options in [
        &[][..],
        &["--type", "t2"],
        &["--type", "t25"],
        &["--type", "t4"],
        &["--outtype", "f16"],
        &["--outtype", "bf16"],
    ] {
        let (folder, path) = converted("model.gguf", options);
        let args = [&["convert", text(&folder.path), "--dry-run"], options].concat();
        let plan = succeeds(&args);
        let real = succeeds(&["inspect", text(&path), "--summary"]);
        assert_eq!(size_line(&plan), size_line(&real));
    }
}

#[test]
fn dry_run_writes_nothing() {
    let folder = TinyLlama::new().write();
    let out = folder.beside("out.gguf");
    succeeds(&["convert", text(&folder.path), "--dry-run", "-o", text(&out)]);
    assert_eq!(files_in(folder.parent.path()), ["tiny-llama"]);
}

#[test]
fn convert_writes_over_a_file_only_with_force() {
    let folder = TinyLlama::new().write();
    let path = folder.beside("there.gguf");
    std::fs::write(&path, "precious").unwrap();
    let args = ["convert", text(&folder.path), "-o", text(&path), "--outtype", "f16"];
    fails(&args, 1, &["there.gguf", "exists already", "--force"]);
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    succeeds(&[&args[..], &["--force"]].concat());
    assert_eq!(&std::fs::read(&path).unwrap()[..4], b"GGUF");
    assert_eq!(files_in(folder.parent.path()), ["there.gguf", "tiny-llama"]);
}

#[test]
fn the_input_is_never_written_over() {
    let (_folder, path) = converted("model.gguf", &["--outtype", "f16"]);
    let before = std::fs::read(&path).unwrap();
    for command in ["convert", "export"] {
        fails(&[command, text(&path), "-o", text(&path), "--force"], 1, &["model.gguf", "is the input"]);
    }
    assert!(std::fs::read(&path).unwrap() == before);
}

/// Runs the program where no file may be larger than 4096 bytes, as if the disk were full.
#[cfg(unix)]
fn with_small_files(args: &[&str]) -> std::process::Output {
    let limited = "trap '' XFSZ; ulimit -f 8; exec \"$@\"";
    let done = std::process::Command::new("sh")
        .args(["-c", limited, "sh", env!("CARGO_BIN_EXE_tenpak-gguf")])
        .args(support::uncalibrated(args))
        .output();
    done.expect("a shell")
}

/// A limit of the size of files stands for a disk without space: writing fails in the same place.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_nothing() {
    let folder = TinyLlama::new().write();
    let out = folder.beside("out.gguf");
    let done = with_small_files(&["convert", text(&folder.path), "-o", text(&out), "--outtype", "f32"]);
    assert_eq!(done.status.code(), Some(1));
    let says = String::from_utf8_lossy(&done.stderr);
    support::assert_says(says, &["out.gguf", "File too large", "larger files", "--split-max-size"]);
    assert_eq!(files_in(folder.parent.path()), ["tiny-llama"]);
}

/// Even root may not make files in /sys.
#[cfg(target_os = "linux")]
#[test]
fn a_folder_without_permission_is_named() {
    let folder = TinyLlama::new().write();
    let args = ["convert", text(&folder.path), "-o", "/sys/out.gguf", "--outtype", "f16"];
    fails(&args, 1, &["/sys/out.gguf", "Permission denied", "choose a folder where you may make files"]);
}

/// The files of the input are not outputs, whatever is forced.
#[test]
fn a_file_of_the_input_is_never_written_over() {
    let folder = TinyLlama::new().write();
    std::fs::write(folder.path.join("README.md"), "---\nlicense: mit\n---\n").unwrap();
    for name in ["model.safetensors", "config.json", "tokenizer.json", "README.md"] {
        let output = folder.path.join(name);
        let before = std::fs::read(&output).unwrap();
        let args = ["convert", text(&folder.path), "-o", text(&output), "--outtype", "f16", "--force"];
        fails(&args, 1, &[name, "is the input", "another output"]);
        assert!(std::fs::read(&output).unwrap() == before);
    }
}

/// Of a model in parts all are the input, whichever is named.
#[test]
fn a_part_of_the_input_is_never_written_over() {
    let folder = TinyLlama::new().write();
    let out = folder.beside("part.gguf");
    let options = ["-o", text(&out), "--outtype", "f16", "--split-max-size", "100K", "--force"];
    succeeds(&[&["convert", text(&folder.path)], &options[..]].concat());
    let names = files_in(folder.parent.path());
    let parts: Vec<_> = names.iter().filter(|n| n.starts_with("part-")).map(|n| folder.beside(n)).collect();
    assert!(parts.len() > 2);
    let before: Vec<_> = parts.iter().map(|p| std::fs::read(p).unwrap()).collect();
    for part in &parts {
        for command in ["convert", "export"] {
            let args = [command, text(&parts[0]), "-o", text(part), "--force"];
            fails(&args, 1, &[text(part), "is the input or a part of it"]);
        }
    }
    // Parts that would be written under the same names.
    let again = [&["convert", text(&parts[0])], &options[..]].concat();
    fails(&again, 1, &["part-00001", "is the input"]);
    assert!(parts.iter().map(|p| std::fs::read(p).unwrap()).eq(before));
}

#[test]
fn calibration_and_its_text_are_never_written_over() {
    let folder = TinyLlama::new().write();
    let statistics = folder.beside("statistics");
    std::fs::write(&statistics, "precious").unwrap();
    for option in ["--calibration", "--calibration-text"] {
        let args =
            ["convert", text(&folder.path), "-o", text(&statistics), option, text(&statistics), "--force"];
        fails(&args, 1, &["statistics", "is the input or a part of it"]);
    }
    let base = folder.beside("base.gguf");
    succeeds(&["convert", text(&folder.path), "-o", text(&base), "--outtype", "f16"]);
    for output in [&base, &statistics] {
        let args = ["calibrate", text(&base), "-f", text(&statistics), "-o", text(output), "--force"];
        fails(&args, 1, &["is the input or a part of it"]);
    }
    assert_eq!(std::fs::read(&statistics).unwrap(), b"precious");
}

/// Folders that cannot be converted: one line says why, and nothing has changed.
#[test]
fn bad_folders_are_left_as_they_are() {
    type Change = fn(&Folder);
    let bad: &[(&str, Change)] = &[
        ("config.json", |f| f.remove("config.json")),
        ("config.json", |f| std::fs::write(f.path.join("config.json"), "{\"a\": \n").unwrap()),
        ("config.json", |f| {
            f.write_json("config.json", &serde_json::json!({"architectures": ["MambaForCausalLM"]}))
        }),
        ("tokenizer.json", |f| f.remove("tokenizer.json")),
        ("tokenizer.json", |f| std::fs::write(f.path.join("tokenizer.json"), b"\xff\xfe").unwrap()),
        ("tokenizer_config.json", |f| std::fs::write(f.path.join("tokenizer_config.json"), "[").unwrap()),
        ("model.safetensors", |f| f.remove("model.safetensors")),
        ("model.safetensors", |f| std::fs::write(f.path.join("model.safetensors"), "").unwrap()),
        ("model.safetensors", |f| {
            let path = f.path.join("model.safetensors");
            let whole = std::fs::read(&path).unwrap();
            std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        }),
        ("model.safetensors.index.json", |f| {
            f.remove("model.safetensors");
            std::fs::write(f.path.join("model.safetensors.index.json"), "{}").unwrap();
        }),
        ("gone.safetensors", |f| {
            f.remove("model.safetensors");
            let index = serde_json::json!({"weight_map": {"a": "gone.safetensors"}});
            f.write_json("model.safetensors.index.json", &index);
        }),
        ("adapter_config.json", |f| f.write_json("adapter_config.json", &serde_json::json!({}))),
        ("pytorch_model.bin", |f| {
            f.remove("model.safetensors");
            std::fs::write(f.path.join("pytorch_model.bin"), b"PK\x03\x04").unwrap();
        }),
    ];
    for (i, (named, make_bad)) in bad.iter().enumerate() {
        let folder = TinyLlama::new().write();
        make_bad(&folder);
        let content = || {
            let names = files_in(&folder.path);
            names.into_iter().map(|n| (std::fs::read(folder.path.join(&n)).unwrap(), n)).collect::<Vec<_>>()
        };
        let before = content();
        let out = folder.beside("out.gguf");
        let done = tenpak(&["convert", text(&folder.path), "-o", text(&out), "--type", "t3"]);
        assert_eq!((done.code, &done.out[..]), (1, ""), "case {i}: {}", done.err);
        let lines: Vec<_> = done.err.lines().collect();
        assert!(lines.len() == 1 && lines[0].starts_with("error: "), "case {i}: {}", done.err);
        assert_says(lines[0], &[named]);
        assert!(content() == before, "case {i}");
        assert_eq!(files_in(folder.parent.path()), ["tiny-llama"]);
    }
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let folder = TinyLlama::new().write();
    let out = folder.beside("no such folder").join("out.gguf");
    fails(
        &["convert", text(&folder.path), "-o", text(&out), "--outtype", "f16"],
        1,
        &["no such folder", "No such file"],
    );
}

/// Plain files have all that llama.cpp's converter writes; in others the embeddings serve as the head.
#[test]
fn a_stored_tied_head_is_in_plain_files_only() {
    let mut tiny = TinyLlama::of_one_block();
    tiny.config["tie_word_embeddings"] = true.into();
    tiny.tensors.insert("lm_head.weight".into(), tiny.tensors["model.embed_tokens.weight"].clone());
    let folder = tiny.write();
    let out = folder.beside("out.gguf");
    for (options, there) in [(["--outtype", "f16"], true), (["--type", "t2"], false)] {
        succeeds(&[&["convert", text(&folder.path), "-o", text(&out), "--force"], &options[..]].concat());
        let digest = succeeds(&["inspect", text(&out), "--digest"]);
        assert_eq!(digest.contains("tensor output.weight "), there);
    }
}

#[test]
fn without_a_tokenizer() {
    let folder = TinyLlama::new().write();
    folder.remove("tokenizer.json");
    let out = folder.beside("out.gguf");
    let args = ["convert", text(&folder.path), "-o", text(&out), "--outtype", "f16"];
    fails(&args, 1, &["tokenizer.json", "--no-tokenizer"]);
    succeeds(&[&args[..], &["--no-tokenizer"]].concat());
    let shown = succeeds(&["inspect", text(&out)]);
    assert!(shown.contains("llama.vocab_size") && shown.contains("none"));
}

/// The tokenizer of a GGUF file is in its keys, and stays.
#[test]
fn options_of_tokenizers_are_for_folders() {
    let (folder, path) = converted("model.gguf", &["--outtype", "f16"]);
    let out = folder.beside("out.gguf");
    let args = ["convert", text(&path), "-o", text(&out)];
    for option in [&["--tokenizer-pre", "llama-bpe"][..], &["--no-tokenizer"]] {
        fails(&[&args[..], option].concat(), 1, &[option[0], "model.gguf", "keeps its tokenizer", "folder"]);
    }
    assert_eq!(files_in(folder.parent.path()), ["model.gguf", "tiny-llama"]);
}

#[test]
fn unknown_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.gguf");
    for args in [
        &["inspect", "/no/such.gguf"][..],
        &["convert", "/no/such.gguf", "-o", text(&out)],
        &["convert", "/no/such.gguf", "--dry-run"],
        &["export", "/no/such.gguf", "-o", text(&out)],
    ] {
        fails(args, 1, &["/no/such.gguf", "No such file"]);
    }
    assert_eq!(files_in(folder.path()), [""; 0]);
}

#[test]
fn files_of_another_kind_are_named() {
    let (_folder, path) = support::tiny_gguf::file(b"PK\x03\x04 and more");
    fails(&["inspect", text(&path)], 1, &["model.gguf", "not a GGUF file"]);
    fails(&["convert", text(&path), "--dry-run"], 1, &["model.gguf", "not a GGUF file"]);
}

#[test]
fn options_that_contradict() {
    fails(&["convert", "x", "-o", "y", "--type", "t3", "--outtype", "f16"], 2, &["--type", "--outtype"]);
    fails(&["convert", "x", "-o", "y", "--type", "q4_0"], 2, &["q4_0", "t2, t25, t3, t35, t4, t5"]);
    fails(&["convert", "x"], 2, &["--output"]);
}

#[test]
fn threads_do_not_change_the_file() {
    let bytes = |n: &str| std::fs::read(converted("model.gguf", &["--threads", n]).1).unwrap();
    assert!(bytes("1") == bytes("5"));
}

#[test]
fn inspect_names_keys_and_tensors() {
    let (_folder, path) = converted("model.gguf", &[]);
    let out = succeeds(&["inspect", text(&path)]);
    let names =
        ["GGUF version 3, alignment 32", "general.architecture", "\"llama\"", "blk.0.ffn_down.weight"];
    assert_says(&out, &names);
    assert_says(&out, &["t3_64", "t4", "256 x 24", "linear layers: ", "file: "]);
    let summary = succeeds(&["inspect", "--summary", text(&path)]);
    assert_says(&summary, &["t3_64", "linear layers: "]);
    assert!(!summary.contains("blk.0") && !summary.contains("general."));
}

#[test]
fn inspect_shows_types_that_nobody_knows() {
    let (_folder, path) = support::tiny_gguf::file(&support::tiny_gguf::ordinary());
    assert_says(succeeds(&["inspect", text(&path)]), &["type 9999", "q4_K", "test.nested"]);
}

#[test]
fn export_makes_a_plain_file() {
    let (folder, path) = converted("model.gguf", &[]);
    let plain = folder.beside("plain.gguf");
    let args = ["export", text(&path), "-o", text(&plain)];
    assert_says(succeeds(&args), &["plain.gguf"]);
    let out = succeeds(&["inspect", text(&plain)]);
    assert!(out.contains("f16") && !out.contains("t3"));
    fails(&args, 1, &["plain.gguf", "exists already", "--force"]);
    // Its values are those of the blocks, so quantizing again starts from a plain model.
    let again = folder.beside("again.gguf");
    succeeds(&["convert", text(&plain), "-o", text(&again), "--type", "t4"]);
}

#[test]
fn export_makes_a_folder() {
    let (folder, path) = converted("model.gguf", &["--outtype", "f32"]);
    let back = folder.beside("back");
    succeeds(&["export", text(&path), "-o", text(&back), "--outtype", "f32"]);
    let expected = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
    assert_eq!(files_in(&back), expected);
    let (before, after) = (TinyLlama::of_one_block().tensors, tiny_llama::read_tensors(&back));
    assert!(before.iter().all(|(name, t)| t.values() == after[name].values()));
    succeeds(&["convert", text(&back), "--dry-run"]);
}

#[cfg(unix)]
#[test]
fn an_export_that_fails_leaves_the_folder_as_it_was() {
    let (folder, path) = converted("model.gguf", &["--outtype", "f32"]);
    let back = folder.beside("back");
    let contents = || files_in(&back).into_iter().map(|name| std::fs::read(back.join(name)).unwrap());
    succeeds(&["export", text(&path), "-o", text(&back), "--outtype", "f32"]);
    let before: Vec<_> = contents().collect();
    let args = ["export", text(&path), "-o", text(&back), "--outtype", "f16", "--force"];
    let done = with_small_files(&args);
    assert_eq!(done.status.code(), Some(1));
    support::assert_says(String::from_utf8_lossy(&done.stderr), &["back", "File too large"]);
    assert!(contents().eq(before));
}

/// Names of the types of a file's tensors that are no floats, each once.
fn block_types(path: &Path) -> Vec<String> {
    let file = tenpak_gguf::gguf::File::open(path).expect("a file");
    let names = file.tensors().iter().map(|t| t.kind.name().to_string());
    let mut names: Vec<_> = names.filter(|name| !["f32", "f16", "bf16"].contains(&&name[..])).collect();
    names.sort();
    names.dedup();
    names
}

#[test]
fn quantized_checkpoints_are_kept_unless_told_otherwise() {
    for (case, how, kind) in [
        ("gptq-4-128", "GPTQ, 4 bits, groups of 128", "g4_128"),
        ("nf4-64-nested", "NF4, blocks of 64, quantized scales", "nf4_64"),
    ] {
        let folder = Case::load(case).model().first_block().write();
        let path = folder.beside("model.gguf");
        let kept = format!("1 tensors ({how}), kept without loss as {kind}");
        let anew = format!("1 tensors ({how}), quantized anew to t3");
        for (options, becomes, types) in [
            (&[][..], &kept, &[kind][..]),
            (&["--keep-quantization", "--type", "t2"], &kept, &[kind, "t2"]),
            (&["--requantize"], &anew, &["t3", "t4"]),
        ] {
            let args = ["convert", text(&folder.path), "-o", text(&path), "--force"];
            let done = tenpak(&[&args[..], options].concat());
            assert_eq!(done.code, 0, "{options:?}: {}", done.err);
            assert_says(&done.err, &[becomes]);
            assert_eq!(block_types(&path), types, "{case} {options:?}");
        }
    }
}

#[test]
fn options_of_quantized_checkpoints_that_contradict() {
    let folder = TinyLlama::new().write();
    let args = ["convert", text(&folder.path), "--dry-run", "--keep-quantization"];
    fails(&args, 1, &["--keep-quantization", text(&folder.path), "nothing", "quantized"]);
    for other in [&["--requantize"][..], &["--outtype", "f16"], &["--type", "t3", "--keep-embeddings"]] {
        fails(&[&args[..], other].concat(), 2, &["--keep-quantization"]);
    }
}

#[test]
fn a_second_quantization_is_announced() {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/ggml.gguf");
    let note = "quantized a second time";
    let done = tenpak(&["convert", source, "--dry-run"]);
    assert_eq!(done.code, 0, "{}", done.err);
    assert_says(&done.err, &["quantized already: 1 tensors (iq2_xxs), quantized anew to t3", "(q6_K)", note]);
    let done = tenpak(&["convert", source, "--dry-run", "--outtype", "bf16"]);
    assert_says(&done.err, &["quantized already: 1 tensors (q4_K), written as bf16"]);
    assert!(!done.err.contains(note), "{}", done.err);
    let done = tenpak(&["convert", source, "--dry-run", "--keep-quantization"]);
    assert_says(&done.err, &["quantized already: 1 tensors (mxfp4), kept without loss as mxfp4"]);
    assert!(!done.err.contains(note), "{}", done.err);
}

/// Nothing is measured by a dry run, which says what would be.
#[test]
fn a_dry_run_says_what_calibration_would_do() {
    let folder = TinyLlama::new().write();
    let cache = folder.beside("cache");
    let args = ["convert", text(&folder.path), "--dry-run", "--target", "9x", "--cache", text(&cache)];
    let done = tenpak(&args);
    assert_eq!(done.code, 0, "{}", done.err);
    assert_says(
        &done.err,
        &["step  ", "text that the model writes", "best mix", "all together about ", text(&cache)],
    );
    assert!(!cache.exists());
}

/// Without the collector there is no calibration, and the message says what can be done.
#[test]
fn no_collector_for_a_conversion() {
    let folder = TinyLlama::new().write();
    let (out, nowhere) = (folder.beside("out.gguf"), folder.beside("nowhere"));
    let output = Command::new(env!("CARGO_BIN_EXE_tenpak-gguf"))
        .args(["convert", text(&folder.path), "-o", text(&out), "--cache", text(&folder.beside("cache"))])
        .env("PATH", &nowhere)
        .env_remove("TENPAK_COLLECTOR")
        .output()
        .expect("it starts");
    let says = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{says}");
    assert_says(says, &["llama-tenpak-calibrate", "scripts/build_llama.sh", "--no-calibration"]);
    assert_eq!(files_in(folder.parent.path()), ["tiny-llama"]);
}

#[test]
fn sizes_that_are_none() {
    for (option, value, words) in [
        ("--target", "0.5x", "such as 10x"),
        ("--target", "ten", "such as 10x"),
        ("--bpw", "nan", "such as 2.5"),
        ("--size", "3.5", "such as 4G"),
    ] {
        fails(&["convert", "x", "-o", "y", option, value], 2, &[option, words]);
    }
    fails(&["convert", "x", "-o", "y", "--target", "10x", "--bpw", "3"], 2, &["--target", "--bpw"]);
    fails(&["convert", "x", "-o", "y", "--target", "10x", "--type", "t3"], 2, &["--target", "--type"]);
    fails(
        &["convert", "x", "-o", "y", "--target", "10x", "--no-calibration"],
        2,
        &["--target", "--no-calibration"],
    );
}

/// A size without statistics that say what depends on each weight: the recipe decides, and the program says so.
#[test]
fn a_size_without_sensitivities() {
    let folder = TinyLlama::new().write();
    let (gram, out) = (folder.beside("tiny.gram.gguf"), folder.beside("out.gguf"));
    support::tiny_calibration::of_tiny_llama().write(&gram);
    let args =
        ["convert", text(&folder.path), "-o", text(&out), "--calibration", text(&gram), "--target", "9x"];
    let done = tenpak(&args);
    assert_eq!(done.code, 0, "{}", done.err);
    assert_says(&done.err, &["does not say how much depends on each weight", "the recipe decides"]);
}

#[test]
fn the_cache_is_shown_and_cleared() {
    let folder = TinyLlama::new().write();
    let cache = folder.beside("cache");
    std::fs::create_dir(&cache).unwrap();
    std::fs::write(cache.join("0123456789abcdef.base.gguf"), [0; 1234]).unwrap();
    std::fs::write(cache.join("mine.txt"), "x").unwrap();
    let shown = succeeds(&["cache", "--cache", text(&cache)]);
    assert_says(&shown, &["0123456789abcdef.base.gguf", "1.2 kB", "1 files"]);
    assert_says(succeeds(&["cache", "--cache", text(&cache), "--clear"]), &["1 files deleted"]);
    assert_eq!(files_in(&cache), ["mine.txt"]);
}

#[test]
fn plans_need_sensitivities() {
    let folder = TinyLlama::new().write();
    let gram = folder.beside("tiny.gram.gguf");
    support::tiny_calibration::of_tiny_llama().write(&gram);
    let args = ["plan", text(&folder.path), "--calibration", text(&gram)];
    fails(&args, 1, &["how much depends on each weight", "it is measured"]);
    fails(&["plan", text(&folder.path), "--no-calibration"], 1, &["how much depends on each weight"]);
    fails(&["plan", text(&folder.path), "--pareto", "curve.png"], 2, &["--pareto", ".svg", ".csv"]);
    let taken = folder.beside("taken.csv");
    std::fs::write(&taken, "mine").unwrap();
    fails(
        &["plan", text(&folder.path), "--pareto", text(&taken)],
        1,
        &["taken.csv", "exists already", "--force"],
    );
}

/// How many columns such a row has nobody can tell from the bytes that are there.
#[test]
fn a_type_that_nobody_knows_is_not_exported() {
    let raw = Raw::new(3, 1, 0).tensor("w", &[1 << 40], 9999, 0);
    let (_folder, path) = tiny_gguf::file(&raw.data(64));
    let out = path.with_file_name("plain.gguf");
    fails(&["export", text(&path), "-o", text(&out)], 1, &["tensor `w`", "type 9999"]);
}
