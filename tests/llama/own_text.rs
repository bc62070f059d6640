//! Text that a model writes to be calibrated on. The model is short, so that what it writes is nonsense.

use super::fixtures::*;
use super::place::{Place, THREADS};
use super::short_model::{keys_of_blocks, make_with_keys};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use tenpak_gguf::gguf::{File, Value};

const BLOCKS: usize = 2;

/// Tokens of a text and of a document at most: 8 documents are written at a time, and SmolLM2's template takes 40 of them.
const TOKENS: &str = "1024";
const CONTEXT: &str = "128";

/// Tokens of two texts that are written at the same time: together they are of more chunks than there are places.
const SHORT_TOKENS: &str = "640";
const LONG_TOKENS: &str = "8192";

/// Paragraphs of fewer bytes may well be in two texts.
const LONG: usize = 40;

/// Where SmolLM2's template puts what the user says.
const USER: &str = "<|im_start|>user\n";

fn model() -> PathBuf {
    short(&f16(), BLOCKS)
}

/// The collector, to write a text.
fn write(model: &Path, out: &Path, options: [&str; 2]) -> Command {
    let mut command = llama("llama-tenpak-calibrate");
    command.arg("-m").arg(model).arg("--write-text").arg(out).args(["--tokens", TOKENS, "-c", CONTEXT]);
    command.args(options);
    command
}

