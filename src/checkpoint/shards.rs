//! The files of a folder that hold its tensors, one or many with an index, mapped into memory.

use super::quantized::Packed;
use super::{Dtype, Error, problem, pytorch};
use crate::mapped;
use memmap2::Mmap;
use safetensors::SafeTensors;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Names of the only file, by format; the first that is there counts.
const SINGLE: [&str; 2] = ["model.safetensors", "pytorch_model.bin"];
/// What makes the name of a file that of its index.
const INDEX: &str = ".index.json";

/// All tensors of a folder.
pub struct Shards {
    paths: Vec<PathBuf>,
    maps: Vec<Mmap>,
    tensors: BTreeMap<String, Entry>,
    /// What stands for those that are quantized, by their names.
    packed: BTreeMap<String, Box<dyn Packed>>,
}

/// A stored tensor.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Element type, or the name of one that cannot be converted.
    pub dtype: Result<Dtype, String>,
    /// Extents, outermost first.
    pub shape: Vec<u64>,
    /// The file.
    pub path: PathBuf,
    /// Its bytes.
    pub span: Span,
}

/// Bytes of one of the files.
#[derive(Clone, Copy, Debug, Default)]
pub struct Span {
    map: usize,
    start: usize,
    len: usize,
}

/// A tensor within a file.
pub(super) struct Found {
    pub name: String,
    pub dtype: Result<Dtype, String>,
    pub shape: Vec<u64>,
    pub start: usize,
    pub len: usize,
}

impl Shards {
    /// Maps the files of `folder`.
    pub fn open(folder: &Path) -> Result<Shards, Error> {
        let mut shards =
            Shards { paths: Vec::new(), maps: Vec::new(), tensors: BTreeMap::new(), packed: BTreeMap::new() };
        let (files, index) = files(folder)?;
        for path in &files {
            shards.add(path)?;
        }
        for (tensor, file) in index {
            if !shards.tensors.contains_key(&tensor) {
                return Err(problem(
                    &folder.join(file),
                    format!(
                        "the index says that tensor `{tensor}` is here, but it is not: fetch file and index again"
                    ),
                ));
            }
        }
        shards.paths = files;
        Ok(shards)
    }

    fn add(&mut self, path: &Path) -> Result<(), Error> {
        let map = mapped::map(path).map_err(|e| problem(path, e.to_string()))?;
        let found = match path.extension().is_some_and(|e| e == "bin") {
            true => pytorch::tensors(&map),
            false => safetensors(&map),
        };
        for t in found.map_err(|e| problem(path, e))? {
            let Found { name, dtype, shape, start, len } = t;
            let span = Span { map: self.maps.len(), start, len };
            let entry = Entry { dtype, shape, path: path.to_owned(), span };
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

    /// The description of a tensor that is there.
    pub fn entry(&self, name: &str) -> &Entry {
        &self.tensors[name]
    }

    /// The description of a tensor, if it is there.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.tensors.get(name)
    }

    /// The bytes of a tensor that is there.
    pub fn data(&self, name: &str) -> &[u8] {
        self.bytes(self.tensors[name].span)
    }

    /// The bytes of a span of these files.
    pub fn bytes(&self, span: Span) -> &[u8] {
        &self.maps[span.map][span.start..][..span.len]
    }

    /// Where the files are.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// The files.
    pub fn maps(&self) -> &[Mmap] {
        &self.maps
    }

    /// What holds a tensor that is quantized.
    pub fn packed(&self, name: &str) -> Option<&dyn Packed> {
        self.packed.get(name).map(|p| &**p)
    }

    /// Takes a tensor out.
    pub fn remove(&mut self, name: &str) -> Option<Entry> {
        self.tensors.remove(name)
    }

    /// Puts a quantized matrix in the place of the tensors that it was stored as; `path` is the file of one of them.
    pub fn put(&mut self, name: String, path: PathBuf, packed: Box<dyn Packed>) {
        let shape = packed.shape().map(|n| n as u64).to_vec();
        let entry = Entry { dtype: Ok(packed.dtype()), shape, path, span: Span::default() };
        self.tensors.insert(name.clone(), entry);
        self.packed.insert(name, packed);
    }
}

fn safetensors(map: &[u8]) -> Result<Vec<Found>, String> {
    let parsed = SafeTensors::deserialize(map)
        .map_err(|e| format!("not a whole safetensors file ({e}): fetch it again"))?;
    let found = parsed.tensors().into_iter().map(|(name, view)| Found {
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
    Err(problem(folder, format!("neither model.safetensors nor model.safetensors.index.json is there{hint}")))
}

/// The files that an index names.
fn indexed(folder: &Path, index: &Path) -> Result<(Vec<PathBuf>, WeightMap), Error> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: WeightMap,
    }
    let text = std::fs::read(index).map_err(|e| problem(index, e.to_string()))?;
    let Index { weight_map } =
        serde_json::from_slice(&text).map_err(|e| problem(index, format!("{e}: fetch it again")))?;
    let mut names: Vec<_> = weight_map.values().collect();
    names.sort();
    names.dedup();
    let files: Vec<_> = names.into_iter().map(|n| folder.join(n)).collect();
    match files.iter().find(|f| !f.exists()) {
        Some(missing) => Err(problem(missing, "the index names this shard, but it is not there: fetch it")),
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
        Some(missing) => Err(problem(&missing, "other shards are there, but not this one: fetch it")),
        None => Ok(paths.collect()),
    }
}
