//! pytorch_model.bin: a zip file with a pickle and the storages that it speaks of.
//!
//! Reference: torch's `torch/serialization.py`.

use super::pickle::{Pickle, Tensor, Value};
use super::stored::StoredTensor;
use std::collections::HashMap;
use std::io::Cursor;
use std::ops::Range;
use zip::ZipArchive;

/// Tables within tables: `state_dict`, and one around it.
const MAX_DEPTH: usize = 4;
/// Entries of all tables; a file with more is none of weights.
const MAX_ENTRIES: usize = 1 << 20;

/// Bytes of all names together, as many times as the pickle has bytes. Every name stands in it; what stands before the dots of
/// tables within tables stands there once.
const NAMES: usize = 4;

/// The tensors of a file.
pub fn tensors(bytes: &[u8]) -> Result<Vec<StoredTensor>, String> {
    if !bytes.starts_with(b"PK") {
        return Err("not a zip file: either cut short, then fetch it again, or written by PyTorch before 1.6, then load \
                    and save it with a current one, or better as safetensors"
            .into());
    }
    let damaged = |e: zip::result::ZipError| format!("not a whole zip file ({e}): fetch it again");
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(damaged)?;
    // Every name begins with that of the file when it was saved.
    let mut storages = HashMap::new();
    let mut program = None;
    for i in 0..archive.len() {
        let file = archive.by_index(i).map_err(damaged)?;
        let name = file.name().map_err(damaged)?.into_owned();
        let start = file.data_start().unwrap_or_default() as usize;
        let range = start..start.saturating_add(file.size() as usize);
        if file.compression() != zip::CompressionMethod::Stored || range.end > bytes.len() {
            return Err(format!("`{name}` in it is compressed or cut short: fetch it again"));
        }
        match name.split_once('/').map_or("", |(_, inner)| inner) {
            "data.pkl" => program = Some(range),
            "byteorder" if &bytes[range.clone()] != b"little" => {
                return Err("written on a big-endian machine; save it again on a little-endian one".into());
            }
            inner => {
                if let Some(key) = inner.strip_prefix("data/") {
                    storages.insert(key.to_owned(), range);
                }
            }
        }
    }
    let program = program.ok_or("there is no data.pkl in it: not a file of PyTorch weights")?;
    let room_for_names = NAMES * program.len();
    let pickle = Pickle::run(&bytes[program])?;
    let mut all = Collection { pickle: &pickle, tensors: Vec::new(), entries: 0, room_for_names };
    all.add(pickle.result, "", 0)?;
    let found = all.tensors.iter().map(|(name, t)| describe(name, t, &storages));
    let found: Vec<StoredTensor> = found.collect::<Result<_, _>>()?;
    if found.is_empty() {
        return Err("no tensors are in it".into());
    }
    Ok(found)
}

/// Finds the tensors in tables and tables of tables (`state_dict` and the like), by their names joined with dots.
struct Collection<'a> {
    pickle: &'a Pickle<'a>,
    tensors: Vec<(String, &'a Tensor<'a>)>,
    /// Entries looked at: a table may stand in many places.
    entries: usize,
    /// Bytes that further names may have.
    room_for_names: usize,
}

