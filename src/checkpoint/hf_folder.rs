//! A Hugging Face folder as a model to convert: config.json, tokenizer.json and safetensors.

use super::safetensors::Shards;
use super::{Data, Dtype, Error, Model, Options, SourceTensor, Storage, problem};
use crate::arch::{llama, tokenizer};
use crate::gguf::Value;
use serde_json::{Map, Value as Json};
use std::path::Path;

pub fn open(folder: &Path, options: &Options) -> Result<Model, Error> {
    let config_path = folder.join("config.json");
    let config = object(&config_path)?;
    let architecture = config.get("architectures").and_then(|a| a[0].as_str()).unwrap_or("(none)");
    if !llama::HF_ARCHITECTURES.contains(&architecture) {
        return Err(problem(
            &config_path,
            format!(
                "architecture {architecture} is not supported yet ({} are); llama.cpp's converter can make an \
                 F16 GGUF of it, which this program takes too",
                llama::HF_ARCHITECTURES.join(", ")
            ),
        ));
    }
    if config.get("quantization_config").is_some_and(|q| !q.is_null()) {
        return Err(problem(&config_path, "the checkpoint is quantized; start from the unquantized model"));
    }
    let at_config = |e: String| problem(&config_path, e);
    let parameters = llama::Config(&config);
    let shape = parameters.shape().map_err(at_config)?;
    let name = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let name = name.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut keys: Vec<(String, Value)> = vec![
        ("general.architecture".into(), "llama".into()),
        ("general.type".into(), "model".into()),
        ("general.name".into(), name.into()),
    ];
    keys.extend(parameters.gguf_keys().map_err(at_config)?);
    keys.extend(tokenizer_keys(folder, &config, options)?);
    let shards = Shards::open(folder)?;
    let mut tensors = Vec::new();
    if let Some(factors) = parameters.rope_factors().map_err(at_config)? {
        tensors.push(SourceTensor {
            name: llama::ROPE_FREQS.into(),
            shape: vec![factors.len() as u64],
            dtype: Dtype::F32,
            data: Data::Computed(factors),
            heads: None,
        });
    }
    tensors.extend(stored_tensors(folder, &shards, &shape, &config)?);
    Ok(Model { path: folder.to_owned(), keys, tensors, storage: Storage::Folder(shards) })
}

fn stored_tensors(
    folder: &Path,
    shards: &Shards,
    shape: &llama::Shape,
    config: &Map<String, Json>,
) -> Result<Vec<SourceTensor>, Error> {
    let tied = config.get("tie_word_embeddings").is_some_and(|t| t == true);
    let mut tensors = Vec::new();
    for (hf, entry) in shards.iter() {
        if llama::is_ignored(hf) {
            continue;
        }
        let name = llama::gguf_name(hf).ok_or_else(|| {
            problem(folder, format!("tensor `{hf}` is not one of the llama architecture's"))
        })?;
        if name == "output.weight" && tied {
            continue;
        }
        let heads = llama::permuted_heads(&name, shape);
        if let Some(heads) = heads
            && entry.shape.first() != Some(&(heads * shape.head_dim))
        {
            return Err(problem(
                folder,
                format!(
                    "tensor `{hf}` has {:?} rows, but config.json says {heads} heads of {}",
                    entry.shape.first().copied().unwrap_or(0),
                    shape.head_dim
                ),
            ));
        }
        tensors.push(SourceTensor {
            name,
            shape: entry.shape.iter().rev().copied().collect(),
            dtype: entry.dtype,
            data: Data::Shard(hf.clone()),
            heads,
        });
    }
    tensors.sort_by_key(|t| place(&t.name));
    let stray = tensors.iter().find(|t| llama::block(&t.name).is_some_and(|b| b >= shape.blocks));
    if let Some(t) = stray {
        let blocks = shape.blocks;
        return Err(problem(
            folder,
            format!("config.json says {blocks} layers, but tensor `{}` is there", t.name),
        ));
    }
    check_tensors(folder, &tensors, shape, config)?;
    Ok(tensors)
}

/// Embeddings first, then blocks by number, then the rest.
fn place(name: &str) -> (u8, u64, String) {
    match llama::block(name) {
        Some(block) => (1, block, name.to_owned()),
        None if name.starts_with("token_embd") => (0, 0, name.to_owned()),
        None => (2, 0, name.to_owned()),
    }
}

fn tokenizer_keys(
    folder: &Path,
    config: &Map<String, Json>,
    options: &Options,
) -> Result<Vec<(String, Value)>, Error> {
    let path = folder.join("tokenizer.json");
    if !path.exists() {
        let hint = if folder.join("tokenizer.model").exists() {
            "only tokenizer.model is there: SentencePiece tokenizers are not supported yet"
        } else {
            "is not there; a folder needs config.json, tokenizer.json and safetensors"
        };
        return Err(problem(&path, hint));
    }
    let config_path = folder.join("tokenizer_config.json");
    let tokenizer_config = if config_path.exists() { object(&config_path)? } else { Map::new() };
    let template_path = folder.join("chat_template.jinja");
    let chat_template = match template_path.exists() {
        true => Some(
            std::fs::read_to_string(&template_path).map_err(|e| problem(&template_path, e.to_string()))?,
        ),
        false => None,
    };
    let files = tokenizer::Files {
        tokenizer: &Json::Object(object(&path)?),
        tokenizer_config: &tokenizer_config,
        config,
        chat_template,
    };
    tokenizer::gguf_keys(&files, options.tokenizer_pre.as_deref()).map_err(|e| problem(&path, e))
}

/// Refuses tensors that are missing, empty or of another size than config.json says.
fn check_tensors(
    folder: &Path,
    tensors: &[SourceTensor],
    shape: &llama::Shape,
    config: &Map<String, Json>,
) -> Result<(), Error> {
    let find = |name: &str| tensors.iter().find(|t| t.name == name);
    for need in llama::needed_tensors(shape.blocks) {
        if find(&need).is_none() {
            let hf = llama::hf_name(&need).unwrap_or_default();
            let blocks = shape.blocks;
            let why = format!("tensor `{hf}` of {blocks} layers is not there: a shard may be missing");
            return Err(problem(folder, why));
        }
    }
    if let Some(t) = tensors.iter().find(|t| t.elements() == 0) {
        return Err(problem(
            folder,
            format!("tensor `{}` has no elements: the checkpoint is damaged", t.name),
        ));
    }
    let said = config.get("vocab_size").and_then(Json::as_u64);
    let rows = find("token_embd.weight").map(|t| t.rows() as u64);
    if let (Some(said), Some(rows)) = (said, rows)
        && said != rows
    {
        return Err(problem(
            folder,
            format!("config.json says vocab_size {said}, but there are {rows} embeddings"),
        ));
    }
    Ok(())
}

fn object(path: &Path) -> Result<Map<String, Json>, Error> {
    let text = std::fs::read(path).map_err(|e| {
        problem(path, format!("{e}; a folder needs config.json, tokenizer.json and safetensors"))
    })?;
    serde_json::from_slice(&text).map_err(|e| problem(path, format!("not a JSON object: {e}")))
}
