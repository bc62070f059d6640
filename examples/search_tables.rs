//! Finds the constants of a trellis code: `cargo run --release --example search_tables -- T3`.
//!
//! What it prints is what stands in `src/types/trellis/code.rs`. The search is deterministic:
//! the same seeds give the same tables on every machine.
//!
//! `-- T25 1000` finds one whose symbols have two and three bits in turn. `-- T3 1000 8` searches value tables of 8 entries,
//! which see six bits of the hash: what that costs is in docs/lab/2026-11-27-hash-of-6-bits.md. The values of T5 take more
//! iterations to settle than the last round has: `-- T5 100 16 15 5 160` gives it 160.
//!
//! A code is random columns and 32 values. The values are trained as in Lloyd's algorithm: find the best
//! symbols for a Gaussian sample, then the least-squares values for those symbols, and again.
//! Candidates are thinned in rounds, each with more samples than the last, so that
//! most of the time is spent on the few that matter.

use rayon::prelude::*;
use tenpak_gguf::isa::Isa;
use tenpak_gguf::types::trellis::code::{Code, HASHES};
use tenpak_gguf::types::trellis::search::viterbi;

/// Samples in a block, as in the 256 types.
const BLOCK: usize = 256;

/// (candidates kept, blocks, iterations) of each round; the first row's count is the seeds tried. The last round has these
/// iterations unless the arguments say otherwise.
const ROUNDS: [(usize, usize, usize); 4] = [(0, 16, 5), (48, 32, 6), (8, 128, 10), (3, 512, 40)];

struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Box-Muller.
    fn gaussian(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }

    fn blocks(&mut self, n: usize) -> Vec<Vec<f32>> {
        (0..n).map(|_| (0..BLOCK).map(|_| self.gaussian() as f32).collect()).collect()
    }
}

/// A code whose values are still real numbers.
#[derive(Clone)]
struct Candidate {
    seed: u64,
    code: Code,
    v: [f64; 32],
    /// Entries of a value table that differ: 16, or 8 if bits 3 and 7 of the hash are not looked at.
    entries: usize,
    mse: f64,
}

impl Candidate {
    /// Random columns; values start as two shuffled sets of 16 Gaussian quantiles times 0.7.
    fn random(name: u64, code: &Code, entries: usize, seed: u64) -> Option<Self> {
        let mut rng = SplitMix64(seed << 8 | name);
        let mut base = [0; 8];
        for c in &mut base[..code.period as usize] {
            *c = rng.next() as u8;
        }
        let code = Code { base, ..code.clone() };
        // The CUDA kernels of T35 take the fourth bit of a symbol from a sign, which only leaves seven bits.
        if code.bits == [4, 3] && (code.base[3] | code.base[6]) >= 128 {
            return None;
        }
        let mut v = [0.0; 32];
        for half in v.chunks_mut(16) {
            for (i, x) in half.iter_mut().enumerate() {
                *x = 0.7 * gaussian_quantile(((i % entries) as f64 + 0.5) / entries as f64);
            }
            for i in (1..entries).rev() {
                half.swap(i, (rng.next() % (i as u64 + 1)) as usize);
            }
        }
        // Symbols must be told apart.
        let seen = (entries - 1) as u8 * 0x11;
        let independent = |columns: &[u8]| {
            let mut span = vec![0u8];
            for c in columns.iter().map(|c| c & seen) {
                if span.contains(&c) {
                    return None;
                }
                span.extend(span.clone().iter().map(|s| s ^ c));
            }
            Some(span)
        };
        independent(&code.base[..code.bits.into_iter().max()? as usize])?;
        Some(Candidate { seed, code, v, entries, mse: f64::NAN })
    }

    fn values(&self) -> [f32; HASHES] {
        std::array::from_fn(|h| {
            let (i, j) = self.places(h);
            (self.v[i] + self.v[j]) as f32
        })
    }

    /// The two values whose sum is that of a hash.
    fn places(&self, hash: usize) -> (usize, usize) {
        (hash % self.entries, 16 + (hash >> 4) % self.entries)
    }

    /// One step of training; sets `mse` to what the values before it reached.
    fn train(&mut self, blocks: &[Vec<f32>]) {
        let fit = Fit::new(self, blocks);
        self.mse = fit.error / (blocks.len() * BLOCK) as f64;
        self.v = fit.solve(&self.v);
    }

    /// Rounds the values to integers that sum to 0..=127.
    fn round(&mut self) {
        let peak = self.values().iter().fold(0f32, |a, v| a.max(v.abs())) as f64;
        let unit = 62.9 / peak;
        let mut q: [i32; 32] = self.v.map(|v| (v * unit).round() as i32);
        let low = q[..self.entries].iter().copied().min().unwrap();
        for (i, q) in q.iter_mut().enumerate() {
            *q += if i < 16 { -low } else { 64 + low };
        }
        self.code.v0 = std::array::from_fn(|i| q[i % self.entries].try_into().unwrap());
        self.code.v1 = std::array::from_fn(|i| q[16 + i % self.entries].try_into().unwrap());
        self.code.sigma = unit as f32;
    }
}

