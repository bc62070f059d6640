//! `release`: the card as the hub's own library reads it, and the file as llama.cpp shows it.

use super::fixtures::*;
use super::place::{Place, script};
use serde_json::{Value as Json, json};
use std::path::PathBuf;
use std::process::Command;

/// Loads a card as the hub's library does, and prints what it found. Nothing is asked of the hub.
const LOAD: &str = "
import json, sys
from huggingface_hub import ModelCard, ModelCardData
card = ModelCard.load(sys.argv[1], ignore_metadata_errors=False)
assert type(card.data) is ModelCardData, type(card.data)
assert ModelCardData(**card.data.to_dict()).to_yaml() == card.data.to_yaml()
print(json.dumps({'data': card.data.to_dict(), 'text': card.text}))
";

/// The first blocks of SmolLM2, released: the folder and the one GGUF file in it.
fn released(place: &Place) -> (PathBuf, PathBuf) {
    let (folder, model) = (place.path("out"), short(&out(), FEW_BLOCKS));
    let mut release = tenpak(["release", arg(&model), "-o", arg(&folder), "--license", "apache-2.0"]);
    release.args(["--calibration", arg(&gram())]);
    release.args(["--base-model", "HuggingFaceTB/SmolLM2-135M-Instruct", "--quantized-by", "'tests': [yes]"]);
    place.run("release", &mut release);
    let entries = std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut models = entries.filter(|path| path.extension().is_some_and(|extension| extension == "gguf"));
    let file = models.next().expect("a model");
    assert!(models.next().is_none());
    (folder, file)
}

#[test]
fn the_hubs_library_reads_the_card() {
    let place = Place::new();
    let (folder, file) = released(&place);
    let mut python = Command::new(script("hub_python.sh", &[], &[]));
    python.args(["-c", LOAD, arg(&folder.join("README.md"))]).env("HF_HUB_OFFLINE", "1");
    let printed = place.run("card", &mut python);
    let card: Json = serde_json::from_str(printed.lines().last().expect("a line")).expect("JSON");
    let data = &card["data"];
    for (key, expected) in [
        ("license", json!("apache-2.0")),
        ("base_model", json!("HuggingFaceTB/SmolLM2-135M-Instruct")),
        ("base_model_relation", json!("quantized")),
        ("library_name", json!("gguf")),
        ("pipeline_tag", json!("text-generation")),
        ("quantized_by", json!("'tests': [yes]")),
    ] {
        assert_eq!(data[key], expected, "{key}");
    }
    assert!(data["tags"].as_array().is_some_and(|tags| tags.contains(&json!("gguf"))), "{data}");
    let name = file.file_name().and_then(|name| name.to_str()).expect("text");
    assert!(name.starts_with("SmolLM2-135M-Instruct-T") && name.ends_with("x.gguf"), "{name}");
    assert!(card["text"].as_str().is_some_and(|text| text.contains(name) && text.contains("**Requires")));
}

/// llama.cpp has no number for files of our types, and shows the name of the type that most weights have; so it does of a file
/// that does not say it.
#[test]
fn llama_cpp_names_the_type_of_the_file() {
    let place = Place::new();
    let (_, file) = released(&place);
    for model in [file, short(&out(), FEW_BLOCKS)] {
        let mut completion = llama("llama-completion");
        completion.arg("-m").arg(&model).args(["-p", "a", "-n", "1", "-no-cnv", "--no-warmup", "-v"]);
        let printed = place.run("completion", &mut completion);
        assert!(printed.contains("file type   = t"), "{printed}");
        assert!(!printed.contains("unknown type t"), "{printed}");
    }
}