impl Collection<'_> {
    fn add(&mut self, value: Value, name: &str, depth: usize) -> Result<(), String> {
        match value {
            Value::Tensor(t) => self.tensors.push((name.to_owned(), &self.pickle.tensors[t])),
            Value::Table(table) if depth < MAX_DEPTH => {
                for (key, value) in &self.pickle.tables[table] {
                    self.entries += 1;
                    if self.entries > MAX_ENTRIES {
                        return Err("it has more entries than a model can have tensors: refused".into());
                    }
                    let Value::Text(key) = key else { continue };
                    let left = self.room_for_names.checked_sub(name.len() + key.len() + 1);
                    self.room_for_names =
                        left.ok_or("the names in it are longer than those of tensors can be: refused")?;
                    let name = if name.is_empty() { (*key).to_owned() } else { format!("{name}.{key}") };
                    self.add(*value, &name, depth + 1)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Where the bytes of a tensor are.
fn describe(
    name: &str,
    t: &Tensor,
    storages: &HashMap<String, Range<usize>>,
) -> Result<StoredTensor, String> {
    let damaged = |what: &str| format!("tensor `{name}`: {what}: fetch the file again");
    let storage = storages.get(t.storage.key).ok_or_else(|| damaged("its storage is not there"))?;
    let elements = t.shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d));
    let elements = elements.ok_or_else(|| damaged("more elements than a file can hold"))?;
    let mut stride = 1;
    for (&extent, &given) in t.shape.iter().zip(&t.strides).rev() {
        if extent > 1 && given != stride {
            return Err(format!(
                "tensor `{name}` is not stored row by row (strides {:?}); save the model again as safetensors",
                t.strides
            ));
        }
        // With an extent of 0 there are no elements, whatever the others are.
        stride = extent.saturating_mul(stride);
    }
    let bytes = t.storage.bytes as u64;
    let (start, len) = (t.offset.checked_mul(bytes), elements.checked_mul(bytes));
    let inside = start.zip(len).filter(|(s, l)| s.checked_add(*l).is_some_and(|e| e <= storage.len() as u64));
    let (start, len) = inside.ok_or_else(|| damaged("it reaches beyond its storage"))?;
    Ok(StoredTensor {
        name: name.to_owned(),
        dtype: t.storage.dtype.clone(),
        shape: t.shape.clone(),
        start: storage.start + start as usize,
        len: len as usize,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Dtype;

    /// `torch.save` of torch 2.15: an OrderedDict of f32, f16, bf16, bool, views of one storage, a parameter.
    const SAVED: &[u8] = include_bytes!("../../tests/golden/pytorch.bin");
    /// The same of a transposed matrix.
    const COLUMNS: &[u8] = include_bytes!("../../tests/golden/pytorch-columns.bin");

    #[test]
    fn tensors_of_torch() {
        let found = tensors(SAVED).unwrap();
        let get = |name: &str| found.iter().find(|t| t.name == name).unwrap();
        let values = |name: &str| {
            let t = get(name);
            let dtype = t.dtype.clone().unwrap();
            let mut out = vec![0.0; t.len / dtype.bytes()];
            dtype.widen(&SAVED[t.start..][..t.len], &mut out);
            (dtype, t.shape.clone(), out)
        };
        let quarters: Vec<f32> = (0..12).map(|i| i as f32 / 4.0).collect();
        assert_eq!(values("a"), (Dtype::F32, vec![3, 4], quarters.clone()));
        assert_eq!(get("tied").start, get("a").start);
        assert_eq!(values("rows"), (Dtype::F32, vec![2, 4], quarters[4..].to_vec()));
        assert_eq!(values("half"), (Dtype::F16, vec![2], vec![1.5, -2.0]));
        assert_eq!(values("brain"), (Dtype::BF16, vec![2, 1], vec![0.5, 3.0]));
        assert_eq!(values("parameter"), (Dtype::F32, vec![1], vec![7.0]));
        assert_eq!(values("scalar"), (Dtype::F32, vec![], vec![5.0]));
        assert_eq!(get("mask").dtype, Err("Bool".into()));
    }

    #[track_caller]
    fn refused(bytes: &[u8], words: &[&str]) {
        let Err(e) = tensors(bytes) else { panic!("this should have been an error") };
        for word in words {
            assert!(e.contains(word), "{e:?} does not say {word:?}");
        }
    }

    #[test]
    fn transposed_views_are_refused() {
        refused(COLUMNS, &["`columns`", "row by row", "safetensors"]);
    }

    #[test]
    fn a_file_cut_short_is_refused() {
        for n in 0..SAVED.len() {
            refused(&SAVED[..n], &["fetch it again"]);
        }
    }

    #[test]
    fn any_byte_may_be_wrong() {
        for i in 0..SAVED.len() {
            for flip in [1, 0x80, 0xff] {
                let mut bytes = SAVED.to_vec();
                bytes[i] ^= flip;
                for t in tensors(&bytes).unwrap_or_default() {
                    assert!(t.start + t.len <= bytes.len());
                }
            }
        }
    }

    #[test]
    fn files_of_old_versions_are_named() {
        refused(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", &["PyTorch before 1.6", "save it"]);
    }
}
