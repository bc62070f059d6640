//! A Hugging Face folder as a model to convert: config.json, a tokenizer, and safetensors or pytorch_model.bin.

use super::error::Error;
use super::hf_source::{NOT_OF_ONE_MODEL, Source};
use super::model::{Model, Storage, stamps};
use super::model_card;
use super::quantized;
use super::shards::Shards;
use crate::arch::config::Config;
use crate::arch::keys::Key;
use crate::arch::{self, Architecture, tokenizer};
use crate::gguf::Value;
use crate::{lfs, python_json, small_file};
use serde_json::{Map, Value as Json};
use std::path::{Path, PathBuf};

/// How to read a checkpoint.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Pre-tokenizer name to write instead of the one that tokenizer.json shows.
    pub tokenizer_pre: Option<String>,
    /// Leave the tokenizer out: the file takes token ids only.
    pub no_tokenizer: bool,
    /// Keep a stored head that is tied to the embeddings, as llama.cpp's converter does; else the embeddings serve.
    pub keep_tied_head: bool,
}

pub fn open(folder: &Path, options: &Options) -> Result<Model, Error> {
    refuse_adapter(folder)?;
    let beside = files_beside(folder);
    let read = stamps(&beside);
    let config_path = folder.join("config.json");
    let json = object(&config_path)?;
    let architecture = architecture(&json, &config_path)?;
    let at_config = |e: arch::Error| Error::config(&config_path, e);
    let config = architecture.config(&json);
    let shape = config.shape().map_err(at_config)?;
    let blocks = (architecture.blocks)(&config).map_err(at_config)?;
    // Elsewhere the number of tokens follows from the tokenizer.
    let more: &[&Key] = if options.no_tokenizer { &[&arch::VOCABULARY_SIZE] } else { &[] };
    let (hyper_parameters, mut notes) = architecture.write(&config, more).map_err(at_config)?;
    let mut shards = Shards::open(folder)?;
    check_vocabulary(&config, &shards).map_err(|e| Error::config(&config_path, e))?;
    let tokenizer = tokenizer_keys(folder, architecture, &json, &config, options)?;
    let packed = quantized::unpack(&json, folder, &mut shards)?;
    let tokens = tokenizer.keys.iter().find(|(k, _)| k == "tokenizer.ggml.tokens");
    let tokens = tokens.and_then(|(_, v)| v.as_array()).map(<[Value]>::len);
    let source = Source {
        folder,
        shards: &shards,
        packed: &packed,
        architecture,
        config: &config,
        shape,
        blocks,
        keys: &hyper_parameters,
        tokens,
        keep_tied_head: options.keep_tied_head,
        has_head: !is_headless(&json),
    };
    notes.extend(source.notes());
    let mut tensors = source.computed().map_err(at_config)?;
    tensors.extend(source.tensors(&mut notes)?);
    let mut keys: Vec<(String, Value)> = vec![
        ("general.architecture".into(), architecture.name.into()),
        ("general.type".into(), "model".into()),
    ];
    keys.extend(model_card::keys(folder, &json, &tensors, &mut notes)?);
    keys.extend(hyper_parameters);
    keys.extend(tokenizer.keys);
    let notes = [notes, tokenizer.notes, shards.notes.clone()].concat();
    let storage = Storage::Folder { shards, packed, beside };
    Ok(Model { path: folder.to_owned(), keys, tensors, notes, storage, read, converted: None })
}

/// Every token of a vocabulary is written, those that no file names too, so that a few bytes of config.json could cost
/// memory for millions: there are no more than the longest tensor has rows.
fn check_vocabulary(config: &Config, shards: &Shards) -> Result<(), String> {
    let size = config.integer(&["vocab_size"]).map_err(|e| e.to_string())?;
    let most = shards.tensors.values().flat_map(|t| t.shape.iter().copied()).max();
    match (size, most) {
        (Some(size), Some(most)) if size > most => {
            Err(format!("vocab_size {size}, and no tensor has more than {most} rows: {NOT_OF_ONE_MODEL}"))
        }
        _ => Ok(()),
    }
}

/// The files of a folder that decide what is written, beside those of its tensors.
pub fn files_beside(folder: &Path) -> Vec<PathBuf> {
    const KINDS: [&str; 3] = ["json", "model", "jinja"];
    const NAMES: [&str; 2] = ["README.md", "merges.txt"];
    let inside =
        |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path());
    let is_read = |path: &PathBuf| {
        path.extension().is_some_and(|e| KINDS.iter().any(|kind| e == *kind))
            || path.file_name().is_some_and(|n| NAMES.iter().any(|name| n == *name))
    };
    let all = inside(folder.to_owned()).chain(inside(folder.join(tokenizer::MORE_TEMPLATES)));
    let mut files: Vec<_> = all.filter(is_read).collect();
    files.sort();
    files
}

