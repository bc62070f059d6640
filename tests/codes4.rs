//! G4_128 and NF4_64: every level gives the bits of the definition, whatever the bytes; the definition is the document's.
//!
//! Their golden bytes are in golden.rs, with those of all types.

mod support;

use bytemuck::{cast_slice, pod_read_unaligned};
use support::levels;
use support::random::Random;
use tenpak_gguf::isa::Isa;
use tenpak_gguf::products::{
    AtEveryLevel, Columns, Definition, Matrix, Results, dequantize, dot_rows, multiply,
};
use tenpak_gguf::types::codes4::layout::{BlockG4, BlockNf4, Codes4, NF4};
use tenpak_gguf::types::codes4::q8::BlockQ8;
use tenpak_gguf::types::codes4::{activations, float16};
use tenpak_gguf::types::{self, TensorType};

/// Columns at once: every rest of the groups of four.
const COLUMNS: usize = 7;

fn blocks<T: bytemuck::Pod>(random: &mut Random, n: usize) -> Vec<T> {
    (0..n).map(|_| pod_read_unaligned(&random.bytes(size_of::<T>()))).collect()
}

fn quantized(isa: Isa, x: &[f32]) -> Vec<BlockQ8> {
    // Not zeroed: a kernel must write every byte.
    let mut out = vec![BlockQ8 { d: 7.0, sum: 7, qs: [7; 64] }; x.len() / 64];
    activations(isa, x, &mut out);
    out
}

fn weights<T: Codes>(isa: Isa, w: &[T]) -> Vec<f32> {
    let mut out = vec![f32::NAN; w.len() * T::LEN];
    dequantize(isa, w, &mut out);
    out
}

/// A type with codes of 4 bits and a decoder for every level.
trait Codes: Codes4 + AtEveryLevel + Definition<Activations = <Self as Codes4>::Activations> {}
impl<T> Codes for T where T: Codes4 + AtEveryLevel + Definition<Activations = <T as Codes4>::Activations> {}

fn dot<T: Codes>(isa: Isa, w: &[T], a: &[BlockQ8]) -> f32 {
    tenpak_gguf::products::dot(isa, w, cast_slice(a))
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|v| v.to_bits()).collect()
}

/// Scales of any bytes may overflow; the payload of a NaN is nobody's business.
fn same((a, b): (&f32, &f32)) -> bool {
    a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
}

/// Weights of arbitrary blocks and Gaussian activations at every level.
fn levels_agree<T: Codes>() {
    let mut random = Random(3);
    for n in 0..20 {
        let w: Vec<T> = blocks(&mut random, n);
        let x: Vec<Vec<f32>> = (0..COLUMNS).map(|_| random.gaussians(n * T::LEN)).collect();
        let a: Vec<_> = x.iter().map(|x| quantized(Isa::Scalar, x)).collect();
        let expected = weights(Isa::Scalar, &w);
        assert!(expected.iter().all(|v| v.is_finite()));
        let products: Vec<f32> = a.iter().map(|a| dot(Isa::Scalar, &w, a)).collect();
        // Every block as a row.
        let short = &a[0][..if n == 0 { 0 } else { T::PARTS }];
        let rows: Vec<f32> = w.chunks(1).map(|w| dot(Isa::Scalar, w, short)).collect();
        for isa in levels() {
            let mut out = vec![f32::NAN; n];
            dot_rows(isa, &w, cast_slice(short), &mut out);
            assert!(out.iter().zip(&rows).all(same), "{isa:?}, rows: {out:?} instead of {rows:?}");
            assert_eq!(bits(&weights(isa, &w)), bits(&expected), "weights, {isa:?}");
            for (x, a) in x.iter().zip(&a) {
                assert_eq!(&quantized(isa, x), a, "activations, {isa:?}");
            }
            let columns: Vec<&[BlockQ8]> = a.iter().map(|a| &a[..]).collect();
            for count in 0..=COLUMNS {
                let mut out = vec![f32::NAN; count];
                let row = Matrix::new(cast_slice(&w), 1, size_of_val(&w[..]), size_of_val(&w[..]));
                Columns::with(&columns[..count], |a| {
                    Results::with(&mut out, 1, |out| multiply::<T>(isa, row, a, out));
                });
                assert!(out.iter().zip(&products).all(same), "{isa:?}: {out:?} instead of {products:?}");
            }
        }
    }
}

