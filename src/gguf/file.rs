//! Reading.

use super::constants::*;
use super::error::{Error, Problem};
use super::tensor_type::GgmlType;
use super::value::{Kind, Value};
use crate::lfs;
use crate::mapped::{self, Changed, Map};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The key with the number of tensors of all parts.
const TENSORS_OF_PARTS: &str = "split.tensors.count";

/// A GGUF file, or all parts of a split one, mapped into memory.
pub struct File {
    /// Of all parts; that of the first is where it was opened.
    paths: Vec<PathBuf>,
    version: u32,
    alignment: u64,
    keys: Vec<(String, Value)>,
    tensors: Vec<Tensor>,
    parts: Vec<Map>,
}

/// A tensor of a file.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Extents, innermost (columns) first.
    pub shape: Vec<u64>,
    /// Its type.
    pub kind: GgmlType,
    /// Which part holds it.
    part: usize,
    /// Where its bytes start in the part.
    start: u64,
    /// How many there are; up to the next tensor if the type is unknown.
    len: u64,
}

impl Tensor {
    /// Number of elements.
    pub fn elements(&self) -> u64 {
        self.shape.iter().product()
    }

    /// Elements of a row.
    pub fn columns(&self) -> u64 {
        self.shape.first().copied().unwrap_or(1)
    }

    /// Bytes in the file.
    pub fn bytes(&self) -> u64 {
        self.len
    }
}

impl File {
    /// Opens a file and, if it is the first part of a split one, its other parts.
    pub fn open(path: &Path) -> Result<File, Error> {
        let mut file = open_part(path)?;
        let count = file.key("split.count").and_then(Value::as_u64).unwrap_or(1);
        if count < 2 {
            return Ok(file);
        }
        let number = file.key("split.no").and_then(Value::as_u64).unwrap_or(0);
        let name = |i: u64| part_name(path, i, count).map_err(|p| p.at(path));
        if number != 0 {
            let first = name(0)?.file_name().unwrap_or_default().to_string_lossy().into_owned();
            return Err(Problem::NotFirstPart { number: number.saturating_add(1), first }.at(path));
        }
        let expected = file.key(TENSORS_OF_PARTS).and_then(Value::as_u64);
        for i in 1..count {
            let path = name(i)?;
            let part = open_part(&path)?;
            if part.key("split.no").and_then(Value::as_u64) != Some(i) {
                let problem = Problem::Split(format!("this is not part {} of {count}", i + 1));
                return Err(problem.at(&path));
            }
            for (key, expected) in [("split.count", Some(count)), (TENSORS_OF_PARTS, expected)] {
                let said = part.key(key).and_then(Value::as_u64);
                if said != expected {
                    let words = |n: Option<u64>| n.map_or("nothing".to_owned(), |n| n.to_string());
                    let problem =
                        format!("says {} of {key}, and the first part {}", words(said), words(expected));
                    return Err(Problem::Split(problem).at(&path));
                }
            }
            let base = file.parts.len();
            file.parts.extend(part.parts);
            file.paths.extend(part.paths);
            file.tensors.extend(part.tensors.into_iter().map(|t| Tensor { part: base, ..t }));
        }
        check_unique("tensor", file.tensors.iter().map(|t| &t.name)).map_err(|p| p.at(path))?;
        if expected.is_some_and(|n| n != file.tensors.len() as u64) {
            let problem = Problem::Split(format!(
                "split.tensors.count is {}, but the parts have {} tensors",
                expected.unwrap_or_default(),
                file.tensors.len()
            ));
            return Err(problem.at(path));
        }
        file.keys.retain(|(k, _)| !k.starts_with("split."));
        Ok(file)
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.paths[0]
    }

    /// Where its parts are.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// The part that holds a tensor of this file.
    pub fn path_of(&self, tensor: &Tensor) -> &Path {
        &self.paths[tensor.part]
    }

    /// Format version.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Alignment of tensor data.
    pub fn alignment(&self) -> u64 {
        self.alignment
    }

    /// Bytes of all parts.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|p| p.len() as u64).sum()
    }

    /// Keys and values in the order of the file.
    pub fn keys(&self) -> &[(String, Value)] {
        &self.keys
    }

    /// The value of a key.
    pub fn key(&self, name: &str) -> Option<&Value> {
        self.keys.iter().find(|(k, _)| k == name).map(|(_, v)| v)
    }

    /// The name of the adapter without which the file computes something else than its model, if it has one.
    pub fn adapter(&self) -> Option<&str> {
        self.key(ADAPTER_KEY).and_then(Value::as_str)
    }

    /// Fails if the file was changed or cut short since it was opened: whoever has used its bytes asks before the result
    /// counts.
    pub fn check_unchanged(&self) -> Result<(), Changed> {
        self.parts.iter().try_for_each(Map::check)
    }

    /// Its parts in memory.
    pub(crate) fn maps(&self) -> &[Map] {
        &self.parts
    }

    /// Tensors in the order of the file.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// The bytes of a tensor of this file.
    pub fn data(&self, tensor: &Tensor) -> Result<&[u8], Error> {
        if tensor.kind.block_len().is_none() {
            let problem = Problem::UnknownType { name: tensor.name.clone(), id: tensor.kind.0 };
            return Err(problem.at(self.path_of(tensor)));
        }
        Ok(self.stored(tensor))
    }

    /// The bytes of a tensor of this file as they are there, of any type: of an unknown one up to the next tensor.
    pub fn stored(&self, tensor: &Tensor) -> &[u8] {
        &self.parts[tensor.part][tensor.start as usize..][..tensor.len as usize]
    }
}

