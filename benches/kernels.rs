//! The kernels against ggml's own, in one run on one core with data in cache: the dot product (generation), the
//! matrix product (prompts), dequantizing (`get_rows`, export) and the quantization of activations.
//!
//! Serves the decision whether a change to a kernel or to a format may stay: T3 must keep up with Q4_K.
//!
//!     scripts/bench.sh            builds llama.cpp, runs this, writes benches/record/
//!     cargo bench --bench kernels -- target/llama.cpp/KEY/build/bin
//!
//! Every kernel works on the same 32 rows of 4096 weights; the result of its dot is checked against the product in f64
//! of its own dequantized weights. Rounds of all kernels alternate, and the best round counts, so that
//! a drift of the machine's speed meets all alike. ggml's matrix products are not functions of their own: llama-bench
//! compares those, with whole models.

mod ggml;
mod synthetic;
mod timing;

use ggml::Ggml;
use std::hint::black_box;
use std::path::Path;
use synthetic::Random;
use tenpak_gguf::isa::Isa;
use tenpak_gguf::products::{self, AtEveryLevel, Columns, Definition, Matrix, Results};
use tenpak_gguf::types::codes4::layout::{BlockG4, BlockNf4, Codes4};
use tenpak_gguf::types::direct::layout::{Codes, Dense3, Dense4, ThreeOfFour, TwoOfFour};
use tenpak_gguf::types::trellis::a8::BlockA8;
use tenpak_gguf::types::trellis::layout::*;
use tenpak_gguf::types::{self, TensorType};

const ROWS: usize = 32;
const COLUMNS: usize = 4096;
/// Columns of the matrix product.
const PROMPT: usize = 128;
/// Rounds of every kernel, and the seconds of a round.
const ROUNDS: usize = 25;
const ROUND: f64 = 4e-3;
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

/// What a kernel does with all rows.
#[derive(Clone, Copy, PartialEq)]
enum Work {
    Dot,
    Multiply,
    Dequantize,
    Activations,
}

/// A kernel at work.
struct Contender {
    name: String,
    work: Work,
    /// Bytes of the weights.
    bytes: usize,
    pass: Box<dyn FnMut()>,
    /// Seconds of a pass.
    best: f64,
}

impl Contender {
    fn new(name: &str, work: Work, bytes: usize, pass: impl FnMut() + 'static) -> Contender {
        Contender { name: name.to_string(), work, bytes, pass: Box::new(pass), best: f64::INFINITY }
    }

    fn run(&mut self) {
        self.best = self.best.min(timing::round(ROUND, &mut self.pass));
    }

    /// Products or values, 10^9 a second.
    fn rate(&self) -> f64 {
        let columns = if self.work == Work::Multiply { PROMPT } else { 1 };
        let rows = if self.work == Work::Activations { 1 } else { ROWS };
        (rows * COLUMNS * columns) as f64 / self.best / 1e9
    }
}

fn main() {
    let Some(folder) = std::env::args().skip(1).find(|a| !a.starts_with('-')) else {
        return println!("no folder of libggml given: run scripts/bench.sh");
    };
    let data = Data::new();
    let mut contenders = Vec::new();
    for isa in Isa::available().filter(|&isa| isa > Isa::Scalar) {
        contenders.extend(trellis::<BlockT2>(isa, &types::trellis::T2, &data));
        contenders.extend(trellis::<BlockT3>(isa, &types::trellis::T3, &data));
        contenders.extend(trellis::<BlockT4>(isa, &types::trellis::T4, &data));
        contenders.extend(trellis::<BlockT2_64>(isa, &types::trellis::T2_64, &data));
        contenders.extend(trellis::<BlockT3_64>(isa, &types::trellis::T3_64, &data));
        contenders.extend(trellis::<BlockT4_64>(isa, &types::trellis::T4_64, &data));
        contenders.extend(trellis::<BlockT25>(isa, &types::trellis::T25, &data));
        contenders.extend(trellis::<BlockT35>(isa, &types::trellis::T35, &data));
        contenders.extend(trellis::<BlockT25_64>(isa, &types::trellis::T25_64, &data));
        contenders.extend(trellis::<BlockT35_64>(isa, &types::trellis::T35_64, &data));
        contenders.extend(trellis::<BlockT5>(isa, &types::trellis::T5, &data));
        contenders.extend(trellis::<BlockT5_64>(isa, &types::trellis::T5_64, &data));
        contenders.extend(codes4::<BlockG4>(isa, &types::codes4::G4_128, &data));
        contenders.extend(codes4::<BlockNf4>(isa, &types::codes4::NF4_64, &data));
        contenders.extend(direct::<Dense4, 1>(isa, &types::direct::O4, &data));
        contenders.extend(direct::<Dense4, 2>(isa, &types::direct::O4X2, &data));
        contenders.extend(direct::<Dense3, 1>(isa, &types::direct::O3, &data));
        contenders.extend(direct::<Dense3, 2>(isa, &types::direct::O3X2, &data));
        contenders.extend(direct::<ThreeOfFour, 0>(isa, &types::direct::S34, &data));
        contenders.extend(direct::<TwoOfFour, 0>(isa, &types::direct::S24, &data));
    }
    let ggml = Ggml::load(Path::new(&folder));
    for &(name, id) in PEERS {
        contenders.extend(peer(&ggml, name, id, &data));
    }
    for _ in 0..ROUNDS {
        contenders.iter_mut().for_each(Contender::run);
    }
    report(&contenders);
}

