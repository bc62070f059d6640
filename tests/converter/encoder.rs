//! The way from rows to blocks: how near it comes, and what it makes of rows that are not like weights.

use crate::support;
use rayon::prelude::*;
use support::random::Random;
use tenpak_gguf::types::{self, REGISTRY, TensorType};

/// Mean squared error of a Gaussian source of variance 1, at most. Measured 0.0656, 0.0337, 0.0169, 0.0085, 0.0044
/// and 0.0012 over 256 blocks; the rate-distortion bounds are 4^-k = 0.0625, 0.0313, 0.0156, 0.0078, 0.0039 and 0.0010.
const ERROR_T2: f64 = 0.0710;
const ERROR_T25: f64 = 0.0370;
const ERROR_T3: f64 = 0.0190;
const ERROR_T35: f64 = 0.0103;
const ERROR_T4: f64 = 0.0056;
const ERROR_T5: f64 = 0.0016;
/// Blocks of 64 share a scale among fewer weights: their error, at most, over that of blocks of 256.
/// Measured 0.88 to 0.91: the scale follows the block's own power, and one symbol in 64 is free.
const SHORT_BLOCKS: f64 = 1.20;
/// Blocks that an error is measured over; the mean of 256 x 256 squared errors is known to 1 %.
const BLOCKS: usize = 256;
/// An error over fewer blocks, of a source that is not Gaussian, may be higher by this factor.
const SLACK: f64 = 1.5;

/// Scales are 2^-26 times 9/8 to 60, and reconstructions have a deviation of about 20: weights of these
/// deviations keep their precision.
const LEAST_FULL: f32 = 5e-7;
const MOST_FULL: f32 = 1e3;
/// No weight can be larger: 60 x 64 x 256 reconstructions, over sqrt(256).
const LARGEST_WEIGHT: f32 = 60.0 * 64.0 * 16.0;

fn weight_types() -> impl Iterator<Item = &'static TensorType> {
    // Of the trellis; codes4.rs has the others.
    REGISTRY.iter().copied().filter(|t| t.kernels().is_some() && t.name.starts_with('t'))
}

/// The bar of a type with Gaussian weights, by its family.
fn bar(t: &TensorType) -> f64 {
    match t.name {
        "t2" => ERROR_T2,
        "t3" => ERROR_T3,
        "t4" => ERROR_T4,
        "t5" => ERROR_T5,
        "t25" => ERROR_T25,
        "t35" => ERROR_T35,
        "t2_64" => ERROR_T2 * SHORT_BLOCKS,
        "t25_64" => ERROR_T25 * SHORT_BLOCKS,
        "t35_64" => ERROR_T35 * SHORT_BLOCKS,
        "t3_64" => ERROR_T3 * SHORT_BLOCKS,
        "t4_64" => ERROR_T4 * SHORT_BLOCKS,
        "t5_64" => ERROR_T5 * SHORT_BLOCKS,
        other => panic!("{other} has no quality bar: measure it and add one"),
    }
}

fn quantize(t: &TensorType, x: &[f32]) -> Vec<u8> {
    // Not zeroed: the quantizer must write every byte.
    let mut bytes = vec![0xa5; t.row_bytes(x.len()).expect("whole blocks")];
    t.quantizer().expect("a weight type").quantize(x, &mut bytes);
    bytes
}

fn round_trip(t: &TensorType, x: &[f32]) -> Vec<f32> {
    let bytes = quantize(t, x);
    let mut values = vec![f32::NAN; x.len()];
    (t.kernels().expect("a weight type").dequantize)(&bytes, &mut values);
    assert!(values.iter().all(|v| v.abs() <= LARGEST_WEIGHT), "{}: {values:?}", t.name);
    values
}

fn power(x: &[f32]) -> f64 {
    x.iter().map(|&v| (v as f64).powi(2)).sum()
}

