//! Time and memory of the calibrated quantizer on a layer with very many inputs.
//!
//! Serves the claim of docs/quantizer.md that memory is bounded by the largest Gram matrix: n^2 floats, not two of them.
//!
//!     cargo bench --bench large_layer                  28672 columns (the down projection of a 70B model), needs 4 GB
//!     COLUMNS=8192 cargo bench --bench large_layer

mod synthetic;

use rayon::prelude::*;
use std::time::Instant;
use synthetic::Random;
use tenpak_gguf::quantize::{BandQuantizer, Effort, Factor, band, damping};
use tenpak_gguf::types;

fn main() {
    let n: usize = std::env::var("COLUMNS").map_or(28672, |v| v.parse().expect("a number of columns"));
    let t = if n.is_multiple_of(256) { &types::trellis::T3 } else { &types::trellis::T3_64 };
    let random = &mut Random(1);
    let statistics = synthetic::gram(n, random);
    let start = Instant::now();
    let damping = damping(&statistics);
    let factor = Factor::new(t, statistics, damping).expect("a positive matrix");
    let factored = start.elapsed().as_secs_f64();

    // Two bands of the 8192 rows that such a projection has.
    let band = band(8192);
    let rows = 2 * band;
    let weights = synthetic::weights(rows * n, random);
    let row_bytes = t.row_bytes(n).expect("whole blocks");
    let mut out = vec![0; rows * row_bytes];
    let start = Instant::now();
    let bands = weights.par_chunks(band * n).zip(out.par_chunks_mut(band * row_bytes));
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

fn peak() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<f64>().ok()? * 1024.0)
}
