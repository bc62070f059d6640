//! The pages of docs/guide/ and the commands in them: what a block of code is, and running those of a page in a folder that has
//! what pages speak of. docs/testing.md says how blocks are marked.

use super::random::Random;
use super::tiny_llama::{Folder, HIDDEN, Stored, TinyLlama};
use serde_json::{Map, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Who runs a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runner {
    /// `sh`: needs this program only.
    Alone,
    /// `sh llama`: needs llama.cpp's programs.
    Llama,
    /// `sh slurm`, `sh parallel`: needs a queue, with llama.cpp's programs.
    Cluster,
    /// `sh elsewhere`: needs what no test has (another machine, a package index), which the page says, or takes long and is run by
    /// a test of its own.
    Nobody,
}

/// Commands of a page.
#[derive(Clone, Debug)]
pub struct Block {
    pub line: usize,
    pub runner: Runner,
    pub text: String,
}

/// Names and contents of the pages.
pub fn pages() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guide");
    let mut pages: Vec<(String, String)> = std::fs::read_dir(folder)
        .expect("the guide")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "md"))
        .map(|path| {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            (name, std::fs::read_to_string(&path).expect("text"))
        })
        .collect();
    pages.sort();
    pages
}

/// The commands of a page. Output and other text are `text` blocks; a command that is not marked is an error.
pub fn blocks(page: &str, text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((i, line)) = lines.next() {
        assert!(
            !line.starts_with("    tenpak-gguf "),
            "docs/guide/{page}.md:{}: an indented command, which no test runs: fence it as sh",
            i + 1
        );
        let Some(info) = line.strip_prefix("```") else { continue };
        let mut inner = Vec::new();
        for (_, line) in lines.by_ref().take_while(|(_, line)| *line != "```") {
            inner.push(line);
        }
        let runner = match info {
            "sh" => Runner::Alone,
            "sh llama" => Runner::Llama,
            "sh slurm" | "sh parallel" => Runner::Cluster,
            "sh elsewhere" => Runner::Nobody,
            "text" | "json" | "toml" | "python" => continue,
            _ => panic!("docs/guide/{page}.md:{}: a block of {info:?}", i + 1),
        };
        blocks.push(Block { line: i + 1, runner, text: inner.join("\n") });
    }
    blocks
}

/// Runs the blocks of a page that need this program only and, if there is a folder of llama.cpp's programs, those that need them,
/// in the order of the page. What is kept between jobs is kept in `cache`.
pub fn run(page: &str, text: &str, llama: Option<&Path>, cache: Option<&Path>) {
    let place = place(llama);
    let folder = place.parent.path();
    for Block { line, runner, text } in blocks(page, text) {
        let runs = runner == Runner::Alone || runner == Runner::Llama && llama.is_some();
        if !runs {
            continue;
        }
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail", "-c", &text]);
        let done = in_place(&mut command, folder, llama, cache).output().expect("bash");
        assert!(
            done.status.success(),
            "docs/guide/{page}.md:{line}: {}\n{text}\n{}{}",
            done.status,
            String::from_utf8_lossy(&done.stdout),
            String::from_utf8_lossy(&done.stderr)
        );
    }
}

/// Has a command run in the folder of a [`place`], with its programs.
pub fn in_place<'a>(
    command: &'a mut Command,
    folder: &Path,
    llama: Option<&Path>,
    cache: Option<&Path>,
) -> &'a mut Command {
    let search = std::env::var("PATH").unwrap_or_default();
    let own_cache = || folder.join("cache");
    command
        .current_dir(folder)
        .env("PATH", format!("{}:{search}", folder.join("bin").display()))
        .env("TENPAK_CACHE", cache.map_or_else(own_cache, Path::to_owned))
        .env("HOME", folder)
        .env_remove("TENPAK_COLLECTOR")
        .stdin(std::process::Stdio::null());
    if let Some(llama) = llama {
        command.env("TENPAK_COLLECTOR", llama);
    }
    command
}

