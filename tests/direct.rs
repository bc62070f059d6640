//! O4, O3, S34 and S24: every level gives the bits of the definition, whatever the bytes; the definition is the document's; and
//! what the quantizers make of rows.
//!
//! Their golden bytes are in golden.rs, with those of all types.

mod support;

use bytemuck::{cast_slice, pod_read_unaligned};
use std::collections::HashMap;
use support::levels;
use support::random::Random;
use tenpak_gguf::isa::Isa;
use tenpak_gguf::products::{
    AtEveryLevel, Columns, Definition, Matrix, Results, dequantize, dot, dot_rows, multiply,
};
use tenpak_gguf::types::direct::layout::*;
use tenpak_gguf::types::direct::{self, activations};
use tenpak_gguf::types::trellis::a8::BlockA8;
use tenpak_gguf::types::trellis::scale;
use tenpak_gguf::types::{REGISTRY, TensorType, by_name};

type Activations = BlockA8<LEN>;

/// A block with a decoder for every level.
trait Direct: AtEveryLevel + Definition<Activations = Activations> + PartialEq {
    type Codes: Codes;
    fn codes(&mut self) -> &mut Self::Codes;
    fn set_scale(&mut self, code: u8);
}
impl<C: Codes + PartialEq, const SLOTS: usize> Direct for Block<C, SLOTS>
where
    Self: AtEveryLevel + Definition<Activations = Activations>,
{
    type Codes = C;
    fn codes(&mut self) -> &mut C {
        &mut self.codes
    }
    fn set_scale(&mut self, code: u8) {
        self.d = code;
    }
}

fn types() -> impl Iterator<Item = &'static TensorType> {
    REGISTRY.iter().copied().filter(|t| t.kernels().is_some() && t.name.starts_with(['o', 's']))
}

fn blocks<T: bytemuck::Pod>(random: &mut Random, n: usize) -> Vec<T> {
    (0..n).map(|_| pod_read_unaligned(&random.bytes(size_of::<T>()))).collect()
}

fn quantized(isa: Isa, x: &[f32]) -> Vec<Activations> {
    // Not zeroed: a kernel must write every byte.
    let mut out = vec![BlockA8 { d: 7.0, sum: 7, qs: [7; LEN] }; x.len() / LEN];
    activations(isa, x, &mut out);
    out
}

fn weights<T: Direct>(isa: Isa, w: &[T]) -> Vec<f32> {
    let mut out = vec![f32::NAN; w.len() * LEN];
    dequantize(isa, w, &mut out);
    out
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|v| v.to_bits()).collect()
}

/// Weights of arbitrary blocks, and their products with Gaussian activations, at every level: one row, many rows, and many
/// rows with many columns, where tiles lack rows and columns and rows end within a panel.
fn levels_agree<T: Direct>() {
    let mut random = Random(3);
    for (n, rows, columns) in
        [(1, 1, 1), (2, 3, 5), (3, 31, 6), (7, 8, 7), (8, 17, 8), (9, 33, 13), (17, 64, 24), (5, 40, 3)]
    {
        let w: Vec<T> = blocks(&mut random, n * rows);
        let x: Vec<Vec<f32>> = (0..columns).map(|_| random.gaussians(n * LEN)).collect();
        let a: Vec<Vec<Activations>> = x.iter().map(|x| quantized(Isa::Scalar, x)).collect();
        let a: Vec<&[Activations]> = a.iter().map(|a| &a[..]).collect();
        let values = weights(Isa::Scalar, &w);
        assert!(values.iter().all(|v| v.is_finite()));
        let expected: Vec<f32> =
            a.iter().flat_map(|a| w.chunks(n).map(|row| dot(Isa::Scalar, row, a))).collect();
        for isa in levels() {
            assert_eq!(bits(&weights(isa, &w)), bits(&values), "weights, {isa:?}");
            for (x, a) in x.iter().zip(&a) {
                assert_eq!(&quantized(isa, x), a, "activations, {isa:?}");
            }
            let mut out = vec![f32::NAN; columns * rows];
            let row_bytes = n * size_of::<T>();
            let matrix = Matrix::new(cast_slice(&w), rows, row_bytes, row_bytes);
            Columns::with(&a, |a| Results::with(&mut out, rows, |out| multiply::<T>(isa, matrix, a, out)));
            assert_eq!(bits(&out), bits(&expected), "{isa:?}, {rows} rows of {n} blocks, {columns} columns");
            for (a, expected) in a.iter().zip(expected.chunks(rows)) {
                let mut out = vec![f32::NAN; rows];
                dot_rows(isa, &w, a, &mut out);
                assert_eq!(bits(&out), bits(expected), "{isa:?}, {rows} rows of {n} blocks together");
            }
        }
    }
}

