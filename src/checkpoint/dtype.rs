//! Floats as checkpoints store them, and the conversions between them: loops that compilers turn into vectors.

use crate::gguf::GgmlType;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

/// Element types of unquantized tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Dtype {
    F32,
    F16,
    BF16,
    /// In checkpoints only: see [`Dtype::written`].
    F64,
}

/// Values for which F16C and the like are called once.
const BLOCK: usize = 256;

impl Dtype {
    /// The type in which it is written where it may stay as it is.
    pub fn written(self) -> Dtype {
        match self {
            Dtype::F64 => Dtype::F32,
            other => other,
        }
    }

    /// Bytes per element.
    pub fn bytes(self) -> usize {
        match self {
            Dtype::F64 => 8,
            Dtype::F32 => 4,
            Dtype::F16 | Dtype::BF16 => 2,
        }
    }

    /// The ggml type.
    pub fn ggml(self) -> GgmlType {
        match self {
            Dtype::F32 => GgmlType::F32,
            Dtype::F16 => GgmlType::F16,
            Dtype::BF16 => GgmlType::BF16,
            Dtype::F64 => GgmlType::F64,
        }
    }

    /// `general.file_type` of plain files, as in llama.cpp.
    pub fn file_type(self) -> u32 {
        match self {
            Dtype::F32 | Dtype::F64 => 0,
            Dtype::F16 => 1,
            Dtype::BF16 => 32,
        }
    }

    /// The float type that a type of ggml is, if it is one.
    pub fn from_ggml(kind: GgmlType) -> Option<Dtype> {
        [Dtype::F32, Dtype::F16, Dtype::BF16].into_iter().find(|d| d.ggml() == kind)
    }

    /// Widens elements to f32, exactly; those of F64 are rounded.
    pub fn widen(self, bytes: &[u8], out: &mut [f32]) {
        match self {
            Dtype::F32 => {
                for (b, o) in bytes.as_chunks().0.iter().zip(out) {
                    *o = f32::from_le_bytes(*b);
                }
            }
            Dtype::F16 => {
                // Files need not hold them at even addresses.
                let mut halves = [f16::ZERO; BLOCK];
                for (bytes, out) in bytes.chunks(2 * BLOCK).zip(out.chunks_mut(BLOCK)) {
                    let halves = &mut halves[..out.len()];
                    for (b, h) in bytes.as_chunks().0.iter().zip(&mut *halves) {
                        *h = f16::from_le_bytes(*b);
                    }
                    halves.convert_to_f32_slice(out);
                }
            }
            Dtype::F64 => {
                for (b, o) in bytes.as_chunks().0.iter().zip(out) {
                    *o = f64::from_le_bytes(*b) as f32;
                }
            }
            Dtype::BF16 => {
                for (b, o) in bytes.as_chunks().0.iter().zip(out) {
                    *o = f32::from_bits((u16::from_le_bytes(*b) as u32) << 16);
                }
            }
        }
    }

    /// Index of the first element that is no finite number as f32.
    pub fn first_not_finite(self, bytes: &[u8]) -> Option<usize> {
        // Bits of magnitudes are in the order of magnitudes, NaN above infinity; maxima are fast, a search is not.
        match self {
            Dtype::F32 => {
                let magnitude = |b: &[u8; 4]| u32::from_le_bytes(*b) as i32 & i32::MAX;
                let (all, infinity) = (bytes.as_chunks().0, f32::INFINITY.to_bits() as i32);
                let peak = all.iter().fold(0, |peak, b| magnitude(b).max(peak));
                (peak >= infinity).then(|| all.iter().position(|b| magnitude(b) >= infinity))?
            }
            Dtype::F64 => {
                bytes.as_chunks().0.iter().position(|b| !(f64::from_le_bytes(*b) as f32).is_finite())
            }
            Dtype::F16 | Dtype::BF16 => {
                let magnitude = |b: &[u8; 2]| u16::from_le_bytes(*b) as i16 & i16::MAX;
                let infinity = match self {
                    Dtype::F16 => f16::INFINITY.to_bits(),
                    _ => bf16::INFINITY.to_bits(),
                } as i16;
                let all = bytes.as_chunks().0;
                let peak = all.iter().fold(0, |peak, b| magnitude(b).max(peak));
                (peak >= infinity).then(|| all.iter().position(|b| magnitude(b) >= infinity))?
            }
        }
    }

