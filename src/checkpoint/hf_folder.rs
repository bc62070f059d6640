//! A Hugging Face folder as a model to convert: config.json, a tokenizer, and safetensors or pytorch_model.bin.

use super::model_card;
use super::quantized;
use super::shards::{Entry, Shards};
use super::transform::{Order, Transform};
use super::{Data, Dtype, Error, Model, Options, SourceTensor, Storage, problem};
use crate::arch::config::{Config, HIDDEN, Shape};
use crate::arch::keys::Keys;
use crate::arch::{self, Architecture, How, Place, tokenizer};
use crate::gguf::Value;
use crate::names;
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub fn open(folder: &Path, options: &Options) -> Result<Model, Error> {
    refuse_adapter(folder)?;
    let config_path = folder.join("config.json");
    let json = object(&config_path)?;
    let architecture = architecture(&json).map_err(|e| problem(&config_path, e))?;
    let at_config = |e: String| problem(&config_path, e);
    let config = Config::new(&json, architecture);
    let mut hyper_parameters = Keys::new(&config, architecture.name);
    (architecture.keys)(&mut hyper_parameters).map_err(at_config)?;
    if options.no_tokenizer {
        // Elsewhere the number of tokens follows from the tokenizer.
        hyper_parameters.integer("vocab_size", &["vocab_size"]).map_err(at_config)?;
    }
    let tokenizer = tokenizer_keys(folder, architecture, &json, &config, options)?;
    let mut shards = Shards::open(folder)?;
    quantized::unpack(&json, folder, &mut shards).map_err(|(path, e)| problem(&path, e))?;
    let mut tensors = Vec::new();
    for (name, values) in (architecture.computed)(&config).map_err(at_config)? {
        tensors.push(SourceTensor {
            name: name.into(),
            shape: vec![values.len() as u64],
            dtype: Dtype::F32,
            left_precise: false,
            data: Data::Computed(values),
            transform: Transform::NONE,
        });
    }
    let tokens = tokenizer.iter().find(|(k, _)| k == "tokenizer.ggml.tokens");
    let tokens = tokens.and_then(|(_, v)| v.as_array()).map(<[Value]>::len);
    let source = Source {
        folder,
        architecture,
        config: &config,
        shape: config.shape().map_err(at_config)?,
        tokens,
        keep_tied_head: options.keep_tied_head,
        has_head: !is_headless(&json),
    };
    tensors.extend(source.tensors(&shards)?);
    let mut keys: Vec<(String, Value)> = vec![
        ("general.architecture".into(), architecture.name.into()),
        ("general.type".into(), "model".into()),
    ];
    keys.extend(model_card::keys(folder, &json, &tensors)?);
    keys.extend(hyper_parameters.finish());
    keys.extend(tokenizer);
    Ok(Model { path: folder.to_owned(), keys, tensors, storage: Storage::Folder(shards) })
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

/// The architecture that config.json names.
fn architecture(json: &Map<String, Json>) -> Result<&'static Architecture, String> {
    let name = named(json).unwrap_or("(none)");
    Architecture::of(name).ok_or_else(|| {
        let known: Vec<_> = arch::ALL.iter().map(|a| a.hf[0]).collect();
        format!(
            "architecture {name} is not supported yet ({} are); make a BF16 or F16 GGUF of the folder with llama.cpp's \
             convert_hf_to_gguf.py --outtype bf16 and give that to `convert`, which takes every architecture so",
            known.join(", ")
        )
    })
}

fn tokenizer_keys(
    folder: &Path,
    architecture: &Architecture,
    json: &Map<String, Json>,
    config: &Config,
    options: &Options,
) -> Result<Vec<(String, Value)>, Error> {
    if options.no_tokenizer {
        return Ok(tokenizer::no_keys());
    }
    let files = tokenizer::Files { folder, raw_config: json, config };
    tokenizer::gguf_keys(&files, &architecture.vocabulary, options.tokenizer_pre.as_deref())
        .map_err(|e| problem(&folder.join(e.file), e.what))
}

/// What tensors are made from.
struct Source<'a> {
    folder: &'a Path,
    architecture: &'static Architecture,
    config: &'a Config,
    shape: Shape,
    /// Number of tokens, if there is a tokenizer.
    tokens: Option<usize>,
    /// See [`Options::keep_tied_head`].
    keep_tied_head: bool,
    /// Whether it is a model that predicts tokens.
    has_head: bool,
}

