//! llama.cpp's programs that handle files, with a file of our types.

use super::fixtures::*;
use super::place::{Place, Started, THREADS, free_port, script};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

pub const PROMPT: &str = "The capital of France is";

/// How long a server may take to load 45 MB and to answer: a time that only a server that hangs can reach.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// A program of llama.cpp that is to continue the prompt with eight tokens.
pub fn prompted(program: &str, model: &Path) -> Command {
    let mut command = llama(program);
    command.arg("-m").arg(model).args(["-p", PROMPT, "-n", "8", "--temp", "0", "-t", &THREADS.to_string()]);
    command
}

/// What llama-completion makes of the prompt with a model. The test fails if it adds nothing.
#[track_caller]
pub fn completes(
    place: &Place,
    name: &str,
    model: &Path,
    options: &[&str],
    environment: &[(&str, &Path)],
) -> String {
    let mut command = prompted("llama-completion", model);
    command.arg("-no-cnv").args(options).envs(environment.iter().copied());
    let printed = place.run(name, &mut command);
    let sentence = printed.lines().find_map(|line| line.find(PROMPT).map(|at| line[at..].to_owned()));
    let sentence = sentence.unwrap_or_else(|| panic!("no sentence in {}", place.log(name).display()));
    assert!(sentence.len() > PROMPT.len() + 1, "nothing was added to {sentence:?}");
    note(&sentence);
    sentence
}

#[test]
fn llama_completion_checks_tensors_and_continues() {
    completes(&Place::new(), "completion", &out(), &["--check-tensors"], &[]);
}

#[test]
fn checked_kernels_generate_the_same_sentence() {
    let place = Place::new();
    let plain = completes(&place, "completion", &out(), &[], &[]);
    assert_eq!(completes(&place, "checked", &out(), &[], &[checked()]), plain);
}

#[test]
fn llama_cli_runs() {
    Place::new().run("cli", prompted("llama-cli", &out()).arg("-st"));
}

#[test]
fn llama_bench_runs() {
    let mut command = llama("llama-bench");
    command.arg("-m").arg(out()).args(["-p", "16", "-n", "4", "-r", "1", "-t", &THREADS.to_string()]);
    Place::new().run("bench", &mut command);
}

/// A pipe that has a kilobyte left, and is read some time after the program had said all.
const SLOW_READER: &str = "{ head -c 64512 /dev/zero; exec \"$@\" 2>/dev/null; } | { sleep 2; cat; }";

#[test]
fn llama_perplexity_says_its_last_words_to_a_slow_reader() {
    let place = Place::new();
    let logits = place.path("logits");
    let with_options = |command: &mut Command| {
        command.arg("-m").arg(short(&f16(), FEW_BLOCKS)).arg("-f").arg(text("wiki"));
        command.args(["-c", "512", "--chunks", "1", "-t", &THREADS.to_string()]);
        command.arg("--kl-divergence-base").arg(&logits);
    };
    let mut base = llama("llama-perplexity");
    with_options(&mut base);
    place.run("base", &mut base);
    let mut slow = Command::new("bash");
    slow.args(["-c", SLOW_READER, "bash"]).arg(LLAMA.join("llama-perplexity"));
    with_options(&mut slow);
    let printed = place.run("slow", slow.arg("--kl-divergence"));
    assert!(printed.contains("Same top p:"), "the end is missing: {}", printed.trim_start_matches('\0'));
}

#[test]
fn llama_quantize_copies_tensors() {
    let place = Place::new();
    let copy = place.path("copy.gguf");
    place.run("copy", llama("llama-quantize").arg("--allow-requantize").arg(out()).arg(&copy).arg("COPY"));
    assert_same_lines(&tensors(&place, &copy), &tensors(&place, &out()));
}

#[test]
fn llama_gguf_split_splits_and_merges() {
    let place = Place::new();
    let (first, merged) = (place.path("part-00001-of-00003.gguf"), place.path("merged.gguf"));
    let split = ["--split", "--split-max-tensors", "100"];
    place.run("split", llama("llama-gguf-split").args(split).arg(out()).arg(place.path("part")));
    place.run("merge", llama("llama-gguf-split").arg("--merge").arg(&first).arg(&merged));
    let expected = tensors(&place, &out());
    assert_same_lines(&tensors(&place, &first), &expected);
    assert_same_lines(&tensors(&place, &merged), &expected);
}

#[test]
fn llama_server_answers() {
    let place = Place::new();
    let port = free_port();
    let mut command = llama("llama-server");
    command.arg("-m").arg(out()).args(["--host", "127.0.0.1", "-t", &THREADS.to_string()]);
    let mut server = place.start("server", command.args(["--port", &port.to_string()]));
    wait_until_ready(&place, &mut server, port);
    let body = json!({"prompt": PROMPT, "n_predict": 8, "temperature": 0}).to_string();
    let answer = request(port, "POST", "/completion", &body).expect("an answer");
    let content = answer.split_once("\r\n\r\n").expect("a body").1;
    let json: Value = serde_json::from_str(content).unwrap_or_else(|error| panic!("{error}: {answer}"));
    let text = json["content"].as_str().unwrap_or_else(|| panic!("no content: {answer}"));
    assert!(!text.trim().is_empty(), "an empty answer: {answer}");
    note(format!("{PROMPT}{text}"));
}

/// Waits until a server answers that it is ready.
pub fn wait_until_ready(place: &Place, server: &mut Started, port: u16) {
    let start = Instant::now();
    while !request(port, "GET", "/health", "").is_some_and(|answer| answer.contains(" 200 ")) {
        server.so_far();
        assert!(
            start.elapsed() < PATIENCE,
            "llama-server does not get ready: see {}",
            place.log("server").display()
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// An answer of HTTP with its head. `None` if nobody listens.
fn request(port: u16, method: &str, path: &str, body: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let head = format!(
        "{method} {path} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {}",
        body.len()
    );
    write!(stream, "{head}\r\n\r\n{body}").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// The patches touch ggml/ only, and files are read in libggml-base: unpatched, it is put before ours.
#[test]
fn a_stock_llama_cpp_refuses_the_file_with_a_clear_error() {
    let place = Place::new();
    let stock = script("build_stock_ggml.sh", &[], &[]);
    let mut command = prompted("llama-completion", &out());
    let printed = place.fails("stock", command.arg("-no-cnv").env("LD_LIBRARY_PATH", stock));
    let is_clear = |line: &&str| line.contains("tensor '") && line.contains("' has invalid ggml type 5");
    let line = printed.lines().find(is_clear);
    note(line.unwrap_or_else(|| panic!("no clear error in {}", place.log("stock").display())));
}
