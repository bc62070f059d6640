//! AutoGPTQ and GPTQModel.
//!
//! ```text
//! qweight  I32 [columns * bits / 32, rows]      codes of a row: fields down a column of words
//! qzeros   I32 [groups, rows * bits / 32]       zero points of a group: fields along a row of words
//! scales   F16 [groups, rows]
//! g_idx    I32 [columns]                        the group of each column
//! weight = scale * (code - zero)
//! ```
//!
//! Version 1 (`checkpoint_format` "gptq") stores zero points less one, modulo 2^bits.

use super::grouped::{Grouped, Layout};
use super::packed::{FLOATS, Fields, Floats, Folder, Matrices, expect, matrix, type_name, word, wrong};
use crate::checkpoint::error::Error;
use crate::checkpoint::stored::{Files, Span};
use serde_json::Value as Json;

#[derive(Debug)]
struct Gptq {
    layout: Layout,
    codes: Span,
    zeros: Span,
    scales: Floats,
    /// What is added to stored zero points.
    zero_offset: u32,
    /// The group of each column, if they are in no order.
    g_idx: Option<Vec<u32>>,
}

pub fn find(folder: &Folder, matrices: &mut Matrices) -> Result<(), Error> {
    for base in folder.ending_in(".qweight") {
        let name = |suffix: &str| format!("{base}.{suffix}");
        let codes_name = name("qweight");
        let codes = folder.tensor(&codes_name, &codes_name)?;
        let zero_offset = match folder.config.get("checkpoint_format").and_then(Json::as_str) {
            None | Some("gptq") => 1,
            Some("gptq_v2") => 0,
            Some(other) => {
                let what = format!("is in the format `{other}`: only gptq and gptq_v2 can be read");
                return Err(wrong(codes, &codes_name, what));
            }
        };
        let (zeros_name, scales_name) = (name("qzeros"), name("scales"));
        let zeros = folder.tensor(&zeros_name, &codes_name)?;
        let scales = folder.tensor(&scales_name, &codes_name)?;
        let [groups, rows] = matrix(scales, &scales_name)?;
        let [code_words, _] = matrix(codes, &codes_name)?;
        let [_, zero_words] = matrix(zeros, &zeros_name)?;
        // `dynamic` may give every matrix its own bits and groups; the shapes say them.
        let bits = zero_words * 32 / rows;
        if ![2, 3, 4, 8].contains(&bits) || code_words * 32 % bits != 0 {
            let what =
                format!("has {bits} bits by the shape {:?}: only 2, 3, 4 and 8 can be read", zeros.shape);
            return Err(wrong(zeros, &zeros_name, what));
        }
        let columns = code_words * 32 / bits;
        expect(codes, &codes_name, &["I32"], &[Fields::words(columns, bits), rows])?;
        expect(zeros, &zeros_name, &["I32"], &[groups, Fields::words(rows, bits)])?;
        expect(scales, &scales_name, FLOATS, &[groups, rows])?;
        // Shapes do not say how long groups are if the last is shorter.
        let said = folder.config.get("group_size").and_then(Json::as_u64).map(|n| n as usize);
        let said = said.filter(|n| *n > 0 && columns.div_ceil(*n) == groups);
        let group = said.unwrap_or(columns.div_ceil(groups));
        let g_idx = match folder.shards.tensors.get(&name("g_idx")) {
            None => None,
            Some(entry) => {
                expect(entry, &name("g_idx"), &["I32"], &[columns])?;
                let bytes = folder.shards.files.bytes(entry.span);
                let g_idx: Vec<u32> = (0..columns).map(|i| word(bytes, i)).collect();
                if let Some(g) = g_idx.iter().find(|g| **g as usize >= groups) {
                    return Err(wrong(entry, &name("g_idx"), format!("names group {g} of {groups}")));
                }
                let in_order = g_idx.iter().enumerate().all(|(i, g)| i / group == *g as usize);
                (!in_order).then_some(g_idx)
            }
        };
        if g_idx.is_none() && said.is_none() && group * groups != columns {
            let what = format!("has {groups} groups for {columns} columns ({})", type_name(scales));
            return Err(wrong(scales, &scales_name, what));
        }
        let scales = Floats::new(scales, &scales_name)?;
        let layout = Layout { rows, columns, bits, group, dtype: scales.dtype };
        let packed = Gptq { layout, codes: codes.span, zeros: zeros.span, scales, zero_offset, g_idx };
        matrices.found.push((name("weight"), codes.path.clone(), Box::new(packed)));
        matrices.taken.extend(["qweight", "qzeros", "scales", "g_idx"].map(name));
    }
    Ok(())
}

impl Grouped for Gptq {
    const NAME: &'static str = "GPTQ";

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn codes(&self, files: &Files, row: usize, out: &mut [u8]) {
        let words = files.bytes(self.codes);
        let fields = Fields { words, first: row, stride: self.layout.rows, bits: self.layout.bits };
        out.iter_mut().enumerate().for_each(|(i, out)| *out = fields.get(i) as u8);
    }

    fn scale_and_zero(&self, files: &Files, row: usize, group: usize) -> (f32, u32) {
        let Layout { rows, bits, .. } = self.layout;
        let first = group * Fields::words(rows, bits);
        let fields = Fields { words: files.bytes(self.zeros), first, stride: 1, bits };
        let zero = (fields.get(row) + self.zero_offset) & ((1 << bits) - 1);
        (self.scales.get(files, group * rows + row), zero)
    }

    fn groups_of_columns(&self) -> Option<&[u32]> {
        self.g_idx.as_deref()
    }
}
