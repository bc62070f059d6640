//! What the calibrated quantizer's errors cost on other text than that of the calibration.
//!
//!     cargo run --release --example held_out_loss -- MODEL CALIBRATION OTHER_CALIBRATION [TYPE...]
//!
//! For some rows of every matrix that both calibrations know, quantized with the first: the sum of e^T H e over rows with the
//! H of the first (`own`), the same with what the damping adds (`damped`), and with the H of the other (`other`), each relative to
//! the sum of w^T H w with the same H; then the quotients damped / own and other / own.

use rayon::prelude::*;
use std::path::Path;
use tenpak_gguf::calibration::{Calibration, Statistics};
use tenpak_gguf::checkpoint::{Model, Options};
use tenpak_gguf::quantize::{BandQuantizer, Effort, Factor, damping};
use tenpak_gguf::types::{self, TensorType};

/// Rows of a matrix, spread over all of it.
const ROWS: usize = 32;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, own, other, names @ ..] = &arguments[..] else {
        panic!("MODEL CALIBRATION OTHER_CALIBRATION [TYPE...]")
    };
    let model = Model::open(Path::new(model), &Options::default()).expect("a model");
    let own = Calibration::open(Path::new(own)).expect("a calibration");
    let other = Calibration::open(Path::new(other)).expect("a calibration");
    let names = if names.is_empty() { vec!["t3".to_owned()] } else { names.to_vec() };
    println!(
        "{:<28} {:<6} {:>7} {:>9} {:>9} {:>9} {:>7} {:>7}",
        "tensor", "type", "columns", "own", "damped", "other", "dam/own", "oth/own"
    );
    for t in model.tensors.iter().filter(|t| t.shape.len() == 2) {
        let load = |c: &Calibration| c.load(&t.name, 0, t.columns()).expect("statistics");
        let (Some(statistics), Some(elsewhere)) = (load(&own), load(&other)) else { continue };
        let mut weights = vec![0.0; ROWS * t.columns()];
        for (r, row) in weights.chunks_exact_mut(t.columns()).enumerate() {
            model.read_rows(t, (2 * r + 1) * t.rows() / (2 * ROWS), row).expect("a row");
        }
        let damping = damping(&statistics);
        for kind in names.iter().filter_map(|name| types::by_name(name)) {
            if t.columns() % kind.block_len != 0 {
                continue;
            }
            let factor = Factor::new(kind, statistics.clone(), damping).expect("a positive definite matrix");
            let errors: Vec<f32> = weights
                .par_chunks(4 * t.columns())
                .flat_map_iter(|band| errors(kind, &factor, band))
                .collect();
            let squares: f64 = errors.iter().map(|&e| f64::from(e).powi(2)).sum();
            let (here, there) = (of_rows(&statistics, &weights), of_rows(&elsewhere, &weights));
            let of_own = of_rows(&statistics, &errors) / here;
            let damped = of_own + f64::from(damping) * mean_diagonal(&statistics) * squares / here;
            let of_other = of_rows(&elsewhere, &errors) / there;
            println!(
                "{:<28} {:<6} {:>7} {of_own:>9.5} {damped:>9.5} {of_other:>9.5} {:>7.3} {:>7.3}",
                t.name,
                kind.name,
                t.columns(),
                damped / of_own,
                of_other / of_own
            );
        }
    }
}

/// Errors of rows that are quantized together.
fn errors(kind: &'static TensorType, factor: &Factor, band: &[f32]) -> Vec<f32> {
    let mut out = vec![0; kind.row_bytes(band.len()).expect("whole blocks")];
    BandQuantizer::new(kind, Effort::Fast.breadth()).quantize(factor, &mut band.to_vec(), &mut out);
    let mut read = vec![0.0; band.len()];
    (kind.kernels().expect("a weight type").dequantize)(&out, &mut read);
    band.iter().zip(&read).map(|(w, r)| w - r).collect()
}

/// The sum of v^T H v over rows v.
fn of_rows(h: &Statistics, rows: &[f32]) -> f64 {
    let Statistics::Gram { n, values, .. } = h else { panic!("a Gram matrix") };
    let dot = |h: &[f32], v: &[f32]| h.iter().zip(v).map(|(h, v)| f64::from(h * v)).sum::<f64>();
    let of_row =
        |v: &[f32]| values.chunks_exact(*n).zip(v).map(|(h, &e)| f64::from(e) * dot(h, v)).sum::<f64>();
    rows.par_chunks(*n).map(of_row).sum()
}

fn mean_diagonal(h: &Statistics) -> f64 {
    let Statistics::Gram { n, values, .. } = h else { panic!("a Gram matrix") };
    values.iter().step_by(n + 1).map(|&v| f64::from(v)).sum::<f64>() / *n as f64
}