/// Quants and codes at their ends: what could overflow 16 or 32 bits does it here.
fn ends_are_exact<T: Codes>(block: impl Fn() -> T) {
    for code in 0..16 {
        for q in [-127, 127] {
            let mut w = block();
            (0..T::LEN).for_each(|i| w.set_code(i, code));
            let a = vec![BlockQ8 { d: 1.0, sum: q as i32 * 64, qs: [q; 64] }; T::PARTS];
            let integer = (T::INTEGERS[code as usize] as i32 - w.zero()) * q as i32 * T::LEN as i32;
            for isa in levels() {
                let got = dot(isa, &[w], &a) as f64;
                let expected = w.unit() as f64 * integer as f64;
                assert!((got - expected).abs() <= expected.abs() * 1e-6, "{isa:?}, {code}, {q}: {got}");
            }
        }
    }
}

#[test]
fn levels_agree_g4() {
    levels_agree::<BlockG4>();
    for zero in [0, 8, 15, 16, 255] {
        ends_are_exact(|| BlockG4::new(0.5, zero));
    }
}

#[test]
fn levels_agree_nf4() {
    levels_agree::<BlockNf4>();
    ends_are_exact(|| BlockNf4::new(0.5));
}

/// int8 activations are off by 1/254 of their peak at most, 0.3 % in the mean, and errors of 64 add up like noise;
/// the integers of NF4 are off by far less.
const DOT_ERROR: f64 = 0.01;

fn dot_is_near_the_exact_one<T: Codes>() {
    let mut random = Random(5);
    let (x, y) = (random.gaussians(16 * T::LEN), random.gaussians(16 * T::LEN));
    let mut w = vec![T::zeroed(); 16];
    for (w, x) in w.iter_mut().zip(x.chunks_exact(T::LEN)) {
        *w = T::fit(x);
        for (i, &x) in x.iter().enumerate() {
            w.set_code(i, w.nearest(x));
        }
    }
    let values = weights(Isa::Scalar, &w);
    let exact: f64 = values.iter().zip(&y).map(|(w, y)| *w as f64 * *y as f64).sum();
    let norm = |x: &[f32]| x.iter().map(|v| (*v as f64).powi(2)).sum::<f64>().sqrt();
    let got = dot(Isa::Scalar, &w, &quantized(Isa::Scalar, &y)) as f64;
    assert!((got - exact).abs() < DOT_ERROR * norm(&values) * norm(&y) / 4.0, "{got} instead of {exact}");
}

#[test]
fn dots_are_near_the_exact_ones() {
    dot_is_near_the_exact_one::<BlockG4>();
    dot_is_near_the_exact_one::<BlockNf4>();
}

/// Blocks decoded by nothing but section 15 of FORMAT.md.
#[test]
fn blocks_decode_as_the_document_says() {
    let text = include_str!("../docs/FORMAT.md");
    let start = text.find("```text nf4\n").expect("the block of values") + 12;
    let said: Vec<f32> =
        text[start..].split("```").next().unwrap().split_whitespace().map(|w| w.parse().unwrap()).collect();
    assert_eq!(said, NF4);
    let mut random = Random(9);
    for _ in 0..200 {
        let bytes = random.bytes(67);
        let h = u16::from_le_bytes([bytes[0], bytes[1]]);
        let (exponent, mantissa) = ((h >> 10 & 31) as i32, (h & 1023) as f32);
        let d = match exponent {
            0 => mantissa * 2f32.powi(-24),
            e => (1.0 + mantissa / 1024.0) * 2f32.powi(e - 15),
        };
        let d = if h >> 15 == 1 { -d } else { d };
        let code = |qs: &[u8], half: usize, i: usize| if i < half { qs[i] & 15 } else { qs[i - half] >> 4 };
        let expected: Vec<f32> =
            (0..128).map(|i| (code(&bytes[3..], 64, i) as f32 - bytes[2] as f32) * d).collect();
        assert_eq!(weights(Isa::Scalar, &[pod_read_unaligned::<BlockG4>(&bytes)]), expected);

        let bytes = random.bytes(36);
        let d = f32::from_le_bytes(*bytes.first_chunk().unwrap());
        let d = if d.is_finite() { d } else { 0.0 };
        let expected: Vec<f32> = (0..64).map(|i| said[code(&bytes[4..], 32, i) as usize] * d).collect();
        assert_eq!(weights(Isa::Scalar, &[pod_read_unaligned::<BlockNf4>(&bytes)]), expected);
    }
}

