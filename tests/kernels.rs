//! The kernels of the trellis types: every level gives the bits of the definition, whatever the bytes.

mod support;

use bytemuck::{bytes_of, bytes_of_mut, pod_read_unaligned};
use proptest::prelude::*;
use support::levels;
use support::random::Random;
use tenpak_gguf::isa::Isa;
use tenpak_gguf::products::{Columns, Matrix, Results, dequantize, dot, dot_rows, multiply};
use tenpak_gguf::types::trellis::a8::Activation;
use tenpak_gguf::types::trellis::layout::*;
use tenpak_gguf::types::trellis::search::quantize;
use tenpak_gguf::types::trellis::{Decode, activations, code, scale};

/// Longest row of the random tests, in blocks: kernels take four and two at a time, so that 9 has every
/// kind of rest.
const MAX_BLOCKS: usize = 9;
/// Bytes or values of the longest block: what a test draws before it knows the type.
const MOST: usize = 264;
/// Cases of a random test: fewer where the processor mostly is an emulated one, which takes thirty times as long.
const CASES: u32 = if cfg!(target_arch = "aarch64") { 60 } else { 200 };
/// Scale code of 1.0.
const SCALE_ONE: u8 = 8 * 26;

/// Blocks from arbitrary bytes.
fn blocks<T: bytemuck::Pod>(bytes: &[u8], n: usize) -> Vec<T> {
    bytes.chunks_exact(size_of::<T>()).take(n).map(pod_read_unaligned).collect()
}

fn weights<T: Decode>(isa: Isa, w: &[T]) -> Vec<f32> {
    let mut out = vec![f32::NAN; w.len() * T::LEN];
    dequantize(isa, w, &mut out);
    out
}

fn quantized<T: Decode>(isa: Isa, x: &[f32]) -> Vec<T::Activation> {
    // Not zeroed: a kernel must write every byte.
    let mut out = blocks(&vec![0xa5; x.len() / T::LEN * size_of::<T::Activation>()], usize::MAX);
    activations::<T>(isa, x, &mut out);
    out
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|v| v.to_bits()).collect()
}

/// Quants, in lane order, and scale 1.
fn activation<T: Decode>(quants: &[i8]) -> T::Activation {
    let mut block: T::Activation = bytemuck::Zeroable::zeroed();
    let bytes = bytes_of_mut(&mut block);
    bytes[..4].copy_from_slice(&1f32.to_ne_bytes());
    bytes[4..8].copy_from_slice(&quants.iter().map(|&q| q as i32).sum::<i32>().to_ne_bytes());
    bytes[8..].copy_from_slice(bytemuck::cast_slice(quants));
    block
}

/// Reconstructions of a block in lane order, from the parts of the format that have no kernels.
fn reconstructions<T: Trellis>(block: &T) -> Vec<i8> {
    let mut symbols = vec![0; T::LEN];
    block.unpack(&mut symbols);
    let mut window = block.history() as u32;
    let mut lanes = vec![0; T::LEN];
    for (i, &s) in symbols.iter().enumerate() {
        window = T::CODE.next_window(window, i, s);
        lanes[T::LANES * (i % T::STEPS) + i / T::STEPS] = T::CODE.value(T::CODE.hash(window));
    }
    lanes
}

/// Arbitrary rows: every level gives the bits of the definition, all finite.
fn levels_agree<T: Decode>(bytes: &[u8], x: &[f32], n: usize) {
    let w: Vec<T> = blocks(bytes, n);
    let x = &x[..n * T::LEN];
    let a = quantized::<T>(Isa::Scalar, x);
    let expected = weights(Isa::Scalar, &w);
    assert!(expected.iter().all(|v| v.is_finite()), "a decoder gave {expected:?}");
    let product = dot(Isa::Scalar, &w, &a);
    for isa in levels() {
        assert_eq!(bits(&weights(isa, &w)), bits(&expected), "dequantize, {isa:?}");
        let same = quantized::<T>(isa, x).iter().zip(&a).all(|(got, a)| bytes_of(got) == bytes_of(a));
        assert!(same, "activations, {isa:?}");
        let got = dot(isa, &w, &a);
        // The rotation of huge activations overflows to NaN, whose payload is nobody's business.
        let same = got.to_bits() == product.to_bits() || got.is_nan() && product.is_nan();
        assert!(same, "dot, {isa:?}: {got:e} instead of {product:e}");
    }
}

