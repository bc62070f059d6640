//! The proxy loss tr(E H E^T) / tr(W H W^T) of a real model's layers: the calibrated search against GPTQ.
//!
//! Serves the choice of search widths, and shows what the trellis gains over INT3 with the same feedback, and what each
//! part of the method is worth.
//!
//!     cargo bench --bench proxy -- model.gguf model.gram.gguf [other-text.gram.gguf]
//!
//! The model is one in F32, F16 or BF16, the calibration one of `tenpak-gguf calibrate`. With a second calibration, of
//! other text, the search sees the first and is judged on the second. ROWS rows of each layer are taken (64); the
//! mean over layers is geometric and arithmetic. METHODS=normal runs the methods with that word in their name only, LAYERS=ffn_down
//! looks at the layers with that word only. Methods whose blocks do not fit all of these are left out. Microseconds are of one core.

use faer::MatRef;
use rayon::prelude::*;
use std::path::Path;
use std::time::Instant;
use tenpak_gguf::calibration::{Calibration, Statistics};
use tenpak_gguf::checkpoint::{Model, Options, SourceTensor};
use tenpak_gguf::quantize::{BandQuantizer, Effort, Factor, LEAST_DAMPING, band, cholesky, damping};
use tenpak_gguf::types::direct::calibrated::{Outliers, Quantizer};
use tenpak_gguf::types::direct::layout::{Dense3, Dense4};
use tenpak_gguf::types::feedback::{Breadth, FeedbackQuantizer};
use tenpak_gguf::types::{self, TensorType};

/// Weights that share a scale in GPTQ's INT3.
const GROUP: usize = 64;

/// What the search is not told.
#[derive(Clone, Copy, PartialEq)]
enum Ablation {
    /// How inputs correlate.
    Diagonal,
    /// How those of different blocks correlate: no error is fed back to the next block.
    Blocks,
    /// How few tokens the matrix is made of.
    LeastDamping,
}

struct Layer {
    n: usize,
    weights: Vec<f32>,
    /// For the search and for the judgement.
    h: [Statistics; 2],
}

/// A way to quantize: quantized weights of a layer whose columns are a multiple of the number.
type Method = (String, usize, Box<dyn Fn(&Layer) -> Vec<f32> + Sync>);

