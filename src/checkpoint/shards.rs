//! The files of a folder that hold its tensors, one or many with an index, mapped into memory.

use super::dtype::Dtype;
use super::error::Error;
use super::pytorch;
use super::stored::{Entry, Files, StoredTensor};
use super::weight_files::{self, Choice};
use crate::printable;
use crate::{python_json, small_file};
use safetensors::SafeTensors;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// All tensors of a folder.
pub struct Shards {
    /// What people should know: which files were taken, where that is not plain.
    pub notes: Vec<String>,
    /// The files.
    pub files: Files,
    /// Their tensors, by name.
    pub tensors: BTreeMap<String, Entry>,
}

impl Shards {
    /// Maps the files of `folder`.
    pub fn open(folder: &Path) -> Result<Shards, Error> {
        let mut shards = Shards { notes: Vec::new(), files: Files::default(), tensors: BTreeMap::new() };
        let names = names(folder)?;
        let (files, index) = files(folder, &names)?;
        shards.notes.extend(note(folder, &names, &files));
        for path in &files {
            shards.add(path)?;
        }
        for (tensor, file) in index {
            if !shards.tensors.contains_key(&tensor) {
                let problem =
                    "is not here, though the index says so: they are not of one saving, take all of one";
                return Err(Error::missing_tensor(&folder.join(file), &tensor, problem));
            }
        }
        Ok(shards)
    }

    fn add(&mut self, path: &Path) -> Result<(), Error> {
        let find = if path.extension().is_some_and(|e| e == "bin") { pytorch::tensors } else { safetensors };
        for (name, entry) in self.files.add(path, find)? {
            if self.tensors.insert(name.clone(), entry).is_some() {
                return Err(Error::tensor(
                    path,
                    &name,
                    "is in another shard too: they are not of one saving, take all of one",
                ));
            }
        }
        Ok(())
    }
}

fn safetensors(map: &[u8]) -> Result<Vec<StoredTensor>, String> {
    let parsed = SafeTensors::deserialize(map)
        .map_err(|e| format!("not a whole safetensors file ({e}): fetch it again"))?;
    let found = parsed.tensors().into_iter().map(|(name, view)| StoredTensor {
        name,
        dtype: match view.dtype() {
            safetensors::Dtype::F32 => Ok(Dtype::F32),
            safetensors::Dtype::F16 => Ok(Dtype::F16),
            safetensors::Dtype::BF16 => Ok(Dtype::BF16),
            safetensors::Dtype::F64 => Ok(Dtype::F64),
            other => Err(format!("{other:?}")),
        },
        shape: view.shape().iter().map(|&n| n as u64).collect(),
        start: view.data().as_ptr() as usize - map.as_ptr() as usize,
        len: view.data().len(),
    });
    Ok(found.collect())
}

/// Tensors and the files that an index has them in.
pub type WeightMap = BTreeMap<String, String>;

/// Names of what is in a folder.
fn names(folder: &Path) -> Result<Vec<String>, Error> {
    let entries = std::fs::read_dir(folder).map_err(Error::read(folder))?;
    let mut names: Vec<String> =
        entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

/// The files of a folder that hold its weights, and what their index says, if there is one.
fn files(folder: &Path, names: &[String]) -> Result<(Vec<PathBuf>, WeightMap), Error> {
    match weight_files::choose(names).map_err(|problem| Error::unsupported(folder, problem))? {
        Some(Choice::Single(name)) => Ok((vec![folder.join(name)], WeightMap::new())),
        Some(Choice::Index(index)) => indexed(folder, &folder.join(index)),
        Some(Choice::Shards { files, missing }) => match missing.first() {
            Some(missing) => {
                let problem = "other shards are there, but not this one: fetch it";
                Err(Error::missing_file(&folder.join(missing), problem))
            }
            None => Ok((files.iter().map(|name| folder.join(name)).collect(), WeightMap::new())),
        },
        None => Err(Error::missing_file(folder, nothing_there(names))),
    }
}

/// What is wrong with a folder without weights, and what helps.
fn nothing_there(names: &[String]) -> String {
    let has = |begin: &str| names.iter().find(|name| name.starts_with(begin));
    let hint = match (has("consolidated"), has("adapter_model")) {
        (Some(name), _) => format!(
            "; {name} has other names for its tensors: fetch model*.safetensors of the same repository"
        ),
        (_, Some(name)) => format!(
            "; {name} is a LoRA adapter: merge it into its model (peft: merge_and_unload), save the result, and convert that"
        ),
        _ => String::new(),
    };
    format!("neither model.safetensors nor model.safetensors.index.json is there{hint}")
}

/// Says which files are taken, if others have weights too or the names are unusual.
fn note(folder: &Path, names: &[String], files: &[PathBuf]) -> Option<String> {
    let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let taken: Vec<String> = files.iter().map(name).collect();
    // The index that was read, or one that says the same.
    let is_of_index = |name: &&String| {
        name.ends_with(weight_files::INDEX)
            && indexed(folder, &folder.join(name)).is_ok_and(|(said, _)| said == files)
    };
    let others = weight_files::all(names).into_iter();
    let mut others: Vec<_> = others.filter(|name| !taken.contains(name) && !is_of_index(name)).collect();
    others.sort_by_key(|name| !name.ends_with(weight_files::INDEX));
    let first = taken.first()?;
    let of = match taken.len() {
        1 => format!("`{first}`"),
        n => format!("`{first}` and {} more", n - 1),
    };
    match others[..] {
        [] if first.starts_with("model") || first.starts_with("pytorch_model") => None,
        [] => Some(format!("the weights are those of {of}")),
        [other, ..] => Some(format!(
            "the weights are those of {of}, as transformers takes them; not read, and maybe of another model: `{other}`{}",
            if others.len() > 1 { format!(" and {} more", others.len() - 1) } else { String::new() }
        )),
    }
}

/// The files that an index names, and what it says of each tensor.
pub fn indexed(folder: &Path, index: &Path) -> Result<(Vec<PathBuf>, WeightMap), Error> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: WeightMap,
    }
    let text = small_file::read(index).map_err(Error::read(index))?;
    let Index { weight_map } =
        python_json::parse(&text).map_err(|e| Error::damaged(index, format!("{e}: fetch it again")))?;
    let mut names: Vec<_> = weight_map.values().collect();
    names.sort();
    names.dedup();
    // What a file says is data: it leads nowhere else.
    let is_inside =
        |name: &str| Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    if let Some(name) = names.iter().find(|name| name.is_empty() || !is_inside(name)) {
        return Err(Error::damaged(
            index,
            format!("`{}` in it is no file of this folder", printable::line(name)),
        ));
    }
    let files: Vec<_> = names.into_iter().map(|n| folder.join(n)).collect();
    match files.iter().find(|f| !f.exists()) {
        Some(missing) => Err(Error::missing_file(
            missing,
            "the index names this shard, but it is not there: fetch it; if the index is of an older saving, take it away",
        )),
        None => Ok((files, weight_map)),
    }
}