/// Quants and codes at their ends: what could overflow 16 or 32 bits does it here.
fn ends_are_exact<T: Direct>() {
    for code in 0..T::Codes::LEVELS.len() {
        for pattern in 0..T::Codes::PATTERNS.len() {
            for q in [-127, 127] {
                let mut w = T::zeroed();
                // The scale code of 1.
                w.set_scale(208);
                let group = Group { pattern: pattern as u8, codes: [code as u8; STEPS] };
                (0..LANES).for_each(|lane| w.codes().set_group(lane, group));
                let a = BlockA8 { d: 1.0, sum: q as i32 * LEN as i32, qs: [q; LEN] };
                let kept = LANES * T::Codes::KEPT;
                let integer = T::Codes::LEVELS[code] as i32 * q as i32 * kept as i32;
                for isa in levels() {
                    assert_eq!(dot(isa, &[w], &[a]), integer as f32, "{isa:?}, {code}, {pattern}, {q}");
                }
            }
        }
    }
}

/// Groups come back as they were written, and every lane has bits of its own.
fn groups_are_kept<C: Codes + PartialEq>() {
    let mut random = Random(4);
    for _ in 0..20 {
        let groups: [Group; LANES] = std::array::from_fn(|_| {
            let mut codes = [0; STEPS];
            codes[..C::KEPT].fill_with(|| random.below(C::LEVELS.len() as u64) as u8);
            Group { pattern: random.below(C::PATTERNS.len() as u64) as u8, codes }
        });
        let mut codes = C::zeroed();
        groups.iter().enumerate().for_each(|(lane, group)| codes.set_group(lane, *group));
        assert_eq!(std::array::from_fn(|lane| codes.group(lane)), groups);
    }
}

macro_rules! for_every_type {
    ($($name:ident: $block:ty;)*) => { $(
        mod $name {
            use super::*;

            #[test]
            fn levels_agree() {
                super::levels_agree::<$block>();
            }

            #[test]
            fn ends_are_exact() {
                super::ends_are_exact::<$block>();
            }

            #[test]
            fn groups_are_kept() {
                super::groups_are_kept::<<$block as Direct>::Codes>();
            }
        }
    )* };
}

for_every_type! {
    o4: BlockO4;
    o4x2: BlockO4x2;
    o3: BlockO3;
    o3x2: BlockO3x2;
    s34: BlockS34;
    s24: BlockS24;
}

#[test]
fn activations_at_the_edges() {
    let row = |v: f32| {
        let mut x = vec![1.0; 3 * LEN];
        x[LEN..2 * LEN].fill(0.0);
        x[LEN + 7] = v;
        x
    };
    for isa in levels() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let d: Vec<f32> = quantized(isa, &row(bad)).iter().map(|a| a.d).collect();
            assert!(d[0].is_finite() && d[1].is_nan() && d[2].is_finite(), "{isa:?}, {bad}: {d:?}");
        }
        let tiny = quantized(isa, &row(f32::from_bits(1)))[1];
        assert!(tiny.qs.iter().all(|&q| q == 0) && tiny.sum == 0, "{isa:?}");
        // Element 4 j + t is at 64 t + j.
        let place = quantized(isa, &row(-3.0))[1].qs.iter().position(|&q| q == -127);
        assert_eq!(place, Some(64 * 3 + 1));
    }
}

