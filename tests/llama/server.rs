//! `llama-server` with a file of ours, asked by OpenAI's client: streams, tools and the chat template of the checkpoint.

use super::fixtures::*;
use super::place::{Place, Started, THREADS, free_port, script};
use super::programs::wait_until_ready;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A template with tools, which SmolLM2's own has not: it is in the tree of llama.cpp.
const TEMPLATE: &str = "models/templates/Qwen-Qwen2.5-7B-Instruct.jinja";

/// The first blocks of SmolLM2 in our types, of a checkpoint that has this template.
fn with_tools(place: &Place, template: &Path) -> PathBuf {
    let (folder, out) = (place.path("checkpoint"), place.path("model.gguf"));
    place.run("export", &mut tenpak(["export", arg(&short(&f16(), FEW_BLOCKS)), "-o", arg(&folder)]));
    // A file beside the configuration goes before what the configuration says.
    std::fs::copy(template, folder.join("chat_template.jinja")).expect("a copy");
    let mut convert = tenpak(["convert", arg(&folder), "-o", arg(&out), "--no-calibration"]);
    place.run("convert", convert.args(["--type", "t3", "--keep-embeddings"]));
    out
}

fn serve(place: &Place, model: &Path, port: u16) -> Started {
    let mut command = llama("llama-server");
    command.arg("-m").arg(model).args(["--host", "127.0.0.1", "--port", &port.to_string(), "--jinja"]);
    command.args(["-c", "2048", "-np", "1", "-t", &THREADS.to_string()]);
    let mut server = place.start("server", &mut command);
    wait_until_ready(place, &mut server, port);
    server
}

#[test]
fn openais_client_chats_streams_and_has_tools() {
    let place = Place::new();
    let template = LLAMA.join("../..").join(TEMPLATE);
    let model = with_tools(&place, &template);
    let python = script("openai_client.sh", &[], &[]);
    let port = free_port();
    let _server = serve(&place, &model, port);
    let mut client = Command::new(python);
    client.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/llama/openai_client.py"));
    client.arg(format!("http://127.0.0.1:{port}")).arg(&template);
    note(place.run("client", &mut client).trim());
}