/// The entry of `architectures`, that of the text model first.
fn named(json: &Map<String, Json>) -> Option<&str> {
    let text = json.get("text_config").and_then(Json::as_object);
    text.into_iter().chain([json]).find_map(|json| json.get("architectures")?[0].as_str())
}

/// Whether it is a model of embeddings: Qwen2Model, not Qwen2ForCausalLM or GPT2LMHeadModel.
fn is_headless(json: &Map<String, Json>) -> bool {
    named(json).is_some_and(|name| name.ends_with("Model") && !name.ends_with("LMHeadModel"))
}

/// The class of a folder, if there is no table for it.
pub fn foreign_class(folder: &Path) -> Result<Option<String>, Error> {
    refuse_adapter(folder)?;
    let config_path = folder.join("config.json");
    let json = object(&config_path)?;
    match architecture(&json, &config_path) {
        Err(Error::Foreign { class, .. }) => Ok(Some(class)),
        Err(error) => Err(error),
        Ok(_) => Ok(None),
    }
}

/// The architecture that config.json names.
fn architecture(json: &Map<String, Json>, path: &Path) -> Result<&'static Architecture, Error> {
    let Some(name) = named(json) else {
        return by_model_type(json).map_err(|e| Error::unsupported(path, e));
    };
    Architecture::of(name).ok_or_else(|| {
        let known: Vec<_> = arch::ALL.iter().map(|a| a.hf[0]).collect();
        Error::Foreign { path: path.to_owned(), class: name.to_owned(), known: known.join(", ") }
    })
}

/// The architecture of a config.json that names no class.
fn by_model_type(json: &Map<String, Json>) -> Result<&'static Architecture, String> {
    let text = json.get("text_config").and_then(Json::as_object);
    let kind = text.into_iter().chain([json]).find_map(|json| json.get("model_type")?.as_str());
    let kind = kind.ok_or(
        "neither `architectures` nor `model_type` is there, which say what model it is: take the config.json of its \
         repository, or add the name of the model's class, as in \"architectures\": [\"LlamaForCausalLM\"]",
    )?;
    Architecture::of_model_type(kind).ok_or_else(|| {
        format!(
            "`architectures` is not there, and `model_type` {kind} is none that is known: add the name of the model's class, as in \
             \"architectures\": [\"LlamaForCausalLM\"]"
        )
    })
}

fn tokenizer_keys(
    folder: &Path,
    architecture: &Architecture,
    json: &Map<String, Json>,
    config: &Config,
    options: &Options,
) -> Result<tokenizer::KeyList, Error> {
    if options.no_tokenizer {
        return Ok(tokenizer::no_keys());
    }
    let files = tokenizer::Files { folder, raw_config: json, config };
    tokenizer::gguf_keys(&files, &architecture.vocabulary, options.tokenizer_pre.as_deref())
        .map_err(|e| Error::Tokenizer { path: folder.join(e.file), problem: e.what })
}

/// The tokenizer of a folder, for ids to be compared with those of its GGUF file. The class of the model does not matter.
pub fn tokenizer_of(folder: &Path) -> Result<tokenizer::Reference, Error> {
    let json = object(&folder.join("config.json"))?;
    let config = Config::new(&json, "{}");
    let files = tokenizer::Files { folder, raw_config: &json, config: &config };
    tokenizer::reference(&files).map_err(|e| Error::Tokenizer { path: folder.join(e.file), problem: e.what })
}

/// A LoRA adapter changes a model: alone it is none, and a model beside it would be converted without it.
fn refuse_adapter(folder: &Path) -> Result<(), Error> {
    let path = folder.join("adapter_config.json");
    if !path.exists() {
        return Ok(());
    }
    let base =
        object(&path)?.get("base_model_name_or_path").and_then(Json::as_str).unwrap_or("a model").to_owned();
    let hint = "merge it into that model (peft: merge_and_unload), save the result, and convert that; to convert a model that \
                lies beside it without it, take this file away";
    Err(Error::unsupported(&path, format!("this is a LoRA adapter of `{base}`: {hint}")))
}

/// A file that holds a JSON object.
fn object(path: &Path) -> Result<Map<String, Json>, Error> {
    let text = small_file::read(path).map_err(|error| {
        // Mistral's and Meta's own format.
        let other = match path.with_file_name("params.json").exists() {
            true => ": params.json and consolidated files are another format, fetch those beside them in the repository",
            false => "",
        };
        let hint = format!("; a folder needs config.json, tokenizer.json and safetensors{other}");
        Error::Read { path: path.to_owned(), error, hint }
    })?;
    if lfs::is_pointer(&text) {
        return Err(Error::unsupported(path, lfs::PROBLEM));
    }
    python_json::parse(&text)
        .map_err(|e| Error::damaged(path, format!("not a JSON object: {e}; fetch it again")))
}
