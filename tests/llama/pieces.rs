//! SentencePiece vocabularies given as tokenizer.json alone: llama.cpp gives our files the ids that the tokenizers library
//! gives their tokenizer.json, with special and added tokens in the text.

use super::fixtures::*;
use super::place::Place;
use super::vocabulary;
use std::io::Write;
use std::process::{Command, Stdio};
use tokenizers::Tokenizer;

/// Lines of every kind of text.
const LINES: usize = 60;
const KINDS: [&str; 6] = ["c4", "code", "multilingual", "technical", "tiny", "wiki"];

/// Lines of texts, and some of them with tokens in between.
fn lines(tokens: &[String]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for kind in KINDS {
        let text = std::fs::read_to_string(text(kind)).expect("a text");
        let all: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
        lines.extend(
            all.iter().step_by((all.len() / LINES).max(1)).take(LINES).map(|line| (*line).to_owned()),
        );
    }
    lines.extend(
        ["a  b   c    d", "\t\ttabs \n\n", "模型 🦙🦙 \u{200b}\u{a0}é", " leading", "▁leading", "<0x0A>"]
            .map(str::to_owned),
    );
    let plain = lines.len();
    for (i, token) in tokens.iter().cycle().take(plain / 2).enumerate() {
        let (a, b) = (&lines[i], &lines[plain - 1 - i]);
        lines.push(format!("{token}user\n{a}{token}{b} {token} "));
    }
    lines
}

/// llama.cpp's ids for the texts of a vocabulary are those of the tokenizers library; where a space is put, as a scheme says.
fn has_the_same_ids(name: &str, scheme: Option<&str>) {
    let place = Place::new();
    let file = LLAMA.join(format!("../../models/ggml-vocab-{name}.gguf"));
    let (folder, ours) = (place.path(name), place.path("ours.gguf"));
    vocabulary::rebuild(&file, &folder).expect("a checkpoint");
    vocabulary::pieces_as_json(&folder, scheme).expect("a tokenizer.json");
    place.run("convert", &mut tenpak(["convert", arg(&folder), "-o", arg(&ours), "--outtype", "f16"]));
    let tokenizer = Tokenizer::from_file(folder.join("tokenizer.json")).expect("a tokenizer");
    let mut added: Vec<_> = tokenizer.get_added_tokens_decoder().into_iter().collect();
    added.sort_by_key(|(id, _)| *id);
    let lines = lines(&added.into_iter().map(|(_, token)| token.content).collect::<Vec<_>>());
    let mut program = Command::new(tokenize_program());
    let mut program =
        program.arg(&ours).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut input = program.stdin.take().expect("a pipe");
    let bytes: Vec<u8> = lines.iter().flat_map(|line| [line.as_bytes(), b"\0"].concat()).collect();
    let writer = std::thread::spawn(move || input.write_all(&bytes));
    let done = program.wait_with_output().expect("it ends");
    writer.join().expect("no panic").expect("it reads all");
    assert!(done.status.success());
    let printed = String::from_utf8(done.stdout).expect("ids");
    let mut ids = 0;
    assert_eq!(printed.lines().count(), lines.len());
    for (line, found) in lines.iter().zip(printed.lines()) {
        let expected = tokenizer.encode(line.as_str(), false).expect("ids");
        let expected: Vec<String> = expected.get_ids().iter().map(u32::to_string).collect();
        assert_eq!(found, expected.join(" "), "{name}: {line:?}");
        ids += expected.len();
    }
    note(format!("{} lines have the same {ids} ids", lines.len()));
    assert!(ids > 10_000);
}

#[test]
fn llama_2() {
    has_the_same_ids("llama-spm", None);
}

#[test]
fn phi_3() {
    has_the_same_ids("phi-3", None);
}

#[test]
fn spaces_at_the_begin_of_a_text_only() {
    has_the_same_ids("llama-spm", Some("first"));
}

#[test]
fn spaces_where_none_is() {
    has_the_same_ids("llama-spm", Some("always"));
}