/// Squared error over the power of the source.
fn relative_error(x: &[f32], y: &[f32]) -> f64 {
    let error: f64 = x.iter().zip(y).map(|(&x, &y)| (x as f64 - y as f64).powi(2)).sum();
    error / power(x)
}

fn cosine(x: &[f32], y: &[f32]) -> f64 {
    let product: f64 = x.iter().zip(y).map(|(&x, &y)| x as f64 * y as f64).sum();
    product / (power(x) * power(y)).sqrt()
}

fn gaussian_error(t: &TensorType) -> f64 {
    let parts: Vec<[f64; 2]> = (0..BLOCKS as u64 / 16)
        .into_par_iter()
        .map(|seed| {
            let mut random = Random(seed);
            let x: Vec<f32> = (0..16 * t.block_len).map(|_| random.normal()).collect();
            [relative_error(&x, &round_trip(t, &x)) * power(&x), power(&x)]
        })
        .collect();
    let sum = |i: usize| parts.iter().map(|p| p[i]).sum::<f64>();
    sum(0) / sum(1)
}

#[test]
fn gaussian_weights_come_near_the_bound() {
    for t in weight_types() {
        let error = gaussian_error(t);
        println!("{}: {error:.5}, bar {:.5}", t.name, bar(t));
        assert!(error <= bar(t), "{}: {error:.5}", t.name);
    }
}

#[test]
fn short_blocks_are_little_worse() {
    for (long, short) in [
        (&types::trellis::T2, &types::trellis::T2_64),
        (&types::trellis::T3, &types::trellis::T3_64),
        (&types::trellis::T4, &types::trellis::T4_64),
        (&types::trellis::T25, &types::trellis::T25_64),
        (&types::trellis::T35, &types::trellis::T35_64),
        (&types::trellis::T5, &types::trellis::T5_64),
    ] {
        let (long_error, short_error) = (gaussian_error(long), gaussian_error(short));
        assert!(short_error <= long_error * SHORT_BLOCKS, "{}: {short_error} over {long_error}", short.name);
    }
}

#[test]
fn size_does_not_matter_within_the_range_of_scales() {
    for t in weight_types() {
        for size in [LEAST_FULL, 1e-4, 0.02, 1.0, 30.0, MOST_FULL] {
            let x: Vec<f32> = Random(1).gaussians(4 * t.block_len).iter().map(|v| v * size).collect();
            let error = relative_error(&x, &round_trip(t, &x));
            assert!(error <= bar(t) * SLACK, "{} at {size:e}: {error}", t.name);
        }
    }
}

#[test]
fn zeros_are_zero_bytes() {
    for t in weight_types() {
        for zero in [0.0, -0.0] {
            let x = vec![zero; 2 * t.block_len];
            assert!(quantize(t, &x).iter().all(|&b| b == 0), "{}", t.name);
            assert!(round_trip(t, &x).iter().all(|&v| v == 0.0), "{}", t.name);
        }
    }
}

/// Puts `value` at a few places of a row.
fn with(t: &TensorType, value: f32) -> Vec<f32> {
    let mut x = Random(2).gaussians(3 * t.block_len);
    for i in [0, 1, 17, t.block_len - 1, 2 * t.block_len + 5] {
        x[i] = value;
    }
    x
}

#[test]
fn nan_counts_as_zero() {
    for t in weight_types() {
        assert_eq!(quantize(t, &with(t, f32::NAN)), quantize(t, &with(t, 0.0)), "{}", t.name);
        assert!(quantize(t, &vec![f32::NAN; t.block_len]).iter().all(|&b| b == 0), "{}", t.name);
    }
}

#[test]
fn infinity_counts_as_zero() {
    for t in weight_types() {
        for v in [f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(quantize(t, &with(t, v)), quantize(t, &with(t, 0.0)), "{}", t.name);
        }
    }
}

