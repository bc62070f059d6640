//! Export to a folder: what is refused, by name and with what helps, and quantized files. That every architecture comes
//! back is in tests/converter/architectures.rs.

use crate::support;
use serde_json::json;
use std::path::PathBuf;
use support::reference_case::Case;
use support::tiny_gguf::{file, tensor, write};
use support::tiny_llama::{Folder, TinyLlama};
use support::{assert_says, error, family, files_in, plan};
use tenpak_gguf::checkpoint::{Dtype, Model, Options};
use tenpak_gguf::export;
use tenpak_gguf::gguf::{File, GgmlType, TensorHeader, Value, Writer};
use tenpak_gguf::job;
use tenpak_gguf::plan::Recipe;

/// A model as an F32 GGUF, after `change` of its keys.
fn plain(tiny: &TinyLlama, change: impl FnOnce(&mut Vec<(String, Value)>)) -> (Folder, PathBuf) {
    let folder = tiny.write();
    let model = Model::open(&folder.path, &Options::default()).unwrap_or_else(|e| panic!("{e}"));
    let mut plan = plan(&model, Recipe::plain(Dtype::F32));
    change(&mut plan.keys);
    let path = folder.beside("f32.gguf");
    job::write(&model, &plan, None, &path, &|_| {}).unwrap_or_else(|e| panic!("{e}"));
    (folder, path)
}

/// The error of exporting a model after `change` of its keys; nothing is left of what was begun.
fn export_error_with(tiny: &TinyLlama, change: impl FnOnce(&mut Vec<(String, Value)>)) -> export::Error {
    let (folder, path) = plain(tiny, change);
    let file = File::open(&path).unwrap();
    let e = error(export::to_folder(&file, Dtype::F16, &folder.beside("back"), true, &|_| {}));
    assert!(!folder.beside("back").exists());
    e
}

/// The error of exporting the tiny model after `change` of its keys.
fn export_error(change: impl Fn(&str, &mut Value)) -> export::Error {
    export_error_with(&TinyLlama::new(), |keys| keys.iter_mut().for_each(|(k, v)| change(k, v)))
}

fn set_key(keys: &mut Vec<(String, Value)>, name: &str, value: Value) {
    keys.retain(|(k, _)| k != name);
    keys.push((name.into(), value));
}

fn set<'a>(name: &'a str, value: Value) -> impl Fn(&str, &mut Value) + 'a {
    move |key, v| {
        if key == name {
            *v = value.clone();
        }
    }
}

#[test]
fn export_of_another_architecture() {
    let e = export_error(set("general.architecture", "mamba".into()));
    assert_says(e, &["f32.gguf", "mamba", "not supported yet", "llama", "plain GGUF"]);
    // The keys of one architecture with the tensors of another.
    assert_says(
        export_error(set("general.architecture", "gpt2".into())),
        &["f32.gguf", "`gpt2.block_count`"],
    );
}

#[test]
fn export_of_another_tokenizer() {
    assert_says(
        export_error(set("tokenizer.ggml.model", "llama".into())),
        &["f32.gguf", "tokenizer.ggml.scores"],
    );
    let e = export_error(set("tokenizer.ggml.model", "bert".into()));
    assert_says(e, &["f32.gguf", "tokenizer model `bert`", "plain GGUF"]);
}

#[test]
fn export_with_a_head_size_that_does_not_fit() {
    for head_dim in [0, 1, 7, 96, 512] {
        assert_says(export_error(set("llama.rope.dimension_count", head_dim.into())), &["f32.gguf"]);
    }
}

#[test]
fn a_key_that_config_json_has_no_word_for() {
    for (key, value, words) in [
        ("llama.rope.scaling.type", "longrope".into(), &["rope scaling `longrope`"][..]),
        ("llama.attention.value_length", 32u32.into(), &["`llama.attention.value_length` is 32", "says 64"]),
        (
            "llama.attention.sliding_window",
            7u32.into(),
            &["`llama.attention.sliding_window` is 7", "no word"],
        ),
        ("llama.block_count", "two".into(), &["`llama.block_count` is no integer"]),
    ] {
        let e = export_error_with(&TinyLlama::new(), |keys| set_key(keys, key, value));
        assert_says(e, &[words, &["f32.gguf"]].concat());
    }
}

#[test]
fn a_key_that_is_missing() {
    let e = export_error_with(&TinyLlama::new(), |keys| keys.retain(|(k, _)| k != "llama.embedding_length"));
    assert_says(e, &["f32.gguf", "`llama.embedding_length` is not there"]);
}