/// Many rows and columns at once: the bits of [`dot`] for each.
fn products_agree<T: Decode>(blocks_of_row: usize, rows: usize, columns: usize, seed: u64) {
    let mut random = Random(seed);
    let n = rows * blocks_of_row;
    let w: Vec<T> = blocks(&random.bytes(n * size_of::<T>()), n);
    let all = &w;
    let w: Vec<&[T]> = w.chunks(blocks_of_row).collect();
    let a: Vec<Vec<T::Activation>> = (0..columns)
        .map(|_| quantized::<T>(Isa::Scalar, &random.gaussians(blocks_of_row * T::LEN)))
        .collect();
    let a: Vec<&[T::Activation]> = a.iter().map(|a| &a[..]).collect();
    let expected: Vec<f32> = a.iter().flat_map(|a| w.iter().map(|w| dot(Isa::Scalar, w, a))).collect();
    for isa in levels() {
        let mut out = vec![f32::NAN; columns * rows];
        let row_bytes = size_of_val(w[0]);
        let matrix = Matrix::new(bytemuck::cast_slice(all), rows, row_bytes, row_bytes);
        Columns::with(&a, |a| Results::with(&mut out, rows, |out| multiply::<T>(isa, matrix, a, out)));
        assert_eq!(
            bits(&out),
            bits(&expected),
            "{isa:?}, {rows} rows of {blocks_of_row} blocks, {columns} columns"
        );
        for (a, expected) in a.iter().zip(expected.chunks(rows)) {
            let mut out = vec![f32::NAN; rows];
            dot_rows(isa, all, a, &mut out);
            assert_eq!(bits(&out), bits(expected), "{isa:?}, {rows} rows of {blocks_of_row} blocks together");
        }
    }
}

/// One block with scales of 1: the dot product is an integer below 2^24, so it is exact.
fn one_block_is_exact<T: Decode>(bytes: &[u8], quants: &[i8]) {
    let mut w: T = pod_read_unaligned(&bytes[..size_of::<T>()]);
    bytes_of_mut(&mut w)[0] = SCALE_ONE;
    assert_eq!(scale::decode(w.d()), 1.0);
    let r = reconstructions(&w);
    // As drawn, and every product at its largest with the same sign: what could overflow 16 bits does it here.
    let largest: Vec<i8> = r.iter().map(|&r| if r < 0 { -127 } else { 127 }).collect();
    let smallest: Vec<i8> = largest.iter().map(|q| -q).collect();
    for quants in [&quants[..T::LEN], &largest, &smallest, &[127; 256][..T::LEN], &[-127; 256][..T::LEN]] {
        let exact: i32 = r.iter().zip(quants).map(|(&r, &q)| r as i32 * q as i32).sum();
        for isa in levels() {
            let got = dot(isa, &[w], &[activation::<T>(quants)]);
            assert_eq!(got, exact as f32, "{isa:?}");
        }
    }
}

