//! Rows quantized to two of ggml's own types, for what needs more bits than ours have: Q6_K and Q8_0.
//!
//! The layouts are ggml's, and so any llama.cpp computes with them; `dequantize` reads them back.

use super::tensor_type::GgmlType;
use crate::types::RowQuantizer;
use half::f16;

/// A type of ggml's own that rows can be quantized to.
#[derive(Debug)]
pub struct UpstreamType {
    /// The type.
    pub kind: GgmlType,
    /// Its name on the command line and in recipes.
    pub name: &'static str,
    /// Weights of a block; a row is a whole number of blocks.
    pub block_len: usize,
    /// Bytes of a block.
    block_bytes: usize,
    block: fn(&[f32], &mut [u8]),
}

/// Those types, the one of fewer bits first.
pub static UPSTREAM_TYPES: [&UpstreamType; 2] = [
    &UpstreamType { kind: GgmlType(14), name: "q6_k", block_len: 256, block_bytes: 210, block: q6_k },
    &UpstreamType { kind: GgmlType(8), name: "q8_0", block_len: 32, block_bytes: 34, block: q8_0 },
];

impl UpstreamType {
    /// The type with a name.
    pub fn named(name: &str) -> Option<&'static UpstreamType> {
        UPSTREAM_TYPES.into_iter().find(|t| t.name == name)
    }

    /// Quantizes whole blocks of finite weights, so that the sum of the squares of the errors is small.
    ///
    /// # Panics
    /// If `out` is not as long as the blocks of `weights`.
    pub fn quantize(&self, weights: &[f32], out: &mut [u8]) {
        assert_eq!(weights.len() / self.block_len * self.block_bytes, out.len());
        let blocks = weights.chunks_exact(self.block_len).zip(out.chunks_exact_mut(self.block_bytes));
        blocks.for_each(|(weights, out)| (self.block)(weights, out));
    }
}

impl RowQuantizer for &UpstreamType {
    fn quantize(&mut self, x: &[f32], out: &mut [u8]) {
        UpstreamType::quantize(self, x, out);
    }
}

/// `d` and 32 integers of 8 bits, of which the largest weight takes 127.
fn q8_0(weights: &[f32], out: &mut [u8]) {
    let largest = weights.iter().fold(0.0f32, |largest, w| largest.max(w.abs()));
    let d = largest / 127.0;
    let inverse = if d > 0.0 { 1.0 / d } else { 0.0 };
    let (scale, codes) = out.split_at_mut(2);
    scale.copy_from_slice(&f16::from_f32(d).to_le_bytes());
    for (code, w) in codes.iter_mut().zip(weights) {
        *code = (w * inverse).round() as i8 as u8;
    }
}

/// Weights that share one of the sixteen scales of a block of Q6_K.
const GROUP: usize = 16;
/// Q6_K's codes are -32 to 31.
const CODES: (f32, f32) = (-32.0, 31.0);

/// 256 codes of 6 bits, 16 scales of 8 bits, and `d`.
fn q6_k(weights: &[f32], out: &mut [u8]) {
    let mut scales = [0.0f32; 16];
    for (scale, weights) in scales.iter_mut().zip(weights.chunks_exact(GROUP)) {
        *scale = best_scale(weights);
    }
    // The largest scale takes -128, the code with the largest magnitude.
    let largest = scales.iter().fold(0.0f32, |largest, &s| if s.abs() > largest.abs() { s } else { largest });
    let d = f16::from_f32(-largest / 128.0);
    out.fill(0);
    let (low, rest) = out.split_at_mut(128);
    let (high, rest) = rest.split_at_mut(64);
    let (scale_codes, d_bytes) = rest.split_at_mut(16);
    d_bytes.copy_from_slice(&d.to_le_bytes());
    let d = d.to_f32();
    if d == 0.0 {
        return;
    }
    for (g, weights) in weights.chunks_exact(GROUP).enumerate() {
        let scale_code = (scales[g] / d).round().clamp(-128.0, 127.0);
        scale_codes[g] = scale_code as i8 as u8;
        let step = d * scale_code;
        let inverse = if step != 0.0 { 1.0 / step } else { 0.0 };
        // As `dequantize` reads them: of 128 weights, two of 32 share the bytes of `low`, four those of `high`.
        let (part, quarter, rest) = (g / 8, g % 8 / 2, g % 2 * GROUP);
        for (i, w) in weights.iter().enumerate() {
            let code = (w * inverse).round().clamp(CODES.0, CODES.1) as i32 + 32;
            low[part * 64 + quarter % 2 * 32 + rest + i] |= (code as u8 & 15) << (quarter / 2 * 4);
            high[part * 32 + rest + i] |= (code as u8 >> 4) << (2 * quarter);
        }
    }
}