#[test]
fn scales_that_are_not_finite_count_as_zero() {
    for d in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut w = BlockNf4::new(d);
        w.qs = [0xff; 32];
        assert_eq!(weights(Isa::Scalar, &[w]), [0.0; 64]);
    }
    let mut w = BlockG4::new(f32::INFINITY, 0);
    w.qs = [0xff; 64];
    assert_eq!(weights(Isa::Scalar, &[w])[0], 15.0 * float16::decode(0x7fff));
}

fn quantize(t: &TensorType, x: &[f32]) -> (Vec<u8>, Vec<f32>) {
    let mut out = vec![0xa5; t.row_bytes(x.len()).unwrap()];
    let kernels = t.kernels().unwrap();
    t.quantizer().unwrap().quantize(x, &mut out);
    let mut values = vec![f32::NAN; x.len()];
    (kernels.dequantize)(&out, &mut values);
    (out, values)
}

#[test]
fn floats_become_the_nearest_weights() {
    for t in [&types::codes4::G4_128, &types::codes4::NF4_64] {
        // What the type can hold comes back as it is.
        let (bytes, values) = quantize(t, &Random(1).gaussians(4 * t.block_len));
        assert_eq!(quantize(t, &values), (bytes, values), "{}", t.name);
        assert_eq!(quantize(t, &vec![0.0; t.block_len]).1, vec![0.0; t.block_len]);
        for odd in [f32::NAN, f32::INFINITY, 1e30, 1e-30] {
            let mut x = vec![0.25; t.block_len];
            x[3] = odd;
            assert!(quantize(t, &x).1.iter().all(|v| v.is_finite()), "{} {odd}", t.name);
        }
    }
}

/// Feedback makes the sum of a block's errors smaller, if all inputs are nearly the same.
#[cfg(feature = "converter")]
#[test]
fn feedback_lowers_the_loss() {
    use tenpak_gguf::types::feedback::{Breadth, Feedback};
    for t in [&types::codes4::G4_128, &types::codes4::NF4_64] {
        let n = t.block_len;
        let weights = Random(2).gaussians(n);
        let d = vec![1.0; n];
        let u: Vec<f32> =
            (0..n * n).map(|i| if i / n < i % n { 0.9 } else { (i / n == i % n) as u8 as f32 }).collect();
        let feedback = Feedback { weights: &d, rows: &u, stride: n };
        let mut quantizer = (t.calibrated().unwrap().quantizer)(Breadth { paths: 1, scales: 1 });
        let (mut out, mut errors) = (vec![0; t.block_bytes], vec![0.0; n]);
        let loss = quantizer.quantize(&weights, &weights, feedback, &mut out, &mut errors);
        let mut values = vec![0.0; n];
        (t.kernels().unwrap().dequantize)(&out, &mut values);
        let e: Vec<f32> = weights.iter().zip(&values).map(|(w, v)| w - v).collect();
        assert_eq!(e, errors);
        let loss_of = |e: &[f32]| -> f32 {
            (0..n).map(|i| (e[i] + (0..i).map(|j| u[j * n + i] * e[j]).sum::<f32>()).powi(2)).sum()
        };
        assert!((loss - loss_of(&e)).abs() < 1e-3 * loss, "{} {loss} {}", t.name, loss_of(&e));
        let plain: Vec<f32> = weights.iter().zip(quantize(t, &weights).1).map(|(w, v)| w - v).collect();
        assert!(loss < 0.5 * loss_of(&plain), "{}: {loss}, without feedback {}", t.name, loss_of(&plain));
    }
}