/// Symbols to block to symbols, and any bytes to symbols to the same bytes.
fn packs_and_unpacks<T: Trellis>(bytes: &[u8]) {
    let block: T = pod_read_unaligned(&bytes[..size_of::<T>()]);
    let mut symbols = vec![0xff; T::LEN];
    block.unpack(&mut symbols);
    assert!(symbols.iter().enumerate().all(|(i, &s)| s < 1 << T::CODE.bits[i % 2]));
    let again = T::pack(block.d(), block.history(), &symbols);
    assert_eq!(bytes_of(&again), bytes_of(&block));

    let symbols = bytes.iter().cycle().take(T::LEN).enumerate();
    let symbols: Vec<u8> = symbols.map(|(i, b)| b & ((1 << T::CODE.bits[i % 2]) - 1)).collect();
    let packed = T::pack(bytes[0], bytes[1], &symbols);
    let mut unpacked = vec![0xff; T::LEN];
    packed.unpack(&mut unpacked);
    assert_eq!((packed.d(), packed.history(), unpacked), (bytes[0], bytes[1], symbols));
}

/// Error of an activation quant: uniform within half a step, so the deviation is a step over sqrt(12).
const STEP_DEVIATION: f64 = 0.288_675_13;
/// Deviations that the error of a dot product may have. It is a weighted sum of 256 and more independent
/// errors, nearly Gaussian; 6 are exceeded once in 5e8 products. A misplaced quant costs about 20.
const DEVIATIONS: f64 = 6.0;

/// The product of a row with quantized activations is near the one in f64 of dequantized weights and
/// activations as they came.
fn dot_is_near_f64<T: Decode>(n: usize, seed: u64) {
    let mut random = Random(seed);
    let (x, y) = (random.gaussians(n * T::LEN), random.gaussians(n * T::LEN));
    let mut w = vec![T::zeroed(); n];
    quantize::quantizer::<T>().quantize(&x, bytemuck::cast_slice_mut(&mut w));
    let values = weights(Isa::Scalar, &w);
    let exact: f64 = values.iter().zip(&y).map(|(&w, &y)| w as f64 * y as f64).sum();
    let a = quantized::<T>(Isa::Scalar, &y);
    let variance: f64 = values
        .chunks_exact(T::LEN)
        .zip(&a)
        .map(|(w, a)| w.iter().map(|&w| (w * a.d()) as f64 * (w * a.d()) as f64).sum::<f64>())
        .sum();
    let allowed = DEVIATIONS * STEP_DEVIATION * variance.sqrt();
    for isa in levels() {
        let got = dot(isa, &w, &a) as f64;
        assert!((got - exact).abs() < allowed, "{isa:?}: {got} instead of {exact} ± {allowed}");
    }
}

/// Zeros in: zero scale, zero out, and NaN only where NaN or infinity came in.
fn activations_at_the_edges<T: Decode>() {
    let row = |v: f32| {
        let mut x = vec![1.0; 3 * T::LEN];
        x[T::LEN..2 * T::LEN].fill(0.0);
        x[T::LEN + 7] = v;
        x
    };
    for isa in levels() {
        let scales = |v: f32| quantized::<T>(isa, &row(v)).iter().map(|a| a.d()).collect::<Vec<_>>();
        assert_eq!(scales(0.0)[1], 0.0, "{isa:?}");
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let d = scales(bad);
            assert!(d[0].is_finite() && d[1].is_nan() && d[2].is_finite(), "{isa:?}, {bad}: {d:?}");
        }
        // Too small for a scale: quants of zero, not garbage.
        let tiny = quantized::<T>(isa, &row(f32::from_bits(1)));
        assert!(tiny[1].qs().iter().all(|&q| q == 0) && tiny[1].sum() == 0, "{isa:?}");
    }
}

/// Activations with every exponent: values as models have them, and any finite bits at all.
fn finite() -> impl Strategy<Value = f32> {
    prop_oneof![-8f32..8f32, any::<f32>().prop_filter("finite", |v| v.is_finite())]
}

