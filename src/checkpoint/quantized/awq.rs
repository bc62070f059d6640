//! AutoAWQ, version GEMM.
//!
//! ```text
//! qweight  I32 [columns, rows / 8]      a word holds the codes of a column in eight rows
//! qzeros   I32 [groups, rows / 8]
//! scales   F16 [groups, rows]
//! weight = scale * (code - zero)
//! ```
//!
//! The fields of a word, lowest first, are those of rows 0, 2, 4, 6, 1, 3, 5, 7.

use super::grouped::{Grouped, Layout};
use super::packed::{FLOATS, Fields, Floats, Folder, Matrices, expect, matrix, wrong};
use crate::checkpoint::error::Error;
use crate::checkpoint::stored::{Files, Span};
use serde_json::Value as Json;

/// Bits of a code: the only ones that AutoAWQ writes.
const BITS: usize = 4;
/// Codes in a word.
const IN_WORD: usize = 32 / BITS;
/// The field of each of eight rows.
const FIELDS: [usize; IN_WORD] = [0, 4, 1, 5, 2, 6, 3, 7];

#[derive(Debug)]
struct Awq {
    layout: Layout,
    codes: Span,
    zeros: Span,
    scales: Floats,
}

pub fn find(folder: &Folder, matrices: &mut Matrices) -> Result<(), Error> {
    let said = |key: &str| folder.config.get(key);
    let version = said("version").and_then(Json::as_str).unwrap_or("gemm").to_lowercase();
    for base in folder.ending_in(".qweight") {
        let name = |suffix: &str| format!("{base}.{suffix}");
        let codes_name = name("qweight");
        let codes = folder.tensor(&codes_name, &codes_name)?;
        if version != "gemm" {
            let what = format!("is in AWQ's version `{version}`: only gemm can be read");
            return Err(wrong(codes, &codes_name, what));
        }
        let bits = ["bits", "w_bit"].into_iter().find_map(said).and_then(Json::as_u64);
        if let Some(bits) = bits.filter(|bits| *bits != BITS as u64) {
            return Err(wrong(codes, &codes_name, format!("has {bits} bits: only {BITS} can be read")));
        }
        let (zeros_name, scales_name) = (name("qzeros"), name("scales"));
        let zeros = folder.tensor(&zeros_name, &codes_name)?;
        let scales = folder.tensor(&scales_name, &codes_name)?;
        let [groups, rows] = matrix(scales, &scales_name)?;
        let [columns, _] = matrix(codes, &codes_name)?;
        expect(codes, &codes_name, &["I32"], &[columns, rows / IN_WORD])?;
        expect(zeros, &zeros_name, &["I32"], &[groups, rows / IN_WORD])?;
        expect(scales, &scales_name, FLOATS, &[groups, rows])?;
        if !columns.is_multiple_of(groups) || !rows.is_multiple_of(IN_WORD) {
            let what = format!("has the shape {:?} for {columns} columns", scales.shape);
            return Err(wrong(scales, &scales_name, what));
        }
        let scales = Floats::new(scales, &scales_name)?;
        let layout = Layout { rows, columns, bits: BITS, group: columns / groups, dtype: scales.dtype };
        let packed = Awq { layout, codes: codes.span, zeros: zeros.span, scales };
        matrices.found.push((name("weight"), codes.path.clone(), Box::new(packed)));
        matrices.taken.extend(["qweight", "qzeros", "scales"].map(name));
    }
    Ok(())
}

impl Awq {
    /// The field of a row in line `line` of a matrix of words.
    fn field(&self, files: &Files, span: Span, line: usize, row: usize) -> u32 {
        let first = line * (self.layout.rows / IN_WORD) + row / IN_WORD;
        let fields = Fields { words: files.bytes(span), first, stride: 1, bits: BITS };
        fields.get(FIELDS[row % IN_WORD])
    }
}

impl Grouped for Awq {
    const NAME: &'static str = "AWQ";

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn codes(&self, files: &Files, row: usize, out: &mut [u8]) {
        for (column, out) in out.iter_mut().enumerate() {
            *out = self.field(files, self.codes, column, row) as u8;
        }
    }

    fn scale_and_zero(&self, files: &Files, row: usize, group: usize) -> (f32, u32) {
        let scale = self.scales.get(files, group * self.layout.rows + row);
        (scale, self.field(files, self.zeros, group, row))
    }
}
