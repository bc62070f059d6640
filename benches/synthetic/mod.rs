//! Made-up weights and inputs.
#![allow(dead_code, reason = "no bench uses all of it")]

#[path = "../../tests/support/random.rs"]
mod random;

pub use random::Random;
use rayon::prelude::*;
use tenpak_gguf::calibration::Statistics;

/// Directions in which the inputs of [`gram`] are strong.
const DIRECTIONS: usize = 8;

/// The Gram matrix of `n` inputs with variance 1 and a few strong directions.
pub fn gram(n: usize, random: &mut Random) -> Statistics {
    let strong = random.gaussians(DIRECTIONS * n);
    let mut values = vec![0.0f32; n * n];
    values.par_chunks_exact_mut(n).enumerate().for_each(|(i, row)| {
        for d in strong.chunks_exact(n) {
            row.iter_mut().zip(d).for_each(|(h, s)| *h += d[i] * s);
        }
        row[i] += 1.0;
    });
    Statistics::Gram { n, values, tokens: 1 << 20 }
}

/// `n` Gaussian values as large as weights are.
pub fn weights(n: usize, random: &mut Random) -> Vec<f32> {
    (0..n).map(|_| random.normal() * 0.02).collect()
}
