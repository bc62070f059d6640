//! Generation on one core with weights far larger than the caches, against the speed at which the core can read.
//!
//! Serves the decision what to tune: a kernel near the bandwidth needs fewer bytes, one far from it fewer operations.
//!
//!     cargo bench --bench bandwidth -- target/llama.cpp/KEY/build/bin [GiB]
//!
//! Every row of a buffer (1 GiB unless told) is multiplied once with one column. The bandwidth is that of adding up all
//! words of the same buffer with the widest loads. Rounds alternate; the median counts.

mod ggml;

use ggml::Ggml;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;
use tenpak_gguf::isa::Isa;
use tenpak_gguf::types::{self, Role, TensorType};

const COLUMNS: usize = 8192;
const ROUNDS: usize = 5;
const Q4_K: i32 = 12;

/// Rows that ggml hands to a thread at a time.
const CHUNK: usize = 64;

/// Multiplies rows of weights with the activations it holds; the sum of the products.
type Product = Box<dyn Fn(&[u8]) -> f32>;

fn main() {
    let mut args = std::env::args().skip(1).filter(|a| !a.starts_with('-'));
    let Some(folder) = args.next() else {
        return println!("no folder of libggml given: run scripts/bench.sh");
    };
    let gib: f64 = args.next().map_or(1.0, |gib| gib.parse().expect("a number of GiB"));
    let words = (gib * (1u64 << 27) as f64) as usize;
    let ggml = Ggml::load(Path::new(&folder));

    // Random bytes are valid blocks of ours; the scales of Q4_K are overwritten below.
    let mut state = 1u64;
    let mut buffer: Vec<u64> = (0..words)
        .map(|_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            state
        })
        .collect();
    let block = ggml.row_bytes(Q4_K, 256);
    for block in bytemuck::cast_slice_mut::<_, u8>(&mut buffer).chunks_exact_mut(block) {
        block[..4].copy_from_slice(&[0, 0x20, 0, 0x20]); // d and dmin, f16
    }

    let mut contenders: Vec<(String, usize, Product)> = Vec::new();
    for t in [&types::trellis::T2, &types::trellis::T3, &types::trellis::T4] {
        contenders.push((format!("{} {}", Isa::current().name(), t.name), row_bytes(t), ours(t)));
    }
    contenders.push(("ggml q4_K".into(), ggml.row_bytes(Q4_K, COLUMNS), peer(&ggml)));
    let mut seconds = vec![Vec::new(); contenders.len() + 1];
    for _ in 0..ROUNDS {
        seconds[0].push(time(|| read(&buffer) as f32));
        for ((_, row, product), seconds) in contenders.iter().zip(&mut seconds[1..]) {
            let chunks = || bytemuck::cast_slice::<_, u8>(&buffer).chunks_exact(CHUNK * row);
            seconds.push(time(|| chunks().map(product).sum()));
        }
    }
    let rate = |seconds: &mut Vec<f64>| {
        seconds.sort_by(f64::total_cmp);
        size_of_val(&buffer[..]) as f64 / seconds[ROUNDS / 2] / 1e9
    };
    let bandwidth = rate(&mut seconds[0]);
    println!("reading {:.1} GB with one core: {bandwidth:.1} GB/s", size_of_val(&buffer[..]) as f64 / 1e9);
    println!("{:<14} {:>8} {:>12} {:>12}", "kernel", "GB/s", "of reading", "10^9 w/s");
    for ((name, row, _), seconds) in contenders.iter().zip(&mut seconds[1..]) {
        let gb = rate(seconds);
        let weights = gb * COLUMNS as f64 / *row as f64;
        println!("{name:<14} {gb:>8.1} {:>10.0} % {weights:>12.1}", gb / bandwidth * 100.0);
    }
}

fn time(work: impl FnOnce() -> f32) -> f64 {
    let start = Instant::now();
    black_box(work());
    start.elapsed().as_secs_f64()
}

/// The sum of all words; 64 at a time, so that the compiler uses vectors and no sum waits for another.
fn read(buffer: &[u64]) -> u64 {
    let mut sums = [0u64; 64];
    for words in buffer.chunks_exact(64) {
        for (sum, word) in sums.iter_mut().zip(words) {
            *sum = sum.wrapping_add(*word);
        }
    }
    sums.iter().fold(0, |sum, s| sum.wrapping_add(*s))
}

fn activations() -> Vec<f32> {
    (0..COLUMNS).map(|i| (i as f32 * 0.7).sin()).collect()
}

fn row_bytes(t: &TensorType) -> usize {
    t.row_bytes(COLUMNS).expect("whole blocks")
}

fn ours(t: &'static TensorType) -> Product {
    let Role::Weight { activation, kernels, .. } = &t.role else { unreachable!("a weight type") };
    let Role::Activation { quantize } = activation.role else { unreachable!("an activation type") };
    let mut a = vec![0u32; row_bytes(activation) / 4]; // aligned to 4 bytes
    quantize(&activations(), bytemuck::cast_slice_mut(&mut a));
    Box::new(move |rows| {
        let mut out = [0.0; CHUNK];
        (kernels.dot_rows)(rows, bytemuck::cast_slice(&a), &mut out);
        out.iter().sum()
    })
}

fn peer(ggml: &Ggml) -> Product {
    let dot = ggml.traits_cpu(Q4_K).vec_dot.expect("a dot product");
    let like = ggml.traits_cpu(Q4_K).vec_dot_type;
    let mut a = vec![0u8; ggml.row_bytes(like, COLUMNS)];
    let from_float = ggml.traits_cpu(like).from_float.expect("a quantizer");
    // SAFETY: the signature is ggml's and the buffer has the size that it computes.
    unsafe { from_float(activations().as_ptr(), a.as_mut_ptr(), COLUMNS as i64) };
    Box::new(move |rows| {
        let product = |row: &[u8]| {
            let mut out = 0.0;
            // SAFETY: a row of weights and one of activations.
            unsafe { dot(COLUMNS as i32, &mut out, 0, row.as_ptr(), 0, a.as_ptr(), 0, 1) };
            out
        };
        rows.chunks_exact(rows.len() / CHUNK).map(product).sum()
    })
}
