//! Whether the tensors of a Hugging Face folder and its config.json are of one model, and of one that llama.cpp loads.

use super::error::Error;
use super::hf_source::{NOT_OF_ONE_MODEL, Placed, Source};
use crate::arch::blocks::{Blocks, Predicts};
use crate::arch::config::{HIDDEN, Shape};
use crate::arch::{self, Bias, Extent, Width};
use crate::names::{self, Role};
use serde_json::Value as Json;
use std::collections::{HashMap, HashSet};

impl Source<'_> {
    /// Refuses tensors that are missing, empty or of another size than config.json says.
    pub fn check(&self, placed: &[Placed]) -> Result<(), Error> {
        let blocks = self.blocks.len() as u64;
        let by_name: HashMap<&str, &Placed> = placed.iter().map(|p| (&p.tensor.name[..], p)).collect();
        let blocks_there: HashSet<u64> = placed.iter().filter_map(|p| names::block(&p.tensor.name)).collect();
        let stray = placed.iter().find(|p| names::block(&p.tensor.name).is_some_and(|b| b >= blocks));
        if let Some(Placed { tensor: t, .. }) = stray {
            let what = format!("is there, but config.json says {blocks} layers: {NOT_OF_ONE_MODEL}");
            return Err(Error::tensor(&self.file(t), t.source_name(), what));
        }
        self.check_kinds(placed)?;
        let further = self.blocks.iter().position(|block| block.predicts != Predicts::Next);
        let is_left_out = |need: &str| {
            let block =
                names::block(need).filter(|block| further.is_some_and(|first| *block >= first as u64));
            block.is_some_and(|block| !blocks_there.contains(&block))
        };
        for (need, hf) in self.architecture.needed(&self.blocks).filter(|(need, _)| !is_left_out(need)) {
            if !by_name.contains_key(&need[..]) {
                let what = format!("of {blocks} layers is not there: a shard may be missing");
                return Err(Error::missing_tensor(self.folder, &hf, what));
            }
        }
        if let Some(Placed { tensor: t, .. }) = placed.iter().find(|p| p.tensor.elements() == 0) {
            let what = "has no elements: it was saved without its weights, as a program does that shares a model among \
                        machines; save it whole";
            return Err(Error::tensor(&self.file(t), t.source_name(), what));
        }
        self.check_head(placed)?;
        self.check_biases(placed, &by_name)?;
        self.check_widths(placed)?;
        self.check_experts(placed)?;
        placed.iter().try_for_each(|p| self.check_extent(p))?;
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

    /// Refuses tensors of blocks that have none of their kind.
    fn check_kinds(&self, placed: &[Placed]) -> Result<(), Error> {
        for Placed { row, tensor: t } in placed {
            let number = names::block(&t.name).filter(|_| row.blocks != Blocks::All);
            let Some(number) = number.filter(|n| !row.blocks.include(self.blocks[*n as usize])) else {
                continue;
            };
            let what = format!(
                "is there, but config.json says of layer {number} that it is not {}: {NOT_OF_ONE_MODEL}",
                row.blocks.words()
            );
            return Err(Error::tensor(&self.file(t), t.source_name(), what));
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

    /// Refuses numbers of experts that cannot be, and stacks of another number.
    fn check_experts(&self, placed: &[Placed]) -> Result<(), Error> {
        let mut stacks =
            placed.iter().filter(|p| matches!(p.row.role(), Role::Experts(_)) && p.tensor.shape.len() == 3);
        let Some(count) = self.key("expert_count") else { return Ok(()) };
        if stacks.clone().next().is_none() {
            return Ok(());
        }
        let used = self.key("expert_used_count");
        if count == 0 || used.is_some_and(|used| used == 0 || used > count) {
            let used = used.map_or("nothing".into(), |used| used.to_string());
            let what = format!(
                "config.json says {count} experts, of which a token uses {used}, but there are tensors of experts: {NOT_OF_ONE_MODEL}"
            );
            return Err(Error::config(self.folder, what));
        }
        match stacks.find(|p| p.tensor.shape[2] != count) {
            Some(Placed { tensor: t, .. }) => {
                let what =
                    format!("has {} experts, but config.json says {count}: {NOT_OF_ONE_MODEL}", t.shape[2]);
                Err(Error::tensor(&self.file(t), t.source_name(), what))
            }
            None => Ok(()),
        }
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

    /// Refuses tensors of which config.json says that they are not there, and the reverse.
    pub fn check_shown(&self, placed: &[Placed]) -> Result<(), Error> {
        let by_name: HashMap<&str, &Placed> = placed.iter().map(|p| (&p.tensor.name[..], p)).collect();
        for shown in self.architecture.shown {
            let says = shown.says(self.config);
            let row = |name: &str| self.architecture.exported(name, &|_| true).map(|(row, _)| row);
            let has = row(&shown.tensor_of(0)).map_or(Blocks::All, |row| row.blocks);
            let blocks = self.blocks.iter().enumerate();
            for (block, _) in blocks.filter(|(_, b)| b.predicts == Predicts::Next && has.include(**b)) {
                let name = shown.tensor_of(block as u64);
                let there = by_name.get(&name[..]);
                let flag = shown.name;
                let said = self.config.get(flag).map_or("nothing".into(), Json::to_string);
                match there {
                    Some(Placed { tensor: t, .. }) if !says => {
                        let hf = t.source_name();
                        if name.ends_with(".bias") && self.is_zero(hf) {
                            continue;
                        }
                        let what = format!(
                            "is there, but config.json says {said} of `{flag}`, and the model is one without it: say \
                             otherwise there if the model has it"
                        );
                        return Err(Error::tensor(&self.file(t), hf, what));
                    }
                    None if says => {
                        let (_, hf) = self.architecture.exported(&name, &|_| true).unwrap_or_else(|| {
                            unreachable!("a tested name: {name}");
                        });
                        let what = format!(
                            "is not there, but config.json says {said} of `{flag}`, and the model is one with it: a shard \
                             may be missing"
                        );
                        return Err(Error::missing_tensor(self.folder, &hf, what));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Refuses a model without a bias that llama.cpp needs, and biases of another length than what they are added to.
    fn check_biases(&self, placed: &[Placed], by_name: &HashMap<&str, &Placed>) -> Result<(), Error> {
        for Placed { row, tensor: t } in placed {
            let Some(stem) = t.name.strip_suffix(".weight").filter(|_| row.bias != Bias::None) else {
                continue;
            };
            let rows = t.shape.get(1).or(t.shape.first());
            match by_name.get(&format!("{stem}.bias")[..]) {
                Some(Placed { tensor: bias, .. }) if bias.shape.len() != 1 || bias.shape.first() != rows => {
                    let what =
                        format!("has the shape {:?}, and is no bias of `{}`", bias.shape, t.source_name());
                    return Err(Error::tensor(&self.file(bias), bias.source_name(), what));
                }
                None if row.bias == Bias::Needed => {
                    let hf = t.source_name().replace(".weight", ".bias");
                    let what = format!(
                        "is not there, and llama.cpp's {} needs it: a shard may be missing",
                        self.architecture.name
                    );
                    return Err(Error::missing_tensor(self.folder, &hf, what));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The shape of the attention of a block: heads may have another size where there is a window, and keys may be of other heads.
    fn shape_in(&self, block: Option<u64>) -> Shape {
        let has_window = block.is_some_and(|number| self.blocks[number as usize].has_window);
        let head_dim = match self.key("attention.key_length_swa") {
            Some(windowed) if has_window => Some(windowed),
            Some(_) => self.key("attention.key_length"),
            None => None,
        };
        let kv_heads = self.key_in("attention.head_count_kv", block).filter(|heads| *heads > 0);
        Shape {
            head_dim: head_dim.unwrap_or(self.shape.head_dim),
            kv_heads: kv_heads.unwrap_or(self.shape.kv_heads),
            ..self.shape
        }
    }

    /// Refuses a tensor whose other extent is not what the keys say: llama.cpp would not load it.
    fn check_extent(&self, Placed { row, tensor: t }: &Placed) -> Result<(), Error> {
        let block = names::block(&t.name);
        let Shape { heads, kv_heads, head_dim, .. } = self.shape_in(block);
        let of_key = |key: &'static str, times: u64| {
            let value = self.key_in(key, block)?;
            Some((value * times, format!("`{}` {value}", self.name_of(key))))
        };
        let said = match row.extent {
            Extent::Any | Extent::Parts(_) => None,
            Extent::Exactly(extent) => Some((extent, format!("{extent}, as every model has it"))),
            Extent::Queries => Some((heads * head_dim, format!("{heads} heads of {head_dim}"))),
            Extent::Keys => {
                Some((kv_heads * head_dim, format!("{kv_heads} heads of keys and values of {head_dim}")))
            }
            Extent::QueriesKeysValues => {
                let words = format!("{heads} query and 2 x {kv_heads} key and value heads of {head_dim}");
                Some(((heads + 2 * kv_heads) * head_dim, words))
            }
            Extent::Head => Some((head_dim, format!("heads of {head_dim}"))),
            Extent::Is(key) => of_key(key, 1),
            Extent::Times(times, key) => of_key(key, times),
            Extent::Heads(key) => of_key(key, heads),
            Extent::Product(a, b) => self.key(b).and_then(|times| of_key(a, times)),
            Extent::MambaInputs => {
                let size = |key: &str| self.key(key).unwrap_or(0);
                let (inner, heads) = (size("ssm.inner_size"), size("ssm.time_step_rank"));
                let (groups, state) = (size("ssm.group_count"), size("ssm.state_size"));
                let words = format!("{heads} heads and {groups} groups of states of {state}");
                Some((2 * inner + 2 * groups * state + heads, words))
            }
            Extent::GatedQueries => {
                Some((2 * heads * head_dim, format!("{heads} heads of {head_dim}, and a gate for each")))
            }
        };
        let has_extent = row.is_whole || t.name.ends_with(".weight");
        let Some((expected, words)) = said.filter(|_| has_extent) else { return Ok(()) };
        let (extent, what) = match (row.width, &t.shape[..]) {
            (Width::Rows, [columns, _, ..]) => (*columns, "columns"),
            (Width::Columns, [_, rows, ..]) => (*rows, "rows"),
            (Width::None, [length, ..]) => (*length, "elements"),
            _ => return Ok(()),
        };
        if extent == expected {
            return Ok(());
        }
        let what = format!("has {extent} {what}, but config.json says {words}: {NOT_OF_ONE_MODEL}");
        Err(Error::tensor(&self.file(t), t.source_name(), what))
    }
}