fn main() {
    let paths: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let [model, train, judge @ ..] = &paths[..] else {
        return println!(
            "give a model and its calibration: cargo bench --bench proxy -- model.gguf model.gram.gguf"
        );
    };
    let model = Model::open(Path::new(model), &Options::default()).expect("a model");
    let train = Calibration::open(Path::new(train)).expect("a calibration");
    let judge = judge.first().map(|path| Calibration::open(Path::new(path)).expect("a calibration"));
    let judge = judge.as_ref().unwrap_or(&train);
    let rows = std::env::var("ROWS").map_or(64, |v| v.parse().expect("a number of rows"));
    let word = |name| std::env::var(name).unwrap_or_default();
    let known = |t: &&SourceTensor| t.shape.len() == 2 && train.input_of(&t.name).is_some();
    let layers = model.tensors.iter().filter(known).filter(|t| t.name.contains(&word("LAYERS")));
    let layers: Vec<&SourceTensor> = layers.collect();

    let mut methods: Vec<Method> = vec![
        ("int3 g64, GPTQ".into(), 1, Box::new(gptq)),
        ("t3 without calibration".into(), 64, Box::new(|l| plain(kind("t3", l.n), l))),
    ];
    for (name, effort) in [("fast", Effort::Fast), ("normal", Effort::Normal), ("best", Effort::Best)] {
        for family in ["t2", "t25", "t3", "t35", "t4", "t5"] {
            let run = move |l: &Layer| calibrated(kind(family, l.n), effort, l);
            methods.push((format!("{family} {name}"), 64, Box::new(run)));
        }
        for family in ["o4", "o4x2", "o3", "o3x2", "s34", "s24"] {
            let run = move |l: &Layer| calibrated(kind(family, l.n), effort, l);
            methods.push((format!("{family} {name}"), 256, Box::new(run)));
        }
    }
    for (family, quantizer) in BY_MAGNITUDE {
        let run = move |l: &Layer| by_magnitude(kind(family, l.n), quantizer, l);
        methods.push((format!("{family} normal, outliers by magnitude"), 256, Box::new(run)));
    }
    for family in ["o4", "o3", "s34", "s24"] {
        let run = move |l: &Layer| plain(kind(family, l.n), l);
        methods.push((format!("{family} without calibration"), 256, Box::new(run)));
    }
    for family in ["t2", "t25", "t3", "t35", "t4"] {
        let run = move |l: &Layer| with_slots(l, calibrated(kind(family, l.n), Effort::Normal, l));
        methods.push((format!("{family} normal and a slot"), 256, Box::new(run)));
    }
    for (name, what) in [
        ("importance only", Ablation::Diagonal),
        ("blocks alone", Ablation::Blocks),
        ("damping .01", Ablation::LeastDamping),
    ] {
        let run = move |l: &Layer| ablated(kind("t3", l.n), what, l);
        methods.push((format!("t3 normal, {name}"), 64, Box::new(run)));
    }
    methods.retain(|(name, len, _)| {
        name.contains(&word("METHODS")) && layers.iter().all(|t| t.columns().is_multiple_of(*len))
    });
    println!("{} layers, {} rows of each", layers.len(), rows);
    println!("{:<24} {:>10} {:>10} {:>10} {:>10}", "method", "geometric", "mean", "us/weight", "of GPTQ");
    let mut reference = None;
    for (name, _, method) in &methods {
        let start = Instant::now();
        let results: Vec<(f64, usize)> =
            layers.par_iter().map(|t| loss(&load(&model, t, &train, judge, rows), method)).collect();
        let seconds = start.elapsed().as_secs_f64() * rayon::current_num_threads() as f64;
        let n = results.len() as f64;
        let geometric = (results.iter().map(|r| r.0.ln()).sum::<f64>() / n).exp();
        let mean = results.iter().map(|r| r.0).sum::<f64>() / n;
        let weights: usize = results.iter().map(|r| r.1).sum();
        let of = mean / *reference.get_or_insert(mean);
        println!(
            "{name:<24} {geometric:>10.5} {mean:>10.5} {:>10.3} {of:>10.3}",
            seconds * 1e6 / weights as f64
        );
    }
}

fn kind(family: &str, n: usize) -> &'static TensorType {
    let long = types::by_name(family).expect("a type");
    if n.is_multiple_of(long.block_len) {
        long
    } else {
        types::by_name(&format!("{family}_64")).expect("a type")
    }
}

fn load(model: &Model, t: &SourceTensor, train: &Calibration, judge: &Calibration, rows: usize) -> Layer {
    let n = t.columns();
    let h = [train, judge].map(|c| match c.load(&t.name, 0, n).expect("statistics") {
        Some(gram @ Statistics::Gram { .. }) => gram,
        _ => panic!("no Gram matrix for {}", t.name),
    });
    let rows = rows.min(t.rows());
    let step = t.rows() / rows;
    let mut weights = vec![0.0; rows * n];
    for (r, row) in weights.chunks_exact_mut(n).enumerate() {
        model.read_rows(t, r * step, row).expect("a row");
    }
    Layer { n, weights, h }
}

fn loss(layer: &Layer, method: &(dyn Fn(&Layer) -> Vec<f32> + Sync)) -> (f64, usize) {
    let quantized = method(layer);
    let errors: Vec<f32> = layer.weights.iter().zip(&quantized).map(|(w, q)| w - q).collect();
    let h = values(&layer.h[1]);
    (trace(h, layer.n, &errors) / trace(h, layer.n, &layer.weights), layer.weights.len())
}

