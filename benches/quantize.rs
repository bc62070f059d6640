//! Quantizing rows, without calibration and with it, beside ggml's quantizers, on one core.
//!
//! Serves the decision how much a search may cost, and so the widths of `--effort`: a conversion must stay a matter of
//! minutes. llama.cpp's IQ3_XXS is what people wait for today.
//!
//!     scripts/bench.sh            runs this too and writes benches/record/
//!     cargo bench --bench quantize -- target/llama.cpp/KEY/build/bin "t3 normal" ...      these and IQ3_XXS only
//!
//! Microseconds per weight, best of the rounds, which alternate. The error is squared and relative to the power of
//! the weights; with calibration it is not what is minimized: `cargo bench --bench proxy` has what is.

mod ggml;
mod synthetic;

use ggml::Ggml;
use std::path::Path;
use std::time::Instant;
use synthetic::Random;
use tenpak_gguf::isa::Isa;
use tenpak_gguf::quantize::{BandQuantizer, Effort, Factor, damping};
use tenpak_gguf::types::{self, REGISTRY, TensorType};

/// A thread of a conversion takes at least as many at a time.
const ROWS: usize = 32;
const COLUMNS: usize = 1536;
const ROUNDS: usize = 5;

/// ggml's types to compare with: (name, id).
const PEERS: &[(&str, i32)] = &[("q4_K", 12), ("q3_K", 11), ("iq3_xxs", 18), ("iq3_s", 21), ("iq2_xs", 17)];
/// The one that all are compared with.
const REFERENCE: &str = "ggml iq3_xxs";

/// Writes the bytes of the weights.
type Quantize<'a> = dyn FnMut(&mut [u8]) + 'a;
/// Writes the weights of bytes.
type Dequantize = dyn Fn(&[u8], &mut [f32]);

/// A quantizer, and what it made.
struct Contender<'a> {
    name: String,
    quantize: Box<Quantize<'a>>,
    dequantize: Box<Dequantize>,
    bytes: Vec<u8>,
    /// Of the best round.
    seconds: f64,
}

fn main() {
    let mut args = std::env::args().skip(1).filter(|a| !a.starts_with('-'));
    let Some(folder) = args.next() else {
        return println!("no folder of libggml given: run scripts/bench.sh");
    };
    let ggml = Ggml::load(Path::new(&folder));
    let random = &mut Random(1);
    let weights = &synthetic::weights(ROWS * COLUMNS, random)[..];
    let gram = synthetic::gram(COLUMNS, random);
    let factors = ["t2", "t3", "t4", "o4", "o3", "s34", "s24"].map(|name| {
        let t = types::by_name(name).expect("a type");
        (t, Factor::new(t, gram.clone(), damping(&gram)).expect("a positive matrix"))
    });

    let mut contenders: Vec<Contender> =
        PEERS.iter().map(|&(name, id)| peer(&ggml, name, id, weights)).collect();
    contenders.extend(REGISTRY.iter().filter(|t| t.kernels().is_some()).map(|t| plain(t, weights)));
    for (name, effort) in [("fast", Effort::Fast), ("normal", Effort::Normal), ("best", Effort::Best)] {
        contenders.extend(factors.iter().map(|(t, factor)| calibrated(t, name, effort, factor, weights)));
    }
    let wanted: Vec<String> = args.collect();
    contenders.retain(|c| wanted.is_empty() || wanted.contains(&c.name) || c.name == REFERENCE);
    for _ in 0..ROUNDS {
        for c in &mut contenders {
            let start = Instant::now();
            (c.quantize)(&mut c.bytes);
            c.seconds = c.seconds.min(start.elapsed().as_secs_f64());
        }
    }

    let per_weight = |c: &Contender| c.seconds * 1e6 / weights.len() as f64;
    let reference = contenders.iter().find(|c| c.name == REFERENCE).map(per_weight).expect("the reference");
    println!("search at {}", Isa::current().name());
    println!("{:<14} {:>8} {:>12} {:>10} {:>10}", "type", "bpw", "us/weight", "x IQ3_XXS", "error");
    for c in &contenders {
        let bpw = c.bytes.len() as f64 * 8.0 / weights.len() as f64;
        let us = per_weight(c);
        println!("{:<14} {bpw:>8.4} {us:>12.3} {:>10.2} {:>10.5}", c.name, us / reference, c.error(weights));
    }
}

impl Contender<'_> {
    fn error(&self, weights: &[f32]) -> f64 {
        let mut back = vec![0.0; weights.len()];
        (self.dequantize)(&self.bytes, &mut back);
        let power: f64 = weights.iter().map(|&w| w as f64 * w as f64).sum();
        weights.iter().zip(&back).map(|(&w, &b)| (w as f64 - b as f64).powi(2)).sum::<f64>() / power
    }
}

fn peer<'a>(ggml: &'a Ggml, name: &str, id: i32, weights: &'a [f32]) -> Contender<'a> {
    let to_float = ggml.traits(id).to_float.expect("a dequantizer");
    Contender {
        name: format!("ggml {name}"),
        quantize: Box::new(move |out| ggml.quantize(id, weights, COLUMNS, out)),
        // SAFETY: the bytes are of as many weights as there is room for.
        dequantize: Box::new(move |bytes, out| unsafe {
            to_float(bytes.as_ptr(), out.as_mut_ptr(), out.len() as i64)
        }),
        bytes: vec![0; ggml.row_bytes(id, COLUMNS) * ROWS],
        seconds: f64::INFINITY,
    }
}

fn plain<'a>(t: &'static TensorType, weights: &'a [f32]) -> Contender<'a> {
    let mut quantizer = t.quantizer().expect("a weight type");
    ours(t, t.name.to_owned(), move |out| quantizer.quantize(weights, out))
}

fn calibrated<'a>(
    t: &'static TensorType,
    effort_name: &str,
    effort: Effort,
    factor: &'a Factor,
    weights: &'a [f32],
) -> Contender<'a> {
    let mut quantizer = BandQuantizer::new(t, effort.breadth());
    ours(t, format!("{} {effort_name}", t.name), move |out| {
        quantizer.quantize(factor, &mut weights.to_vec(), out);
    })
}

fn ours<'a>(t: &'static TensorType, name: String, quantize: impl FnMut(&mut [u8]) + 'a) -> Contender<'a> {
    Contender {
        name,
        quantize: Box::new(quantize),
        dequantize: Box::new(t.kernels().expect("a weight type").dequantize),
        bytes: vec![0; t.row_bytes(COLUMNS).expect("whole blocks") * ROWS],
        seconds: f64::INFINITY,
    }
}
