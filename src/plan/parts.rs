//! Files in parts, named and marked as llama.cpp's, which loads all of them by the name of the first.
//!
//! The first part has all keys, and every part says its number and how many there are. Tensors keep their order, so that
//! each part can be written alone, on any machine.

use super::{Error, Plan};
use crate::gguf::{TensorHeader, Value, Writer};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Bytes that the header takes for a tensor besides its name, at the most: the extents, the type and the offset.
const HEADER_BYTES: u64 = 64;

/// Parts that can be counted: the key has 16 bits.
pub const MAX_PARTS: usize = u16::MAX as usize;

/// One of the files of a plan.
#[derive(Clone, Debug)]
pub struct Part {
    /// What is to be written into it.
    pub plan: Plan,
    /// Its path.
    pub path: PathBuf,
}

/// How a plan is cut into files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cut {
    /// One file.
    #[default]
    Whole,
    /// As many parts as it takes for none to have more bytes; a larger tensor stands alone.
    BySize(u64),
    /// One of some parts of about the same number of bytes, alone, so that several programs can write all.
    One {
        /// The part, counted from 1.
        number: usize,
        /// How many parts there are.
        of: usize,
    },
}

/// The files that a plan is written into, where `whole` is the name of the only one.
pub fn cut(plan: &Plan, cut: Cut, whole: &Path) -> Result<Vec<Part>, Error> {
    let (ranges, wanted) = match cut {
        Cut::Whole => return Ok(vec![Part { plan: plan.clone(), path: whole.to_owned() }]),
        Cut::BySize(max_bytes) => {
            let ranges = by_size(&plan.keys, &plan.headers(), max_bytes);
            let all = 0..ranges.len();
            (ranges, all)
        }
        Cut::One { number, of } if number == 0 || number > of => return Err(Error::NoPart { number, of }),
        Cut::One { number, of } => {
            let ranges = by_count(plan, of)?;
            (ranges, number - 1..number)
        }
    };
    if ranges.len() > MAX_PARTS {
        return Err(Error::TooManyParts { parts: ranges.len() });
    }
    let part = |i| Part { plan: part(plan, &ranges, i), path: part_path(whole, i, ranges.len()) };
    Ok(wanted.map(part).collect())
}

/// Tensors of each of as many parts as it takes for none to have more bytes; a larger tensor stands alone.
pub fn by_size(keys: &[(String, Value)], tensors: &[TensorHeader], max_bytes: u64) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let (mut first, mut bytes) = (0, Writer::file_bytes(keys, &[]));
    for (i, size) in tensors.iter().map(size).enumerate() {
        if bytes + size > max_bytes && i > first {
            parts.push(first..i);
            (first, bytes) = (i, 0);
        }
        bytes += size;
    }
    parts.push(first..tensors.len());
    parts
}

/// Tensors of each of `count` parts of about the same number of bytes.
fn by_count(plan: &Plan, count: usize) -> Result<Vec<Range<usize>>, Error> {
    let tensors = plan.tensors.len();
    if count == 0 || count > tensors {
        return Err(Error::Parts { tensors, parts: count });
    }
    let sizes = || plan.tensors.iter().map(|t| size(&t.header));
    let total: u64 = sizes().sum();
    let mut sums = sizes().scan(0, |sum, size| {
        *sum += size;
        Some(*sum)
    });
    let mut ends: Vec<usize> = Vec::new();
    for part in 1..count {
        let share = (total as u128 * part as u128 / count as u128) as u64;
        let last = ends.last().copied().unwrap_or(0);
        let taken = sums.by_ref().take_while(|sum| *sum < share).count();
        // Every part gets at least one tensor, and leaves at least one for each part that follows.
        ends.push((last + taken + 1).clamp(last + 1, tensors - (count - part)));
    }
    ends.push(tensors);
    let starts = [0].into_iter().chain(ends.iter().copied());
    Ok(starts.zip(ends.iter().copied()).map(|(a, b)| a..b).collect())
}

fn size(t: &TensorHeader) -> u64 {
    t.bytes + t.name.len() as u64 + HEADER_BYTES
}

/// The plan of part `i`, counted from 0.
fn part(plan: &Plan, ranges: &[Range<usize>], i: usize) -> Plan {
    let keys = part_keys(&plan.keys, i, ranges.len(), plan.tensors.len());
    Plan::of(keys, plan.tensors[ranges[i].clone()].to_vec())
}

/// The keys of part `i` of `count`, counted from 0, of a file with these keys and so many tensors. The only part is a file like
/// any other.
pub fn part_keys(keys: &[(String, Value)], i: usize, count: usize, tensors: usize) -> Vec<(String, Value)> {
    let mut keys = if i == 0 { keys.to_vec() } else { Vec::new() };
    if count > 1 {
        keys.extend([
            ("split.no".into(), Value::U16(i as u16)),
            ("split.count".into(), Value::U16(count as u16)),
            ("split.tensors.count".into(), Value::I32(tensors as i32)),
        ]);
    }
    keys
}

/// The name of part `i` of `count`, counted from 0: `model.gguf` becomes `model-00001-of-00003.gguf`, and stays if it
/// is the only one.
pub fn part_path(whole: &Path, i: usize, count: usize) -> PathBuf {
    if count == 1 {
        return whole.to_owned();
    }
    let has_extension = whole.extension().is_some_and(|extension| extension == "gguf");
    let stem = if has_extension { whole.file_stem() } else { whole.file_name() };
    let mut name = stem.unwrap_or_default().to_owned();
    name.push(format!("-{:05}-of-{count:05}.gguf", i + 1));
    whole.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_parts() {
        let name = |whole, i, count| part_path(Path::new(whole), i, count).to_string_lossy().into_owned();
        assert_eq!(name("a/model.gguf", 1, 3), "a/model-00002-of-00003.gguf");
        assert_eq!(name("model-v0.1", 0, 3), "model-v0.1-00001-of-00003.gguf");
        assert_eq!(name("model-v0.1.gguf", 2, 3), "model-v0.1-00003-of-00003.gguf");
        assert_eq!(name("model.gguf", 0, 1), "model.gguf");
    }
}
