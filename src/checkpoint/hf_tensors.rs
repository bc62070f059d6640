//! The tensors of a Hugging Face folder: what each becomes by the table of its architecture.

use super::dtype::Dtype;
use super::error::Error;
use super::hf_source::{Placed, Source};
use super::model::{Data, SourceTensor};
use super::stored::Entry;
use super::transform::Transform;
use crate::arch::config::EXPERTS;
use crate::arch::{self, AttendsTo, Bias, Block, Conversion, Extent, Head, Match, Predicts, Shown};
use crate::names::{self, Role};
use serde_json::Value as Json;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;

/// The output head in architectures whose checkpoints may have it for nothing.
const HEAD: &str = "lm_head.weight";

/// What helps where a model was saved with adapters in it.
const UNMERGED: &str = "is of a model that was saved while peft had it wrapped, with LoRA adapters beside its weights: load it with \
                        peft, merge them (merge_and_unload), save the result, and convert that";

impl Source<'_> {
    /// Tensors that are computed from config.json.
    pub fn computed(&self) -> Result<Vec<SourceTensor>, arch::Error> {
        let computed = (self.architecture.computed)(self.config)?;
        Ok(computed.into_iter().map(|(name, values)| vector(name, values)).collect())
    }

    /// What people should know of the file.
    pub fn notes(&self) -> Vec<String> {
        let others = self.shards.tensors.keys().filter(|hf| language_part(hf).is_none()).count();
        note_of_others(self.folder, others).into_iter().collect()
    }

    /// All tensors that are stored, in the order of the file. `notes` says what people should know of them.
    pub fn tensors(&self, notes: &mut Vec<String>) -> Result<Vec<SourceTensor>, Error> {
        let mut placed = Vec::new();
        let mut stacks: BTreeMap<String, (&arch::Tensor, BTreeMap<u64, &str>)> = BTreeMap::new();
        let (mut left_out, mut further) = (Vec::new(), Vec::new());
        for (hf, entry) in &self.shards.tensors {
            let Some(inner) = language_part(hf) else { continue };
            if self.is_left_out(&inner) {
                further.push(hf);
                continue;
            }
            let places = self.places(&inner);
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
                let is_bias = place.name.ends_with(".bias") && !place.row.is_whole;
                match place.row.conversion {
                    Conversion::Ignored if inner == HEAD => self.refuse_own_head(hf)?,
                    Conversion::Ignored => {}
                    _ if is_bias && place.row.bias == Bias::None => {
                        self.refuse_bias(hf)?;
                        left_out.push(hf);
                    }
                    _ if place.row.role() == Role::Head && !is_bias && !self.keeps_head(hf, notes) => {}
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
        if let Some(first) = left_out.first() {
            notes.push(format!(
                "{} biases that are all zero are left out, where llama.cpp's {} has none: `{first}`{}",
                left_out.len(),
                self.architecture.name,
                if left_out.len() > 1 { " and so on" } else { "" }
            ));
        }
        if let Some(first) = further.first() {
            notes.push(format!(
                "{} tensors that predict tokens after the next one are left out, where llama.cpp's {} has no place for \
                 them: `{first}` and so on",
                further.len(),
                self.architecture.name
            ));
        }
        self.check_shown(&placed)?;
        self.add_head(&mut placed);
        self.add_lent(&mut placed);
        self.add_zeros(&mut placed);
        placed.sort_by_key(place_in_file);
        if let Some(pair) = placed.windows(2).find(|p| p[0].tensor.name == p[1].tensor.name) {
            let what = "is what two tensors of the checkpoint become: two models may be in one folder";
            return Err(Error::tensor(self.folder, &pair[0].tensor.name, what));
        }
        self.check(&placed)?;
        Ok(placed.into_iter().map(|p| p.tensor).collect())
    }

    /// What becomes of a tensor. Where blocks of one kind have another place for it than those of another, only the places in
    /// its own block count.
    fn places(&self, inner: &str) -> Vec<Match> {
        let mut places = self.architecture.matches(inner);
        let fits = |place: &Match| {
            let number = names::block(&place.name).and_then(|number| self.blocks.get(number as usize));
            number.is_none_or(|block| place.row.blocks.include(*block))
        };
        if places.iter().any(fits) {
            places.retain(fits);
        }
        // Of rows for blocks of several kinds none may fit: the tensor is one all the same.
        places.dedup_by(|a, b| a.name == b.name);
        places
    }

    /// Whether a tensor is of a block that llama.cpp has no place for.
    fn is_left_out(&self, inner: &str) -> bool {
        if inner.starts_with("mtp.") {
            return true;
        }
        let number = inner.split('.').find_map(|part| part.parse::<usize>().ok());
        let block = number.and_then(|number| self.blocks.get(number));
        block.is_some_and(|block| block.predicts == Predicts::LeftOut)
    }

    /// The stored embeddings.
    fn embeddings(&self) -> Option<&str> {
        let is_embeddings = |hf: &&String| {
            let places = language_part(hf).map(|inner| self.architecture.matches(&inner));
            places.is_some_and(|places| places.iter().any(|p| p.row.role() == Role::Embeddings))
        };
        self.shards.tensors.keys().find(is_embeddings).map(|hf| &hf[..])
    }

    /// Refuses a head where llama.cpp takes the embeddings, unless it is the same.
    fn refuse_own_head(&self, hf: &str) -> Result<(), Error> {
        if self.embeddings().is_some_and(|embeddings| self.is_same(hf, embeddings)) {
            return Ok(());
        }
        let what = format!(
            "is not the same as the embeddings, which llama.cpp's {} takes for the output head: this model cannot be \
             converted",
            self.architecture.name
        );
        Err(Error::tensor(&self.shards.tensors[hf].path, hf, what))
    }

    /// Whether the file has a head of its own: not if it is the same as the embeddings, which serve then.
    fn keeps_head(&self, hf: &str, notes: &mut Vec<String>) -> bool {
        if !self.config.is_true("tie_word_embeddings") {
            return true;
        }
        if self.embeddings().is_some_and(|embeddings| self.is_same(hf, embeddings)) {
            return self.keep_tied_head;
        }
        notes.push(format!(
            "`{hf}` is not the same as the embeddings, and is the output head therefore, though config.json says \
             `tie_word_embeddings` true"
        ));
        true
    }

    /// Refuses a bias that llama.cpp has no place for, unless it is zero.
    fn refuse_bias(&self, hf: &str) -> Result<(), Error> {
        if self.is_zero(hf) {
            return Ok(());
        }
        let what = format!(
            "is a bias where llama.cpp's {} has none, and it is not zero: this model cannot be converted",
            self.architecture.name
        );
        Err(Error::tensor(&self.shards.tensors[hf].path, hf, what))
    }

    /// Copies the embeddings where llama.cpp needs a head and the model has none of its own.
    fn add_head(&self, placed: &mut Vec<Placed>) {
        let is = |role: Role| move |p: &&Placed| p.row.role() == role && p.tensor.name.ends_with(".weight");
        let is_said = self.config.get("tie_word_embeddings") == Some(&Json::Bool(false)) && self.has_head;
        if self.architecture.head != Head::Needed || is_said || placed.iter().find(is(Role::Head)).is_some() {
            return;
        }
        let head = self.architecture.rows().find(|row| row.role() == Role::Head);
        if let (Some(row), Some(embeddings)) = (head, placed.iter().find(is(Role::Embeddings))) {
            let name = format!("{}.weight", row.gguf);
            placed.push(Placed { row, tensor: SourceTensor { name, ..embeddings.tensor.clone() } });
        }
    }

    /// Copies what llama.cpp loads in every block, though its graph does not read it there, to blocks that attend to keys and
    /// values of a block before.
    fn add_lent(&self, placed: &mut Vec<Placed>) {
        let borrowing = |block: &Block| block.attends_to == AttendsTo::Borrowed;
        for row in self.architecture.rows().filter(|row| row.is_lent) {
            for (number, block) in self.blocks.iter().enumerate().filter(|(_, block)| borrowing(block)) {
                let name =
                    |number: usize| format!("{}.weight", arch::filled(row.gguf, Some(number as u64), None));
                let named = |name: &str| placed.iter().find(|p| p.tensor.name == name);
                let is_lender = |number: &usize| {
                    let other = self.blocks[*number];
                    !borrowing(&other) && other.has_window == block.has_window
                };
                let lender = (0..number).rev().find(is_lender).and_then(|lender| named(&name(lender)));
                let name = name(number);
                if let Some(lender) = lender.filter(|_| named(&name).is_none()) {
                    let tensor = SourceTensor { name, ..lender.tensor.clone() };
                    placed.push(Placed { row, tensor });
                }
            }
        }
    }

    /// Adds biases of zeros where llama.cpp needs biases and config.json says that the model has none.
    fn add_zeros(&self, placed: &mut Vec<Placed>) {
        let may_lack = |shown: &Shown| shown.has_zeros && !shown.says(self.config);
        if !self.architecture.shown.iter().any(may_lack) {
            return;
        }
        let there: HashSet<&str> = placed.iter().map(|p| &p.tensor.name[..]).collect();
        let lacking = |p: &Placed| {
            let of_norm = p.tensor.shape.len() < 2;
            let name =
                p.tensor.name.strip_suffix(".weight").filter(|_| p.row.bias == Bias::Needed && !of_norm)?;
            let name = format!("{name}.bias");
            let is_there = there.contains(&name[..]);
            (!is_there)
                .then(|| Placed { row: p.row, tensor: vector(&name, vec![0.0; p.tensor.shape[1] as usize]) })
        };
        let zeros: Vec<_> = placed.iter().filter_map(lacking).collect();
        placed.extend(zeros);
    }

    /// One tensor of the file that is one of the checkpoint, or a part of one.
    fn tensor(&self, hf: &str, entry: &Entry, place: &Match) -> Result<Placed, Error> {
        let dtype = self.dtype(hf, entry)?;
        let (shape, transform) = self.transform(hf, entry, place.row.conversion)?;
        let data = Data::Stored(vec![hf.to_owned()]);
        let name = place.name.clone();
        let tensor = SourceTensor { name, shape, dtype, left_precise: false, data, transform, factors: None };
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
        let experts = self.config.integer(EXPERTS).ok().flatten();
        let is_of_experts = matches!(row.role(), Role::Experts(_));
        if let Some(experts) = experts.filter(|n| is_of_experts && *n != parts.len() as u64) {
            let count = parts.len();
            let what = format!("has {count} experts, but config.json says {experts}: a shard may be missing");
            return Err(Error::missing_tensor(self.folder, &name, what));
        }
        if let Extent::Parts(expected) = row.extent
            && expected != parts.len() as u64
        {
            let what = format!(
                "is of {} matrices, and every model has {expected}: a shard may be missing",
                parts.len()
            );
            return Err(Error::missing_tensor(self.folder, &name, what));
        }
        let first = &self.shards.tensors[parts[&0]];
        for hf in parts.values() {
            let entry = &self.shards.tensors[*hf];
            if entry.shape != first.shape || entry.dtype != first.dtype {
                let first = parts[&0];
                let what = format!(
                    "differs in shape or type from `{first}`, with which it would be one tensor: they are not of one model"
                );
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
            factors: None,
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
}

/// A vector of known elements.
fn vector(name: &str, values: Vec<f32>) -> SourceTensor {
    SourceTensor {
        name: name.into(),
        shape: vec![values.len() as u64],
        dtype: Dtype::F32,
        left_precise: false,
        data: Data::Computed(values),
        transform: Transform::NONE,
        factors: None,
    }
}

/// Whether a name is one that peft makes.
fn is_of_peft(hf: &str) -> bool {
    hf.starts_with("base_model.model.")
        || [".base_layer.", ".lora_", ".modules_to_save."].iter().any(|part| hf.contains(part))
}

/// What people should know of a folder with tensors of what sees or hears, if there are any.
pub fn note_of_others(folder: &Path, others: usize) -> Option<String> {
    let note = format!(
        "the file has the language model alone; {others} tensors of what sees or hears are left out: llama.cpp makes \
         a file of them with convert_hf_to_gguf.py --mmproj {}, and its programs take both (--mmproj FILE)",
        folder.display()
    );
    (others > 0).then_some(note)
}

/// The name of a tensor within the language model; `None` for those of other parts of the model.
pub fn language_part(hf: &str) -> Option<String> {
    const OTHERS: [&str; 9] = [
        "vision_tower.",
        "vision_embedder.",
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