fn report(contenders: &[Contender]) {
    let of = |name: &str, work: Work| {
        contenders.iter().find(|c| c.name == name && c.work == work).map(Contender::rate)
    };
    println!("{:<16} {:>36} {:>12} {:>12} {:>12}", "", "dot", "product", "dequantize", "activations");
    println!(
        "{:<16} {:>12} {:>10} {:>12} {:>12} {:>12} {:>12}",
        "kernel", "10^9 w/s", "GB/s", "x q4_K", "10^9 mul/s", "GB/s of f32", "10^9/s"
    );
    let q4 = of("ggml q4_K", Work::Dot).expect("a peer");
    for c in contenders.iter().filter(|c| c.work == Work::Dot) {
        let gb = c.rate() * c.bytes as f64 / (ROWS * COLUMNS) as f64;
        let more =
            |work, factor: f64| of(&c.name, work).map_or("".into(), |rate| format!("{:.2}", rate * factor));
        println!(
            "{:<16} {:>12.1} {gb:>10.1} {:>12.2} {:>12} {:>12} {:>12}",
            c.name,
            c.rate(),
            c.rate() / q4,
            more(Work::Multiply, 1.0),
            more(Work::Dequantize, 4.0),
            more(Work::Activations, 1.0),
        );
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
        if let (Some(a), Some(b)) = (of(ours, Work::Dot), of(peer, Work::Dot)) {
            let verdict = if a >= bar * b { "met" } else { "missed" };
            println!("{ours:<12} {:>5.2} x {peer:<14} (bar {bar:.1}) {verdict}", a / b);
        } else {
            println!("{ours:<12} not on this processor");
        }
    }
    for name in ["avx2 t2", "avx2 t3", "avx2 t4"] {
        if let Some(gb) = of(name, Work::Dequantize).map(|rate| 4.0 * rate) {
            let verdict = if gb >= 1.0 { "met" } else { "missed" };
            println!("{name:<12} dequantizes {gb:.1} GB/s of f32 (bar 1.0) {verdict}");
        }
    }
}

/// Gaussian weights and activations.
struct Data {
    weights: Vec<f32>,
    activations: Vec<f32>,
}

