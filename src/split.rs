//! Files in parts, named and marked as llama.cpp's, which loads them by the first.
//!
//! The first part has all keys, every part says its number and how many there are. Tensors keep their order, so that
//! each part can be written alone, on any machine.

use crate::convert::Plan;
use crate::gguf::{Value, Writer};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Name, extents, type and offset of a tensor in the header take no more than its name and so many bytes.
const HEADER_BYTES: u64 = 64;

/// Tensors of each part, as many parts as it takes for none to have more bytes; a larger tensor stands alone.
pub fn by_size(plan: &Plan, max_bytes: u64) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let (mut first, mut bytes) = (0, Writer::file_bytes(&plan.keys, &[]));
    for (i, size) in sizes(plan).enumerate() {
        if bytes + size > max_bytes && i > first {
            parts.push(first..i);
            (first, bytes) = (i, 0);
        }
        bytes += size;
    }
    parts.push(first..plan.headers.len());
    parts
}

/// Tensors of `count` parts of about the same number of bytes.
pub fn by_count(plan: &Plan, count: usize) -> Result<Vec<Range<usize>>, String> {
    let tensors = plan.headers.len();
    if count == 0 || count > tensors {
        return Err(format!("{tensors} tensors cannot be in {count} parts; choose from 1 to {tensors}"));
    }
    let total: u64 = sizes(plan).sum();
    let mut sums = sizes(plan).scan(0, |sum, size| {
        *sum += size;
        Some(*sum)
    });
    let mut ends: Vec<usize> = Vec::new();
    for part in 1..count {
        let share = (total as u128 * part as u128 / count as u128) as u64;
        let last = ends.last().copied().unwrap_or(0);
        let taken = sums.by_ref().take_while(|sum| *sum < share).count();
        // One of every part's own, and one for each that follows.
        ends.push((last + taken + 1).clamp(last + 1, tensors - (count - part)));
    }
    ends.push(tensors);
    let starts = [0].into_iter().chain(ends.iter().copied());
    Ok(starts.zip(ends.iter().copied()).map(|(a, b)| a..b).collect())
}

fn sizes(plan: &Plan) -> impl Iterator<Item = u64> {
    plan.headers.iter().map(|h| h.bytes + h.name.len() as u64 + HEADER_BYTES)
}

/// The plan of part `i`, counted from 0. The only part is a file like any other.
pub fn part(plan: &Plan, parts: &[Range<usize>], i: usize) -> Plan {
    let range = parts[i].clone();
    let mut keys = if i == 0 { plan.keys.clone() } else { Vec::new() };
    if parts.len() > 1 {
        keys.extend([
            ("split.no".into(), Value::U16(i as u16)),
            ("split.count".into(), Value::U16(parts.len() as u16)),
            ("split.tensors.count".into(), Value::I32(plan.headers.len() as i32)),
        ]);
    }
    let headers = plan.headers[range.clone()].to_vec();
    let file_bytes = Writer::file_bytes(&keys, &headers);
    let targets = plan.targets[range.clone()].to_vec();
    Plan { keys, headers, targets, file_bytes, left_plain: Vec::new(), first: plan.first + range.start }
}

/// The name of part `i` of `count`, counted from 0: `model.gguf` becomes `model-00001-of-00003.gguf`, and stays if it
/// is the only one.
pub fn path(whole: &Path, i: usize, count: usize) -> PathBuf {
    if count == 1 {
        return whole.to_owned();
    }
    let name = whole.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.strip_suffix(".gguf").unwrap_or(&name);
    whole.with_file_name(format!("{stem}-{:05}-of-{count:05}.gguf", i + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_parts() {
        let name = |whole, i, count| path(Path::new(whole), i, count).to_string_lossy().into_owned();
        assert_eq!(name("a/model.gguf", 1, 3), "a/model-00002-of-00003.gguf");
        assert_eq!(name("model-v0.1", 0, 3), "model-v0.1-00001-of-00003.gguf");
        assert_eq!(name("model-v0.1.gguf", 2, 3), "model-v0.1-00003-of-00003.gguf");
        assert_eq!(name("model.gguf", 0, 1), "model.gguf");
    }
}