/// Least squares for the 32 values, given the symbols that the present values choose.
struct Fit {
    normal: Vec<f64>,
    right: [f64; 32],
    error: f64,
}

impl Fit {
    fn new(c: &Candidate, blocks: &[Vec<f32>]) -> Self {
        let mut search = viterbi::with_values(Isa::current(), &c.code, &c.values());
        let mut fit = Fit { normal: vec![0.0; 32 * 32], right: [0.0; 32], error: 0.0 };
        let mut symbols = [0u8; BLOCK];
        for block in blocks {
            let path = search.run(block, &mut symbols);
            fit.error += path.error as f64;
            let mut window = path.history as u32;
            for (n, (&x, &s)) in block.iter().zip(&symbols).enumerate() {
                window = c.code.next_window(window, n, s);
                let h = c.code.hash(window) as usize;
                let (i, j) = c.places(h);
                for (a, b) in [(i, i), (j, j), (i, j), (j, i)] {
                    fit.normal[a * 32 + b] += 1.0;
                }
                fit.right[i] += x as f64;
                fit.right[j] += x as f64;
            }
        }
        fit
    }

    /// Gaussian elimination; a small ridge towards the old values fixes the common offset.
    fn solve(mut self, old: &[f64; 32]) -> [f64; 32] {
        let (a, b) = (&mut self.normal, &mut self.right);
        for i in 0..32 {
            a[i * 32 + i] += 1e-3;
            b[i] += 1e-3 * old[i];
        }
        for i in 0..32 {
            for j in i + 1..32 {
                let f = a[j * 32 + i] / a[i * 32 + i];
                for k in i..32 {
                    a[j * 32 + k] -= f * a[i * 32 + k];
                }
                b[j] -= f * b[i];
            }
        }
        for i in (0..32).rev() {
            for j in i + 1..32 {
                b[i] -= a[i * 32 + j] * b[j];
            }
            b[i] /= a[i * 32 + i];
        }
        *b
    }
}

/// Inverse of the normal distribution function, by bisection of its integral.
fn gaussian_quantile(p: f64) -> f64 {
    let density = |x: f64| (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
    let (mut x, mut area, step) = (-8.0, 0.0, 1e-4);
    while area < p {
        area += step * density(x + 0.5 * step);
        x += step;
    }
    x
}

fn main() {
    let usage = "usage: search_tables T2|T25|T3|T35|T4|T5 [SEEDS [ENTRIES [WINDOW PERIOD [ITERATIONS]]]]";
    let mut args = std::env::args().skip(1);
    let name = args.next().unwrap_or_default();
    let (number, code) = match &name[..] {
        "T2" => (2, Code::blank([2, 2], 16, 8)),
        "T25" => (25, Code::blank([2, 3], 15, 5)),
        "T3" => (3, Code::blank([3, 3], 15, 6)),
        "T35" => (35, Code::blank([4, 3], 16, 7)),
        "T4" => (4, Code::blank([4, 4], 16, 8)),
        "T5" => (5, Code::blank([5, 5], 15, 5)),
        _ => return eprintln!("{usage}"),
    };
    let seeds = args.next().map_or(1000, |s| s.parse().expect(usage));
    let entries = args.next().map_or(16, |s| s.parse().expect(usage));
    let mut number_or = |x: u32| args.next().map_or(x, |s| s.parse().expect(usage));
    let code = Code { window: number_or(code.window), period: number_or(code.period), ..code };
    let mut rounds = ROUNDS;
    let (_, _, last) = &mut rounds[ROUNDS.len() - 1];
    *last = number_or(*last as u32) as usize;
    let candidates = (0..seeds).filter_map(|seed| Candidate::random(number, &code, entries, seed));
    let mut pool: Vec<_> = candidates.collect();
    for (round, (keep, blocks, iterations)) in rounds.into_iter().enumerate() {
        if round > 0 {
            pool.sort_by(|a, b| a.mse.total_cmp(&b.mse));
            pool.truncate(keep);
        }
        let blocks = SplitMix64(round as u64).blocks(blocks);
        pool.par_iter_mut().for_each(|c| {
            for _ in 0..iterations {
                c.train(&blocks);
            }
        });
        pool.sort_by(|a, b| a.mse.total_cmp(&b.mse));
        let (best, median) = (&pool[0], &pool[pool.len() / 2]);
        eprintln!(
            "round {round}: {} candidates, best {:.5} (seed {}), median {:.5}",
            pool.len(),
            best.mse,
            best.seed,
            median.mse
        );
    }
    let best = &mut pool[0];
    best.round();
    let Code { base, v0, v1, sigma, .. } = &best.code;
    println!("// {name}: seed {} of {seeds}, training MSE {:.5}", best.seed, best.mse);
    println!("base: {base:?},\nv0: {v0:?},\nv1: {v1:?},\nsigma: {sigma:.3},");
}
