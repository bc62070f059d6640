//! Floats to floats: tensors of many pieces, by any number of threads.

use crate::support;
use half::{bf16, f16};
use std::path::Path;
use support::random::Random;
use support::{error, plan};
use tenpak_gguf::checkpoint::{Dtype, Model, Options};
use tenpak_gguf::gguf::{File, TensorHeader, Writer};
use tenpak_gguf::job::{self, Error};
use tenpak_gguf::plan::Recipe;

/// Of no convenient size, and several pieces of 1 MiB in every type.
const ROWS: usize = 2003;
const COLUMNS: usize = 611;
const DTYPES: [Dtype; 3] = [Dtype::F32, Dtype::F16, Dtype::BF16];

fn bytes(dtype: Dtype, values: &[f32]) -> Vec<u8> {
    match dtype {
        Dtype::F32 => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Dtype::F16 => values.iter().flat_map(|x| f16::from_f32_const(*x).to_le_bytes()).collect(),
        Dtype::BF16 => values.iter().flat_map(|x| bf16::from_f32(*x).to_le_bytes()).collect(),
        Dtype::F64 => panic!("not written"),
    }
}

/// What a type makes of values.
fn rounded(dtype: Dtype, values: &[f32]) -> Vec<f32> {
    let round = |x: &f32| match dtype {
        Dtype::F32 | Dtype::F64 => *x,
        Dtype::F16 => f16::from_f32_const(*x).to_f32_const(),
        Dtype::BF16 => bf16::from_f32(*x).to_f32(),
    };
    values.iter().map(round).collect()
}

/// A file with a matrix in every type, and a vector between them.
fn write(path: &Path, values: &[f32]) {
    write_with(path, values, "", values);
}

/// The same with other values in one of the matrices.
fn write_with(path: &Path, values: &[f32], tensor: &str, others: &[f32]) {
    let values_of = |name: &str| if name == tensor { others } else { values };
    let header = |name: &str, shape: &[u64], dtype: Dtype| TensorHeader {
        name: name.into(),
        shape: shape.into(),
        kind: dtype.ggml(),
        bytes: shape.iter().product::<u64>() * dtype.bytes() as u64,
    };
    let matrix = [COLUMNS as u64, ROWS as u64];
    let headers = vec![
        header("blk.0.attn_q.weight", &matrix, Dtype::F32),
        header("a.bias", &[COLUMNS as u64], Dtype::F32),
        header("blk.0.attn_k.weight", &matrix, Dtype::F16),
        header("blk.0.attn_v.weight", &matrix, Dtype::BF16),
    ];
    let mut writer = Writer::create(path, &[], headers).unwrap();
    writer.write(&bytes(Dtype::F32, values_of("blk.0.attn_q.weight"))).unwrap();
    writer.write(&bytes(Dtype::F32, &values[..COLUMNS])).unwrap();
    writer.write(&bytes(Dtype::F16, values_of("blk.0.attn_k.weight"))).unwrap();
    writer.write(&bytes(Dtype::BF16, values_of("blk.0.attn_v.weight"))).unwrap();
    writer.finish().unwrap();
}

/// Converts with so many threads.
fn converted(model: &Path, out: &Path, dtype: Dtype, threads: usize) -> Result<Vec<u8>, Error> {
    let model = Model::open(model, &Options::default()).unwrap();
    let plan = plan(&model, Recipe::plain(dtype));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| job::write(&model, &plan, None, out, &|_| ()))?;
    Ok(std::fs::read(out).unwrap())
}

fn gaussians() -> Vec<f32> {
    let mut values = Random(11).gaussians(ROWS * COLUMNS);
    // Ties, the least of F16 and less, the largest of BF16 that F16 can hold.
    let special = [1.0 + 1.0 / 2048.0, 1.0 + 3.0 / 2048.0, 5.9604645e-8, 1e-30, 65280.0, -65280.0];
    values[COLUMNS * (ROWS - 1)..][..special.len()].copy_from_slice(&special);
    values
}

#[test]
fn pieces_are_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (model, out) = (folder.path().join("model.gguf"), folder.path().join("out.gguf"));
    let values = gaussians();
    write(&model, &values);
    for dtype in DTYPES {
        let whole = converted(&model, &out, dtype, 1).unwrap();
        let file = File::open(&out).unwrap();
        for (t, stored) in file.tensors().iter().zip([Dtype::F32, Dtype::F32, Dtype::F16, Dtype::BF16]) {
            let (n, dtype) = if t.shape.len() > 1 { (values.len(), dtype) } else { (COLUMNS, Dtype::F32) };
            let expected = bytes(dtype, &rounded(stored, &values[..n]));
            assert!(file.data(t).unwrap() == expected, "{} from {stored:?} to {dtype:?}", t.name);
        }
        for threads in [2, 3, 8] {
            assert!(
                converted(&model, &out, dtype, threads).unwrap() == whole,
                "{dtype:?}, {threads} threads"
            );
        }
    }
}

#[test]
fn the_first_value_that_is_too_large_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (model, out) = (folder.path().join("model.gguf"), folder.path().join("out.gguf"));
    let mut values = gaussians();
    // In several pieces, so that a later one may well be found first.
    for row in [1200, 1900] {
        values[row * COLUMNS + 400] = -70000.0;
    }
    write(&model, &values[..]);
    for threads in [1, 2, 8] {
        let e = error(converted(&model, &out, Dtype::F16, threads));
        support::assert_says(&e, &["blk.0.attn_q.weight", "row 1200", "-70000", "--outtype bf16"]);
        assert!(!out.exists() && std::fs::read_dir(folder.path()).unwrap().count() == 1);
    }
}

/// In every stored type to every written one, in several pieces.
#[test]
fn the_first_value_that_is_not_finite_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (model, out) = (folder.path().join("model.gguf"), folder.path().join("out.gguf"));
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut values = gaussians();
        for row in [1200, 1900] {
            values[row * COLUMNS + 400] = bad;
        }
        for tensor in ["blk.0.attn_q.weight", "blk.0.attn_k.weight", "blk.0.attn_v.weight"] {
            write_with(&model, &gaussians(), tensor, &values);
            for dtype in DTYPES {
                let e = error(converted(&model, &out, dtype, 3));
                let words = ["model.gguf", tensor, "row 1200", &bad.to_string(), "fetch it again"];
                support::assert_says(&e, &words);
                assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
            }
        }
    }
}