impl Source<'_> {
    fn error(&self, what: String) -> Error {
        problem(self.folder, what)
    }

    /// The file of a tensor, or of the first part of it.
    fn file(&self, shards: &Shards, t: &SourceTensor) -> PathBuf {
        shards.get(t.source_name()).map_or(self.folder.to_owned(), |entry| entry.path.clone())
    }

    /// All tensors of the file, in its order.
    fn tensors(&self, shards: &Shards) -> Result<Vec<SourceTensor>, Error> {
        let without_head = self.config.is_true("tie_word_embeddings") && !self.keep_tied_head;
        let mut tensors = Vec::new();
        let mut stacks: BTreeMap<String, BTreeMap<u64, &str>> = BTreeMap::new();
        for (hf, entry) in shards.iter() {
            let Some(inner) = language_part(hf) else { continue };
            let places = self.architecture.places(&inner);
            if places.is_empty() {
                let name = self.architecture.name;
                let what = format!(
                    "tensor `{hf}` is not one of the {name} architecture's: {NOT_OF_ONE_MODEL}, or give `convert` a GGUF \
                     that llama.cpp's converter made of them"
                );
                return Err(problem(&entry.path, what));
            }
            for place in places {
                match place.how {
                    How::Ignored => {}
                    _ if without_head && place.name == "output.weight" => {}
                    How::Stacked => {
                        stacks.entry(place.name).or_default().insert(place.index, hf);
                    }
                    _ => tensors.push(self.tensor(shards, hf, entry, &place)?),
                }
            }
        }
        for (name, parts) in stacks {
            tensors.push(self.stack(shards, name, parts)?);
        }
        tensors.sort_by_key(|t| place_in_file(&t.name));
        if let Some(pair) = tensors.windows(2).find(|p| p[0].name == p[1].name) {
            return Err(self.error(format!(
                "two tensors of the checkpoint become `{}`: two models may be in one folder",
                pair[0].name
            )));
        }
        self.check(shards, &tensors)?;
        Ok(tensors)
    }

    /// One tensor of the file that is one of the checkpoint, or a part of one.
    fn tensor(&self, shards: &Shards, hf: &str, entry: &Entry, place: &Place) -> Result<SourceTensor, Error> {
        let dtype = self.dtype(hf, entry)?;
        let mut shape: Vec<u64> = entry.shape.iter().rev().copied().collect();
        let rows = entry.shape.first().copied().unwrap_or(0);
        let Shape { heads, kv_heads, head_dim, .. } = self.shape;
        let head_rows = head_dim as usize;
        let wrong =
            |what: String| problem(&entry.path, format!("tensor `{hf}` has {what}: {NOT_OF_ONE_MODEL}"));
        let expect = |heads: u64, of: String| match rows == heads * head_dim {
            true => Ok(()),
            false => Err(wrong(format!("{rows} rows, but config.json says {of} of {head_dim}"))),
        };
        let transform = match place.how {
            How::QueryPairs => {
                expect(heads, format!("{heads} heads"))?;
                Transform::order(Order::Pairs { head_rows })
            }
            How::KeyPairs => {
                expect(kv_heads, format!("{kv_heads} heads"))?;
                Transform::order(Order::Pairs { head_rows })
            }
            How::Ungrouped => {
                expect(
                    heads + 2 * kv_heads,
                    format!("{heads} query and 2 x {kv_heads} key and value heads"),
                )?;
                if !heads.is_multiple_of(kv_heads) {
                    let what = format!(
                        "`num_attention_heads` is {heads}, no multiple of {kv_heads}: fetch it again"
                    );
                    return Err(problem(&self.folder.join("config.json"), what));
                }
                let (groups, queries) = (kv_heads as usize, (heads / kv_heads) as usize);
                Transform::order(Order::Ungrouped { groups, queries, head_rows })
            }
            How::PlusOne => Transform { plus_one: true, ..Transform::NONE },
            How::Transposed if shards.packed(hf).is_some() => {
                return Err(problem(
                    &entry.path,
                    format!(
                        "tensor `{hf}` is quantized, and models of this architecture have it transposed: start from the \
                         unquantized model"
                    ),
                ));
            }
            How::Transposed if shape.len() == 2 => {
                shape.reverse();
                Transform::order(Order::Columns { stored: shape[1] as usize })
            }
            How::FirstHalf | How::SecondHalf => {
                let halves = shape.len() == 3 && shape[1].is_multiple_of(2);
                if !halves {
                    return Err(wrong(format!("the shape {:?}, not pairs of matrices", entry.shape)));
                }
                shape[1] /= 2;
                Transform::order(Order::Half {
                    second: place.how == How::SecondHalf,
                    rows: shape[1] as usize,
                })
            }
            How::KnownTokens => {
                if let (Some(tokens), Some(rows)) = (self.tokens, shape.last_mut()) {
                    *rows = (*rows).min(tokens as u64);
                }
                Transform::NONE
            }
            How::Same | How::Transposed | How::Stacked | How::Ignored => Transform::NONE,
        };
        Ok(SourceTensor {
            name: place.name.clone(),
            shape,
            dtype,
            left_precise: false,
            data: Data::Stored(vec![hf.to_owned()]),
            transform,
        })
    }

    /// One tensor of the file that is many of the checkpoint, by their numbers.
    fn stack(
        &self,
        shards: &Shards,
        name: String,
        parts: BTreeMap<u64, &str>,
    ) -> Result<SourceTensor, Error> {
        let missing = (0..).zip(parts.keys()).find(|(i, n)| i != *n).map(|(i, _)| i);
        if let Some(missing) = missing {
            return Err(self
                .error(format!("number {missing} of tensor `{name}` is not there: a shard may be missing")));
        }
        let experts = self.config.integer(&["num_local_experts", "num_experts"]).ok().flatten();
        if let Some(experts) = experts.filter(|n| name.contains("_exps.") && *n != parts.len() as u64) {
            let count = parts.len();
            return Err(self.error(format!(
                "tensor `{name}` has {count} experts, but config.json says {experts}: a shard may be missing"
            )));
        }
        let first = shards.entry(parts[&0]);
        for hf in parts.values() {
            let entry = shards.entry(hf);
            if entry.shape != first.shape || entry.dtype != first.dtype {
                return Err(problem(
                    &entry.path,
                    format!(
                        "tensor `{hf}` differs in shape or type from `{}`: fetch the files of both again",
                        parts[&0]
                    ),
                ));
            }
        }
        let mut shape: Vec<u64> = first.shape.iter().rev().copied().collect();
        shape.push(parts.len() as u64);
        Ok(SourceTensor {
            name,
            shape,
            dtype: self.dtype(parts[&0], first)?,
            left_precise: false,
            data: Data::Stored(parts.values().map(|s| (*s).to_owned()).collect()),
            transform: Transform::NONE,
        })
    }

    fn dtype(&self, hf: &str, entry: &Entry) -> Result<Dtype, Error> {
        entry.dtype.clone().map_err(|other| {
            problem(
                &entry.path,
                format!(
                    "tensor `{hf}` is {other}: only F64, F32, F16 and BF16 can be converted; start from the unquantized \
                     model"
                ),
            )
        })
    }

    /// Refuses tensors that are missing, empty or of another size than config.json says.
    fn check(&self, shards: &Shards, tensors: &[SourceTensor]) -> Result<(), Error> {
        let blocks = self.shape.blocks;
        let stray = tensors.iter().find(|t| names::block(&t.name).is_some_and(|b| b >= blocks));
        if let Some(t) = stray {
            let name = t.source_name();
            let what =
                format!("tensor `{name}` is there, but config.json says {blocks} layers: {NOT_OF_ONE_MODEL}");
            return Err(problem(&self.file(shards, t), what));
        }
        let find = |name: &str| tensors.iter().find(|t| t.name == name);
        for (need, hf) in self.architecture.needed(blocks) {
            if find(&need).is_none() {
                return Err(self.error(format!(
                    "tensor `{hf}` of {blocks} layers is not there: a shard may be missing"
                )));
            }
        }
        if let Some(t) = tensors.iter().find(|t| t.elements() == 0) {
            let what =
                format!("tensor `{}` has no elements: the file is damaged, fetch it again", t.source_name());
            return Err(problem(&self.file(shards, t), what));
        }
        self.check_head(tensors)?;
        self.check_widths(shards, tensors)?;
        let rows = find("token_embd.weight").map(|t| t.rows());
        let said = self.config.get("vocab_size").and_then(Json::as_u64).map(|n| n as usize);
        if let (Some(said), Some(rows)) = (said.map(|n| self.tokens.map_or(n, |t| n.min(t))), rows)
            && said > rows
        {
            return Err(self.error(format!(
                "config.json says vocab_size {said}, but there are {rows} embeddings: {NOT_OF_ONE_MODEL}"
            )));
        }
        if let (Some(tokens), Some(rows)) = (self.tokens, rows)
            && tokens != rows
        {
            return Err(self.error(format!(
                "the tokenizer has {tokens} tokens, but there are {rows} embeddings: {NOT_OF_ONE_MODEL}"
            )));
        }
        Ok(())
    }

    /// Refuses a model without an output head of its own whose config.json says that it has one.
    fn check_head(&self, tensors: &[SourceTensor]) -> Result<(), Error> {
        let is_tied = self.config.get("tie_word_embeddings") != Some(&Json::Bool(false));
        let head = self.architecture.tensors.iter().find(|t| t.gguf == "output");
        let Some(head) = head.filter(|_| self.has_head && !is_tied) else { return Ok(()) };
        if tensors.iter().any(|t| t.name == "output.weight") {
            return Ok(());
        }
        Err(self.error(format!(
            "tensor `{}.weight` is not there, but config.json says `tie_word_embeddings` false: a shard may be missing, \
             fetch it; if the model has no head of its own, say `true` there",
            head.hf
        )))
    }

    /// Refuses matrices that do not fit the width of the model.
    fn check_widths(&self, shards: &Shards, tensors: &[SourceTensor]) -> Result<(), Error> {
        let width = self.config.needed_integer(HIDDEN).map_err(|e| self.error(e))?;
        for t in tensors {
            let Some(name) = t.name.strip_suffix(".weight") else { continue };
            let stem = name.rsplit_once('.').map_or(name, |(_, stem)| stem);
            let (extent, what) = match t.shape[..] {
                [columns, ..] if FROM_WIDTH.contains(&stem) => (columns, "columns"),
                [_, rows, ..] if TO_WIDTH.contains(&stem) => (rows, "rows"),
                _ => continue,
            };
            if extent != width {
                let (name, hidden) = (t.source_name(), HIDDEN[0]);
                let what = format!(
                    "tensor `{name}` has {extent} {what}, but config.json says `{hidden}` {width}: {NOT_OF_ONE_MODEL}"
                );
                return Err(problem(&self.file(shards, t), what));
            }
        }
        Ok(())
    }
}