/// Thresholds that no Llama has cannot be told from the factors.
#[test]
fn factors_of_unusual_rope_scaling() {
    let mut tiny = TinyLlama::new();
    tiny.config["rope_scaling"] = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 2.0,
        "high_freq_factor": 3.0, "original_max_position_embeddings": 8192});
    assert_says(export_error_with(&tiny, |_| {}), &["f32.gguf", "`rope_freqs.weight`", "llama3"]);
}

#[test]
fn a_tensor_that_a_checkpoint_has_no_name_for() {
    let (folder, path) = plain(&TinyLlama::new(), |_| {});
    let file = File::open(&path).unwrap();
    let with_more = folder.beside("more.gguf");
    let mut tensors: Vec<_> = file.tensors().iter().map(|t| (t.name.clone(), t.shape.clone())).collect();
    tensors.push(("blk.0.attn_sinks.weight".into(), vec![4]));
    let headers = tensors.iter().map(|(name, shape)| TensorHeader {
        name: name.clone(),
        shape: shape.clone(),
        kind: GgmlType::F32,
        bytes: 4 * shape.iter().product::<u64>(),
    });
    let mut writer = Writer::create(&with_more, file.keys(), headers.collect()).unwrap();
    for (_, shape) in &tensors {
        writer.write(&vec![0; 4 * shape.iter().product::<u64>() as usize]).unwrap();
    }
    writer.finish().unwrap();
    let e = error(export::to_folder(
        &File::open(&with_more).unwrap(),
        Dtype::F16,
        &folder.beside("back"),
        true,
        &|_| {},
    ));
    assert_says(e, &["more.gguf", "`blk.0.attn_sinks.weight`", "LlamaForCausalLM", "plain GGUF"]);
    assert!(!folder.beside("back").exists());
}

/// Weights of a quantized file are those of its blocks, in every architecture: those of the plain file that `export` makes
/// of it give the same folder.
#[test]
fn quantized_files_are_dequantized() {
    for name in ["gpt2", "mixtral-8x7B-Instruct-v0.1", "gemma", "gpt_neox"] {
        let folder = wide(name).write();
        let options = Options { no_tokenizer: true, ..Options::default() };
        let model = Model::open(&folder.path, &options).unwrap_or_else(|e| panic!("{e}"));
        let quantized = folder.beside("t4.gguf");
        let plan = plan(&model, Recipe::all(family("t4")));
        job::write(&model, &plan, None, &quantized, &|_| {}).unwrap_or_else(|e| panic!("{e}"));
        let quantized = File::open(&quantized).unwrap();
        assert!(quantized.tensors().iter().any(|t| t.kind.name().starts_with("t4")), "{name}");
        let plain = folder.beside("plain.gguf");
        export::to_gguf(&quantized, Dtype::F32, &plain, true, &|_| {}).unwrap_or_else(|e| panic!("{e}"));
        let tensors = |file: &File, to: &str| {
            let to = folder.beside(to);
            export::to_folder(file, Dtype::F32, &to, true, &|_| {}).unwrap_or_else(|e| panic!("{e}"));
            std::fs::read(to.join("model.safetensors")).unwrap()
        };
        assert!(tensors(&quantized, "a") == tensors(&File::open(&plain).unwrap(), "b"), "{name}");
    }
}

/// A case with matrices of 64 columns and more, which a trellis type takes: twice as wide, with heads of twice the size.
fn wide(name: &str) -> Case {
    let mut case = Case::read(name);
    for key in ["hidden_size", "n_embd", "head_dim", "intermediate_size"] {
        if let Some(n) = case.json["config"][key].as_u64() {
            case.json["config"][key] = json!(if key == "intermediate_size" { 128 } else { 2 * n });
        }
    }
    let stretched = |n: u64| if n == 48 { 128 } else { 2 * n };
    let is_count =
        |name: &str, n: u64| n >= 300 || n == 4 && name.contains("gate") || n == 64 && name.contains("wpe");
    for (name, shape) in case.json["tensors"].as_object_mut().expect("tensors") {
        for extent in shape.as_array_mut().expect("a shape") {
            let n = extent.as_u64().expect("an extent");
            *extent = json!(if is_count(name, n) { n } else { stretched(n) });
        }
    }
    case
}

#[test]
fn export_of_a_type_of_activations() {
    let (folder, path) = file(&[]);
    write(&path, &[], &[tensor("blk.0.w", &[256], GgmlType(15))]);
    let e = error(export::to_gguf(
        &File::open(&path).unwrap(),
        Dtype::F16,
        &folder.path().join("o.gguf"),
        true,
        &|_| {},
    ));
    assert_says(e, &["model.gguf", "`blk.0.w`", "q8_K", "F16"]);
    assert_eq!(files_in(folder.path()), ["model.gguf"]);
}