/// The scale with which a group's error is least, of those at which its largest weight is at or near the end of the codes.
fn best_scale(weights: &[f32]) -> f32 {
    /// The largest weight takes -32 give or take so many steps of a tenth.
    const STEPS: i32 = 12;
    let largest =
        weights.iter().fold(0.0f32, |largest, &w| if w.abs() > largest.abs() { w } else { largest });
    if largest == 0.0 {
        return 0.0;
    }
    let (mut best, mut best_gain) = (largest / CODES.0, 0.0f32);
    for step in -STEPS..=STEPS {
        let inverse = (CODES.0 - 0.1 * step as f32) / largest;
        let (mut products, mut squares) = (0.0f32, 0.0f32);
        for w in weights {
            let code = (w * inverse).round().clamp(CODES.0, CODES.1);
            products += w * code;
            squares += code * code;
        }
        // With the best scale for these codes the error falls by the square of one sum over the other.
        if squares > 0.0 && products * products > best_gain * squares {
            (best, best_gain) = (products / squares, products * products / squares);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gaussian weights, of another size in every 64.
    fn weights(n: usize) -> Vec<f32> {
        let mut seed = 1u64;
        let mut uniform = || {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((seed >> 40) as f32 + 0.5) / (1 << 24) as f32
        };
        let mut gaussian = || (-2.0 * uniform().ln()).sqrt() * (std::f32::consts::TAU * uniform()).cos();
        (0..n).map(|i| gaussian() * (1.0 + (i / 64 % 5) as f32)).collect()
    }

    fn read(t: &UpstreamType, weights: &[f32]) -> Vec<f32> {
        let mut bytes = vec![0; weights.len() / t.block_len * t.block_bytes];
        t.quantize(weights, &mut bytes);
        let mut read = vec![0.0; weights.len()];
        t.kind.dequantizer().unwrap()(&bytes, &mut read);
        read
    }

    /// Squared error over power. Q6_K of llama-quantize has .000315 for a Gaussian source (docs/lab/2026-11-27-half-rates.md).
    #[test]
    fn errors_are_those_of_the_bits() {
        let weights = weights(1 << 16);
        let sum = |f: &dyn Fn(usize) -> f32| (0..weights.len()).map(|i| f64::from(f(i)).powi(2)).sum::<f64>();
        let [q6_k, q8_0] = UPSTREAM_TYPES.map(|t| {
            let read = read(t, &weights);
            sum(&|i| weights[i] - read[i]) / sum(&|i| weights[i])
        });
        assert!((2.0e-4..3.3e-4).contains(&q6_k), "{q6_k}");
        assert!((1.0e-5..3.5e-5).contains(&q8_0), "{q8_0}");
    }

    #[test]
    fn zeros_and_single_values_are_exact() {
        for t in UPSTREAM_TYPES {
            let mut weights = vec![0.0f32; t.block_len];
            assert_eq!(read(t, &weights), weights);
            weights[3] = -0.75;
            let read = read(t, &weights);
            assert!(
                (read[3] + 0.75).abs() < 1e-3 && read.iter().filter(|w| **w != 0.0).count() == 1,
                "{read:?}"
            );
        }
    }
}
