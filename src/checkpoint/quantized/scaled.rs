//! One byte a weight, FP8 or INT8, with scales for the whole, for rows, for groups of a row or for blocks:
//! DeepSeek's and Qwen's FP8, fbgemm's, and those of compressed-tensors.
//!
//! ```text
//! weight                            F8_E4M3 or I8 [rows, columns]
//! weight_scale, weight_scale_inv    [], [1], [rows, 1] or [rows / block rows, columns / block columns]
//! weight = value * scale
//! ```
//!
//! `weight_scale_inv` is named for what it is to the quantizer; it is multiplied with like the other.

use super::packed::{Floats, Folder, Matrices, Packed, expect, matrix, type_name, wrong};
use crate::checkpoint::dtype::Dtype;
use crate::checkpoint::error::Error;
use crate::checkpoint::stored::{Files, Span};
use serde_json::Value as Json;

#[derive(Debug)]
struct Scaled {
    rows: usize,
    columns: usize,
    values: Span,
    value: Value,
    scales: Floats,
    /// Rows and columns that share a scale.
    block: [usize; 2],
    /// Scales of a row of blocks.
    in_row: usize,
    dtype: Dtype,
}

/// What a byte means.
#[derive(Clone, Copy, Debug)]
enum Value {
    E4M3,
    E5M2,
    I8,
}

/// What may stand beside a weight that is for activations only.
const ACTIVATIONS: &[&str] =
    &["input_scale", "input_scale_ub", "activation_scale", "output_scale", "k_scale", "v_scale", "q_scale"];

pub fn find(folder: &Folder, matrices: &mut Matrices) -> Result<(), Error> {
    for suffix in ACTIVATIONS {
        let dotted = format!(".{suffix}");
        matrices.taken.extend(folder.ending_in(&dotted).iter().map(|base| format!("{base}{dotted}")));
    }
    for suffix in ["weight_scale_inv", "weight_scale"] {
        for base in folder.ending_in(&format!(".{suffix}")) {
            let (name, scales_name) = (format!("{base}.weight"), format!("{base}.{suffix}"));
            if matrices.taken.contains(&scales_name) {
                continue;
            }
            let packed = scaled(folder, &name, &scales_name)?;
            if let Some(zeros) = folder.shards.tensors.get(&format!("{base}.weight_zero_point")) {
                let zero = folder.shards.files.bytes(zeros.span).iter().all(|b| *b == 0);
                let name = format!("{base}.weight_zero_point");
                if !zero {
                    return Err(wrong(
                        zeros,
                        &name,
                        "is not zero: only symmetric ones of 8 bits can be read",
                    ));
                }
                matrices.taken.push(name);
            }
            let path = folder.tensor(&name, &scales_name)?.path.clone();
            matrices.taken.push(scales_name);
            matrices.found.push((name, path, Box::new(packed)));
        }
    }
    Ok(())
}