/// `model-00001-of-00003.gguf` to the name of part `i` (from zero).
fn part_name(path: &Path, i: u64, count: u64) -> Result<PathBuf, Problem> {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    let wrong = || {
        Problem::Split(format!(
            "split.count is {count}, but the name does not end in -NNNNN-of-{count:05}.gguf: rename the parts"
        ))
    };
    let stem = name.strip_suffix(format!("-of-{count:05}.gguf").as_bytes()).ok_or_else(wrong)?;
    let stem = stem.len().checked_sub(5).map(|at| stem.split_at(at)).ok_or_else(wrong)?;
    let stem = match stem {
        (stem, number) if number.iter().all(u8::is_ascii_digit) => {
            stem.strip_suffix(b"-").ok_or_else(wrong)?
        }
        _ => return Err(wrong()),
    };
    // SAFETY: the bytes are those of a name of the system's up to an ASCII character.
    let mut name = unsafe { OsStr::from_encoded_bytes_unchecked(stem) }.to_owned();
    name.push(format!("-{:05}-of-{count:05}.gguf", i + 1));
    Ok(path.with_file_name(name))
}

fn open_part(path: &Path) -> Result<File, Error> {
    read_part(path).map_err(|p| p.at(path))
}

fn read_part(path: &Path) -> Result<File, Problem> {
    let map = mapped::map(path)?;
    let mut r = Reader { bytes: &map[..map.len().min(MAX_HEADER)], at: 0, numbers: MAX_NUMBERS };
    let magic = r.take(4, "the magic").unwrap_or(&map);
    if lfs::is_pointer(&map) {
        return Err(Problem::LfsPointer);
    }
    if magic != MAGIC {
        return Err(Problem::Magic(magic.to_vec()));
    }
    let version = r.u32("the version")?;
    match version {
        2 | 3 => {}
        v if v.swap_bytes() == 2 || v.swap_bytes() == 3 => return Err(Problem::BigEndian),
        v => return Err(Problem::Version(v)),
    }
    let tensor_count = r.count("the number of tensors", 8 + 4 + 4 + 8, MAX_TENSORS)?;
    let key_count = r.count("the number of keys", 8 + 4 + 1, MAX_KEYS)?;
    let mut keys = Vec::new();
    for _ in 0..key_count {
        let name = r.string("a key")?;
        let kind = r.kind(&name)?;
        let value = r.value(kind, &name, 0)?;
        keys.push((name, value));
    }
    check_unique("key", keys.iter().map(|(k, _)| k))?;
    let alignment = match keys.iter().find(|(k, _)| k == ALIGNMENT_KEY) {
        None => DEFAULT_ALIGNMENT,
        Some((_, v)) => v.as_u64().unwrap_or(0),
    };
    if !alignment.is_power_of_two() || alignment > MAX_ALIGNMENT {
        return Err(Problem::Alignment(alignment));
    }
    let mut tensors = Vec::new();
    for _ in 0..tensor_count {
        tensors.push(r.tensor(alignment)?);
    }
    check_unique("tensor", tensors.iter().map(|t| &t.name))?;
    let base = (r.at as u64).next_multiple_of(alignment);
    let len = map.len() as u64;
    place(&mut tensors, base, len)?;
    Ok(File { paths: vec![path.to_owned()], version, alignment, keys, tensors, parts: vec![map] })
}

/// Turns offsets into places in the file and finds lengths.
fn place(tensors: &mut [Tensor], base: u64, file_len: u64) -> Result<(), Problem> {
    let mut starts: Vec<u64> = tensors.iter().map(|t| t.start).collect();
    starts.sort_unstable();
    for t in tensors {
        let offset = t.start;
        t.start = base.checked_add(offset).ok_or_else(|| absurd("a tensor's offset", offset))?;
        t.len = match (t.kind.bytes(t.elements()), t.kind.block_len()) {
            (Some(len), _) => len,
            (None, Some(block)) => {
                return Err(Problem::Block {
                    name: t.name.clone(),
                    kind: t.kind.name(),
                    columns: t.columns(),
                    block,
                });
            }
            (None, None) => {
                let later = starts.partition_point(|&start| start <= offset);
                let next = starts.get(later).map_or(file_len, |start| base.saturating_add(*start));
                next.saturating_sub(t.start)
            }
        };
        let end = t.start.saturating_add(t.len);
        if end > file_len {
            return Err(Problem::TensorOutside { name: t.name.clone(), end, len: file_len });
        }
    }
    Ok(())
}

