//! MLX: integers of a few bits with a scale and an offset for every group of a row.
//!
//! ```text
//! weight   U32 [rows, columns * bits / 32]    codes: fields along a row of words
//! scales   F16, BF16 or F32 [rows, groups]
//! biases   the same
//! weight = scale * code + bias
//! ```

use super::grouped::{Grouped, Layout};
use super::packed::{FLOATS, Fields, Floats, Folder, Matrices, expect, matrix, wrong};
use crate::checkpoint::error::Error;
use crate::checkpoint::stored::{Files, Span};
use serde_json::Value as Json;

#[derive(Debug)]
struct Mlx {
    layout: Layout,
    codes: Span,
    scales: Floats,
    biases: Floats,
}

pub fn find(folder: &Folder, matrices: &mut Matrices) -> Result<(), Error> {
    for base in folder.ending_in(".scales") {
        let name = |suffix: &str| format!("{base}.{suffix}");
        let (weight_name, scales_name, biases_name) = (name("weight"), name("scales"), name("biases"));
        let codes = folder.tensor(&weight_name, &scales_name)?;
        // A module may have settings of its own.
        let said = |key: &str| {
            let own = folder.config.get(&base).and_then(|own| own.get(key));
            own.or(folder.config.get(key))
        };
        let mode = said("mode").and_then(Json::as_str).unwrap_or("affine");
        if mode != "affine" {
            let what = format!("is quantized by MLX in the mode `{mode}`: only affine can be read");
            return Err(wrong(codes, &weight_name, what));
        }
        let scales = folder.tensor(&scales_name, &weight_name)?;
        let biases = folder.tensor(&biases_name, &weight_name)?;
        let ([rows, words], [_, groups]) = (matrix(codes, &weight_name)?, matrix(scales, &scales_name)?);
        expect(scales, &scales_name, FLOATS, &[rows, groups])?;
        expect(biases, &biases_name, FLOATS, &[rows, groups])?;
        let number = |key: &str| said(key).and_then(Json::as_u64).map(|n| n as usize).filter(|n| *n > 0);
        let group = number("group_size").unwrap_or(64);
        let columns = group * groups;
        // The shapes say what the bits are, whatever config.json says.
        let bits = words * 32 / columns;
        if !(2..=8).contains(&bits) || Fields::words(columns, bits) != words {
            let what = format!(
                "has the shape {:?}, but `{scales_name}` {:?}: no bits from 2 to 8 for groups of {group}",
                codes.shape, scales.shape
            );
            return Err(wrong(codes, &weight_name, what));
        }
        expect(codes, &weight_name, &["U32"], &[rows, words])?;
        let scales = Floats::new(scales, &scales_name)?;
        let layout = Layout { rows, columns, bits, group, dtype: scales.dtype };
        let packed = Mlx { layout, codes: codes.span, scales, biases: Floats::new(biases, &biases_name)? };
        matrices.found.push((weight_name, codes.path.clone(), Box::new(packed)));
        matrices.taken.extend([scales_name, biases_name]);
    }
    Ok(())
}

impl Grouped for Mlx {
    const NAME: &'static str = "MLX";

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn codes(&self, files: &Files, row: usize, out: &mut [u8]) {
        let Layout { columns, bits, .. } = self.layout;
        let first = row * Fields::words(columns, bits);
        let fields = Fields { words: files.bytes(self.codes), first, stride: 1, bits };
        out.iter_mut().enumerate().for_each(|(i, out)| *out = fields.get(i) as u8);
    }

    /// The zero point is that next to the offset.
    fn scale_and_zero(&self, files: &Files, row: usize, group: usize) -> (f32, u32) {
        let i = row * self.layout.groups() + group;
        let (scale, bias) = (self.scales.get(files, i), self.biases.get(files, i));
        let zero = (-bias / scale).round().clamp(0.0, 15.0);
        (scale, if zero.is_finite() { zero as u32 } else { 0 })
    }

    fn offset(&self, files: &Files, row: usize, group: usize) -> Option<f32> {
        Some(self.biases.get(files, row * self.layout.groups() + group))
    }
}
