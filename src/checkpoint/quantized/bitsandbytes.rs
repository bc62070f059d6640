//! bitsandbytes: NF4 and FP4, with scales that are quantized too or not, and INT8.
//!
//! ```text
//! weight                  U8 [rows * columns / 2, 1]    two codes a byte, the first in the high bits
//! weight.quant_map        F32 [16]                      values of the codes
//! weight.absmax           F32 [blocks] or U8 [blocks]
//! weight.nested_absmax    F32 [blocks / 256]            with absmax in U8
//! weight.nested_quant_map F32 [256]
//! weight.quant_state.bitsandbytes__nf4                  JSON: shape, blocksize, dtype, nested_blocksize, nested_offset
//! weight = quant_map[code] * absmax             absmax = nested_quant_map[byte] * nested_absmax + nested_offset
//!
//! weight                  I8 [rows, columns]
//! SCB                     F32 [rows]
//! weight = value * SCB * (1 / 127)
//! ```
//!
//! Blocks run through the whole matrix, from row to row.

use super::packed::{Floats, Folder, Matrices, Packed, expect, float, matrix, type_name, wrong};
use crate::checkpoint::dtype::Dtype;
use crate::checkpoint::error::Error;
use crate::checkpoint::stored::{Files, Span};
use crate::gguf::GgmlType;
use crate::types;
use crate::types::codes4::layout::{BlockNf4, Codes4, NF4};
use serde_json::{Map, Value as Json};

/// 1 / 127 as the library has it in f32.
const OF_127: f32 = 1.0 / 127.0;

/// Begin of the name of what describes a matrix; its end says the type.
pub const STATE: &str = ".weight.quant_state.bitsandbytes__";

#[derive(Debug)]
struct FourBits {
    rows: usize,
    columns: usize,
    /// `nf4` or `fp4`.
    kind: String,
    dtype: Dtype,
    codes: Span,
    map: [f32; 16],
    block: usize,
    scales: Scales,
}

/// The scales of blocks.
#[derive(Debug)]
enum Scales {
    Plain(Floats),
    Nested { codes: Span, map: Vec<f32>, scales: Floats, block: usize, offset: f32 },
}

impl Scales {
    fn get(&self, files: &Files, block: usize) -> f32 {
        match self {
            Scales::Plain(scales) => scales.get(files, block),
            Scales::Nested { codes, map, scales, block: nested, offset } => {
                map[files.bytes(*codes)[block] as usize] * scales.get(files, block / nested) + offset
            }
        }
    }
}

#[derive(Debug)]
struct Int8 {
    rows: usize,
    columns: usize,
    dtype: Dtype,
    values: Span,
    scales: Floats,
}

pub fn find(folder: &Folder, matrices: &mut Matrices) -> Result<(), Error> {
    let states = folder.shards.tensors.keys().filter_map(|name| name.split_once(STATE));
    let states: Vec<_> = states.map(|(base, kind)| (base.to_owned(), kind.to_owned())).collect();
    for (base, kind) in states {
        let packed = four_bits(folder, &base, &kind)?;
        let name = format!("{base}.weight");
        let path = folder.tensor(&name, &name)?.path.clone();
        matrices.taken.push(format!("{base}{STATE}{kind}"));
        let parts = ["quant_map", "absmax", "nested_absmax", "nested_quant_map"];
        matrices.taken.extend(parts.map(|part| format!("{name}.{part}")));
        matrices.found.push((name, path, Box::new(packed)));
    }
    for base in folder.ending_in(".SCB") {
        let (name, scales_name) = (format!("{base}.weight"), format!("{base}.SCB"));
        let weight = folder.tensor(&name, &scales_name)?;
        let scales = folder.tensor(&scales_name, &name)?;
        let [rows, columns] = matrix(weight, &name)?;
        expect(weight, &name, &["I8"], &[rows, columns])?;
        expect(scales, &scales_name, &["F32"], &[rows])?;
        let format_name = format!("{base}.weight_format");
        if let Some(format) = folder.shards.tensors.get(&format_name) {
            // 0: rows.
            if folder.shards.files.bytes(format.span).iter().any(|b| *b != 0) {
                return Err(wrong(
                    format,
                    &format_name,
                    "is not 0: only weights stored row by row can be read",
                ));
            }
        }
        let scales = Floats::new(scales, &scales_name)?;
        let packed = Int8 { rows, columns, dtype: folder.dtype, values: weight.span, scales };
        matrices.found.push((name, weight.path.clone(), Box::new(packed)));
        matrices.taken.extend([scales_name, format_name]);
    }
    Ok(())
}

