//! Writing: header first, then tensors one after the other, in pieces of any size.

use super::value::{Value, write_string};
use super::{ALIGNMENT_KEY, DEFAULT_ALIGNMENT, Error, GgmlType, MAGIC, Problem, VERSION};
use crate::atomic_file::AtomicFile;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// What the header says of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorHeader {
    /// Its name.
    pub name: String,
    /// Extents, innermost (columns) first.
    pub shape: Vec<u64>,
    /// Its type.
    pub kind: GgmlType,
    /// Bytes of its data.
    pub bytes: u64,
}

/// Writes a file that appears under its name when it is complete; see [`AtomicFile`].
pub struct Writer {
    path: PathBuf,
    out: AtomicFile,
    alignment: u64,
    tensors: Vec<TensorHeader>,
    /// The tensor being written and how many of its bytes are there.
    current: usize,
    written: u64,
}

impl Writer {
    /// Starts a file with these keys and tensors. `general.alignment` is obeyed.
    pub fn create(
        path: &Path,
        keys: &[(String, Value)],
        tensors: Vec<TensorHeader>,
    ) -> Result<Writer, Error> {
        Self::start(path, keys, tensors).map_err(|p| p.at(path))
    }

    fn start(path: &Path, keys: &[(String, Value)], tensors: Vec<TensorHeader>) -> Result<Writer, Problem> {
        let alignment = keys.iter().find(|(k, _)| k == ALIGNMENT_KEY);
        let alignment = alignment.map_or(DEFAULT_ALIGNMENT, |(_, v)| v.as_u64().unwrap_or(0));
        if !alignment.is_power_of_two() {
            return Err(Problem::Alignment(alignment));
        }
        let mut out = AtomicFile::create(path)?;
        let header = header(keys, &tensors, alignment);
        let padding = padding(header.len() as u64, alignment);
        out.write_all(&header)?;
        std::io::copy(&mut std::io::repeat(0).take(padding), &mut out)?;
        Ok(Writer { path: path.to_owned(), out, alignment, tensors, current: 0, written: 0 })
    }

    /// Bytes of the whole file with these keys and tensors.
    pub fn file_bytes(keys: &[(String, Value)], tensors: &[TensorHeader]) -> u64 {
        let alignment = keys.iter().find(|(k, _)| k == ALIGNMENT_KEY);
        let alignment = alignment.and_then(|(_, v)| v.as_u64()).unwrap_or(DEFAULT_ALIGNMENT);
        let data: u64 = tensors.iter().map(|t| t.bytes.next_multiple_of(alignment)).sum();
        (header(keys, tensors, alignment).len() as u64).next_multiple_of(alignment) + data
    }

    /// Appends bytes to the next tensor that is not complete.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let Some(tensor) = self.tensors.get(self.current) else {
                let problem = Problem::WrongLength {
                    name: "(past the last)".into(),
                    expected: 0,
                    got: bytes.len() as u64,
                };
                return Err(problem.at(&self.path));
            };
            let room = tensor.bytes - self.written;
            let (now, later) = bytes.split_at(room.min(bytes.len() as u64) as usize);
            self.out.write_all(now).map_err(|e| Problem::Io(e).at(&self.path))?;
            self.written += now.len() as u64;
            bytes = later;
            self.finish_tensor().map_err(|e| Problem::Io(e).at(&self.path))?;
        }
        Ok(())
    }

    /// Pads and goes on to the next tensor while the current one is complete.
    fn finish_tensor(&mut self) -> std::io::Result<()> {
        while self.tensors.get(self.current).is_some_and(|t| t.bytes == self.written) {
            let padding = padding(self.written, self.alignment);
            std::io::copy(&mut std::io::repeat(0).take(padding), &mut self.out)?;
            self.current += 1;
            self.written = 0;
        }
        Ok(())
    }

    /// Puts the complete file under its name; returns its size.
    pub fn finish(mut self) -> Result<u64, Error> {
        let path = self.path.clone();
        let at = |e: std::io::Error| Problem::Io(e).at(&path);
        self.finish_tensor().map_err(at)?;
        if let Some(t) = self.tensors.get(self.current) {
            let problem = Problem::WrongLength { name: t.name.clone(), expected: t.bytes, got: self.written };
            return Err(problem.at(&path));
        }
        self.out.persist().map_err(at)
    }
}

/// Bytes from `at` to the next multiple of `alignment`.
fn padding(at: u64, alignment: u64) -> u64 {
    at.next_multiple_of(alignment) - at
}

/// Everything before the data, without the padding at its end.
fn header(keys: &[(String, Value)], tensors: &[TensorHeader], alignment: u64) -> Vec<u8> {
    let mut h = Vec::new();
    h.extend(MAGIC);
    h.extend(VERSION.to_le_bytes());
    h.extend((tensors.len() as u64).to_le_bytes());
    h.extend((keys.len() as u64).to_le_bytes());
    for (key, value) in keys {
        write_string(key, &mut h);
        h.extend(value.to_bytes());
    }
    let mut offset = 0u64;
    for t in tensors {
        write_string(&t.name, &mut h);
        h.extend((t.shape.len() as u32).to_le_bytes());
        for extent in &t.shape {
            h.extend(extent.to_le_bytes());
        }
        h.extend(t.kind.0.to_le_bytes());
        h.extend(offset.to_le_bytes());
        offset += t.bytes.next_multiple_of(alignment);
    }
    h
}
