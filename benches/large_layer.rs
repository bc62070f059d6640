//! Time and memory of the calibrated quantizer on a layer with very many inputs.
//!
//! Serves the claim of docs/quantizer.md that memory is bounded by the largest Gram matrix: n^2 floats, not two of them.
//!
//!     cargo bench --bench large_layer                  28672 columns (the down projection of a 70B model), needs 4 GB
//!     COLUMNS=8192 cargo bench --bench large_layer

use rayon::prelude::*;
use std::time::Instant;
use tenpak_gguf::calibration::Statistics;
use tenpak_gguf::quantize::{BAND, BandQuantizer, Effort, Factor, damping};
use tenpak_gguf::types;

const DIRECTIONS: usize = 8;

fn main() {
    let n: usize = std::env::var("COLUMNS").map_or(28672, |v| v.parse().expect("a number of columns"));
    let t = if n.is_multiple_of(256) { &types::T3 } else { &types::T3_64 };
    // The Gram matrix of inputs with a few strong directions.
    let strong: Vec<f32> = (0..DIRECTIONS * n).map(|i| noise(i as u64)).collect();
    let mut values = vec![0.0f32; n * n];
    values.par_chunks_exact_mut(n).enumerate().for_each(|(i, row)| {
        for d in strong.chunks_exact(n) {
            row.iter_mut().zip(d).for_each(|(h, s)| *h += d[i] * s);
        }
        row[i] += 1.0;
    });
    let statistics = Statistics::Gram { n, values, tokens: 1 << 20 };
    let start = Instant::now();
    let damping = damping(&statistics);
    let factor = Factor::new(t, statistics, damping).expect("a positive matrix");
    let factored = start.elapsed().as_secs_f64();

    let rows = 2 * BAND;
    let weights: Vec<f32> = (0..rows * n).map(|i| 0.02 * noise((i + DIRECTIONS * n) as u64)).collect();
    let row_bytes = t.row_bytes(n).expect("whole blocks");
    let mut out = vec![0; rows * row_bytes];
    let start = Instant::now();
    let bands = weights.par_chunks(BAND * n).zip(out.par_chunks_mut(BAND * row_bytes));
    let quantizer = || BandQuantizer::new(t, Effort::Normal.breadth());
    bands.for_each_init(quantizer, |q, (weights, out)| {
        q.quantize(&factor, &mut weights.to_vec(), out);
    });
    let cores = rayon::current_num_threads().min(2) as f64;
    let per_weight = start.elapsed().as_secs_f64() * 1e6 * cores / (rows * n) as f64;

    println!("{n} columns, {}, {} threads", t.name, rayon::current_num_threads());
    println!("factor: {factored:.1} s; search: {per_weight:.3} us per weight and core ({rows} rows)");
    println!("H and factor by the formula 4 n (n + 1): {:.3} GB", 4e-9 * (n * (n + 1)) as f64);
    match peak() {
        Some(bytes) => println!("peak memory of the whole program: {:.3} GB", bytes / 1e9),
        None => println!("peak memory: not told on this system"),
    }
}

/// Sum of four uniform values from splitmix64, variance 1.
fn noise(i: u64) -> f32 {
    let uniform = |k: u64| {
        let z = (4 * i + k + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..4).map(uniform).sum::<f32>() * 3f32.sqrt()
}

fn peak() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<f64>().ok()? * 1024.0)
}
