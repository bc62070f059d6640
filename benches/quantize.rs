//! Quantizing rows without calibration, beside ggml's quantizers, on one core.
//!
//! Serves the decision how much a search may cost: a conversion must stay a matter of minutes.
//!
//!     scripts/bench.sh            runs this too and writes benches/record/
//!
//! Microseconds per weight, best of the rounds, and the squared error relative to the power of the weights.

mod ggml;

use ggml::Ggml;
use std::path::Path;
use std::time::Instant;
use tenpak_gguf::isa::Isa;
use tenpak_gguf::types::{REGISTRY, TensorType};

const ROWS: usize = 8;
const COLUMNS: usize = 4096;
const ROUNDS: usize = 3;

/// ggml's types to compare with: (name, id).
const PEERS: &[(&str, i32)] = &[("q4_K", 12), ("q3_K", 11), ("iq3_xxs", 18), ("iq3_s", 21), ("iq2_xs", 17)];

fn main() {
    let Some(folder) = std::env::args().skip(1).find(|a| !a.starts_with('-')) else {
        return println!("no folder of libggml given: run scripts/bench.sh");
    };
    let ggml = Ggml::load(Path::new(&folder));
    let weights = gaussian(ROWS * COLUMNS);
    println!("search at {}", Isa::current().name());
    println!("{:<14} {:>8} {:>12} {:>10}", "type", "bpw", "us/weight", "error");
    for t in REGISTRY.iter().filter(|t| t.kernels().is_some()) {
        ours(t, &weights);
    }
    for &(name, id) in PEERS {
        let mut out = vec![0; ggml.row_bytes(id, COLUMNS) * ROWS];
        let seconds = best(|| ggml.quantize(id, &weights, COLUMNS, &mut out));
        let mut back = vec![0.0; weights.len()];
        let to_float = ggml.traits(id).to_float.expect("a dequantizer");
        // SAFETY: `out` holds as many weights as `back` has room for.
        unsafe { to_float(out.as_ptr(), back.as_mut_ptr(), back.len() as i64) };
        report(&format!("ggml {name}"), out.len(), seconds, &weights, &back);
    }
}

fn ours(t: &TensorType, weights: &[f32]) {
    let kernels = t.kernels().expect("a weight type");
    let mut quantizer = (kernels.quantizer)();
    let mut out = vec![0; t.row_bytes(weights.len()).expect("whole blocks")];
    let seconds = best(|| quantizer.quantize(weights, &mut out));
    let mut back = vec![0.0; weights.len()];
    (kernels.dequantize)(&out, &mut back);
    report(t.name, out.len(), seconds, weights, &back);
}

fn best(mut run: impl FnMut()) -> f64 {
    let time = |_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    };
    (0..ROUNDS).map(time).fold(f64::INFINITY, f64::min)
}

fn report(name: &str, bytes: usize, seconds: f64, weights: &[f32], back: &[f32]) {
    let n = weights.len() as f64;
    let power: f64 = weights.iter().map(|&w| w as f64 * w as f64).sum();
    let error: f64 = weights.iter().zip(back).map(|(&w, &b)| (w as f64 - b as f64).powi(2)).sum();
    let bpw = bytes as f64 * 8.0 / n;
    println!("{name:<14} {bpw:>8.4} {:>12.3} {:>10.5}", seconds * 1e6 / n, error / power);
}

/// Box-Muller over splitmix64.
fn gaussian(n: usize) -> Vec<f32> {
    let mut state = 1u64;
    let mut uniform = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (((z ^ (z >> 31)) >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    };
    let gaussian =
        |_| ((-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos()) as f32 * 0.02;
    (0..n).map(gaussian).collect()
}