/// What pages speak of: `Model`, a Hugging Face folder; `text.txt`, `wiki.txt` and `code.txt`; programs in `bin`.
pub fn place(llama: Option<&Path>) -> Folder {
    let model = model().write();
    let folder = model.parent.path();
    std::fs::rename(&model.path, folder.join("Model")).expect("another name");
    for (name, about) in [("text.txt", "any subject"), ("wiki.txt", "a place"), ("code.txt", "a function")] {
        let line = |i: usize| format!("Line {i} of {} words is about {about}.\n", i % 7);
        std::fs::write(folder.join(name), (0..400).map(line).collect::<String>()).expect("a file");
    }
    let bin = folder.join("bin");
    std::fs::create_dir(&bin).expect("a folder");
    program(&bin.join("tenpak-gguf"), &little_text());
    for entry in llama.map(|folder| std::fs::read_dir(folder).expect("programs")).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if name.starts_with("llama-") {
            program(&bin.join(&name), &format!("exec '{}' \"$@\"", path.display()));
        }
    }
    model
}

/// A program that is a script.
fn program(path: &Path, script: &str) {
    std::fs::write(path, format!("#!/bin/bash\n{script}\n")).expect("a file");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).expect("permissions");
    }
}

/// The program, with less text than it takes if nothing is said, which is not the model's own: of a random model nothing is learned
/// from more, and writing takes long.
fn little_text() -> String {
    let says =
        |options: &[&str]| options.iter().map(|o| format!("*\" {o} \"*")).collect::<Vec<_>>().join("|");
    let given = says(&["--calibration", "--no-calibration", "--outtype"]);
    let text = says(&["--calibration-text"]);
    let effort = says(&["--effort", "--outtype"]);
    format!(
        "words=\" $* \"
case ${{1-}} in
convert|plan)
    case $words in {given}) ;; *)
        set -- \"$@\" --calibration-tokens 1024 --budget 0
        case $words in {text}) ;; *) set -- \"$@\" --calibration-text text.txt ;; esac ;;
    esac
    case $words in {effort}) ;; *) set -- \"$@\" --effort fast ;; esac ;;
calibrate) case $words in *\" --merge \"*) ;; *) set -- \"$@\" --tokens 1024 --budget 0 ;; esac ;;
eval) case $words in *\" --check \"*|*\" --merge \"*) ;; *) set -- \"$@\" --chunks 2 ;; esac ;;
esac
exec '{}' \"$@\"",
        env!("CARGO_BIN_EXE_tenpak-gguf")
    )
}

/// A model that takes any text: its tokens are bytes.
fn model() -> TinyLlama {
    let mut tiny = TinyLlama::new();
    let bytes = (0..=255u8).map(|byte| byte_char(byte).to_string());
    let ends = ["<s>".to_owned(), "</s>".to_owned()];
    // llama.cpp wants a merge.
    let all: Vec<String> = ends.into_iter().chain(bytes).chain(["Ġa".to_owned()]).collect();
    let vocab: Map<_, _> = all.iter().enumerate().map(|(id, text)| (text.clone(), json!(id))).collect();
    tiny.tokenizer["model"]["vocab"] = vocab.into();
    tiny.tokenizer["model"]["merges"] = json!([["Ġ", "a"]]);
    tiny.tokenizer_config["chat_template"] =
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}".into();
    tiny.config["vocab_size"] = all.len().into();
    tiny.config["max_position_embeddings"] = 2048.into();
    let mut random = Random(7);
    for name in ["model.embed_tokens.weight", "lm_head.weight"] {
        let values: Vec<f32> = random.gaussians(all.len() * HIDDEN).iter().map(|v| v * 0.03125).collect();
        let stored = Stored::new(safetensors::Dtype::F16, &[all.len(), HIDDEN], &values);
        tiny.tensors.insert(name.into(), stored);
    }
    tiny
}

/// The letter that stands for a byte in tokenizers of bytes.
fn byte_char(byte: u8) -> char {
    let is_shown = |b: u8| matches!(b, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    match is_shown(byte) {
        true => char::from(byte),
        false => {
            let before = (0..byte).filter(|b| !is_shown(*b)).count() as u32;
            char::from_u32(256 + before).expect("a letter")
        }
    }
}

/// Path of a page.
pub fn path_of(page: &str) -> PathBuf {
    Path::new("docs/guide").join(format!("{page}.md"))
}