/// What helps where config.json and tensors contradict each other.
const NOT_OF_ONE_MODEL: &str = "they are not of one model, fetch both again";

/// Tensors with as many columns as the model is wide.
const FROM_WIDTH: &[&str] = &[
    "token_embd",
    "position_embd",
    "output",
    "output_norm",
    "attn_norm",
    "attn_norm_2",
    "attn_q",
    "attn_k",
    "attn_v",
    "attn_qkv",
    "post_attention_norm",
    "ffn_norm",
    "ffn_up",
    "ffn_gate",
    "ffn_gate_inp",
    "ffn_gate_inp_shexp",
    "ffn_gate_exps",
    "ffn_up_exps",
    "ffn_gate_shexp",
    "ffn_up_shexp",
    "post_ffw_norm",
];
/// Tensors with as many rows.
const TO_WIDTH: &[&str] = &["attn_output", "ffn_down", "ffn_down_exps", "ffn_down_shexp"];

/// The name of a tensor within the language model; `None` for those of other parts of the model.
fn language_part(hf: &str) -> Option<String> {
    const OTHERS: [&str; 4] = ["vision_tower.", "multi_modal_projector.", "vision_model.", "audio_tower."];
    let inner = hf.strip_prefix("model.").unwrap_or(hf);
    if OTHERS.iter().any(|o| inner.starts_with(o)) {
        None
    } else {
        Some(hf.replacen("language_model.", "", 1))
    }
}

/// Embeddings first, then blocks by number, then the rest.
fn place_in_file(name: &str) -> (u8, u64, String) {
    match names::block(name) {
        Some(block) => (1, block, name.to_owned()),
        None if name.starts_with("token_embd") => (0, 0, name.to_owned()),
        None => (2, 0, name.to_owned()),
    }
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
    Err(problem(&path, format!("this is a LoRA adapter of `{base}`: {hint}")))
}

fn object(path: &Path) -> Result<Map<String, Json>, Error> {
    let text = std::fs::read(path).map_err(|e| {
        // Mistral's and Meta's own format.
        let hint = match path.with_file_name("params.json").exists() {
            true => ": params.json and consolidated files are another format, fetch those beside them in the repository",
            false => "",
        };
        problem(path, format!("{e}; a folder needs config.json, tokenizer.json and safetensors{hint}"))
    })?;
    serde_json::from_slice(&text)
        .map_err(|e| problem(path, format!("not a JSON object: {e}; fetch it again")))
}
