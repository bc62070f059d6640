//! compressed-tensors: packed integers here, one byte a weight in `scaled`.
//!
//! ```text
//! weight_packed      I32 [rows, columns * bits / 32]      codes: fields along a row of words
//! weight_scale       BF16 [rows, groups]
//! weight_zero_point  I32 [rows * bits / 32, groups]       fields down a column of words; only if not symmetric
//! weight_shape       I64 [2]
//! weight_g_idx       I32 [columns]                        the group of each column, if they are in no order
//! weight = scale * (code - zero)
//! ```
//!
//! Signed integers are stored plus 2^(bits - 1), zero points too; without zero points `zero` is that.

use super::grouped::{Grouped, Layout};
use super::packed::{FLOATS, Fields, Floats, Folder, Matrices, expect, matrix, word, wrong};
use super::scaled;
use crate::checkpoint::error::Error;
use crate::checkpoint::stored::{Files, Span};
use serde_json::Value as Json;

#[derive(Debug)]
struct PackQuantized {
    layout: Layout,
    codes: Span,
    zeros: Option<Span>,
    scales: Floats,
    g_idx: Option<Vec<u32>>,
}

pub fn find(folder: &Folder, matrices: &mut Matrices) -> Result<(), Error> {
    if let Some(name) = folder.ending_in(".weight_global_scale").first() {
        let name = format!("{name}.weight_global_scale");
        let entry = folder.tensor(&name, &name)?;
        return Err(wrong(
            entry,
            &name,
            "belongs to NVFP4, which cannot be read: start from the unquantized model",
        ));
    }
    for base in folder.ending_in(".weight_packed") {
        let name = |suffix: &str| format!("{base}.{suffix}");
        packed(folder, matrices, &base).map(|()| {
            matrices.taken.extend(
                ["weight_packed", "weight_scale", "weight_zero_point", "weight_shape", "weight_g_idx"]
                    .map(name),
            );
        })?;
    }
    scaled::find(folder, matrices)
}

fn packed(folder: &Folder, matrices: &mut Matrices, base: &str) -> Result<(), Error> {
    let name = |suffix: &str| format!("{base}.{suffix}");
    let codes_name = name("weight_packed");
    let codes = folder.tensor(&codes_name, &codes_name)?;
    let [rows, words] = matrix(codes, &codes_name)?;
    let shape_name = name("weight_shape");
    let shape = folder.tensor(&shape_name, &codes_name)?;
    expect(shape, &shape_name, &["I64"], &[2])?;
    let bytes = folder.shards.files.bytes(shape.span);
    let [said_rows, columns] =
        [0, 8].map(|at| u64::from_le_bytes(*bytes[at..].first_chunk().expect("8 bytes")) as usize);
    if said_rows != rows || columns == 0 || columns > words * 32 {
        let what =
            format!("says [{said_rows}, {columns}], but `{codes_name}` has the shape {:?}", codes.shape);
        return Err(wrong(shape, &shape_name, what));
    }
    // Groups of modules may have different bits; the shapes say them, but for widths of a few columns.
    let of_groups = folder.config.get("config_groups").and_then(Json::as_object);
    let said = of_groups.into_iter().flat_map(|groups| groups.values());
    let said = said.filter_map(|group| group.get("weights")?.get("num_bits")?.as_u64());
    let Some(bits) =
        said.map(|b| b as usize).find(|&b| (1..=8).contains(&b) && Fields::words(columns, b) == words)
    else {
        let what =
            format!("has the shape {:?}: not {columns} columns of the bits in `config_groups`", codes.shape);
        return Err(wrong(codes, &codes_name, what));
    };
    expect(codes, &codes_name, &["I32"], &[rows, words])?;
    let scales_name = name("weight_scale");
    let scales = folder.tensor(&scales_name, &codes_name)?;
    let [_, groups] = matrix(scales, &scales_name)?;
    expect(scales, &scales_name, FLOATS, &[rows, groups])?;
    let zeros_name = name("weight_zero_point");
    let zeros = folder.shards.tensors.get(&zeros_name);
    if let Some(entry) = zeros {
        expect(entry, &zeros_name, &["I32"], &[Fields::words(rows, bits), groups])?;
    }
    if !columns.is_multiple_of(groups) {
        let what = format!("has {groups} groups for {columns} columns");
        return Err(wrong(scales, &scales_name, what));
    }
    let group = columns / groups;
    let g_idx_name = name("weight_g_idx");
    let g_idx = match folder.shards.tensors.get(&g_idx_name) {
        None => None,
        Some(entry) => {
            expect(entry, &g_idx_name, &["I32"], &[columns])?;
            let bytes = folder.shards.files.bytes(entry.span);
            let g_idx: Vec<u32> = (0..columns).map(|i| word(bytes, i)).collect();
            if let Some(g) = g_idx.iter().find(|g| **g as usize >= groups) {
                return Err(wrong(entry, &g_idx_name, format!("names group {g} of {groups}")));
            }
            let in_order = g_idx.iter().enumerate().all(|(i, g)| i / group == *g as usize);
            (!in_order).then_some(g_idx)
        }
    };
    let scales = Floats::new(scales, &scales_name)?;
    let layout = Layout { rows, columns, bits, group, dtype: scales.dtype };
    let packed = PackQuantized { layout, codes: codes.span, zeros: zeros.map(|e| e.span), scales, g_idx };
    matrices.found.push((name("weight"), codes.path.clone(), Box::new(packed)));
    Ok(())
}

impl Grouped for PackQuantized {
    const NAME: &'static str = "compressed-tensors";

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn codes(&self, files: &Files, row: usize, out: &mut [u8]) {
        let Layout { columns, bits, .. } = self.layout;
        let first = row * Fields::words(columns, bits);
        let fields = Fields { words: files.bytes(self.codes), first, stride: 1, bits };
        out.iter_mut().enumerate().for_each(|(i, out)| *out = fields.get(i) as u8);
    }

    fn scale_and_zero(&self, files: &Files, row: usize, group: usize) -> (f32, u32) {
        let (bits, groups) = (self.layout.bits, self.layout.groups());
        let zero = match self.zeros {
            None => 1 << (bits - 1),
            Some(span) => Fields { words: files.bytes(span), first: group, stride: groups, bits }.get(row),
        };
        (self.scales.get(files, row * groups + group), zero)
    }

    fn groups_of_columns(&self) -> Option<&[u32]> {
        self.g_idx.as_deref()
    }
}
