//! The tensors of a Hugging Face folder: what each becomes by the table of its architecture, and whether tensors and
//! config.json are of one model.

use super::dtype::Dtype;
use super::error::Error;
use super::model::{Data, SourceTensor};
use super::quantized::PackedMatrices;
use super::shards::Shards;
use super::stored::Entry;
use super::transform::{Order, Transform};
use crate::arch::config::{Config, HIDDEN, Shape};
use crate::arch::{self, Architecture, Conversion, Match, Width};
use crate::names::{self, Role};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What tensors are made from.
pub struct Source<'a> {
    pub folder: &'a Path,
    pub shards: &'a Shards,
    pub packed: &'a PackedMatrices,
    pub architecture: &'static Architecture,
    pub config: &'a Config,
    pub shape: Shape,
    /// Number of tokens, if there is a tokenizer.
    pub tokens: Option<usize>,
    /// See [`super::Options::keep_tied_head`].
    pub keep_tied_head: bool,
    /// Whether it is a model that predicts tokens.
    pub has_head: bool,
}

/// A tensor of the file, and the row of the table that it comes from.
struct Placed {
    row: &'static arch::Tensor,
    tensor: SourceTensor,
}

/// What helps where config.json and tensors contradict each other.
const NOT_OF_ONE_MODEL: &str = "they are not of one model, fetch both again";

/// What helps where a model was saved with adapters in it.
const UNMERGED: &str = "is of a model that was saved while peft had it wrapped, with LoRA adapters beside its weights: load it with \
                        peft, merge them (merge_and_unload), save the result, and convert that";

