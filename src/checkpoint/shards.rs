//! The files of a folder that hold its tensors, one or many with an index, mapped into memory.

use super::dtype::Dtype;
use super::error::Error;
use super::pytorch;
use super::stored::{Entry, Files, StoredTensor};
use safetensors::SafeTensors;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Names of the only file, by format; the first that is there counts.
const SINGLE: [&str; 2] = ["model.safetensors", "pytorch_model.bin"];
/// What makes the name of a file that of its index.
const INDEX: &str = ".index.json";

/// All tensors of a folder.
pub struct Shards {
    /// The files.
    pub files: Files,
    /// Their tensors, by name.
    pub tensors: BTreeMap<String, Entry>,
}

impl Shards {
    /// Maps the files of `folder`.
    pub fn open(folder: &Path) -> Result<Shards, Error> {
        let mut shards = Shards { files: Files::default(), tensors: BTreeMap::new() };
        let (files, index) = files(folder)?;
        for path in &files {
            shards.add(path)?;
        }
        for (tensor, file) in index {
            if !shards.tensors.contains_key(&tensor) {
                let problem = "is not here, though the index says so: fetch file and index again";
                return Err(Error::missing_tensor(&folder.join(file), &tensor, problem));
            }
        }
        Ok(shards)
    }

    fn add(&mut self, path: &Path) -> Result<(), Error> {
        let find = if path.extension().is_some_and(|e| e == "bin") { pytorch::tensors } else { safetensors };
        for (name, entry) in self.files.add(path, find)? {
            if self.tensors.insert(name.clone(), entry).is_some() {
                return Err(Error::tensor(path, &name, "is in two shards: fetch both again"));
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
type WeightMap = BTreeMap<String, String>;

/// The files of a folder, and what their index says, if there is one.
fn files(folder: &Path) -> Result<(Vec<PathBuf>, WeightMap), Error> {
    for single in SINGLE {
        let index = folder.join(format!("{single}{INDEX}"));
        if index.exists() {
            return indexed(folder, &index);
        }
        let path = folder.join(single);
        if path.exists() {
            return Ok((vec![path], WeightMap::new()));
        }
        let shards = numbered(folder, single)?;
        if !shards.is_empty() {
            return Ok((shards, WeightMap::new()));
        }
    }
    let hint = if folder.join("consolidated.safetensors").exists() {
        "; consolidated.safetensors has other names for its tensors: fetch model*.safetensors of the same repository"
    } else {
        ""
    };
    let problem = format!("neither model.safetensors nor model.safetensors.index.json is there{hint}");
    Err(Error::missing_file(folder, problem))
}

/// The files that an index names.
fn indexed(folder: &Path, index: &Path) -> Result<(Vec<PathBuf>, WeightMap), Error> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: WeightMap,
    }
    let text = std::fs::read(index).map_err(Error::read(index))?;
    let Index { weight_map } =
        serde_json::from_slice(&text).map_err(|e| Error::damaged(index, format!("{e}: fetch it again")))?;
    let mut names: Vec<_> = weight_map.values().collect();
    names.sort();
    names.dedup();
    let files: Vec<_> = names.into_iter().map(|n| folder.join(n)).collect();
    match files.iter().find(|f| !f.exists()) {
        Some(missing) => {
            Err(Error::missing_file(missing, "the index names this shard, but it is not there: fetch it"))
        }
        None => Ok((files, weight_map)),
    }
}

/// `model-00001-of-00003.safetensors` and so on, which need no index.
fn numbered(folder: &Path, single: &str) -> Result<Vec<PathBuf>, Error> {
    let (stem, kind) = single.split_once('.').expect("a name with an extension");
    let count = |name: &str| -> Option<usize> {
        let (number, count) = name
            .strip_prefix(stem)?
            .strip_prefix('-')?
            .strip_suffix(kind)?
            .strip_suffix('.')?
            .split_once("-of-")?;
        number.parse::<usize>().ok()?;
        count.parse().ok()
    };
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let Some(count) = names.filter_map(|e| count(&e.file_name().to_string_lossy())).max() else {
        return Ok(Vec::new());
    };
    let path = |i| folder.join(format!("{stem}-{i:05}-of-{count:05}.{kind}"));
    let paths = (1..=count).map(path);
    match paths.clone().find(|path| !path.exists()) {
        Some(missing) => {
            Err(Error::missing_file(&missing, "other shards are there, but not this one: fetch it"))
        }
        None => Ok(paths.collect()),
    }
}