    /// Rounds f32 to nearest, ties to even. NaN stays NaN.
    pub fn narrow(self, x: &[f32], out: &mut [u8]) {
        match self {
            Dtype::F32 => {
                for (x, o) in x.iter().zip(out.as_chunks_mut().0) {
                    *o = x.to_le_bytes();
                }
            }
            Dtype::F16 => {
                let mut halves = [f16::ZERO; BLOCK];
                for (x, out) in x.chunks(BLOCK).zip(out.chunks_mut(2 * BLOCK)) {
                    let halves = &mut halves[..x.len()];
                    halves.convert_from_f32_slice(x);
                    for (h, o) in halves.iter().zip(out.as_chunks_mut().0) {
                        *o = h.to_le_bytes();
                    }
                }
            }
            Dtype::F64 => {
                for (x, o) in x.iter().zip(out.as_chunks_mut().0) {
                    *o = f64::from(*x).to_le_bytes();
                }
            }
            Dtype::BF16 => {
                for (x, o) in x.iter().zip(out.as_chunks_mut().0) {
                    *o = bf16_bits(*x).to_le_bytes();
                }
            }
        }
    }
}

/// The upper half of the bits, rounded: without a branch, so that many are done at a time.
fn bf16_bits(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    // Rounding could make an infinity of a NaN; it is made a quiet one.
    let quiet = bits >> 16 | 0x40;
    (if x.is_nan() { quiet } else { rounded }) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// f32 of every sign, exponent and upper mantissa, with the lower bits that decide about rounding.
    fn all_kinds() -> Vec<f32> {
        let lower = [0u32, 1, 0x7fff, 0x8000, 0x8001, 0xffff];
        (0..=u16::MAX as u32).flat_map(|h| lower.map(|l| f32::from_bits(h << 16 | l))).collect()
    }

    #[test]
    fn bf16_is_rounded_as_by_half() {
        for x in all_kinds() {
            assert_eq!(bf16_bits(x), bf16::from_f32(x).to_bits(), "{x:e} ({:08x})", x.to_bits());
        }
    }

    #[test]
    fn the_first_element_that_is_not_finite_is_found() {
        for dtype in [Dtype::F64, Dtype::F32, Dtype::F16, Dtype::BF16] {
            let mut values = [1.5f32; 1000];
            let mut bytes = vec![0; values.len() * dtype.bytes()];
            values[3] = -65504.0;
            dtype.narrow(&values, &mut bytes);
            assert_eq!(dtype.first_not_finite(&bytes), None);
            for (bad, at) in [(f32::NAN, 999), (-f32::NAN, 700), (f32::INFINITY, 77), (f32::NEG_INFINITY, 0)]
            {
                values[at] = bad;
                dtype.narrow(&values, &mut bytes);
                assert_eq!(dtype.first_not_finite(&bytes), Some(at), "{dtype:?} {bad}");
            }
        }
    }

    #[test]
    fn slices_are_converted_as_single_values() {
        let values = all_kinds();
        for n in [1, 7, BLOCK - 1, BLOCK + 9, values.len()] {
            let mut bytes = vec![0; 2 * n];
            Dtype::F16.narrow(&values[..n], &mut bytes);
            let expected: Vec<u8> =
                values[..n].iter().flat_map(|x| f16::from_f32_const(*x).to_le_bytes()).collect();
            let is_nan = |b: &[u8]| f16::from_le_bytes([b[0], b[1]]).is_nan();
            for ((got, expected), x) in bytes.chunks(2).zip(expected.chunks(2)).zip(&values) {
                assert!(
                    got == expected || is_nan(got) && is_nan(expected),
                    "{x:e}: {got:?}, not {expected:?}"
                );
            }
        }
    }

    #[test]
    fn every_half_is_widened_exactly_at_odd_addresses() {
        let bytes: Vec<u8> = [0].into_iter().chain((0..=u16::MAX).flat_map(u16::to_le_bytes)).collect();
        let mut wide = vec![0.0; 1 << 16];
        Dtype::F16.widen(&bytes[1..], &mut wide);
        for (bits, x) in (0..=u16::MAX).zip(&wide) {
            let expected = f16::from_bits(bits).to_f32_const();
            assert!(*x == expected || x.is_nan() && expected.is_nan(), "{bits:04x}: {x}, not {expected}");
        }
        Dtype::BF16.widen(&bytes[1..], &mut wide);
        for (bits, x) in (0..=u16::MAX).zip(&wide) {
            assert_eq!(x.to_bits(), (bits as u32) << 16);
        }
    }
}