fn scaled(folder: &Folder, name: &str, scales_name: &str) -> Result<Scaled, Error> {
    let weight = folder.tensor(name, scales_name)?;
    let value = match type_name(weight) {
        "F8_E4M3" => Value::E4M3,
        "F8_E5M2" => Value::E5M2,
        "I8" => Value::I8,
        other => return Err(wrong(weight, name, format!("has scales, but is {other}, not F8_E4M3 or I8"))),
    };
    let [rows, columns] = matrix(weight, name)?;
    expect(weight, name, &[type_name(weight)], &[rows, columns])?;
    let entry = folder.tensor(scales_name, name)?;
    let scales = Floats::new(entry, scales_name)?;
    let grid = match entry.shape[..] {
        [] | [1] => [1, 1],
        [n] if n as usize == rows => [rows, 1],
        [a, b] => [a as usize, b as usize],
        _ => [0, 0],
    };
    // The last blocks may be cut off, so that the size of blocks does not follow from their number.
    let said = folder.config.get("weight_block_size").and_then(Json::as_array);
    let said = said.and_then(|s| Some([s.first()?.as_u64()? as usize, s.get(1)?.as_u64()? as usize]));
    let fits = |block: &[usize; 2]| {
        block.iter().all(|n| *n > 0) && [rows.div_ceil(block[0]), columns.div_ceil(block[1])] == grid
    };
    let even = [rows / grid[0].max(1), columns / grid[1].max(1)];
    // compressed-tensors says the blocks of each group of modules.
    let structures = folder.config.get("config_groups").and_then(Json::as_object);
    let structures = structures.into_iter().flat_map(|groups| groups.values()).filter_map(|group| {
        let s = group.get("weights")?.get("block_structure")?.as_array()?;
        Some([s.first()?.as_u64()? as usize, s.get(1)?.as_u64()? as usize])
    });
    // Where blocks are said, another grid is an error.
    let even = Some(even).filter(|_| said.is_none() || grid[1] == 1);
    let Some(block) = said.into_iter().chain(structures).chain(even).find(fits) else {
        let what = format!("has the shape {:?}, which is none for {rows} rows of {columns}", entry.shape);
        return Err(wrong(entry, scales_name, what));
    };
    // Scales of 16 bits are of the type that the weights had, those of 32 are for every type.
    let dtype = if scales.dtype == Dtype::F32 { folder.dtype } else { scales.dtype };
    Ok(Scaled { rows, columns, values: weight.span, value, scales, block, in_row: grid[1], dtype })
}

impl Packed for Scaled {
    fn shape(&self) -> [usize; 2] {
        [self.rows, self.columns]
    }

    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn describe(&self) -> String {
        let value = match self.value {
            Value::E4M3 => "FP8 (E4M3)",
            Value::E5M2 => "FP8 (E5M2)",
            Value::I8 => "INT8",
        };
        match self.block {
            [a, b] if a >= self.rows && b >= self.columns => format!("{value}, one scale"),
            [1, b] if b >= self.columns => format!("{value}, a scale for each row"),
            [1, b] => format!("{value}, groups of {b}"),
            [a, b] => format!("{value}, blocks of {a} x {b}"),
        }
    }

    fn read_row(&self, files: &Files, row: usize, out: &mut [f32]) {
        let bytes = &files.bytes(self.values)[row * self.columns..][..self.columns];
        let blocks = bytes.chunks(self.block[1]).zip(out.chunks_mut(self.block[1]));
        for (i, (bytes, out)) in blocks.enumerate() {
            let scale = self.scales.get(files, row / self.block[0] * self.in_row + i);
            for (b, out) in bytes.iter().zip(out) {
                *out = self.value.decode(*b) * scale;
            }
        }
    }
}

impl Value {
    fn decode(self, byte: u8) -> f32 {
        match self {
            Value::I8 => byte as i8 as f32,
            Value::E4M3 => e4m3(byte),
            // The upper byte of an f16.
            Value::E5M2 => half::f16::from_bits((byte as u16) << 8).to_f32(),
        }
    }
}

/// FP8 with four exponent bits and three of mantissa, without infinities: 0x7f and 0xff are NaN.
fn e4m3(byte: u8) -> f32 {
    let (exponent, mantissa) = (byte >> 3 & 15, (byte & 7) as f32);
    let magnitude = match (exponent, byte & 7) {
        (15, 7) => f32::NAN,
        (0, _) => mantissa / 512.0,
        _ => (1.0 + mantissa / 8.0) * f32::from_bits((exponent as u32 + 120) << 23),
    };
    if byte < 128 { magnitude } else { -magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_e4m3() {
        let of = |b| e4m3(b);
        assert_eq!([of(0x00), of(0x01), of(0x07), of(0x08)], [0.0, 0.001953125, 0.013671875, 0.015625]);
        assert_eq!([of(0x38), of(0x3c), of(0x7e), of(0xb8)], [1.0, 1.5, 448.0, -1.0]);
        assert!(of(0x7f).is_nan() && of(0xff).is_nan() && of(0x80).is_sign_negative());
    }
}
