//! Dot products against ggml's own, in one run on one core with data in cache.
//!
//! Serves the decision whether a change to a kernel or to a format may stay: T3 must keep up with Q4_K.
//!
//!     scripts/bench.sh            builds llama.cpp, runs this, writes benches/record/
//!     cargo bench --bench kernels -- target/llama.cpp/KEY/build/bin
//!
//! Every kernel works on the same 32 rows of 4096 weights; its result is checked against the product in f64
//! of its own dequantized weights. Rounds of all kernels alternate, and the best round counts, so that
//! a drift of the machine's speed meets all alike.

mod ggml;

use ggml::Ggml;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;
use tenpak_gguf::isa::Isa;
use tenpak_gguf::types::trellis::layout::*;
use tenpak_gguf::types::{self, trellis};

const ROWS: usize = 32;
const COLUMNS: usize = 4096;
/// Rounds of every kernel, and passes over the rows in a round.
const ROUNDS: usize = 60;
const PASSES: usize = 8;
/// Relative to the norms of the two vectors: int8 activations are off by 1/254 of their peak at most, 3e-3 in the mean.
const TOLERANCE: f64 = 1e-2;

/// ggml's types to compare with: (name, id).
const PEERS: &[(&str, i32)] = &[
    ("q4_K", 12),
    ("iq4_xs", 23),
    ("q3_K", 11),
    ("iq3_s", 21),
    ("iq3_xxs", 18),
    ("q2_K", 10),
    ("iq2_xs", 17),
];

/// Something that multiplies all rows and returns the sum of the results.
struct Contender {
    name: String,
    bytes: usize,
    pass: Box<dyn Fn() -> f32>,
    best: f64,
}

fn main() {
    let Some(folder) = std::env::args().skip(1).find(|a| !a.starts_with('-')) else {
        return println!("no folder of libggml given: run scripts/bench.sh");
    };
    let data = Data::new();
    let mut contenders = Vec::new();
    for isa in Isa::available().filter(|&isa| isa > Isa::Scalar) {
        contenders.push(ours::<BlockT2>(isa, &types::T2, &data));
        contenders.push(ours::<BlockT3>(isa, &types::T3, &data));
        contenders.push(ours::<BlockT4>(isa, &types::T4, &data));
        contenders.push(ours::<BlockT2_64>(isa, &types::T2_64, &data));
        contenders.push(ours::<BlockT3_64>(isa, &types::T3_64, &data));
        contenders.push(ours::<BlockT4_64>(isa, &types::T4_64, &data));
    }
    let ggml = Ggml::load(Path::new(&folder));
    for &(name, id) in PEERS {
        contenders.push(peer(&ggml, name, id, &data));
    }
    for _ in 0..ROUNDS {
        for c in &mut contenders {
            let start = Instant::now();
            for _ in 0..PASSES {
                black_box((c.pass)());
            }
            c.best = c.best.min(start.elapsed().as_secs_f64());
        }
    }
    report(&contenders);
}

fn report(contenders: &[Contender]) {
    let rate = |c: &Contender| (PASSES * ROWS * COLUMNS) as f64 / c.best / 1e9;
    let of = |name: &str| contenders.iter().find(|c| c.name == name).map(rate);
    let q4 = of("ggml q4_K").expect("a peer");
    println!("{:<16} {:>12} {:>8} {:>9}", "kernel", "10^9 w/s", "GB/s", "x q4_K");
    for c in contenders {
        let gb = rate(c) * c.bytes as f64 / (ROWS * COLUMNS) as f64;
        println!("{:<16} {:>12.1} {:>8.1} {:>9.2}", c.name, rate(c), gb, rate(c) / q4);
    }
    println!();
    for (ours, bar, peer) in [
        ("avx2 t3", 0.8, "ggml q4_K"),
        ("avx2 t3", 1.1, "ggml iq3_xxs"),
        ("avxvnni t3", 1.0, "ggml q4_K"),
        ("avx512 t3", 1.0, "ggml q4_K"),
        ("avx2 t2", 1.0, "avx2 t3"),
        ("avx2 t4", 1.0, "avx2 t3"),
        ("avxvnni t2", 1.0, "avxvnni t3"),
        ("avxvnni t4", 1.0, "avxvnni t3"),
        ("avx512 t2", 1.0, "avx512 t3"),
        ("avx512 t4", 1.0, "avx512 t3"),
    ] {
        if let (Some(a), Some(b)) = (of(ours), of(peer)) {
            let verdict = if a >= bar * b { "met" } else { "missed" };
            println!("{ours:<12} {:>5.2} x {peer:<14} (bar {bar:.1}) {verdict}", a / b);
        } else {
            println!("{ours:<12} not on this processor");
        }
    }
}

