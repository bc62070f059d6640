//! What codes of 3 and 4 bits should stand for: evenly spaced levels with zero points, without, or the levels of least
//! error for Gaussian weights; with 0 to 2 outliers of every 256 weights stored apart.
//!
//!     cargo run --release --example levels [-- model.gguf WORD]
//!
//! Mean squared error over power, of Gaussian weights and of the matrices of a model with WORD in their names, 256 weights of a
//! row at a time (what a row has more is left out). Scales are those of section 5 of docs/FORMAT.md, the best one
//! for each block; zero points are codes, the best one for each block.

#[path = "../tests/support/random.rs"]
#[allow(dead_code)]
mod random;

use random::Random;
use rayon::prelude::*;
use std::path::Path;
use tenpak_gguf::checkpoint::{Model, Options};
use tenpak_gguf::types::direct::levels::{DENSE_3, DENSE_4};
use tenpak_gguf::types::trellis::scale;

const LEN: usize = 256;
/// Blocks that are looked at, spread over all.
const BLOCKS: usize = 2000;
/// Scale codes that are tried below and above the power's.
const AROUND: u8 = 6;

/// A name, and the sets of levels of which a block takes the best.
type Kind = (&'static str, f64, Vec<Vec<f32>>);

fn main() {
    let paths: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let blocks = match &paths[..] {
        [model, word] => of_model(Path::new(model), word),
        _ => {
            let mut random = Random(1);
            (0..BLOCKS * LEN).map(|_| random.normal()).collect()
        }
    };
    let even = |codes: i32, zero: f32| (0..codes).map(|c| c as f32 - zero).collect::<Vec<f32>>();
    let zeros = |codes: i32| (0..codes).map(|zero| even(codes, zero as f32)).collect();
    let learned = |levels: &[i8]| vec![levels.iter().map(|&v| v as f32).collect()];
    // Bits of a block besides codes and slots: a scale, and a zero point as a byte.
    let kinds: Vec<Kind> = vec![
        ("4 bits, affine", 4.0 * 256.0 + 16.0, zeros(16)),
        ("4 bits, symmetric", 4.0 * 256.0 + 8.0, vec![even(16, 7.5)]),
        ("4 bits, learned", 4.0 * 256.0 + 8.0, learned(&DENSE_4)),
        ("3 bits, affine", 3.0 * 256.0 + 16.0, zeros(8)),
        ("3 bits, symmetric", 3.0 * 256.0 + 8.0, vec![even(8, 3.5)]),
        ("3 bits, learned", 3.0 * 256.0 + 8.0, learned(&DENSE_3)),
    ];
    println!("{} blocks", blocks.len() / LEN);
    println!("{:<20} {:>6} {:>9} {:>9} {:>12}", "levels", "slots", "bits", "error", "x 4^bits");
    let power: f64 = blocks.par_iter().map(|&v| (v * v) as f64).sum();
    for (name, bits, sets) in &kinds {
        for slots in 0..=2 {
            let error: f64 = blocks.par_chunks(LEN).map(|x| best(x, sets, slots)).sum::<f64>() / power;
            let bits = (bits + 24.0 * slots as f64) / LEN as f64;
            println!("{name:<20} {slots:>6} {bits:>9.4} {error:>9.5} {:>12.4}", error * 4f64.powf(bits));
        }
    }
}

/// Blocks of the matrices whose names have a word, at most [`BLOCKS`].
fn of_model(path: &Path, word: &str) -> Vec<f32> {
    let model = Model::open(path, &Options::default()).expect("a model");
    let matrices: Vec<_> =
        model.tensors.iter().filter(|t| t.shape.len() == 2 && t.name.contains(word)).collect();
    let mut blocks = Vec::new();
    for t in &matrices {
        let in_row = t.columns() / LEN;
        let rows = (BLOCKS / matrices.len() / in_row).clamp(1, t.rows());
        let mut row = vec![0.0; t.columns()];
        for r in 0..rows {
            model.read_rows(t, r * t.rows() / rows, &mut row).expect("a row");
            blocks.extend_from_slice(&row[..in_row * LEN]);
        }
    }
    blocks
}

/// The least squared error of a block over levels and scales.
fn best(x: &[f32], sets: &[Vec<f32>], slots: usize) -> f64 {
    let mut sorted: Vec<f32> = x.iter().map(|v| v * v).collect();
    sorted.sort_by(f32::total_cmp);
    let power: f32 = sorted[..LEN - slots].iter().sum();
    let deviation = (power / (LEN - slots) as f32).sqrt();
    let of_levels = |levels: &Vec<f32>| {
        let spread = (levels.iter().map(|v| v * v).sum::<f32>() / levels.len() as f32).sqrt();
        let middle = scale::neighbours(1.2 * deviation / spread)[0];
        let codes = middle.saturating_sub(AROUND)..=middle.saturating_add(AROUND);
        codes.map(|code| error(x, levels, scale::decode(code), slots)).fold(f64::INFINITY, f64::min)
    };
    sets.iter().map(of_levels).fold(f64::INFINITY, f64::min)
}

/// The squared error of a block without the largest errors.
fn error(x: &[f32], levels: &[f32], d: f32, slots: usize) -> f64 {
    let of_level = |v: f32| move |level: &f32| (v - level * d) * (v - level * d);
    let nearest = |&v: &f32| levels.iter().map(of_level(v)).fold(f32::INFINITY, f32::min);
    let mut errors: Vec<f32> = x.iter().map(nearest).collect();
    errors.sort_by(f32::total_cmp);
    errors[..LEN - slots].iter().map(|&e| e as f64).sum()
}
