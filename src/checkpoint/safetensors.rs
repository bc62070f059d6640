//! The safetensors files of a folder: one, or shards with an index.

use super::{Dtype, Error, problem};
use memmap2::Mmap;
use safetensors::SafeTensors;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Name of the only file.
pub const SINGLE: &str = "model.safetensors";
/// Name of the list of shards.
pub const INDEX: &str = "model.safetensors.index.json";

/// All tensors of a folder, mapped into memory.
pub struct Shards {
    maps: Vec<Mmap>,
    tensors: BTreeMap<String, Entry>,
}

/// A stored tensor.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Element type.
    pub dtype: Dtype,
    /// Extents, outermost first, as safetensors has them.
    pub shape: Vec<u64>,
    map: usize,
    start: usize,
    len: usize,
}

impl Shards {
    /// Maps the files of `folder`.
    pub fn open(folder: &Path) -> Result<Shards, Error> {
        let mut shards = Shards { maps: Vec::new(), tensors: BTreeMap::new() };
        for path in files(folder)? {
            shards.add(&path)?;
        }
        Ok(shards)
    }

    fn add(&mut self, path: &Path) -> Result<(), Error> {
        let file = std::fs::File::open(path).map_err(|e| problem(path, e.to_string()))?;
        // SAFETY: the map is read-only. Should another process cut the file short meanwhile, the
        // kernel ends this one; nothing here can prevent that.
        let map = unsafe { Mmap::map(&file) }.map_err(|e| problem(path, e.to_string()))?;
        let parsed = SafeTensors::deserialize(&map)
            .map_err(|e| problem(path, format!("not a whole safetensors file ({e}): fetch it again")))?;
        for (name, view) in parsed.tensors() {
            let dtype = match view.dtype() {
                safetensors::Dtype::F32 => Dtype::F32,
                safetensors::Dtype::F16 => Dtype::F16,
                safetensors::Dtype::BF16 => Dtype::BF16,
                other => {
                    return Err(problem(
                        path,
                        format!(
                            "tensor `{name}` is {other:?}: only F32, F16 and BF16 can be \
                             converted; start from the unquantized model"
                        ),
                    ));
                }
            };
            let entry = Entry {
                dtype,
                shape: view.shape().iter().map(|&n| n as u64).collect(),
                map: self.maps.len(),
                start: view.data().as_ptr() as usize - map.as_ptr() as usize,
                len: view.data().len(),
            };
            if self.tensors.insert(name.clone(), entry).is_some() {
                return Err(problem(path, format!("tensor `{name}` is in two shards")));
            }
        }
        self.maps.push(map);
        Ok(())
    }

    /// Names and descriptions, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Entry)> {
        self.tensors.iter()
    }

    /// The bytes of a tensor that is there.
    pub fn data(&self, name: &str) -> &[u8] {
        let e = &self.tensors[name];
        &self.maps[e.map][e.start..][..e.len]
    }
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let index = folder.join(INDEX);
    if index.exists() {
        #[derive(serde::Deserialize)]
        struct Index {
            weight_map: BTreeMap<String, String>,
        }
        let text = std::fs::read(&index).map_err(|e| problem(&index, e.to_string()))?;
        let parsed: Index = serde_json::from_slice(&text).map_err(|e| problem(&index, e.to_string()))?;
        let mut names: Vec<_> = parsed.weight_map.into_values().collect();
        names.sort();
        names.dedup();
        let files: Vec<_> = names.iter().map(|n| folder.join(n)).collect();
        if let Some(missing) = files.iter().find(|f| !f.exists()) {
            return Err(problem(missing, "the index names this shard, but it is not there: fetch it"));
        }
        return Ok(files);
    }
    let single = folder.join(SINGLE);
    if single.exists() {
        return Ok(vec![single]);
    }
    let hint = if folder.join("pytorch_model.bin").exists()
        || folder.join("pytorch_model.bin.index.json").exists()
    {
        "only pytorch_model.bin is there; save the model again with safetensors"
    } else {
        "neither model.safetensors nor model.safetensors.index.json is there"
    };
    Err(problem(folder, hint))
}