/// Two texts begin otherwise and go on otherwise.
fn assert_differ(one: &str, other: &str) {
    let paragraphs = |text: &str| {
        let all = text.split("\n\n").filter(|paragraph| paragraph.len() > LONG);
        all.map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let (ones, others) = (paragraphs(one), paragraphs(other));
    let both = ones.intersection(&others).count();
    assert!(!ones.is_empty() && both * 4 < ones.len(), "{both} of {} paragraphs are in both", ones.len());
}

/// Texts of thousands of tokens and of a few are written in the same steps: the second takes what the first leaves, and the
/// places of the short one once it is complete.
#[test]
fn texts_are_written_at_the_same_time() {
    let place = Place::new();
    let texts_of = |name: &str, threads: &str| {
        let [short, long] = ["short", "long"].map(|text| place.path(&format!("{name}-{text}.txt")));
        let mut command = llama("llama-tenpak-calibrate");
        command.arg("-m").arg(model()).args(["-c", CONTEXT, "-t", threads]);
        command.arg("--write-text").arg(&short).args(["--tokens", SHORT_TOKENS, "--seed", "2"]);
        command.arg("--write-text").arg(&long).args(["--tokens", LONG_TOKENS, "--seed", "1"]);
        let printed = place.run(name, &mut command);
        assert!(printed.contains(" 64 documents at a time"), "not all places are used:\n{printed}");
        [(short, SHORT_TOKENS), (long, LONG_TOKENS)].map(|(path, tokens)| {
            let ids = place.path("ids");
            let mut count = llama("llama-tenpak-calibrate");
            count.arg("-m").arg(model()).arg("--tokenize").arg(&path).arg("-o").arg(&ids);
            place.run("count", &mut count);
            let found = std::fs::read_to_string(ids).expect("ids").split_whitespace().count();
            assert!(found >= tokens.parse().unwrap(), "{}: {found} of {tokens} tokens", path.display());
            std::fs::read_to_string(path).expect("a text")
        })
    };
    let [short, long] = texts_of("one", "1");
    assert!([&short, &long] == texts_of("threads", "2").each_ref(), "threads change a text");
    assert_differ(&short, &long);
    assert!(long.len() > 2 * short.len(), "{} and {} bytes", short.len(), long.len());
}

#[test]
fn a_seed_decides_the_text_and_threads_do_not() {
    let place = Place::new();
    let text_of = |name: &str, options: [&str; 2], threads: &str| {
        let out = place.path(&format!("{name}.txt"));
        let printed = place.run(name, write(&model(), &out, options).args(["-t", threads]));
        assert!(printed.contains(" tokens, 100 %, 0 s left"), "the time left was not shown:\n{printed}");
        String::from_utf8(std::fs::read(out).expect("a text")).expect("UTF-8")
    };
    let one = text_of("one", ["--seed", "1"], "1");
    assert!(one == text_of("threads", ["--seed", "1"], "2"), "threads change the text");
    assert_differ(&one, &text_of("other", ["--seed", "2"], "1"));
    assert!(one.contains(USER), "no document is in the model's chat template");
    assert!(
        !one.contains("\0") && one.ends_with('\n') && !one.ends_with("\n\n"),
        "the text ends as no text does"
    );
    let left = std::fs::read_dir(place.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!left.into_iter().any(|name| name.to_string_lossy().ends_with(".part")), "a part was left");
}

/// What is collected is that of the kept text, in which tokens of the template are tokens.
#[test]
fn the_text_is_collected_over() {
    let place = Place::new();
    let (own, again, plain) = (place.path("own.gguf"), place.path("again.gguf"), place.path("plain.gguf"));
    let text = place.path("own.txt");
    let calibrate = |text: &str, out: &Path| {
        let mut command = tenpak(["calibrate", arg(&model()), "-f", text, "-o", arg(out)]);
        command.args(["--collector", arg(&LLAMA), "--tokens", TOKENS, "-c", CONTEXT]);
        command.args(["--threads", &THREADS.to_string(), "--budget", "0"]);
        command
    };
    let printed = place.run("own", calibrate("self", &own).args(["--seed", "3", "--keep-text", arg(&text)]));
    assert!(printed.contains(&format!("{TOKENS} tokens of self, seed 3")), "{printed}");
    assert!(!printed.contains("tokens only"), "the text is too short:\n{printed}");
    place.run("again", calibrate(arg(&text), &again).arg("--parse-special"));
    place.run("plain", &mut calibrate(arg(&text), &plain));
    assert_same_lines(&tensors(&place, &again), &tensors(&place, &own));
    assert!(
        tensors(&place, &plain) != tensors(&place, &own),
        "tokens of the template were taken as characters"
    );
    let left = std::fs::read_dir(place.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = left.filter(|name| name.to_string_lossy().starts_with(".tenpak-text-")).collect();
    assert!(left.is_empty(), "intermediate files were left: {left:?}");
}

/// The short model with some keys changed.
fn with_keys(place: &Place, change: impl FnOnce(&mut Vec<(String, Value)>)) -> PathBuf {
    let (out, model) = (place.path("model.gguf"), model());
    let mut keys = keys_of_blocks(&File::open(&model).expect("a model"), BLOCKS as u64);
    change(&mut keys);
    make_with_keys(&model, &model, BLOCKS as u64, &keys, &out).expect("a model");
    out
}

#[test]
fn a_template_that_asks_for_the_day_gets_the_same_one_always() {
    let place = Place::new();
    let template = "{{ 'On ' + strftime_now('%d %b %Y') }}{% for m in messages %}{{ ' they said ' + m.content }}{% endfor %}";
    let model = with_keys(&place, |keys| {
        let key = keys.iter_mut().find(|(key, _)| key == "tokenizer.chat_template").expect("a template");
        key.1 = Value::String(template.into());
    });
    let out = place.path("own.txt");
    place.run("write", &mut write(&model, &out, ["-t", "1"]));
    let text = std::fs::read_to_string(out).expect("a text");
    assert!(text.contains("On 1 Jan 2026 they said "), "the template was not used: {text}");
}

#[test]
fn without_a_template_questions_are_plain_text() {
    let place = Place::new();
    let model = with_keys(&place, |keys| keys.retain(|(key, _)| key != "tokenizer.chat_template"));
    let out = place.path("own.txt");
    place.run("write", &mut write(&model, &out, ["-t", "1"]));
    let text = std::fs::read_to_string(out).expect("a text");
    assert!(text.contains("User: ") && text.contains("\n\nAssistant:") && !text.contains(USER), "{text}");
}

#[test]
fn a_model_without_a_vocabulary_is_refused() {
    let place = Place::new();
    let model = with_keys(&place, |keys| {
        keys.retain(|(key, _)| !key.starts_with("tokenizer."));
        keys.push(("tokenizer.ggml.model".into(), Value::String("none".into())));
    });
    let out = place.path("own.txt");
    let refusal = place.fails("write", &mut write(&model, &out, ["-t", "1"]));
    assert!(refusal.contains("model.gguf: has no vocabulary"), "{refusal}");
    assert!(!out.exists());
    let refusal = place.fails("collect", &mut calibrate(&model, &place.path("gram.gguf"), []));
    assert!(refusal.contains("model.gguf: has no vocabulary"), "{refusal}");
}
