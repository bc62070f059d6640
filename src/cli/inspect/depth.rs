//! Types over depth: a line for each kind of matrix, a letter for each block.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use tenpak_gguf::gguf::{File, GgmlType};
use tenpak_gguf::job::bits_per_weight;
use tenpak_gguf::names::{self, Role, TensorName};
use tenpak_gguf::printable;

/// Letters of types, from the one with the fewest bits.
const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// Kinds times blocks. A file may have as many kinds as tensors, each in a block of its own.
const MAX_CELLS: u64 = 1 << 16;

/// Blocks in a line.
const BLOCKS: usize = 64;

/// The strip; `None` for files without matrices in blocks.
pub fn strip(file: &File) -> Option<String> {
    // Of each kind in each block the type with the most bytes.
    let mut cells = BTreeMap::<(String, u64), BTreeMap<GgmlType, u64>>::new();
    let mut bits = BTreeMap::<GgmlType, (u64, u64)>::new();
    for t in file.tensors() {
        let Some(block) = names::block(&t.name).filter(|_| t.shape.len() > 1) else { continue };
        let kind = match Role::of(&t.name) {
            Role::Other => printable::line(TensorName::parse(&t.name).layer),
            role => role.name().to_owned(),
        };
        *cells.entry((kind, block)).or_default().entry(t.kind).or_default() += t.bytes();
        let sum = bits.entry(t.kind).or_default();
        *sum = (sum.0 + t.bytes(), sum.1 + t.elements());
    }
    let last = cells.keys().map(|(_, block)| *block).max()?;
    let mut types: Vec<(GgmlType, f64)> =
        bits.into_iter().map(|(kind, (bytes, weights))| (kind, bits_per_weight(bytes, weights))).collect();
    types.sort_by(|a, b| a.1.total_cmp(&b.1));
    let places: BTreeMap<GgmlType, usize> =
        types.iter().enumerate().map(|(place, (kind, _))| (*kind, place)).collect();
    let letter = |wanted: GgmlType| LETTERS.get(places[&wanted]).map_or('?', |letter| *letter as char);
    let kinds: BTreeSet<&String> = cells.keys().map(|(kind, _)| kind).collect();
    let width = kinds.iter().map(|kind| kind.chars().count()).max().unwrap_or(0).max("block".len());
    let mut text = String::from("types over depth:");
    for (kind, bits) in &types {
        let _ = write!(text, " {} {} ({bits:.2} bpw)", letter(*kind), kind.name());
    }
    // A file may have any number in a name; lines for blocks that are not there would have no end.
    let last = last.min(cells.len() as u64);
    if last * kinds.len() as u64 > MAX_CELLS {
        return None;
    }
    for first in (0..=last).step_by(BLOCKS) {
        let blocks = first..(first + BLOCKS as u64).min(last + 1);
        let _ = write!(text, "\n  {:width$}  {}", "block", ruler(blocks.clone()).trim_end());
        for kind in &kinds {
            let cell = |block| match cells.get(&((*kind).clone(), block)) {
                Some(types) => types.iter().max_by_key(|(_, bytes)| **bytes).map_or(' ', |(t, _)| letter(*t)),
                None => ' ',
            };
            let line: String = blocks.clone().map(cell).collect();
            let _ = write!(text, "\n  {kind:width$}  {}", line.trim_end());
        }
    }
    Some(text)
}

/// The number of every eighth block above it.
fn ruler(blocks: std::ops::Range<u64>) -> String {
    blocks.step_by(8).map(|block| format!("{block:<8}")).collect()
}
