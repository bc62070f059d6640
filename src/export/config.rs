//! config.json from the keys of a GGUF file, by the tables of its architecture.

use super::rows;
use crate::arch::config::{Config, Shape};
use crate::arch::file_keys::{FileKeys, Source};
use crate::arch::tokenizer::SPECIAL;
use crate::arch::{self, Architecture};
use crate::checkpoint::Dtype;
use crate::gguf::{File, Value};
use serde_json::{Map, Value as Json, json};

/// What config.json says of a file.
pub struct Exported {
    /// config.json.
    pub json: Json,
    /// The shape of its attention.
    pub shape: Shape,
    /// The tensors of the file that follow from config.json.
    pub computed: Vec<String>,
}

/// Keys of an architecture that say nothing of what a model computes.
const SILENT: [&str; 3] = ["vocab_size", "tensor_data_layout", "rope.scaling.finetuned"];

/// How far a computed element may be from that of the file, of its size: other programs round otherwise.
const TOLERANCE: f32 = 1e-4;

impl Source for File {
    fn key(&self, name: &str) -> Option<&Value> {
        File::key(self, name)
    }

    fn has(&self, name: &str) -> bool {
        self.tensors().iter().any(|t| t.name == name)
    }

    fn vector(&self, name: &str) -> Option<Vec<f32>> {
        let t = self.tensors().iter().find(|t| t.name == name && t.shape.len() == 1)?;
        let mut values = vec![0.0; t.elements() as usize];
        rows::read_rows(self, t, values.len(), 0, &mut values).ok()?;
        Some(values)
    }
}

/// What an architecture says, beside what is said here.
fn words(error: arch::Error) -> String {
    error.to_string()
}

/// config.json of a file. An error names the key or tensor that config.json has no words for.
pub fn config(file: &File, architecture: &'static Architecture, dtype: Dtype) -> Result<Exported, String> {
    let mut json: Map<String, Json> = Map::new();
    json.insert("architectures".into(), json!([architecture.hf[0]]));
    let fixed: Map<String, Json> = serde_json::from_str(architecture.fixed).expect("a tested constant");
    json.extend(fixed);
    let mut keys = FileKeys::new(file, architecture.name, json);
    architecture.read(&mut keys).map_err(words)?;
    let has = |name: &str| file.tensors().iter().any(|t| t.name == name);
    for shown in architecture.shown {
        let has = has(&shown.tensor_of(0));
        if shown.assumed.is_some_and(|assumed| assumed != has) {
            keys.set(shown.name, has);
        }
    }
    say_tokens(file, &mut keys)?;
    keys.set("tie_word_embeddings", !has("output.weight"));
    keys.set(
        "torch_dtype",
        match dtype {
            Dtype::F32 => "float32",
            Dtype::F16 => "float16",
            Dtype::BF16 => "bfloat16",
            Dtype::F64 => "float64",
        },
    );
    let json = in_order(keys.finish());
    let config = architecture.config(&json);
    let shape = config.shape().map_err(words)?;
    check_keys(file, architecture, &config)?;
    let computed = check_computed(file, architecture, &config)?;
    Ok(Exported { json: json.into(), shape, computed })
}

/// The values of config.json as people look for them: the model first, special tokens last, the others by name.
fn in_order(json: Map<String, Json>) -> Map<String, Json> {
    let place = |name: &str| match name {
        "architectures" => 0,
        "model_type" => 1,
        "head_dim" => 3,
        "bos_token_id" => 4,
        "eos_token_id" => 5,
        "pad_token_id" => 6,
        _ => 2,
    };
    let mut values: Vec<(String, Json)> = json.into_iter().collect();
    values.sort_by(|(a, _), (b, _)| place(a).cmp(&place(b)).then_with(|| a.cmp(b)));
    values.into_iter().collect()
}

/// Says how many tokens there are, and which of them are special.
fn say_tokens(file: &File, keys: &mut FileKeys) -> Result<(), String> {
    let tokens = file.key("tokenizer.ggml.tokens").and_then(Value::as_array).map(|a| a.len() as u64);
    let embeddings = file.tensors().iter().find(|t| t.name == "token_embd.weight");
    let rows = || embeddings.and_then(|t| t.shape.last().copied());
    let size = keys
        .integer("vocab_size")
        .map_err(words)?
        .or(tokens)
        .or_else(rows)
        .ok_or("the vocabulary has no size")?;
    keys.set("vocab_size", size);
    // The files of a BPE tokenizer name the others.
    let is_bpe = file.key("tokenizer.ggml.model").and_then(Value::as_str) == Some("gpt2");
    let kinds: &[&str] =
        if is_bpe { &["bos", "eos", "pad"] } else { &["bos", "eos", "unk", "sep", "pad", "mask"] };
    for kind in kinds {
        let (_, gguf) = SPECIAL.iter().find(|(name, _)| name == kind).expect("a kind of GGUF's");
        if let Some(token) = file.key(&format!("tokenizer.ggml.{gguf}")).and_then(Value::as_u64) {
            keys.set(&format!("{kind}_token_id"), token);
        }
    }
    Ok(())
}

/// Refuses a file with a key of the architecture that converting config.json would not give.
fn check_keys(file: &File, architecture: &Architecture, config: &Config) -> Result<(), String> {
    let (ours, _) = architecture.write(config, &[]).map_err(words)?;
    let prefix = format!("{}.", architecture.name);
    for (name, value) in file.keys() {
        let Some(short) = name.strip_prefix(&prefix) else { continue };
        let our = ours.iter().find(|(n, _)| n == name).map(|(_, v)| v);
        if SILENT.contains(&short) || our.is_some_and(|our| is_same(our, value)) {
            continue;
        }
        let said = match our {
            Some(our) => format!("config.json says {our}"),
            None => "config.json has no word for it".into(),
        };
        return Err(format!(
            "key `{name}` is {value}, but in a checkpoint of {} {said}: export the file to a plain GGUF instead, with a \
             name that ends in .gguf",
            architecture.hf[0]
        ));
    }
    Ok(())
}

/// Whether two values are the same number, flag or text, whatever their types.
fn is_same(a: &Value, b: &Value) -> bool {
    a == b
        || a.as_u64().is_some_and(|n| Some(n) == b.as_u64())
        || a.as_f64().is_some_and(|x| Some(x) == b.as_f64())
}

/// The tensors of the file that config.json gives; refuses a file that has other values for them.
fn check_computed(file: &File, architecture: &Architecture, config: &Config) -> Result<Vec<String>, String> {
    let computed = (architecture.computed)(config).map_err(words)?;
    let mut names = Vec::new();
    for (name, values) in computed {
        let theirs = file.vector(name).unwrap_or_default();
        let is_near = |(a, b): (&f32, &f32)| (a - b).abs() <= TOLERANCE * b.abs();
        if theirs.len() != values.len() || !values.iter().zip(&theirs).all(is_near) {
            return Err(format!("tensor `{name}` is not what follows from the keys"));
        }
        names.push(name.to_owned());
    }
    Ok(names)
}