fn absurd(what: impl Into<String>, value: u64) -> Problem {
    Problem::Absurd { what: what.into(), value }
}

fn check_unique<'a>(what: &'static str, names: impl Iterator<Item = &'a String>) -> Result<(), Problem> {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(Problem::Duplicate { what, name: name.clone() });
        }
    }
    Ok(())
}

/// Takes pieces off the front of a file; nothing that it returns was longer than the file.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// How many more numbers in arrays are kept as values of their own.
    numbers: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize, what: &'static str) -> Result<&'a [u8], Problem> {
        let rest = &self.bytes[self.at..];
        if n > rest.len() {
            return Err(Problem::Truncated(what));
        }
        self.at += n;
        Ok(&rest[..n])
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Problem> {
        Ok(self.take(N, what)?.try_into().expect("as long as asked for"))
    }

    fn u32(&mut self, what: &'static str) -> Result<u32, Problem> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    fn u64(&mut self, what: &'static str) -> Result<u64, Problem> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// A count of at most `most` things of at least `min_bytes` each, which must fit into the rest of the file.
    fn count(&mut self, what: &'static str, min_bytes: u64, most: usize) -> Result<usize, Problem> {
        let n = self.u64(what)?;
        let rest = (self.bytes.len() - self.at) as u64;
        if n > rest / min_bytes || n > most as u64 { Err(absurd(what, n)) } else { Ok(n as usize) }
    }

    /// The bytes of a string.
    fn bytes(&mut self, what: &'static str) -> Result<&'a [u8], Problem> {
        let len = self.count(what, 1, usize::MAX)?;
        self.take(len, what)
    }

    /// A string that has to be a name.
    fn string(&mut self, what: &'static str) -> Result<String, Problem> {
        let bytes = self.bytes(what)?.to_vec();
        String::from_utf8(bytes).map_err(|_| Problem::Utf8(what.to_owned()))
    }

    fn kind(&mut self, key: &str) -> Result<Kind, Problem> {
        let n = self.u32("a value type")?;
        Kind::from_u32(n).ok_or_else(|| absurd(format!("the value type of `{key}`"), n.into()))
    }

    fn value(&mut self, kind: Kind, key: &str, depth: usize) -> Result<Value, Problem> {
        const WHAT: &str = "a value";
        Ok(match kind {
            Kind::String => match String::from_utf8(self.bytes(WHAT)?.to_vec()) {
                Ok(text) => Value::String(text),
                Err(e) => Value::Bytes(e.into_bytes()),
            },
            Kind::Array if depth == MAX_ARRAY_DEPTH => {
                return Err(absurd(format!("the depth of array `{key}`"), depth as u64 + 1));
            }
            Kind::Array => {
                let kind = self.kind(key)?;
                let n = self.count("the length of an array", kind.min_bytes(), usize::MAX)?;
                if !matches!(kind, Kind::String | Kind::Array) {
                    match self.numbers.checked_sub(n) {
                        Some(left) => self.numbers = left,
                        None => {
                            let bytes = self.take(n * kind.min_bytes() as usize, WHAT)?;
                            return Ok(Value::Numbers(kind, bytes.to_vec()));
                        }
                    }
                }
                let values = (0..n).map(|_| self.value(kind, key, depth + 1));
                Value::Array(kind, values.collect::<Result<_, _>>()?)
            }
            kind => kind.number(self.take(kind.min_bytes() as usize, WHAT)?),
        })
    }

    fn tensor(&mut self, alignment: u64) -> Result<Tensor, Problem> {
        const WHAT: &str = "the list of tensors";
        let name = self.string("a tensor name")?;
        let dims = self.u32(WHAT)? as usize;
        if dims > MAX_DIMS {
            return Err(absurd(format!("the number of dimensions of `{name}`"), dims as u64));
        }
        let shape = (0..dims).map(|_| self.u64(WHAT)).collect::<Result<Vec<_>, _>>()?;
        let elements = shape.iter().try_fold(1u64, |n, &extent| n.checked_mul(extent));
        // Room for the multiplication by the bytes of a block.
        if elements.is_none_or(|n| n > 1 << 48) {
            return Err(absurd(format!("the size of `{name}`"), elements.unwrap_or(u64::MAX)));
        }
        let kind = GgmlType(self.u32(WHAT)?);
        let columns = shape.first().copied().unwrap_or(1);
        if let Some(block) = kind.block_len().filter(|&b| columns % b != 0) {
            return Err(Problem::Block { name, kind: kind.name(), columns, block });
        }
        let start = self.u64(WHAT)?;
        if start % alignment != 0 {
            return Err(absurd(format!("the offset of `{name}`"), start));
        }
        Ok(Tensor { name, shape, kind, part: 0, start, len: 0 })
    }
}
