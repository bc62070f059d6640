//! MXFP4 as OpenAI's models have it: experts whose weights are FP4 (E2M1) with a power of two for every 32 of a row.
//!
//! ```text
//! NAME_blocks   U8 [experts, rows, columns / 32, 16]   two weights a byte, the first one in the lower bits
//! NAME_scales   U8 [experts, rows, columns / 32]       exponent plus 127
//! weight = value * 2^(scale - 127)
//! ```
//!
//! ggml's type has the same values, the first half of a block in the lower bits of its bytes and the second in the upper.
//! Where the library dequantizes it, matrices are transposed; stored they are not, so that the name stays that of the blocks.

use super::packed::{Folder, Matrices, Packed, expect, wrong};
use crate::checkpoint::dtype::Dtype;
use crate::checkpoint::error::Error;
use crate::checkpoint::stored::{Files, Span};
use crate::gguf::GgmlType;

/// Weights that share a scale, and the bytes that they take in a file: a scale and two weights in each byte.
const BLOCK: usize = 32;
const BLOCK_BYTES: usize = 1 + BLOCK / 2;

#[derive(Debug)]
struct Mxfp4 {
    experts: usize,
    rows: usize,
    /// Blocks of a row.
    blocks: usize,
    codes: Span,
    scales: Span,
    dtype: Dtype,
}

pub fn find(folder: &Folder, matrices: &mut Matrices) -> Result<(), Error> {
    for base in folder.ending_in("_blocks") {
        let (codes_name, scales_name) = (format!("{base}_blocks"), format!("{base}_scales"));
        let codes = folder.tensor(&codes_name, &scales_name)?;
        let scales = folder.tensor(&scales_name, &codes_name)?;
        let extents: Vec<usize> = codes.shape.iter().map(|extent| *extent as usize).collect();
        let [experts, rows, blocks, _] = extents[..] else {
            return Err(wrong(codes, &codes_name, format!("has the shape {:?}: no blocks", codes.shape)));
        };
        expect(codes, &codes_name, &["U8"], &[experts, rows, blocks, BLOCK / 2])?;
        expect(scales, &scales_name, &["U8"], &[experts, rows, blocks])?;
        let (codes_span, scales_span) = (codes.span, scales.span);
        let packed =
            Mxfp4 { experts, rows, blocks, codes: codes_span, scales: scales_span, dtype: folder.dtype };
        matrices.found.push((codes_name, codes.path.clone(), Box::new(packed)));
        matrices.taken.push(scales_name);
    }
    Ok(())
}

impl Packed for Mxfp4 {
    fn shape(&self) -> [usize; 2] {
        [self.experts * self.rows, self.blocks * BLOCK]
    }

    fn extents(&self) -> Vec<u64> {
        [self.experts, self.rows, self.blocks * BLOCK].map(|extent| extent as u64).to_vec()
    }

    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn describe(&self) -> String {
        "MXFP4".into()
    }

    fn read_row(&self, files: &Files, row: usize, out: &mut [f32]) {
        let mut blocks = vec![0; self.blocks * BLOCK_BYTES];
        self.read_blocks(files, row, &mut blocks);
        let dequantize = GgmlType::MXFP4.dequantizer().expect("a type that ggml can dequantize");
        dequantize(&blocks, out);
    }

    fn exact_type(&self, _: &Files) -> Option<GgmlType> {
        Some(GgmlType::MXFP4)
    }

    fn read_blocks(&self, files: &Files, row: usize, out: &mut [u8]) {
        let codes = &files.bytes(self.codes)[row * self.blocks * BLOCK / 2..];
        let scales = &files.bytes(self.scales)[row * self.blocks..];
        let stored = codes.chunks_exact(BLOCK / 2).zip(scales);
        for (out, (codes, scale)) in out.chunks_exact_mut(BLOCK_BYTES).zip(stored) {
            out[0] = *scale;
            let code = |i: usize| codes[i / 2] >> (4 * (i % 2)) & 15;
            out[1..].iter_mut().enumerate().for_each(|(i, b)| *b = code(i) | code(i + BLOCK / 2) << 4);
        }
    }
}
