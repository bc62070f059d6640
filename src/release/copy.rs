//! A GGUF file again, with other keys and in other parts: tensors are copied as they are.

use super::error::Error;
use crate::gguf::{File, TensorHeader, Value, Writer};
use crate::mapped;
use crate::plan::{MAX_PARTS, by_size, part_keys, part_path};
use sha2::{Digest, Sha256};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Bytes that are copied at a time: their memory is given back then.
const PIECE: usize = 64 << 20;

/// A file that is to be written: one, or a part of several.
pub struct Part {
    /// Where it will be.
    pub path: PathBuf,
    /// Bytes of it.
    pub bytes: u64,
    keys: Vec<(String, Value)>,
    tensors: Range<usize>,
}

fn headers(file: &File, tensors: Range<usize>) -> Vec<TensorHeader> {
    let header = |t: &crate::gguf::Tensor| TensorHeader {
        name: t.name.clone(),
        shape: t.shape.clone(),
        kind: t.kind,
        bytes: t.bytes(),
    };
    file.tensors()[tensors].iter().map(header).collect()
}

/// Bytes of a file with other keys, as a whole.
pub fn bytes(file: &File, keys: &[(String, Value)]) -> u64 {
    Writer::file_bytes(keys, &headers(file, 0..file.tensors().len()))
}

/// The files that a file with other keys becomes, of at most so many bytes each, where `whole` is the name of the only one.
pub fn parts(
    file: &File,
    keys: &[(String, Value)],
    max_bytes: u64,
    whole: &Path,
) -> Result<Vec<Part>, Error> {
    let all = headers(file, 0..file.tensors().len());
    let ranges = by_size(keys, &all, max_bytes);
    let count = ranges.len();
    if count > MAX_PARTS {
        return Err(Error::TooManyParts { path: file.path().to_owned(), parts: count });
    }
    let part = |(i, tensors): (usize, Range<usize>)| {
        let keys = part_keys(keys, i, count, all.len());
        let bytes = Writer::file_bytes(&keys, &all[tensors.clone()]);
        Part { path: part_path(whole, i, count), bytes, keys, tensors }
    };
    Ok(ranges.into_iter().enumerate().map(part).collect())
}

/// Writes a part; `progress` hears of every number of bytes. What a killed program left of the same part is gone on with.
pub fn write(file: &File, part: &Part, replaces: bool, progress: &(dyn Fn(u64) + Sync)) -> Result<(), Error> {
    let headers = headers(file, part.tensors.clone());
    let (writer, done) = Writer::create_or_resume(&part.path, &part.keys, headers, &id(file, part), true)?;
    let mut writer = if replaces { writer } else { writer.keep_existing() };
    for (i, t) in file.tensors()[part.tensors.clone()].iter().enumerate() {
        if i < done {
            progress(t.bytes());
            continue;
        }
        for piece in file.stored(t).chunks(PIECE) {
            writer.write(piece)?;
            file.maps().iter().for_each(mapped::release);
            progress(piece.len() as u64);
        }
    }
    file.check_unchanged()?;
    writer.finish()?;
    Ok(())
}

/// Of all that decides the bytes of a part: the files that it is of by name, size and time, keys, tensors.
fn id(file: &File, part: &Part) -> String {
    let mut hash = Sha256::new();
    for path in file.paths() {
        let metadata = std::fs::metadata(path);
        let modified = metadata.as_ref().ok().and_then(|m| m.modified().ok());
        hash.update(format!("{path:?} {:?} {modified:?}\n", metadata.map(|m| m.len()).ok()));
    }
    for (key, value) in &part.keys {
        hash.update(format!("{key:?} "));
        hash.update(value.to_bytes());
    }
    hash.update(format!("release {:?}", part.tensors));
    hash.finalize()[..8].iter().map(|b| format!("{b:02x}")).collect()
}
