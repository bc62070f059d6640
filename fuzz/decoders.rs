//! Decoders: whatever the bytes, every level of the processor gives the bits of the scalar definition, all finite.

use crate::support::levels;
use crate::support::random::Random;
use crate::watched::{Inputs, watched};
use bytemuck::{cast_slice, pod_read_unaligned};
use tenpak_gguf::isa::Isa;
use tenpak_gguf::products::{AtEveryLevel, Columns, Matrix, Results, dequantize, dot, multiply};
use tenpak_gguf::types::{Role, TensorType, by_name};

/// Blocks of a row, at most: kernels take one, two, four and eight at a time.
const MOST_BLOCKS: usize = 9;
/// Rows of a matrix, at most: tiles have up to 16.
const MOST_ROWS: usize = 18;
/// Columns, at most: more than 4 are multiplied in another way.
const MOST_COLUMNS: usize = 6;

/// The type of activations of a type of weights.
pub fn activation(t: &TensorType) -> &'static TensorType {
    match t.role {
        Role::Weight { activation, .. } => activation,
        Role::Activation { .. } => panic!("{} is no type of weights", t.name),
    }
}

/// A row of activations, of bytes that a fuzzer made: values from -8 to 8.
pub fn row_of_activations(t: &TensorType, bytes: &[u8], len: usize) -> Vec<u8> {
    let Role::Activation { quantize } = t.role else { panic!("{} is no type of activations", t.name) };
    let values: Vec<f32> = bytes.iter().cycle().take(len).map(|&b| (b as i8) as f32 / 16.0).collect();
    let mut out = vec![0xa5; t.row_bytes(len).expect("whole blocks")];
    quantize(&values, &mut out);
    out
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|v| v.to_bits()).collect()
}

/// What a fuzzer chooses; the blocks are of the bytes, from their start again if they are too few.
type Input = (u8, u8, u8, Vec<u8>, Vec<u8>);

fn levels_agree<D: AtEveryLevel>(name: &str, (blocks, rows, columns, weights, values): &Input) {
    if weights.is_empty() || values.is_empty() {
        return;
    }
    let n = 1 + *blocks as usize % MOST_BLOCKS;
    let (rows, columns) = (1 + *rows as usize % MOST_ROWS, 1 + *columns as usize % MOST_COLUMNS);
    let t = by_name(name).expect("a type");
    let row_bytes = n * size_of::<D>();
    let bytes: Vec<u8> = weights.iter().copied().cycle().take(rows * row_bytes).collect();
    let w: Vec<D> = bytes.chunks_exact(size_of::<D>()).map(pod_read_unaligned).collect();
    let a: Vec<Vec<D::Activations>> = (0..columns)
        .map(|c| {
            let row = row_of_activations(activation(t), &values[c % values.len()..], n * D::WEIGHTS);
            row.chunks_exact(size_of::<D::Activations>()).map(pod_read_unaligned).collect()
        })
        .collect();
    let a: Vec<&[D::Activations]> = a.iter().map(|a| &a[..]).collect();
    let mut expected = vec![f32::NAN; w.len() * D::WEIGHTS];
    dequantize(Isa::Scalar, &w, &mut expected);
    assert!(expected.iter().all(|v| v.is_finite()), "{name}: a weight is not finite");
    let products: Vec<f32> =
        a.iter().flat_map(|a| w.chunks(n).map(|w| dot(Isa::Scalar, w, a)).collect::<Vec<_>>()).collect();
    for isa in levels() {
        let mut found = vec![f32::NAN; expected.len()];
        dequantize(isa, &w, &mut found);
        assert_eq!(bits(&found), bits(&expected), "{name}, weights, {isa:?}");
        let mut found = vec![f32::NAN; products.len()];
        let matrix = Matrix::new(cast_slice(&w), rows, row_bytes, row_bytes);
        Columns::with(&a, |a| Results::with(&mut found, rows, |out| multiply::<D>(isa, matrix, a, out)));
        assert_eq!(bits(&found), bits(&products), "{name}, products, {isa:?}");
    }
}

/// Blocks of a call of [`blocks_agree`]: as many inputs.
const BLOCKS: usize = 1024;
/// Bytes of memory that the comparison takes for each byte of the blocks: a weight of two bits is four floats of 32.
const TIMES: usize = 128;

