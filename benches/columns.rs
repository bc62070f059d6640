//! Matrix products with few columns in the two ways there are: row by row, and by tiles of rows that are decoded once.
//! On one core with data in cache.
//!
//! Serves the decision from how many columns on tiles are taken (`MANY_COLUMNS` in src/products/mod.rs): where they
//! win at every level.
//!
//!     cargo bench --bench columns
//!
//! Rounds of all ways alternate, and the best round counts, so that a drift of the machine's speed meets all alike.

mod synthetic;
mod timing;

use std::hint::black_box;
use synthetic::Random;
use tenpak_gguf::isa::Isa;
use tenpak_gguf::products::{self, Columns, Matrix, Results};
use tenpak_gguf::types::trellis::layout::*;
use tenpak_gguf::types::{self, TensorType};

/// Rows and their weights; blocks of 64 are for rows that 256 does not divide.
const ROWS: usize = 64;
const WEIGHTS: usize = 2048;
/// Columns of the products. The other way decodes a row once for up to 16 of them.
const COUNTS: [usize; 12] = [2, 4, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64];
/// Rounds of every way, and the seconds of a round.
const ROUNDS: usize = 25;
const ROUND: f64 = 2e-3;

/// A product that is computed in one way.
struct Contender {
    pass: Box<dyn FnMut()>,
    /// Seconds of a pass.
    best: f64,
}

impl Contender {
    fn new(pass: impl FnMut() + 'static) -> Contender {
        Contender { pass: Box::new(pass), best: f64::INFINITY }
    }

    fn run(&mut self) {
        self.best = self.best.min(timing::round(ROUND, &mut self.pass));
    }
}

fn main() {
    println!("seconds by tiles / seconds row by row, for {COUNTS:?} columns");
    for isa in Isa::available().filter(|&isa| isa > Isa::Scalar) {
        compare::<BlockT2>(isa, &types::trellis::T2);
        compare::<BlockT3>(isa, &types::trellis::T3);
        compare::<BlockT4>(isa, &types::trellis::T4);
        compare::<BlockT2_64>(isa, &types::trellis::T2_64);
        compare::<BlockT3_64>(isa, &types::trellis::T3_64);
        compare::<BlockT4_64>(isa, &types::trellis::T4_64);
        compare::<BlockT25>(isa, &types::trellis::T25);
        compare::<BlockT35>(isa, &types::trellis::T35);
        compare::<BlockT25_64>(isa, &types::trellis::T25_64);
        compare::<BlockT35_64>(isa, &types::trellis::T35_64);
        compare::<BlockT5>(isa, &types::trellis::T5);
        compare::<BlockT5_64>(isa, &types::trellis::T5_64);
    }
}

/// Prints how long tiles take in units of the other way, and the number of columns from which on they are never slower.
fn compare<T: types::trellis::Decode>(isa: Isa, t: &TensorType) {
    let random = &mut Random(1);
    let n = WEIGHTS / T::LEN;
    let mut weights = vec![T::zeroed(); ROWS * n];
    // Any valid block decodes in the same time: the first row, searched, is enough.
    let values = synthetic::weights(WEIGHTS, random);
    let mut quantizer = t.quantizer().expect("a weight type");
    quantizer.quantize(&values, bytemuck::cast_slice_mut(&mut weights[..n]));
    for r in 1..ROWS {
        weights.copy_within(..n, r * n);
    }
    let mut activations = vec![bytemuck::Zeroable::zeroed(); n];
    types::trellis::activations::<T>(isa, &random.gaussians(WEIGHTS), &mut activations);

    let way = |multiply: fn(Isa, Matrix, Columns, &mut Results), n_columns: usize| {
        let (weights, columns) = (weights.clone(), vec![activations.clone(); n_columns]);
        let mut out = vec![0.0; n_columns * ROWS];
        Contender::new(move || {
            let bytes = size_of_val(&weights[..]) / ROWS;
            let rows = Matrix::new(bytemuck::cast_slice(black_box(&weights)), ROWS, bytes, bytes);
            let columns: Vec<&[_]> = columns.iter().map(|a| &a[..]).collect();
            Columns::with(&columns, |columns| {
                Results::with(&mut out, ROWS, |out| multiply(isa, rows, columns, out));
            });
        })
    };
    let mut ways = COUNTS.map(|n| {
        let [tiles, rows] = [products::multiply_in_way::<T, true>, products::multiply_in_way::<T, false>];
        [way(tiles, n), way(rows, n)]
    });
    for _ in 0..ROUNDS {
        ways.as_flattened_mut().iter_mut().for_each(Contender::run);
    }
    let times = ways.map(|[tiles, rows]| tiles.best / rows.best);
    let shown = times.map(|times| format!("{times:.2}"));
    let from = times.iter().rposition(|&times| times > 1.0).map_or(0, |i| i + 1);
    let from = COUNTS.get(from).map_or("none of these".into(), usize::to_string);
    println!("{:<16} {}   tiles from {from} on", format!("{} {}", isa.name(), t.name), shown.join(" "));
}
