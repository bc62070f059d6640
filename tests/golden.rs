//! Golden bytes: rows of each type as they were once written, in tests/golden/NAME.bin.
//!
//! ```text
//! 4 weight blocks       quantized from `Random(id)`
//! 4 activation blocks   quantized from the values that follow
//! f32 x 4 * LEN         the weight blocks, dequantized
//! f32                   dot product of the two rows
//! ```
//!
//! Decoders must give these bits for ever. The search may find other bytes after a change to
//! `trellis/search`; then, and only then, write them anew:
//!
//! ```text
//! TENPAK_WRITE_GOLDEN=1 cargo test --release --test golden; cargo test --release --test golden
//! ```
//!
//! The first of the two commands fails whatever it writes, so no run both writes and passes.

mod support;

use bytemuck::{bytes_of, cast_slice, pod_read_unaligned};
use std::path::PathBuf;
use support::levels;
use support::random::Random;
use tenpak_gguf::isa::Isa;
use tenpak_gguf::types::trellis::layout::*;
use tenpak_gguf::types::trellis::search::quantize;
use tenpak_gguf::types::trellis::{Decode, activations, dequantize, dot};
use tenpak_gguf::types::{self, TensorType};

const BLOCKS: usize = 4;

const REMEDY: &str = "\
    If `trellis/search` was changed on purpose and its quality bars hold, write the golden files anew:\n    \
    TENPAK_WRITE_GOLDEN=1 cargo test --release --test golden\n\
    If only decoders were changed, they are wrong: files that people have would read differently.";

fn path(t: &TensorType) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "golden", &format!("{}.bin", t.name)].iter().collect()
}

/// The two rows that every golden file is made from.
fn source<T: Trellis>(t: &TensorType) -> (Vec<f32>, Vec<f32>) {
    let mut random = Random(t.id as u64);
    let mut weights = random.gaussians(BLOCKS * T::LEN);
    // Of the size that weights have in models, and no two blocks of the same.
    for (b, block) in weights.chunks_exact_mut(T::LEN).enumerate() {
        block.iter_mut().for_each(|v| *v *= 0.03125 * (1 + b) as f32);
    }
    (weights, random.gaussians(BLOCKS * T::LEN))
}

fn encode<T: Decode>(t: &TensorType) -> Vec<T> {
    let mut w = vec![T::zeroed(); BLOCKS];
    quantize::quantizer::<T>().quantize(&source::<T>(t).0, bytemuck::cast_slice_mut(&mut w));
    w
}

/// A file as the definition makes it.
fn write<T: Decode>(t: &TensorType) {
    let w = encode::<T>(t);
    let mut a = vec![bytemuck::Zeroable::zeroed(); BLOCKS];
    activations::<T>(Isa::Scalar, &source::<T>(t).1, &mut a);
    let mut values = vec![0.0; BLOCKS * T::LEN];
    dequantize(Isa::Scalar, &w, &mut values);
    let product = dot(Isa::Scalar, &w, &a);
    let bytes = [cast_slice(&w), cast_slice(&a), cast_slice(&values), bytes_of(&product)].concat();
    std::fs::write(path(t), bytes).expect("tests/golden can be written");
}

struct Golden<T: Trellis> {
    weights: Vec<T>,
    activations: Vec<T::Activation>,
    values: Vec<f32>,
    product: f32,
}

fn read<T: Trellis>(t: &TensorType) -> Golden<T> {
    fn take<B: bytemuck::Pod>(rest: &mut &[u8], n: usize) -> Vec<B> {
        let (now, later) = rest.split_at(n * size_of::<B>());
        *rest = later;
        now.chunks_exact(size_of::<B>()).map(pod_read_unaligned).collect()
    }
    let path = path(t);
    let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}; {REMEDY}", path.display()));
    let len = BLOCKS * (size_of::<T>() + size_of::<T::Activation>() + 4 * T::LEN) + 4;
    assert_eq!(bytes.len(), len, "{}: {REMEDY}", path.display());
    let rest = &mut &bytes[..];
    Golden {
        weights: take(rest, BLOCKS),
        activations: take(rest, BLOCKS),
        values: take(rest, BLOCKS * T::LEN),
        product: take(rest, 1)[0],
    }
}

/// The first byte that differs, if one does.
fn first_difference<B: bytemuck::Pod>(got: &[B], golden: &[B]) -> Option<usize> {
    let (got, golden): (&[u8], &[u8]) = (cast_slice(got), cast_slice(golden));
    got.iter().zip(golden).position(|(a, b)| a != b)
}

fn check<T: Decode>(t: &'static TensorType) {
    if std::env::var("TENPAK_WRITE_GOLDEN").is_ok_and(|v| v == "1") {
        write::<T>(t);
        panic!("{} was written anew, so this run fails; look at the difference and run again", t.name);
    }
    let golden = read::<T>(t);
    for isa in levels() {
        let mut values = vec![0.0; BLOCKS * T::LEN];
        dequantize(isa, &golden.weights, &mut values);
        let place = first_difference(&values, &golden.values);
        assert_eq!(place, None, "{} weights, {isa:?}, byte. {REMEDY}", t.name);
        let mut a = vec![bytemuck::Zeroable::zeroed(); BLOCKS];
        activations::<T>(isa, &source::<T>(t).1, &mut a);
        let place = first_difference(&a, &golden.activations);
        assert_eq!(place, None, "{} activations, {isa:?}, byte. {REMEDY}", t.name);
        let product = dot(isa, &golden.weights, &golden.activations);
        assert_eq!(product.to_bits(), golden.product.to_bits(), "{} dot, {isa:?}. {REMEDY}", t.name);
    }
    let place = first_difference(&encode::<T>(t), &golden.weights);
    assert_eq!(place, None, "{} encoder, byte. {REMEDY}", t.name);
}

#[test]
fn golden_t2() {
    check::<BlockT2>(&types::trellis::T2);
}

#[test]
fn golden_t3() {
    check::<BlockT3>(&types::trellis::T3);
}

#[test]
fn golden_t4() {
    check::<BlockT4>(&types::trellis::T4);
}

#[test]
fn golden_t2_64() {
    check::<BlockT2_64>(&types::trellis::T2_64);
}

#[test]
fn golden_t3_64() {
    check::<BlockT3_64>(&types::trellis::T3_64);
}

#[test]
fn golden_t4_64() {
    check::<BlockT4_64>(&types::trellis::T4_64);
}
