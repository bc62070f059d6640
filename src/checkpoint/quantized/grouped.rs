//! Matrices of small integers with a scale and a zero point for every group of a row: `scale * (code - zero)`, or
//! `scale * code + offset`.

use super::packed::Packed;
use crate::checkpoint::dtype::Dtype;
use crate::checkpoint::stored::Files;
use crate::gguf::GgmlType;
use crate::types;
use crate::types::codes4::float16;
use crate::types::codes4::layout::{BlockG4, Codes4};
use rayon::prelude::*;

/// Where a format has the integers of a matrix.
pub trait Grouped: std::fmt::Debug + Send + Sync {
    /// Name of the format.
    const NAME: &'static str;

    /// Sizes and types.
    fn layout(&self) -> &Layout;

    /// Writes the codes of a row.
    fn codes(&self, files: &Files, row: usize, out: &mut [u8]);

    /// Scale and zero point of a group of a row.
    fn scale_and_zero(&self, files: &Files, row: usize, group: usize) -> (f32, u32);

    /// What is added in a group of a row, where it is no whole zero point.
    fn offset(&self, _files: &Files, _row: usize, _group: usize) -> Option<f32> {
        None
    }

    /// The groups of the columns, if they are not those of their order.
    fn groups_of_columns(&self) -> Option<&[u32]> {
        None
    }
}

/// Sizes of a matrix of integers.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    pub rows: usize,
    pub columns: usize,
    pub bits: usize,
    /// Columns of a group.
    pub group: usize,
    /// Type of the scales.
    pub dtype: Dtype,
}

impl Layout {
    /// Number of groups of a row.
    pub fn groups(&self) -> usize {
        self.columns.div_ceil(self.group)
    }
}

impl<T: Grouped> Packed for T {
    fn shape(&self) -> [usize; 2] {
        [self.layout().rows, self.layout().columns]
    }

    fn dtype(&self) -> Dtype {
        self.layout().dtype
    }

    fn describe(&self) -> String {
        let Layout { bits, group, columns, .. } = *self.layout();
        let order = if self.groups_of_columns().is_some() { ", columns in activation order" } else { "" };
        match group >= columns {
            true => format!("{}, {bits} bits, a scale for each row{order}", T::NAME),
            false => format!("{}, {bits} bits, groups of {group}{order}", T::NAME),
        }
    }

    /// Every weight is exact in f32 when scales have 16 bits.
    fn read_row(&self, files: &Files, row: usize, out: &mut [f32]) {
        let layout = self.layout();
        let mut codes = vec![0; layout.columns];
        self.codes(files, row, &mut codes);
        let weight = |code: u8, (scale, zero): (f32, u32)| (code as i32 - zero as i32) as f32 * scale;
        match self.groups_of_columns() {
            None => {
                let groups = codes.chunks(layout.group).zip(out.chunks_mut(layout.group));
                for (group, (codes, out)) in groups.enumerate() {
                    let of_group = self.scale_and_zero(files, row, group);
                    let offset = self.offset(files, row, group);
                    for (code, out) in codes.iter().zip(out) {
                        *out = match offset {
                            Some(offset) => *code as f32 * of_group.0 + offset,
                            None => weight(*code, of_group),
                        };
                    }
                }
            }
            Some(groups) => {
                let all: Vec<_> = (0..layout.groups()).map(|g| self.scale_and_zero(files, row, g)).collect();
                for ((code, group), out) in codes.iter().zip(groups).zip(out) {
                    *out = weight(*code, all[*group as usize]);
                }
            }
        }
    }

    /// The groups are whole blocks, the codes have 4 bits, the scales are floats of 16 bits.
    fn exact_type(&self, files: &Files) -> Option<GgmlType> {
        let Layout { rows, columns, bits, group, .. } = *self.layout();
        let whole =
            columns.is_multiple_of(BlockG4::LEN) && (group.is_multiple_of(BlockG4::LEN) || group >= columns);
        let fits = bits <= 4 && whole && self.groups_of_columns().is_none();
        let is_exact = |scale: f32| float16::decode(float16::encode(scale)).to_bits() == scale.to_bits();
        let groups = self.layout().groups();
        let group_is_exact = |row, group| {
            let (scale, zero) = self.scale_and_zero(files, row, group);
            // An offset has to be a whole zero point; products of 16-bit scales and small integers are exact.
            let is_zero = |offset: f32| offset == -(zero as f32) * scale;
            is_exact(scale) && self.offset(files, row, group).is_none_or(is_zero)
        };
        let exact =
            fits && (0..rows).into_par_iter().all(|row| (0..groups).all(|group| group_is_exact(row, group)));
        exact.then_some(GgmlType(types::codes4::G4_128.id))
    }

    fn read_blocks(&self, files: &Files, row: usize, out: &mut [u8]) {
        let Layout { columns, group, .. } = *self.layout();
        let mut codes = vec![0; columns];
        self.codes(files, row, &mut codes);
        let blocks = codes.chunks_exact(BlockG4::LEN).zip(out.chunks_exact_mut(size_of::<BlockG4>()));
        for (b, (codes, out)) in blocks.enumerate() {
            let (scale, zero) = self.scale_and_zero(files, row, b * BlockG4::LEN / group);
            let mut block = BlockG4::new(scale, zero as u8);
            codes.iter().enumerate().for_each(|(i, code)| block.set_code(i, *code));
            out.copy_from_slice(bytemuck::bytes_of(&block));
        }
    }
}
