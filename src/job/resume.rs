//! Whether two conversions write the same bytes, so that one can go on where the other was killed.

use super::Guide;
use crate::atomic_file;
use crate::checkpoint::Model;
use crate::gguf::Writer;
use crate::plan::{Plan, Target};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// Digest of all that decides the bytes of a file: this program's version, the model's files by name, size and time,
/// keys, tensors and their types, the calibration.
pub fn id(model: &Model, plan: &Plan, guide: Option<Guide>) -> String {
    let mut hash = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    add(env!("CARGO_PKG_VERSION").as_bytes());
    for path in model.files() {
        let metadata = std::fs::metadata(&path);
        let modified = metadata.as_ref().ok().and_then(|m| m.modified().ok());
        add(format!("{path:?} {:?} {modified:?}", metadata.map(|m| m.len()).ok()).as_bytes());
    }
    for (key, value) in &plan.keys {
        add(key.as_bytes());
        add(&value.to_bytes());
    }
    for planned in &plan.tensors {
        let (header, kept) = (&planned.header, matches!(planned.target, Target::Kept(_)));
        add(format!("{} {:?} {} {kept}", header.name, header.shape, header.kind.0).as_bytes());
        if !planned.making.is_free() {
            add(format!("{:?}", planned.making).as_bytes());
        }
        if let Some(factors) = planned.source.factors() {
            add(bytemuck::cast_slice(factors));
        }
    }
    if let Some(guide) = guide {
        add(format!("{:?} {}", guide.effort, guide.calibration.identity()).as_bytes());
    }
    hash.finalize()[..8].iter().map(|b| format!("{b:02x}")).collect()
}

/// Files that killed runs with another model or other options left beside `path` and
/// that no process writes now.
pub fn left_by_others(model: &Model, plan: &Plan, guide: Option<Guide>, path: &Path) -> Vec<String> {
    let names = atomic_file::other_parts(path, &id(model, plan, guide));
    names.into_iter().map(|name| name.to_string_lossy().into_owned()).collect()
}

/// Whether there is a file that has the planned keys, tensors and size and was written after all of `inputs`.
pub fn is_complete(plan: &Plan, path: &Path, inputs: &[PathBuf]) -> bool {
    let modified = |path: &Path| std::fs::metadata(path).and_then(|m| m.modified());
    let is_newer =
        |written| inputs.iter().all(|input| modified(input).is_ok_and(|changed| changed < written));
    modified(path).is_ok_and(is_newer) && Writer::has_written(path, &plan.keys, &plan.headers())
}
