//! llama.cpp's importance matrices: sums of x^2, as GGUF and in the older format.
//!
//! ```text
//! .dat     i32 entries; for each: i32 length, name, i32 chunks, i32 values, f32 each (mean of x^2, times chunks);
//!          then, in most files, i32 chunks, i32 length, name of the text
//! GGUF     general.type "imatrix"; NAME.in_sum2 (columns x experts) and NAME.counts (tokens by expert, or one for all)
//! ```

use super::{Problem, Statistics, count, floats};
use crate::gguf::{File, GgmlType, Value};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;

/// Tokens of a chunk where the file does not say: llama-imatrix's default.
const DEFAULT_CHUNK: u64 = 512;

pub(super) struct Imatrix {
    entries: BTreeMap<String, Entry>,
    text: String,
}

/// Sums for a weight, of its experts one after the other.
pub(super) struct Entry {
    pub sums: Vec<f32>,
    /// What to divide by, for every expert or for all, and how many tokens that was.
    counts: Vec<(f32, u64)>,
}

impl Imatrix {
    pub fn from_gguf(file: &File) -> Result<Imatrix, Problem> {
        let mut entries = BTreeMap::new();
        for t in file.tensors() {
            let Some(name) = t.name.strip_suffix(".in_sum2") else { continue };
            let counts_name = format!("{name}.counts");
            let counts = file.tensors().iter().find(|t| t.name == counts_name);
            let counts = counts.ok_or_else(|| Problem::Damaged(format!("`{counts_name}` is missing")))?;
            for t in [t, counts] {
                if t.kind != GgmlType::F32 {
                    return Err(Problem::Damaged(format!("`{}` is {}, not f32", t.name, t.kind.name())));
                }
            }
            let data = |t| file.data(t).map_err(|e| Problem::Damaged(e.problem.to_string()));
            let sums: Vec<f32> = floats(data(t)?).collect();
            let counts = floats(data(counts)?).enumerate();
            let counts = counts.map(|(i, c)| Ok((c, count(&counts_name, i, c)?)));
            let counts = counts.collect::<Result<Vec<_>, Problem>>()?;
            if counts.is_empty() || !sums.len().is_multiple_of(counts.len()) {
                let (s, c) = (sums.len(), counts.len());
                return Err(Problem::Damaged(format!("`{name}` has {s} values and {c} counts")));
            }
            entries.insert(name.to_owned(), Entry { sums, counts });
        }
        let texts = file.key("imatrix.datasets").and_then(Value::as_array).unwrap_or(&[]);
        let text = texts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
        Imatrix { entries, text }.checked()
    }

    pub fn from_dat(path: &Path) -> Result<Imatrix, Problem> {
        let bytes = std::fs::read(path)?;
        let mut r = Reader(&bytes);
        let no_imatrix = || Problem::NotCalibration("is neither a GGUF file nor an importance matrix".into());
        let n = r.natural().filter(|&n| n > 0).ok_or_else(no_imatrix)?;
        let mut entries = BTreeMap::new();
        for i in 0..n {
            // A first entry that makes no sense says that this is another kind of file.
            let cut = || match i {
                0 => no_imatrix(),
                _ => Problem::Damaged(format!("the file ends in entry {} of {n}", i + 1)),
            };
            let (name, entry) = r.entry().ok_or_else(cut)?;
            entries.insert(name, entry);
        }
        let text = r.natural().and_then(|_| r.string()).unwrap_or_default();
        Imatrix { entries, text }.checked()
    }

    /// Refuses values that are no sums of squares.
    fn checked(self) -> Result<Imatrix, Problem> {
        for (name, entry) in &self.entries {
            let bad = entry.sums.iter().position(|v| !v.is_finite() || *v < 0.0);
            if let Some(i) = bad {
                let place = format!("value {i}");
                let what = "a sum of squares";
                return Err(Problem::Value { tensor: name.clone(), place, value: entry.sums[i], what });
            }
        }
        Ok(self)
    }

    pub fn tokens(&self) -> u64 {
        self.entries.values().flat_map(|e| &e.counts).map(|c| c.1).max().unwrap_or(0)
    }

    pub fn identity(&self) -> String {
        let mut hash = Sha256::new();
        for (name, entry) in &self.entries {
            hash.update(format!("{name} {} {:?}", entry.sums.len(), entry.counts));
            entry.sums.iter().for_each(|sum| hash.update(sum.to_le_bytes()));
        }
        format!("{:x}", hash.finalize())
    }

    pub fn describe(&self) -> String {
        let text = if self.text.is_empty() { "unknown text" } else { &self.text };
        format!("importance matrix of {} weights, {} tokens of {text}", self.entries.len(), self.tokens())
    }

    pub fn weights(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(|name| &name[..])
    }

    pub fn entry(&self, weight: &str) -> Option<(&str, &Entry)> {
        self.entries.get_key_value(weight).map(|(name, entry)| (&name[..], entry))
    }

    pub fn load(&self, weight: &str, expert: usize, columns: usize) -> Result<Option<Statistics>, Problem> {
        let Some((_, entry)) = self.entry(weight) else { return Ok(None) };
        let weight = || weight.to_owned();
        let (found, experts) = (entry.sums.len(), entry.sums.len() / columns.max(1));
        if experts * columns != found || experts == 0 {
            return Err(Problem::Shape { weight: weight(), what: "values", found, expected: columns });
        }
        if expert >= experts {
            return Err(Problem::Expert { weight: weight(), experts, expert });
        }
        let counts = &entry.counts;
        let &(divisor, tokens) = counts.get(expert).unwrap_or(&counts[0]);
        let scale = if divisor == 0.0 { 0.0 } else { 1.0 / divisor as f64 };
        let sums = &entry.sums[expert * columns..][..columns];
        let values = sums.iter().map(|&v| (v as f64 * scale) as f32).collect();
        Ok(Some(Statistics::Diagonal { values, tokens }))
    }
}

/// Takes pieces off the front of a `.dat` file.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take(&mut self, n: usize) -> Option<&[u8]> {
        let (front, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(front)
    }

    /// An i32 that is not negative.
    fn natural(&mut self) -> Option<usize> {
        let bytes = self.take(4)?.try_into().expect("as long as asked for");
        i32::from_le_bytes(bytes).try_into().ok()
    }

    fn string(&mut self) -> Option<String> {
        let len = self.natural()?;
        String::from_utf8(self.take(len)?.to_vec()).ok()
    }

    fn entry(&mut self) -> Option<(String, Entry)> {
        let name = self.string()?;
        let chunks = self.natural()?;
        let values = self.natural().filter(|&n| n > 0)?;
        let sums = floats(self.take(values.checked_mul(4)?)?).collect();
        // Some old files have no chunks here; their values are means.
        let divisor = chunks.max(1) as f32;
        Some((name, Entry { sums, counts: vec![(divisor, chunks as u64 * DEFAULT_CHUNK)] }))
    }
}