/// Gaussian-like weights and activations from splitmix64.
struct Data {
    weights: Vec<f32>,
    activations: Vec<f32>,
}

impl Data {
    fn new() -> Data {
        let mut state = 1u64;
        let mut uniform = || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 24) as f32 - 0.5
        };
        let mut gaussian = || (0..6).map(|_| uniform()).sum::<f32>();
        Data {
            weights: (0..ROWS * COLUMNS).map(|_| gaussian() * 0.02).collect(),
            activations: (0..COLUMNS).map(|_| gaussian()).collect(),
        }
    }

    /// Checks a kernel's result for the first row of dequantized weights.
    fn check(&self, name: &str, weights: &[f32], got: f32) {
        let norm = |v: &[f32]| v.iter().map(|&x| x as f64 * x as f64).sum::<f64>().sqrt();
        let pairs = weights.iter().zip(&self.activations);
        let exact: f64 = pairs.map(|(&w, &a)| w as f64 * a as f64).sum();
        let error = (got as f64 - exact).abs() / (norm(weights) * norm(&self.activations));
        assert!(error < TOLERANCE, "{name}: {got} instead of {exact}");
    }
}

fn ours<T: trellis::Decode>(isa: Isa, t: &types::TensorType, data: &Data) -> Contender {
    let name = format!("{} {}", isa.name(), t.name);
    let n = COLUMNS / T::LEN;
    let mut weights = vec![T::zeroed(); ROWS * n];
    let mut quantizer = (t.kernels().expect("a weight type").quantizer)();
    quantizer.quantize(&data.weights, bytemuck::cast_slice_mut(&mut weights));
    let mut activations = vec![bytemuck::Zeroable::zeroed(); n];
    trellis::activations::<T>(isa, &data.activations, &mut activations);
    let mut plain = vec![0.0; COLUMNS];
    trellis::dequantize(isa, &weights[..n], &mut plain);
    data.check(&name, &plain, trellis::dot(isa, &weights[..n], &activations));
    let bytes = size_of_val(&weights[..]);
    let pass = move || weights.chunks_exact(n).map(|row| trellis::dot(isa, row, &activations)).sum();
    Contender { name, bytes, pass: Box::new(pass), best: f64::INFINITY }
}

fn peer(ggml: &Ggml, name: &str, id: i32, data: &Data) -> Contender {
    let name = format!("ggml {name}");
    let row = ggml.row_bytes(id, COLUMNS);
    let (dot, like) = (ggml.traits_cpu(id).vec_dot.expect("a dot product"), ggml.traits_cpu(id).vec_dot_type);
    let mut weights = vec![0u8; row * ROWS];
    let mut activations = vec![0u8; ggml.row_bytes(like, COLUMNS)];
    let mut plain = vec![0f32; COLUMNS];
    ggml.quantize(id, &data.weights, COLUMNS, &mut weights);
    // SAFETY: the signatures are ggml's and every buffer has the size that it computes.
    unsafe {
        let from_float = ggml.traits_cpu(like).from_float.expect("a quantizer");
        from_float(data.activations.as_ptr(), activations.as_mut_ptr(), COLUMNS as i64);
        let to_float = ggml.traits(id).to_float.expect("a dequantizer");
        to_float(weights.as_ptr(), plain.as_mut_ptr(), COLUMNS as i64);
    }
    let product = move |row: &[u8], activations: &[u8]| {
        let mut out = 0.0;
        // SAFETY: one row of weights and one of activations, as quantized above.
        unsafe { dot(COLUMNS as i32, &mut out, 0, row.as_ptr(), 0, activations.as_ptr(), 0, 1) };
        out
    };
    data.check(&name, &plain, product(&weights[..row], &activations));
    let bytes = weights.len();
    let pass = move || weights.chunks_exact(row).map(|w| product(w, &activations)).sum();
    Contender { name, bytes, pass: Box::new(pass), best: f64::INFINITY }
}