/// How the bytes of blocks are chosen.
fn bytes_of_blocks(random: &mut Random, kind: u8, block: usize) -> Vec<u8> {
    let mut words =
        |n: usize| -> Vec<u8> { (0..n.div_ceil(8)).flat_map(|_| random.next().to_le_bytes()).collect() };
    let all = BLOCKS * block;
    let mut bytes = words(all);
    bytes.truncate(all);
    match kind % 4 {
        // Any bytes.
        0 | 1 => {}
        // Bytes of which most are those that break sums.
        2 => {
            const EXTREMES: [u8; 6] = [0, 1, 0x7f, 0x80, 0xfe, 0xff];
            bytes.iter_mut().for_each(|b| *b = EXTREMES.get(*b as usize % 8).copied().unwrap_or(*b));
        }
        // The same block, with one other byte in each.
        _ => {
            let first = bytes[..block].to_vec();
            for (i, bytes) in bytes.chunks_exact_mut(block).enumerate() {
                let other = bytes[0];
                bytes.copy_from_slice(&first);
                bytes[i % block] = other;
            }
        }
    }
    bytes
}

/// Every block by itself: its weights, and its product with a block of activations.
fn blocks_agree<D: AtEveryLevel>(name: &str, (seed, kind): (u64, u8)) {
    let t = by_name(name).expect("a type");
    let mut random = Random(seed);
    let bytes = bytes_of_blocks(&mut random, kind, size_of::<D>());
    let w: Vec<D> = bytes.chunks_exact(size_of::<D>()).map(pod_read_unaligned).collect();
    let row = row_of_activations(activation(t), &random.bytes(D::WEIGHTS), D::WEIGHTS);
    let a: Vec<D::Activations> =
        row.chunks_exact(size_of::<D::Activations>()).map(pod_read_unaligned).collect();
    watched(bytes.len(), TIMES, || {
        let mut expected = vec![f32::NAN; w.len() * D::WEIGHTS];
        dequantize(Isa::Scalar, &w, &mut expected);
        assert!(expected.iter().all(|v| v.is_finite()), "{name}: a weight is not finite");
        let products: Vec<f32> = w.chunks(1).map(|w| dot(Isa::Scalar, w, &a)).collect();
        let mut weights = vec![f32::NAN; expected.len()];
        let mut found = vec![f32::NAN; products.len()];
        for isa in levels().into_iter().filter(|isa| *isa != Isa::Scalar) {
            weights.fill(f32::NAN);
            dequantize(isa, &w, &mut weights);
            assert_eq!(bits(&weights), bits(&expected), "{name}, weights, {isa:?}, seed {seed}, kind {kind}");
            found.fill(f32::NAN);
            let matrix = Matrix::new(cast_slice(&w), BLOCKS, size_of::<D>(), size_of::<D>());
            Columns::with(&[&a], |a| {
                Results::with(&mut found, BLOCKS, |out| multiply::<D>(isa, matrix, a, out))
            });
            assert_eq!(bits(&found), bits(&products), "{name}, products, {isa:?}, seed {seed}, kind {kind}");
        }
    });
}

macro_rules! for_every_type {
    ($($name:ident: $block:ident::$type:ident;)*) => { $(
        #[test]
        fn $name() {
            let inputs = Inputs::default();
            bolero::check!().with_type::<Input>().for_each(|input| {
                inputs.count();
                levels_agree::<tenpak_gguf::types::$block::layout::$type>(stringify!($name), input);
            });
        }
    )*
        /// Many blocks at a time.
        mod blocks {
            use super::*;
            $(
            #[test]
            fn $name() {
                let inputs = Inputs::default();
                bolero::check!().with_type::<(u64, u8)>().for_each(|input| {
                    inputs.count_many(BLOCKS);
                    blocks_agree::<tenpak_gguf::types::$block::layout::$type>(stringify!($name), *input);
                });
            }
            )*
        }
    };
}
for_every_type! {
    t2: trellis::BlockT2;
    t25: trellis::BlockT25;
    t3: trellis::BlockT3;
    t35: trellis::BlockT35;
    t4: trellis::BlockT4;
    t5: trellis::BlockT5;
    t2_64: trellis::BlockT2_64;
    t25_64: trellis::BlockT25_64;
    t3_64: trellis::BlockT3_64;
    t35_64: trellis::BlockT35_64;
    t4_64: trellis::BlockT4_64;
    t5_64: trellis::BlockT5_64;
    g4_128: codes4::BlockG4;
    nf4_64: codes4::BlockNf4;
    o4: direct::BlockO4;
    o4x2: direct::BlockO4x2;
    o3: direct::BlockO3;
    o3x2: direct::BlockO3x2;
    s34: direct::BlockS34;
    s24: direct::BlockS24;
}