/// The blocks of FORMAT.md that open with "```text NAME".
fn document() -> HashMap<&'static str, Vec<Vec<&'static str>>> {
    let mut blocks = HashMap::new();
    let mut lines = include_str!("../docs/FORMAT.md").lines();
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix("```text ") {
            let body = lines.by_ref().take_while(|line| *line != "```");
            blocks.insert(name, body.map(|line| line.split_whitespace().collect()).collect());
        }
    }
    blocks
}

/// The weights of a block by nothing but section 16.
fn decoded(document: &HashMap<&str, Vec<Vec<&str>>>, name: &str, block: &[u8]) -> Vec<f32> {
    let family = name.trim_end_matches("x2");
    let slots = if name.starts_with('s') { 0 } else { 1 + name.ends_with("x2") as usize };
    let number = |word: &str| word.parse::<usize>().unwrap();
    let parts = &document[&*format!("parts {family}")];
    let kept = number(parts[0][1]);
    let codes = &block[1 + 3 * slots..];
    let levels: Vec<f32> =
        document[&*format!("levels {family}")].concat().iter().map(|v| v.parse().unwrap()).collect();
    let d = if block[0] == 0 {
        0.0
    } else {
        (1.0 + (block[0] & 7) as f32 / 8.0) * 2f32.powi((block[0] >> 3) as i32 - 26)
    };
    let mut w = vec![0.0; 256];
    for j in 0..64 {
        let (mut code, mut pattern) = ([0; 4], 0);
        for part in &parts[1..] {
            let width = number(part[1]);
            let lanes_of_bit = 8 / width;
            let bytes = 64 / lanes_of_bit;
            let (byte, first) = (j % bytes, width * (j / bytes));
            for (bit, word) in part[2..].iter().enumerate() {
                let value = (codes[number(part[0]) + byte] >> (first + bit) & 1) as usize;
                match word.split_once('.').unwrap() {
                    ("p", at) => pattern |= value << number(at),
                    (nth, at) => code[number(nth)] |= value << number(at),
                }
            }
        }
        let steps: Vec<usize> = match document.get(&*format!("patterns {family}")) {
            Some(patterns) => patterns[pattern][1..].iter().map(|t| number(t)).collect(),
            None => (0..4).collect(),
        };
        assert_eq!(steps.len(), kept);
        for (nth, t) in steps.into_iter().enumerate() {
            w[4 * j + t] = levels[code[nth]] * d;
        }
    }
    for slot in block[1..][..3 * slots].chunks(3) {
        let h = u16::from_le_bytes([slot[1], slot[2]]);
        let (exponent, mantissa) = ((h >> 10 & 31) as i32, (h & 1023) as f32);
        let size = match exponent {
            0 => mantissa * 2f32.powi(-24),
            e => (1.0 + mantissa / 1024.0) * 2f32.powi(e - 15),
        };
        w[slot[0] as usize] += if h >> 15 == 1 { -size } else { size };
    }
    w
}

#[test]
fn any_block_decodes_as_the_document_says() {
    let document = document();
    let mut random = Random(9);
    for t in types() {
        for round in 0..60 {
            let mut block = random.bytes(t.block_bytes);
            match round {
                0..4 => block[0] = [0, 1, 208, 255][round],
                // Both slots at one weight.
                4..8 if t.name.ends_with("x2") => block[4] = block[1],
                _ => {}
            }
            let mut got = vec![f32::NAN; LEN];
            (t.kernels().unwrap().dequantize)(&block, &mut got);
            assert_eq!(got, decoded(&document, t.name, &block), "{} {block:02x?}", t.name);
        }
    }
}

#[test]
fn bits_per_weight_are_those_of_the_blocks() {
    for t in types() {
        let end = format!("| {} | {} |", t.bpw(), t.block_len);
        let row = |line: &str| line.starts_with(&format!("| `{}` |", t.name)) && line.ends_with(&end);
        assert!(include_str!("../docs/FORMAT.md").lines().any(row), "no line of {} ends with {end}", t.name);
    }
}

fn quantize(t: &TensorType, x: &[f32]) -> (Vec<u8>, Vec<f32>) {
    let mut out = vec![0xa5; t.row_bytes(x.len()).unwrap()];
    t.quantizer().unwrap().quantize(x, &mut out);
    let mut values = vec![f32::NAN; x.len()];
    (t.kernels().unwrap().dequantize)(&out, &mut values);
    (out, values)
}