impl Source<'_> {
    /// Tensors that are computed from config.json.
    pub fn computed(&self) -> Result<Vec<SourceTensor>, arch::Error> {
        let computed = (self.architecture.computed)(self.config)?;
        let tensor = |(name, values): (&str, Vec<f32>)| SourceTensor {
            name: name.into(),
            shape: vec![values.len() as u64],
            dtype: Dtype::F32,
            left_precise: false,
            data: Data::Computed(values),
            transform: Transform::NONE,
        };
        Ok(computed.into_iter().map(tensor).collect())
    }

    /// What people should know of the file.
    pub fn notes(&self) -> Vec<String> {
        let others = self.shards.tensors.keys().filter(|hf| language_part(hf).is_none()).count();
        let folder = self.folder.display();
        let note = format!(
            "the file has the language model alone; {others} tensors of what sees or hears are left out: llama.cpp makes \
             a file of them with convert_hf_to_gguf.py --mmproj {folder}, and its programs take both (--mmproj FILE)"
        );
        (others > 0).then_some(note).into_iter().collect()
    }

    /// All tensors that are stored, in the order of the file.
    pub fn tensors(&self) -> Result<Vec<SourceTensor>, Error> {
        let without_head = self.config.is_true("tie_word_embeddings") && !self.keep_tied_head;
        let mut placed = Vec::new();
        let mut stacks: BTreeMap<String, (&arch::Tensor, BTreeMap<u64, &str>)> = BTreeMap::new();
        for (hf, entry) in &self.shards.tensors {
            let Some(inner) = language_part(hf) else { continue };
            let places = self.architecture.matches(&inner);
            if places.is_empty() && is_of_peft(hf) {
                return Err(Error::tensor(&entry.path, hf, UNMERGED));
            }
            if places.is_empty() {
                let name = self.architecture.name;
                let what = format!(
                    "is not one of the {name} architecture's: config.json and tensors may be of two models; if they are of one, \
                     give `convert` a GGUF that llama.cpp's converter made of them"
                );
                return Err(Error::tensor(&entry.path, hf, what));
            }
            for place in places {
                match place.row.conversion {
                    Conversion::Ignored => {}
                    _ if without_head && place.row.role() == Role::Head => {}
                    Conversion::Stacked => {
                        let (_, parts) =
                            stacks.entry(place.name).or_insert_with(|| (place.row, BTreeMap::new()));
                        parts.insert(place.index, hf);
                    }
                    _ => placed.push(self.tensor(hf, entry, &place)?),
                }
            }
        }
        for (name, (row, parts)) in stacks {
            placed.push(self.stack(row, name, parts)?);
        }
        placed.sort_by_key(place_in_file);
        if let Some(pair) = placed.windows(2).find(|p| p[0].tensor.name == p[1].tensor.name) {
            let what = "is what two tensors of the checkpoint become: two models may be in one folder";
            return Err(Error::tensor(self.folder, &pair[0].tensor.name, what));
        }
        self.check(&placed)?;
        Ok(placed.into_iter().map(|p| p.tensor).collect())
    }

    /// One tensor of the file that is one of the checkpoint, or a part of one.
    fn tensor(&self, hf: &str, entry: &Entry, place: &Match) -> Result<Placed, Error> {
        let dtype = self.dtype(hf, entry)?;
        let mut shape: Vec<u64> = entry.shape.iter().rev().copied().collect();
        let Shape { heads, kv_heads, head_dim, .. } = self.shape;
        let how = place.row.conversion;
        let wrong = |what: String| Error::tensor(&entry.path, hf, format!("has {what}: {NOT_OF_ONE_MODEL}"));
        if let Some((count, words)) = how.heads(&self.shape) {
            let rows = entry.shape.first().copied().unwrap_or(0);
            if rows != count * head_dim {
                return Err(wrong(format!("{rows} rows, but config.json says {words} of {head_dim}")));
            }
            if how == Conversion::Ungrouped && !heads.is_multiple_of(kv_heads) {
                let what = format!(
                    "`num_attention_heads` is {heads}, no multiple of {kv_heads}: no attention is so"
                );
                return Err(Error::config(&self.folder.join("config.json"), what));
            }
        }
        let transform = match how {
            Conversion::QueryPairs | Conversion::KeyPairs | Conversion::Ungrouped => {
                Transform::order(Order::of_heads(how, &self.shape))
            }
            Conversion::PlusOne => Transform { plus_one: true, ..Transform::NONE },
            Conversion::Transposed if self.packed.contains_key(hf) => {
                let what = "is quantized, and models of this architecture have it transposed: start from the \
                            unquantized model";
                return Err(Error::tensor(&entry.path, hf, what));
            }
            Conversion::Transposed if shape.len() == 2 => {
                shape.reverse();
                Transform::order(Order::Columns { stored: shape[1] as usize })
            }
            Conversion::FirstHalf | Conversion::SecondHalf => {
                let halves = shape.len() == 3 && shape[1].is_multiple_of(2);
                if !halves {
                    return Err(wrong(format!("the shape {:?}, not pairs of matrices", entry.shape)));
                }
                shape[1] /= 2;
                Transform::order(Order::Half {
                    second: how == Conversion::SecondHalf,
                    rows: shape[1] as usize,
                })
            }
            Conversion::KnownTokens => {
                if let (Some(tokens), Some(rows)) = (self.tokens, shape.last_mut()) {
                    *rows = (*rows).min(tokens as u64);
                }
                Transform::NONE
            }
            Conversion::Same | Conversion::Transposed | Conversion::Stacked | Conversion::Ignored => {
                Transform::NONE
            }
        };
        let tensor = SourceTensor {
            name: place.name.clone(),
            shape,
            dtype,
            left_precise: false,
            data: Data::Stored(vec![hf.to_owned()]),
            transform,
        };
        Ok(Placed { row: place.row, tensor })
    }

    /// One tensor of the file that is many of the checkpoint, by their numbers.
    fn stack(
        &self,
        row: &'static arch::Tensor,
        name: String,
        parts: BTreeMap<u64, &str>,
    ) -> Result<Placed, Error> {
        let missing = (0..).zip(parts.keys()).find(|(i, n)| i != *n).map(|(i, _)| i);
        if let Some(missing) = missing {
            let what = format!("lacks number {missing} of what it is made of: a shard may be missing");
            return Err(Error::missing_tensor(self.folder, &name, what));
        }
        let experts = self.config.integer(&["num_local_experts", "num_experts"]).ok().flatten();
        let is_of_experts = matches!(row.role(), Role::Experts(_));
        if let Some(experts) = experts.filter(|n| is_of_experts && *n != parts.len() as u64) {
            let count = parts.len();
            let what = format!("has {count} experts, but config.json says {experts}: a shard may be missing");
            return Err(Error::missing_tensor(self.folder, &name, what));
        }
        let first = &self.shards.tensors[parts[&0]];
        for hf in parts.values() {
            let entry = &self.shards.tensors[*hf];
            if entry.shape != first.shape || entry.dtype != first.dtype {
                let first = parts[&0];
                let what = format!("differs in shape or type from `{first}`: fetch the files of both again");
                return Err(Error::tensor(&entry.path, hf, what));
            }
        }
        let mut shape: Vec<u64> = first.shape.iter().rev().copied().collect();
        shape.push(parts.len() as u64);
        let tensor = SourceTensor {
            name,
            shape,
            dtype: self.dtype(parts[&0], first)?,
            left_precise: false,
            data: Data::Stored(parts.values().map(|s| (*s).to_owned()).collect()),
            transform: Transform::NONE,
        };
        Ok(Placed { row, tensor })
    }

    fn dtype(&self, hf: &str, entry: &Entry) -> Result<Dtype, Error> {
        entry.dtype.clone().map_err(|other| {
            let what = format!(
                "is {other}: only F64, F32, F16 and BF16 can be converted; start from the unquantized model"
            );
            Error::tensor(&entry.path, hf, what)
        })
    }

    /// The file of a tensor, or of the first part of it.
    fn file(&self, t: &SourceTensor) -> PathBuf {
        self.shards.tensors.get(t.source_name()).map_or(self.folder.to_owned(), |entry| entry.path.clone())
    }

    /// Refuses tensors that are missing, empty or of another size than config.json says.
    fn check(&self, placed: &[Placed]) -> Result<(), Error> {
        let blocks = self.shape.blocks;
        let stray = placed.iter().find(|p| names::block(&p.tensor.name).is_some_and(|b| b >= blocks));
        if let Some(Placed { tensor: t, .. }) = stray {
            let what = format!("is there, but config.json says {blocks} layers: {NOT_OF_ONE_MODEL}");
            return Err(Error::tensor(&self.file(t), t.source_name(), what));
        }
        for (need, hf) in self.architecture.needed(blocks) {
            if !placed.iter().any(|p| p.tensor.name == need) {
                let what = format!("of {blocks} layers is not there: a shard may be missing");
                return Err(Error::missing_tensor(self.folder, &hf, what));
            }
        }
        if let Some(Placed { tensor: t, .. }) = placed.iter().find(|p| p.tensor.elements() == 0) {
            let what = "has no elements: the file is damaged, fetch it again";
            return Err(Error::tensor(&self.file(t), t.source_name(), what));
        }
        self.check_head(placed)?;
        self.check_widths(placed)?;
        let embeddings = placed.iter().find(|p| p.row.role() == Role::Embeddings);
        let rows = embeddings.map(|p| p.tensor.rows());
        let contradiction = |what| Err(Error::config(self.folder, what));
        let said = self.config.get("vocab_size").and_then(Json::as_u64).map(|n| n as usize);
        if let (Some(said), Some(rows)) = (said.map(|n| self.tokens.map_or(n, |t| n.min(t))), rows)
            && said > rows
        {
            return contradiction(format!(
                "config.json says vocab_size {said}, but there are {rows} embeddings: {NOT_OF_ONE_MODEL}"
            ));
        }
        if let (Some(tokens), Some(rows)) = (self.tokens, rows)
            && tokens != rows
        {
            return contradiction(format!(
                "the tokenizer has {tokens} tokens, but there are {rows} embeddings: {NOT_OF_ONE_MODEL}"
            ));
        }
        Ok(())
    }

    /// Refuses a model without an output head of its own whose config.json says that it has one.
    fn check_head(&self, placed: &[Placed]) -> Result<(), Error> {
        let is_tied = self.config.get("tie_word_embeddings") != Some(&Json::Bool(false));
        let is_head = |row: &arch::Tensor| row.role() == Role::Head;
        let head = self.architecture.rows().find(|row| is_head(row));
        let Some(head) = head.filter(|_| self.has_head && !is_tied) else { return Ok(()) };
        if placed.iter().any(|p| is_head(p.row)) {
            return Ok(());
        }
        let what = "is not there, but config.json says `tie_word_embeddings` false: a shard may be missing, fetch it; \
                    if the model has no head of its own, say `true` there";
        Err(Error::missing_tensor(self.folder, &format!("{}.weight", head.hf), what))
    }

    /// Refuses matrices that do not fit the width of the model.
    fn check_widths(&self, placed: &[Placed]) -> Result<(), Error> {
        let width = self.config.needed_integer(HIDDEN).map_err(|e| Error::config(self.folder, e))?;
        for Placed { row, tensor: t } in placed.iter().filter(|p| p.tensor.name.ends_with(".weight")) {
            let (extent, what) = match (row.width, &t.shape[..]) {
                (Width::Columns, [columns, ..]) => (*columns, "columns"),
                (Width::Rows, [_, rows, ..]) => (*rows, "rows"),
                _ => continue,
            };
            if extent != width {
                let hidden = HIDDEN[0];
                let what = format!(
                    "has {extent} {what}, but config.json says `{hidden}` {width}: {NOT_OF_ONE_MODEL}"
                );
                return Err(Error::tensor(&self.file(t), t.source_name(), what));
            }
        }
        Ok(())
    }
}

/// Whether a name is one that peft makes.
fn is_of_peft(hf: &str) -> bool {
    hf.starts_with("base_model.model.")
        || [".base_layer.", ".lora_", ".modules_to_save."].iter().any(|part| hf.contains(part))
}

/// The name of a tensor within the language model; `None` for those of other parts of the model.
fn language_part(hf: &str) -> Option<String> {
    const OTHERS: [&str; 8] = [
        "vision_tower.",
        "multi_modal_projector.",
        "vision_model.",
        "audio_tower.",
        "audio_model.",
        "visual.",
        "embed_vision.",
        "embed_audio.",
    ];
    let inner = hf.strip_prefix("model.").unwrap_or(hf);
    if OTHERS.iter().any(|o| inner.starts_with(o)) {
        None
    } else {
        Some(hf.replacen("language_model.", "", 1))
    }
}

/// Embeddings first, then blocks by number, then the rest.
fn place_in_file(placed: &Placed) -> (u8, u64, String) {
    let name = placed.tensor.name.clone();
    match (placed.row.role(), names::block(&name)) {
        (Role::Embeddings, _) => (0, 0, name),
        (_, Some(block)) => (1, block, name),
        (_, None) => (2, 0, name),
    }
}