fn values(gram: &Statistics) -> &[f32] {
    match gram {
        Statistics::Gram { values, .. } | Statistics::Diagonal { values, .. } => values,
    }
}

/// tr(X H X^T)
fn trace(h: &[f32], n: usize, x: &[f32]) -> f64 {
    let x = MatRef::from_row_major_slice(x, x.len() / n, n);
    let y = x * MatRef::from_row_major_slice(h, n, n);
    (0..x.nrows()).flat_map(|i| (0..n).map(move |j| (i, j))).map(|at| (x[at] * y[at]) as f64).sum()
}

fn dequantize(t: &TensorType, bytes: &[u8], len: usize) -> Vec<f32> {
    let mut out = vec![0.0; len];
    (t.kernels().expect("a weight type").dequantize)(bytes, &mut out);
    out
}

fn plain(t: &'static TensorType, layer: &Layer) -> Vec<f32> {
    let mut quantizer = t.quantizer().expect("a weight type");
    let mut out = vec![0; t.row_bytes(layer.weights.len()).expect("whole blocks")];
    quantizer.quantize(&layer.weights, &mut out);
    dequantize(t, &out, layer.weights.len())
}

fn calibrated(t: &'static TensorType, effort: Effort, layer: &Layer) -> Vec<f32> {
    let h = &layer.h[0];
    guided(t, effort, layer, h.clone(), damping(h))
}

/// With the default effort, but knowing less.
fn ablated(t: &'static TensorType, what: Ablation, layer: &Layer) -> Vec<f32> {
    let Statistics::Gram { n, ref values, tokens } = layer.h[0] else { unreachable!("load takes no others") };
    let statistics = match what {
        Ablation::LeastDamping => layer.h[0].clone(),
        Ablation::Diagonal => {
            Statistics::Diagonal { values: values.iter().step_by(n + 1).copied().collect(), tokens }
        }
        Ablation::Blocks => {
            let is_in_block = |i: usize| i / n / t.block_len == i % n / t.block_len;
            let values = values.iter().enumerate().map(|(i, &v)| if is_in_block(i) { v } else { 0.0 });
            Statistics::Gram { n, values: values.collect(), tokens }
        }
    };
    let damping = if what == Ablation::LeastDamping { LEAST_DAMPING } else { damping(&statistics) };
    guided(t, Effort::Normal, layer, statistics, damping)
}

fn guided(
    t: &'static TensorType,
    effort: Effort,
    layer: &Layer,
    statistics: Statistics,
    damping: f32,
) -> Vec<f32> {
    let factor = Factor::new(t, statistics, damping).expect("a positive matrix");
    by_bands(t, BandQuantizer::new(t, effort.breadth()), &factor, layer)
}

fn by_bands(
    t: &'static TensorType,
    mut quantizer: BandQuantizer,
    factor: &Factor,
    layer: &Layer,
) -> Vec<f32> {
    let n = layer.n;
    let row_bytes = t.row_bytes(n).expect("whole blocks");
    let mut out = vec![0; layer.weights.len() / n * row_bytes];
    let band = band(layer.weights.len() / n);
    for (weights, out) in layer.weights.chunks(band * n).zip(out.chunks_mut(band * row_bytes)) {
        quantizer.quantize(factor, &mut weights.to_vec(), out);
    }
    dequantize(t, &out, layer.weights.len())
}

/// Makes a quantizer of blocks.
type Blocks = fn(Breadth) -> Box<dyn FeedbackQuantizer>;

/// Quantizers of blocks that give slots to the largest weights.
const BY_MAGNITUDE: [(&str, Blocks); 4] = [
    ("o4", |breadth| Box::new(Quantizer::<Dense4, 1>::new(breadth, Outliers::ByMagnitude))),
    ("o4x2", |breadth| Box::new(Quantizer::<Dense4, 2>::new(breadth, Outliers::ByMagnitude))),
    ("o3", |breadth| Box::new(Quantizer::<Dense3, 1>::new(breadth, Outliers::ByMagnitude))),
    ("o3x2", |breadth| Box::new(Quantizer::<Dense3, 2>::new(breadth, Outliers::ByMagnitude))),
];