fn squared(x: impl Iterator<Item = f32>) -> f64 {
    x.map(|v| v as f64 * v as f64).sum()
}

fn errors(x: &[f32], values: &[f32]) -> Vec<f32> {
    x.iter().zip(values).map(|(x, v)| x - v).collect()
}

/// Mean squared error of a Gaussian source of variance 1, at most: 4 % above what was measured.
fn bar(name: &str) -> f64 {
    match name {
        "o4" => 0.0079,
        "o4x2" => 0.00726,
        "o3" => 0.0304,
        "o3x2" => 0.0281,
        "s34" => 0.0388,
        "s24" => 0.1433,
        other => panic!("{other} has no quality bar: measure it and add one"),
    }
}

#[test]
fn gaussian_weights_keep_their_bars() {
    for t in types() {
        let x: Vec<f32> = (0..256 * LEN)
            .map({
                let mut random = Random(2);
                move |_| random.normal()
            })
            .collect();
        let error = squared(errors(&x, &quantize(t, &x).1).into_iter()) / squared(x.iter().copied());
        println!("{:<5} {error:.5}", t.name);
        assert!(error < bar(t.name), "{}: {error}", t.name);
    }
}

#[test]
fn outliers_take_the_slots() {
    for (name, n) in [("o4", 1), ("o4x2", 2), ("o3", 1), ("o3x2", 2)] {
        let t = by_name(name).unwrap();
        let mut x = Random(6).gaussians(LEN);
        let plain = squared(errors(&x, &quantize(t, &x).1).into_iter());
        for (i, place) in [77, 200].into_iter().take(n).enumerate() {
            x[place] = [50.0, -31.0][i];
        }
        let (_, values) = quantize(t, &x);
        let error = squared(errors(&x, &values).into_iter());
        assert!(error < 1.3 * plain, "{name}: {error}, without the outliers {plain}");
        assert!((values[77] - 50.0).abs() < 0.02);
    }
}

#[test]
fn odd_rows_become_finite_blocks() {
    for t in types() {
        let zero = vec![0.0; LEN];
        assert_eq!(quantize(t, &zero), (vec![0; t.block_bytes], zero), "{}", t.name);
        for odd in [f32::NAN, f32::INFINITY, f32::MAX, -1e30, 1e-30, f32::from_bits(1)] {
            let mut x = vec![0.25; LEN];
            x[3] = odd;
            for x in [x, vec![odd; LEN]] {
                assert!(quantize(t, &x).1.iter().all(|v| v.is_finite()), "{} {odd}", t.name);
            }
        }
    }
}

#[test]
fn scales_reach_as_far_as_their_codes() {
    for t in types() {
        for size in [scale::decode(8) * 30.0, 1.0, scale::decode(255) * 15.0] {
            let x: Vec<f32> = Random(8).gaussians(8 * LEN).iter().map(|v| v * size).collect();
            let error = squared(errors(&x, &quantize(t, &x).1).into_iter()) / squared(x.iter().copied());
            assert!(error < 1.1 * bar(t.name), "{} {size:e}: {error}", t.name);
        }
    }
}

#[cfg(feature = "converter")]
mod calibrated {
    use super::*;
    use direct::calibrated::{Outliers, Quantizer};
    use tenpak_gguf::types::feedback::{Breadth, Feedback, FeedbackQuantizer};

    const BREADTH: Breadth = Breadth { paths: 96, scales: 1 };

    /// U with unit diagonal and entries that fall off, and D.
    fn factor(seed: u64) -> (Vec<f32>, Vec<f32>) {
        let mut random = Random(seed);
        let u = (0..LEN * LEN).map(|k| match (k / LEN, k % LEN) {
            (i, j) if i == j => 1.0,
            (i, j) if i < j => 0.35 * random.gaussian() / (1.0 + (j - i) as f32).sqrt(),
            // Not to be read.
            _ => f32::NAN,
        });
        let u = u.collect();
        (u, (0..LEN).map(|_| 0.1 + random.gaussian().abs()).collect())
    }