/// Beyond the largest scale weights saturate: smaller than they were, but of the right sign mostly.
#[test]
fn large_weights_saturate() {
    for t in weight_types() {
        for size in [1e4, 1e6, 1e8] {
            let x: Vec<f32> = Random(3).gaussians(4 * t.block_len).iter().map(|v| v * size).collect();
            let y = round_trip(t, &x);
            assert!(power(&y) < power(&x), "{} at {size:e}", t.name);
            let cosine = cosine(&x, &y);
            assert!(cosine > 0.5, "{} at {size:e}: cosine {cosine}", t.name);
        }
    }
}

/// No promise but a valid block: even the rotation overflows here.
#[test]
fn huge_weights_are_blocks() {
    for t in weight_types() {
        for v in [1e12, 1e30, f32::MAX] {
            round_trip(t, &vec![v; t.block_len]);
            let mut x = with(t, -v);
            round_trip(t, &x);
            x.iter_mut().enumerate().for_each(|(i, x)| *x = if i % 3 == 0 { v } else { -v });
            round_trip(t, &x);
        }
    }
}

/// Below the least scale weights are as good as zero. The error may be that of the least scale, where
/// reconstructions of the zero point's neighbours are the nearest that there is, but no more.
#[test]
fn tiny_weights_become_no_larger_than_the_least_scale() {
    /// Least scale times the deviation of the reconstructions.
    const LEAST_WEIGHT: f32 = 1.125 / (1 << 26) as f32 * 22.0;
    for t in weight_types() {
        for size in [f32::from_bits(1), 1e-40, f32::MIN_POSITIVE, 1e-30, 1e-12, 1e-9] {
            let x: Vec<f32> = Random(4).gaussians(t.block_len).iter().map(|v| v * size).collect();
            let y = round_trip(t, &x);
            let deviation = (power(&y) / t.block_len as f64).sqrt();
            assert!(deviation <= LEAST_WEIGHT as f64, "{} at {size:e}: {deviation:e}", t.name);
        }
    }
}

#[test]
fn one_outlier_keeps_its_value() {
    for t in weight_types() {
        for place in [0, 1, 31, t.block_len - 1] {
            let mut x: Vec<f32> = Random(5).gaussians(t.block_len).iter().map(|v| v * 0.02).collect();
            x[place] = -3.0;
            let y = round_trip(t, &x);
            let error = relative_error(&x, &y);
            assert!(error <= bar(t) * SLACK, "{} at {place}: {error}", t.name);
        }
    }
}

#[test]
fn constant_blocks_keep_their_value() {
    for t in weight_types() {
        for v in [1.0, -0.02] {
            let x = vec![v; t.block_len];
            let error = relative_error(&x, &round_trip(t, &x));
            assert!(error <= bar(t) * SLACK, "{} at {v}: {error}", t.name);
        }
    }
}

/// The rotation turns these blocks into a single spike, which no scale of the code reaches: the worst
/// that there is. The block keeps its direction.
#[test]
fn the_sign_pattern_itself_keeps_its_direction() {
    use tenpak_gguf::types::trellis::rotation::PATTERN;
    for t in weight_types() {
        let y = round_trip(t, &PATTERN[..t.block_len]);
        let cosine = cosine(&PATTERN[..t.block_len], &y);
        assert!(cosine > 0.4, "{}: cosine {cosine}", t.name);
    }
}

#[test]
fn rows_do_not_depend_on_the_rows_before() {
    for t in weight_types() {
        let row = |seed: u64| Random(seed).gaussians(2 * t.block_len);
        let fresh = quantize(t, &row(6));
        let mut quantizer = t.quantizer().expect("a weight type");
        let mut bytes = vec![0; fresh.len()];
        for seed in [7, 8, 6] {
            quantizer.quantize(&row(seed), &mut bytes);
        }
        assert_eq!(bytes, fresh, "{}", t.name);
    }
}

#[test]
#[should_panic]
fn an_output_of_the_wrong_length_panics() {
    let mut quantizer = types::trellis::T3.quantizer().expect("a weight type");
    quantizer.quantize(&[0.0; 512], &mut [0; 98]);
}