macro_rules! for_every_type {
    ($($name:ident: $block:ty;)*) => { $(
        mod $name {
            use super::*;

            proptest! {
                #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..Default::default() })]

                #[test]
                fn levels_agree_on_arbitrary_rows(
                    n in 1..=MAX_BLOCKS,
                    bytes in prop::collection::vec(any::<u8>(), MAX_BLOCKS * MOST),
                    x in prop::collection::vec(-8f32..8f32, MAX_BLOCKS * MOST),
                ) {
                    levels_agree::<$block>(&bytes, &x, n);
                }

                #[test]
                fn levels_agree_on_any_finite_activation(
                    n in 1..=MAX_BLOCKS,
                    bytes in prop::collection::vec(any::<u8>(), MAX_BLOCKS * MOST),
                    x in prop::collection::vec(finite(), MAX_BLOCKS * MOST),
                ) {
                    levels_agree::<$block>(&bytes, &x, n);
                }

                #[test]
                fn one_block_is_exact(
                    bytes in prop::collection::vec(any::<u8>(), MOST),
                    quants in prop::collection::vec(-127i8..=127, MOST),
                ) {
                    super::one_block_is_exact::<$block>(&bytes, &quants);
                }

                #[test]
                fn packs_and_unpacks(bytes in prop::collection::vec(any::<u8>(), MOST)) {
                    super::packs_and_unpacks::<$block>(&bytes);
                }
            }

            #[test]
            fn rows_of_one_byte_value_agree() {
                for byte in [0, 1, 0x55, 0x7f, 0x80, 0xaa, 0xff] {
                    let x: Vec<f32> = (0..MAX_BLOCKS * MOST).map(|i| i as f32 - 700.0).collect();
                    for n in 1..=MAX_BLOCKS {
                        levels_agree::<$block>(&[byte; MAX_BLOCKS * MOST], &x, n);
                    }
                }
            }

            #[test]
            fn products_agree() {
                // A panel is 2048 weights of a row, a tile 16 or 32 rows, a group 4, 6 or 8 columns.
                let panel = 2048 / <$block>::LEN;
                let of_one_panel = [(1, 1), (3, 5), (31, 6), (8, 7), (17, 8), (33, 13), (64, 24)];
                let shapes = [1, 2].into_iter().flat_map(|blocks| of_one_panel.map(|shape| (blocks, shape)));
                let edges = [panel - 1, panel, 2 * panel + 1].into_iter().flat_map(|blocks| [(3, 5), (33, 13)].map(|shape| (blocks, shape)));
                for (blocks, (rows, columns)) in shapes.chain(edges) {
                    super::products_agree::<$block>(blocks, rows, columns, (100 * blocks + rows) as u64);
                }
            }

            #[test]
            fn dot_is_near_f64() {
                for (seed, n) in [1, 2, 5, 9, 24].into_iter().enumerate() {
                    super::dot_is_near_f64::<$block>(n, seed as u64);
                }
            }

            #[test]
            fn activations_at_the_edges() {
                super::activations_at_the_edges::<$block>();
            }

            #[test]
            fn empty_rows_are_zero() {
                for isa in levels() {
                    let mut products = [f32::NAN; 2];
                    dot_rows::<$block>(isa, &[], &[], &mut products);
                    assert_eq!(products, [0.0; 2]);
                    assert!(weights::<$block>(isa, &[]).is_empty());
                }
            }
        }
    )* };
}

for_every_type! {
    t2: BlockT2;
    t3: BlockT3;
    t4: BlockT4;
    t2_64: BlockT2_64;
    t3_64: BlockT3_64;
    t4_64: BlockT4_64;
    t25: BlockT25;
    t35: BlockT35;
    t25_64: BlockT25_64;
    t35_64: BlockT35_64;
    t5: BlockT5;
    t5_64: BlockT5_64;
}

/// The bound that the exactness of [`one_block_is_exact`] and of dequantization rests on.
#[test]
fn reconstructions_fit_seven_bits() {
    for code in [code::T2, code::T25, code::T3, code::T35, code::T4, code::T5] {
        for hash in 0..=255 {
            let sum = code.v0[hash & 15] as i32 + code.v1[hash >> 4] as i32;
            assert!((0..=127).contains(&sum));
            assert_eq!(code.value(hash as u8) as i32, sum - code::ZERO_POINT);
        }
    }
}