fn four_bits(folder: &Folder, base: &str, kind: &str) -> Result<FourBits, Error> {
    let name = format!("{base}.weight");
    let state_name = format!("{base}{STATE}{kind}");
    let state = folder.tensor(&state_name, &name)?;
    let codes = folder.tensor(&name, &state_name)?;
    let said: Map<String, Json> = serde_json::from_slice(folder.shards.files.bytes(state.span))
        .map_err(|e| wrong(state, &state_name, format!("is not a JSON object: {e}")))?;
    let unclear = |key: &str| wrong(state, &state_name, format!("does not say `{key}` as the library does"));
    let number = |key: &str| {
        let n = said.get(key).and_then(Json::as_u64).filter(|n| *n > 0);
        n.map(|n| n as usize).ok_or_else(|| unclear(key))
    };
    let shape: Vec<usize> =
        said.get("shape").and_then(|s| serde_json::from_value(s.clone()).ok()).unwrap_or_default();
    let [rows, columns] = shape[..] else { return Err(unclear("shape")) };
    let elements = rows.checked_mul(columns).filter(|n| *n > 0).ok_or_else(|| unclear("shape"))?;
    let block = number("blocksize")?;
    let dtype = said.get("dtype").and_then(Json::as_str).and_then(float).ok_or_else(|| unclear("dtype"))?;
    let bytes: u64 = codes.shape.iter().product();
    if bytes as usize != elements.div_ceil(2) || !matches!(type_name(codes), "U8" | "I8") {
        let what = format!("has {bytes} elements of {}, but {rows} x {columns} weights", type_name(codes));
        return Err(wrong(codes, &name, what));
    }
    let part = |part: &str, types: &[&str], n: usize| {
        let name = format!("{name}.{part}");
        let entry = folder.tensor(&name, &state_name)?;
        expect(entry, &name, types, &[n])?;
        Ok::<_, Error>((entry, name))
    };
    let floats = |(entry, name): (&_, String)| Floats::new(entry, &name);
    let map = floats(part("quant_map", &["F32"], 16)?)?;
    let blocks = elements.div_ceil(block);
    let scales = if said.contains_key("nested_blocksize") {
        let nested = number("nested_blocksize")?;
        let offset =
            said.get("nested_offset").and_then(Json::as_f64).ok_or_else(|| unclear("nested_offset"))?;
        let (absmax, _) = part("absmax", &["U8"], blocks)?;
        let nested_map = floats(part("nested_quant_map", &["F32"], 256)?)?;
        Scales::Nested {
            codes: absmax.span,
            map: (0..256).map(|i| nested_map.get(&folder.shards.files, i)).collect(),
            scales: floats(part("nested_absmax", &["F32"], blocks.div_ceil(nested))?)?,
            block: nested,
            offset: offset as f32,
        }
    } else {
        Scales::Plain(floats(part("absmax", &["F32"], blocks)?)?)
    };
    let map = std::array::from_fn(|i| map.get(&folder.shards.files, i));
    Ok(FourBits { rows, columns, kind: kind.to_uppercase(), dtype, codes: codes.span, map, block, scales })
}

impl FourBits {
    /// Code of weight `i` of the whole matrix.
    fn code(codes: &[u8], i: usize) -> u8 {
        codes[i / 2] >> (4 - i % 2 * 4) & 15
    }
}

impl Packed for FourBits {
    fn shape(&self) -> [usize; 2] {
        [self.rows, self.columns]
    }

    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn describe(&self) -> String {
        let nested = if matches!(self.scales, Scales::Nested { .. }) { ", quantized scales" } else { "" };
        format!("{}, blocks of {}{nested}", self.kind, self.block)
    }

    fn read_row(&self, files: &Files, row: usize, out: &mut [f32]) {
        let codes = files.bytes(self.codes);
        let (first, end) = (row * self.columns, (row + 1) * self.columns);
        for block in first / self.block..end.div_ceil(self.block) {
            let scale = self.scales.get(files, block);
            for i in (block * self.block).max(first)..((block + 1) * self.block).min(end) {
                out[i - first] = self.map[Self::code(codes, i) as usize] * scale;
            }
        }
    }

    /// The codes are those of NF4, no block of ours has weights of two of its own.
    fn exact_type(&self, files: &Files) -> Option<GgmlType> {
        let whole = self.columns.is_multiple_of(BlockNf4::LEN) && self.block.is_multiple_of(BlockNf4::LEN);
        let same = self.map.map(f32::to_bits) == NF4.map(f32::to_bits);
        let blocks = (self.rows * self.columns).div_ceil(self.block);
        let exact = whole && same && (0..blocks).all(|b| self.scales.get(files, b).is_finite());
        exact.then_some(GgmlType(types::codes4::NF4_64.id))
    }

    fn read_blocks(&self, files: &Files, row: usize, out: &mut [u8]) {
        let codes = files.bytes(self.codes);
        for (b, out) in out.chunks_exact_mut(size_of::<BlockNf4>()).enumerate() {
            let first = row * self.columns + b * BlockNf4::LEN;
            let mut block = BlockNf4::new(self.scales.get(files, first / self.block));
            (0..BlockNf4::LEN).for_each(|i| block.set_code(i, Self::code(codes, first + i)));
            out.copy_from_slice(bytemuck::bytes_of(&block));
        }
    }
}

impl Packed for Int8 {
    fn shape(&self) -> [usize; 2] {
        [self.rows, self.columns]
    }

    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn describe(&self) -> String {
        "bitsandbytes INT8".into()
    }

    fn read_row(&self, files: &Files, row: usize, out: &mut [f32]) {
        let scale = self.scales.get(files, row);
        let bytes = &files.bytes(self.values)[row * self.columns..][..self.columns];
        for (b, out) in bytes.iter().zip(out) {
            *out = *b as i8 as f32 * scale * OF_127;
        }
    }
}
