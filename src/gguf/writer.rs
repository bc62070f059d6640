//! Writing: header first, then tensors one after the other, in pieces of any size.

use super::constants::{ALIGNMENT_KEY, DEFAULT_ALIGNMENT, MAGIC, MAX_ALIGNMENT, VERSION};
use super::error::{Error, Problem};
use super::tensor_type::GgmlType;
use super::value::{Value, write_string};
use crate::atomic_file::AtomicFile;
use std::io::{ErrorKind, Read, Write};
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

    /// As [`Writer::create`], but a file that a killed process left is gone on with, if `resume` is set. `id` stands
    /// for all that decides the bytes. Returns how many tensors are complete already: what is to be written begins
    /// with the next.
    pub fn create_or_resume(
        path: &Path,
        keys: &[(String, Value)],
        tensors: Vec<TensorHeader>,
        id: &str,
        resume: bool,
    ) -> Result<(Writer, usize), Error> {
        let resumed = || {
            let (out, there) = AtomicFile::create_or_resume(path, id, resume)?;
            Self::go_on(path, keys, tensors, out, there)
        };
        resumed().map_err(|p: Problem| p.at(path))
    }

    /// Has [`Writer::finish`] fail if there is a file of its name by then; else that is replaced.
    pub fn keep_existing(mut self) -> Writer {
        self.out.keep_existing();
        self
    }

    /// Whether a file is as long as one with these keys and tensors, and begins as it.
    pub fn has_written(path: &Path, keys: &[(String, Value)], tensors: &[TensorHeader]) -> bool {
        let expected = header(keys, tensors, alignment(keys));
        let mut found = vec![0; expected.len()];
        let begins = std::fs::File::open(path).and_then(|mut file| {
            file.read_exact(&mut found)?;
            Ok(file.metadata()?.len() == Self::file_bytes(keys, tensors))
        });
        begins.unwrap_or(false) && found == expected
    }

    fn start(path: &Path, keys: &[(String, Value)], tensors: Vec<TensorHeader>) -> Result<Writer, Problem> {
        Ok(Self::go_on(path, keys, tensors, AtomicFile::create(path)?, 0)?.0)
    }

    fn go_on(
        path: &Path,
        keys: &[(String, Value)],
        tensors: Vec<TensorHeader>,
        mut out: AtomicFile,
        there: u64,
    ) -> Result<(Writer, usize), Problem> {
        let alignment = alignment(keys);
        if !alignment.is_power_of_two() || alignment > MAX_ALIGNMENT {
            return Err(Problem::Alignment(alignment));
        }
        let mut header = header(keys, &tensors, alignment);
        header.resize(header.len().next_multiple_of(alignment as usize), 0);
        let mut found = vec![0; header.len()];
        if there >= header.len() as u64 {
            out.read_start(&mut found)?;
        }
        let mut current = 0;
        if found == header {
            let mut end = header.len() as u64;
            for t in &tensors {
                let next = end + t.bytes.next_multiple_of(alignment);
                if next > there {
                    break;
                }
                (end, current) = (next, current + 1);
            }
            out.go_on_at(end)?;
        } else {
            out.go_on_at(0)?;
            out.write_all(&header)?;
        }
        Ok((Writer { path: path.to_owned(), out, alignment, tensors, current, written: 0 }, current))
    }

    /// Bytes of the whole file with these keys and tensors.
    pub fn file_bytes(keys: &[(String, Value)], tensors: &[TensorHeader]) -> u64 {
        let alignment = alignment(keys).clamp(1, MAX_ALIGNMENT);
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
            self.out.write_all(now).map_err(|e| self.stopped(e))?;
            self.written += now.len() as u64;
            bytes = later;
            self.finish_tensor().map_err(|e| self.stopped(e))?;
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
            // A process that is killed leaves whole tensors.
            self.out.flush()?;
        }
        Ok(())
    }

    /// Puts the complete file under its name; returns its size.
    pub fn finish(mut self) -> Result<u64, Error> {
        let path = self.path.clone();
        self.finish_tensor().map_err(|e| self.stopped(e))?;
        if let Some(t) = self.tensors.get(self.current) {
            let problem = Problem::WrongLength { name: t.name.clone(), expected: t.bytes, got: self.written };
            return Err(problem.at(&path));
        }
        self.out.persist().map_err(|e| Problem::Io(e).at(&path))
    }

    /// What writing failed with.
    fn stopped(&self, e: std::io::Error) -> Error {
        let rest = self.tensors[self.current..].iter().map(|t| t.bytes.next_multiple_of(self.alignment));
        match e.kind() {
            ErrorKind::StorageFull => Problem::Full { missing: rest.sum::<u64>() - self.written },
            _ => Problem::Io(e),
        }
        .at(&self.path)
    }
}

/// What `general.alignment` says; 0 if that is no number.
fn alignment(keys: &[(String, Value)]) -> u64 {
    let said = keys.iter().find(|(k, _)| k == ALIGNMENT_KEY);
    said.map_or(DEFAULT_ALIGNMENT, |(_, v)| v.as_u64().unwrap_or(0))
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
        write_string(key.as_bytes(), &mut h);
        h.extend(value.to_bytes());
    }
    let mut offset = 0u64;
    for t in tensors {
        write_string(t.name.as_bytes(), &mut h);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_with_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let tensor = |name: &str, bytes| TensorHeader {
            name: name.into(),
            shape: vec![bytes],
            kind: GgmlType(24),
            bytes,
        };
        let tensors = vec![tensor("a", 64), tensor("b", 1000)];
        let mut writer = Writer::create(&folder.path().join("out.gguf"), &[], tensors).unwrap();
        writer.write(&[0; 64 + 24]).unwrap();
        let says = writer.stopped(ErrorKind::StorageFull.into()).to_string();
        assert!(
            says.ends_with("out.gguf: the disk is full: free 1000 bytes, or choose another folder"),
            "{says}"
        );
    }
}