impl Data {
    fn new() -> Data {
        let random = &mut Random(1);
        Data { weights: synthetic::weights(ROWS * COLUMNS, random), activations: random.gaussians(COLUMNS) }
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

fn trellis<T: types::trellis::Decode>(isa: Isa, t: &TensorType, data: &Data) -> [Contender; 4] {
    ours::<T>(isa, t, data, types::trellis::activations::<T>)
}

fn codes4<T: Codes4 + AtEveryLevel>(isa: Isa, t: &TensorType, data: &Data) -> [Contender; 4] {
    ours::<T>(isa, t, data, |isa, x, out| types::codes4::activations(isa, x, bytemuck::cast_slice_mut(out)))
}

fn direct<C: Codes, const SLOTS: usize>(isa: Isa, t: &TensorType, data: &Data) -> [Contender; 4]
where
    types::direct::layout::Block<C, SLOTS>: AtEveryLevel + Definition<Activations = BlockA8<256>>,
{
    ours::<types::direct::layout::Block<C, SLOTS>>(isa, t, data, types::direct::activations)
}

fn ours<T: AtEveryLevel>(
    isa: Isa,
    t: &TensorType,
    data: &Data,
    quantize_activations: fn(Isa, &[f32], &mut [T::Activations]),
) -> [Contender; 4] {
    let name = format!("{} {}", isa.name(), t.name);
    let n = COLUMNS / T::WEIGHTS;
    let mut weights = vec![T::zeroed(); ROWS * n];
    // Any valid block decodes in the same time: the first row, searched, is enough.
    let mut quantizer = t.quantizer().expect("a weight type");
    quantizer.quantize(&data.weights[..COLUMNS], bytemuck::cast_slice_mut(&mut weights[..n]));
    for r in 1..ROWS {
        weights.copy_within(..n, r * n);
    }
    let mut activations = vec![bytemuck::Zeroable::zeroed(); n];
    quantize_activations(isa, &data.activations, &mut activations);
    let mut plain = vec![0.0; COLUMNS];
    products::dequantize(isa, &weights[..n], &mut plain);
    data.check(&name, &plain, products::dot(isa, &weights[..n], &activations));

    let bytes = size_of_val(&weights[..]);
    let (w, a) = (weights.clone(), activations.clone());
    let mut products = [0.0; ROWS];
    let dot = move || products::dot_rows(isa, black_box(&w), &a, &mut products);
    let (w, columns) = (weights.clone(), vec![activations.clone(); PROMPT]);
    let mut out = vec![0.0; PROMPT * ROWS];
    let multiply = move || {
        let rows = Matrix::new(bytemuck::cast_slice(&w), ROWS, bytes / ROWS, bytes / ROWS);
        let columns: Vec<&[_]> = columns.iter().map(|a| &a[..]).collect();
        Columns::with(&columns, |columns| {
            Results::with(&mut out, ROWS, |out| products::multiply::<T>(isa, rows, columns, out));
        });
    };
    let dequantize = move || {
        weights.chunks_exact(n).for_each(|row| products::dequantize(isa, black_box(row), &mut plain));
    };
    let x = data.activations.clone();
    let quantize = move || quantize_activations(isa, black_box(&x), &mut activations);
    [
        Contender::new(&name, Work::Dot, bytes, dot),
        Contender::new(&name, Work::Multiply, bytes, multiply),
        Contender::new(&name, Work::Dequantize, bytes, dequantize),
        Contender::new(&name, Work::Activations, bytes, quantize),
    ]
}

fn peer(ggml: &Ggml, name: &str, id: i32, data: &Data) -> [Contender; 3] {
    let name = format!("ggml {name}");
    let row = ggml.row_bytes(id, COLUMNS);
    let (dot, like) = (ggml.traits_cpu(id).vec_dot.expect("a dot product"), ggml.traits_cpu(id).vec_dot_type);
    let mut weights = vec![0u8; row * ROWS];
    let mut activations = vec![0u8; ggml.row_bytes(like, COLUMNS)];
    let mut plain = vec![0f32; COLUMNS];
    ggml.quantize(id, &data.weights, COLUMNS, &mut weights);
    let from_float = ggml.traits_cpu(like).from_float.expect("a quantizer");
    let to_float = ggml.traits(id).to_float.expect("a dequantizer");
    // SAFETY: the signatures are ggml's and every buffer has the size that it computes.
    let quantize =
        move |x: &[f32], out: &mut [u8]| unsafe { from_float(x.as_ptr(), out.as_mut_ptr(), COLUMNS as i64) };
    // SAFETY: as above.
    let dequantize = move |row: &[u8], out: &mut [f32]| unsafe {
        to_float(row.as_ptr(), out.as_mut_ptr(), COLUMNS as i64)
    };
    let product = move |row: &[u8], activations: &[u8]| {
        let mut out = 0.0;
        // SAFETY: one row of weights and one of activations, as quantized above.
        unsafe { dot(COLUMNS as i32, &mut out, 0, row.as_ptr(), 0, activations.as_ptr(), 0, 1) };
        out
    };
    quantize(&data.activations, &mut activations);
    dequantize(&weights, &mut plain);
    data.check(&name, &plain, product(&weights[..row], &activations));

    let bytes = weights.len();
    let (w, a) = (weights.clone(), activations.clone());
    let dot = move || {
        w.chunks_exact(row).for_each(|w| {
            black_box(product(w, &a));
        });
    };
    let rows = move || weights.chunks_exact(row).for_each(|w| dequantize(black_box(w), &mut plain));
    let x = data.activations.clone();
    [
        Contender::new(&name, Work::Dot, bytes, dot),
        Contender::new(&name, Work::Dequantize, bytes, rows),
        Contender::new(&name, Work::Activations, bytes, move || quantize(black_box(&x), &mut activations)),
    ]
}