    /// The loss by its definition.
    fn loss_of(e: &[f32], u: &[f32], d: &[f32]) -> f64 {
        let miss = |i: usize| (0..i).map(|j| u[j * LEN + i] as f64 * e[j] as f64).sum::<f64>() + e[i] as f64;
        (0..LEN).map(|i| d[i] as f64 * miss(i).powi(2)).sum()
    }

    /// Loss said, errors said, bytes.
    fn run(
        quantizer: &mut dyn FeedbackQuantizer,
        t: &TensorType,
        x: &[f32],
        u: &[f32],
        d: &[f32],
    ) -> (f64, Vec<f32>, Vec<f32>) {
        let feedback = Feedback { weights: d, rows: u, stride: LEN };
        let (mut out, mut errors) = (vec![0xa5; t.block_bytes], vec![f32::NAN; LEN]);
        let loss = quantizer.quantize(x, x, feedback, &mut out, &mut errors);
        let mut values = vec![f32::NAN; LEN];
        (t.kernels().unwrap().dequantize)(&out, &mut values);
        (loss as f64, errors, values)
    }

    #[test]
    fn feedback_lowers_the_loss() {
        for t in types() {
            let (mut with, mut without) = (0.0, 0.0);
            for seed in 1..5 {
                let (u, d) = factor(seed);
                let x = Random(10 + seed).gaussians(LEN);
                let mut quantizer = (t.calibrated().unwrap().quantizer)(BREADTH);
                let (loss, said, values) = run(&mut *quantizer, t, &x, &u, &d);
                let e = errors(&x, &values);
                assert_eq!(e, said, "{}", t.name);
                let expected = loss_of(&e, &u, &d);
                assert!((loss - expected).abs() < 1e-3 * expected, "{}: {loss} {expected}", t.name);
                with += loss;
                without += loss_of(&errors(&x, &quantize(t, &x).1), &u, &d);
            }
            assert!(with < 0.9 * without, "{}: {with}, without feedback {without}", t.name);
        }
    }

    /// The weight that costs most to round, not the largest, gets the slot; and the choice by loss is never worse by much.
    #[test]
    fn slots_are_where_they_lower_the_loss() {
        let t = by_name("o4").unwrap();
        let (mut by_loss, mut by_size) = (0.0, 0.0);
        for seed in 1..9 {
            let (u, mut d) = factor(seed);
            d[40] = 1e6;
            let mut x = Random(20 + seed).gaussians(LEN);
            x[99] = 6.0;
            let quantizers = [Outliers::ByLoss, Outliers::ByMagnitude]
                .map(|outliers| Quantizer::<Dense4, 1>::new(BREADTH, outliers));
            let [loss, size] = quantizers.map(|mut quantizer| run(&mut quantizer, t, &x, &u, &d));
            (by_loss, by_size) = (by_loss + loss.0, by_size + size.0);
            assert!(size.2[99] > 4.5, "{}", size.2[99]);
        }
        assert!(by_loss < 0.5 * by_size, "{by_loss}, by magnitude {by_size}");
    }

    /// Of four weights those stay that matter: large ones of weak inputs go before small ones of strong inputs.
    #[test]
    fn patterns_go_by_the_loss() {
        for (name, kept) in [("s34", 3), ("s24", 2)] {
            let t = by_name(name).unwrap();
            let u: Vec<f32> = (0..LEN * LEN).map(|k| (k / LEN == k % LEN) as u8 as f32).collect();
            let d: Vec<f32> = (0..LEN).map(|i| if i % 4 < kept { 100.0 } else { 0.01 }).collect();
            let x: Vec<f32> = (0..LEN).map(|i| if i % 4 < kept { 0.5 } else { 1.0 }).collect();
            let mut quantizer = (t.calibrated().unwrap().quantizer)(BREADTH);
            let (_, _, values) = run(&mut *quantizer, t, &x, &u, &d);
            for (i, v) in values.iter().enumerate() {
                assert_eq!(*v == 0.0, i % 4 >= kept, "{name} {i}: {v}");
            }
        }
    }
}