fn by_magnitude(t: &'static TensorType, quantizer: Blocks, layer: &Layer) -> Vec<f32> {
    let h = &layer.h[0];
    let factor = Factor::new(t, h.clone(), damping(h)).expect("a positive matrix");
    let blocks = quantizer(Effort::Normal.breadth());
    by_bands(t, BandQuantizer::with_blocks(t, blocks), &factor, layer)
}

/// Adds to one weight of every 256 the binary16 that lowers the loss most, block by block: a slot of a trellis block, outside of its
/// rotation.
fn with_slots(layer: &Layer, mut quantized: Vec<f32>) -> Vec<f32> {
    let (n, h) = (layer.n, values(&layer.h[0]));
    let errors: Vec<f32> = layer.weights.iter().zip(&quantized).map(|(w, q)| w - q).collect();
    let e = MatRef::from_row_major_slice(&errors, errors.len() / n, n);
    let gradients = e * MatRef::from_row_major_slice(h, n, n);
    for (r, row) in quantized.chunks_exact_mut(n).enumerate() {
        let mut g: Vec<f32> = (0..n).map(|i| gradients[(r, i)]).collect();
        let gain = |g: &[f32], i: usize| g[i] * g[i] / h[i * (n + 1)].max(f32::MIN_POSITIVE);
        for first in (0..n).step_by(256) {
            let best = (first..first + 256).max_by(|&a, &b| gain(&g, a).total_cmp(&gain(&g, b)));
            let p = best.expect("a block");
            let v = half::f16::from_f32(g[p] / h[p * (n + 1)].max(f32::MIN_POSITIVE)).to_f32();
            row[p] += v;
            g.iter_mut().zip(&h[p * n..]).for_each(|(g, h)| *g -= v * h);
        }
    }
    quantized
}

/// GPTQ (Frantar et al., 2022) to symmetric INT3: f16 scales of 64 weights, each the best of 32 for the weights with
/// the errors so far fed back.
fn gptq(layer: &Layer) -> Vec<f32> {
    let n = layer.n;
    let mut u = values(&layer.h[0]).to_vec();
    let damping = damping(&layer.h[0]);
    let mean = (0..n).map(|i| u[i * (n + 1)]).sum::<f32>() / n as f32;
    (0..n).for_each(|i| u[i * (n + 1)] += damping * mean);
    cholesky::factor(&mut u, n).expect("a positive matrix");
    let mut quantized = layer.weights.clone();
    for row in quantized.chunks_exact_mut(n) {
        let mut targets = row.to_vec();
        let mut d = 0.0;
        for i in 0..n {
            if i.is_multiple_of(GROUP) {
                d = int3_scale(&targets[i..n.min(i + GROUP)]);
            }
            let q = int3(targets[i], d);
            let error = row[i] - q;
            row[i] = q;
            for (target, &u) in targets[i + 1..].iter_mut().zip(&u[i * n + i + 1..(i + 1) * n]) {
                *target += error * u;
            }
        }
    }
    quantized
}

fn int3(x: f32, d: f32) -> f32 {
    if d > 0.0 { (x / d).round().clamp(-4.0, 3.0) * d } else { 0.0 }
}

fn int3_scale(x: &[f32]) -> f32 {
    let largest = x.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    let candidates = (0..32).map(|k| half::f16::from_f32(largest / (2.0 + 0.075 * k as f32)).to_f32());
    let error = |d: f32| x.iter().map(|&v| (v - int3(v, d)).powi(2)).sum::<f32>();
    candidates.min_by(|a, b| error(*a).total_cmp(&error(*b))).expect("candidates")
}
