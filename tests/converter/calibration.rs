//! Calibrations: what they say, and files that are damaged or of another model.

use crate::support;
use std::path::PathBuf;
use support::tiny_calibration::{self as tiny, ATTN_COLUMNS, DOWN_COLUMNS, EXPERTS, Parts};
use support::{assert_says, error};
use tempfile::TempDir;
use tenpak_gguf::calibration::{Calibration, Error, Statistics, Use};
use tenpak_gguf::gguf::{Kind, Value};

/// Means differ from those of the test by the rounding of a division and a product.
const ULPS: f32 = 4.0 * f32::EPSILON;

const Q: &str = "blk.0.attn_q.weight";
const K: &str = "blk.0.attn_k.weight";
const DOWN: &str = "blk.1.ffn_down_exps.weight";

/// A file of these bytes.
fn file(bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("calibration");
    std::fs::write(&path, bytes).expect("a file");
    (folder, path)
}

fn open_bytes(bytes: &[u8]) -> Result<Calibration, Error> {
    let (_folder, path) = file(bytes);
    Calibration::open(&path)
}

fn bytes(parts: &Parts) -> Vec<u8> {
    let (_folder, path) = file(&[]);
    parts.write(&path);
    std::fs::read(path).expect("the file")
}

fn open(parts: &Parts) -> Result<Calibration, Error> {
    open_bytes(&bytes(parts))
}

/// The calibration of the tiny model in every format, with the format's name.
fn all() -> [(&'static str, Calibration); 3] {
    [
        ("gram", open(&tiny::gram()).expect("a good file")),
        ("imatrix", open(&tiny::imatrix_gguf()).expect("a good file")),
        ("dat", open_bytes(&tiny::imatrix_dat(2)).expect("a good file")),
    ]
}

#[track_caller]
fn assert_close(found: f32, expected: f32) {
    assert!((found - expected).abs() <= ULPS * expected.abs(), "{found} is not {expected}");
}

#[test]
fn gram_matrices_are_means_of_products() {
    let calibration = open(&tiny::gram()).unwrap();
    for (weight, columns, experts) in tiny::weights() {
        for expert in 0..experts {
            let x = tiny::inputs(&weight, expert);
            let loaded = calibration.load(&weight, expert, columns).unwrap();
            if weight == "output.weight" {
                assert_eq!(loaded, None);
                continue;
            }
            let Some(Statistics::Gram { n, values, tokens }) = loaded else {
                panic!("{weight} is no Gram matrix")
            };
            assert_eq!((n, values.len(), tokens), (columns, columns * columns, x.len() as u64));
            for i in 0..n {
                for j in 0..n {
                    let mean = tiny::product(&x, i.max(j), i.min(j)) / x.len().max(1) as f32;
                    assert_close(values[i * n + j], mean);
                }
            }
        }
    }
}

#[test]
fn importance_matrices_are_the_diagonals() {
    let [_, imatrix, dat] = all();
    for (format, calibration) in [imatrix, dat] {
        for (weight, columns, experts) in tiny::weights().into_iter().filter(|w| w.0 != "output.weight") {
            for expert in 0..experts {
                let x = tiny::inputs(&weight, expert);
                let loaded = calibration.load(&weight, expert, columns).unwrap();
                let Some(Statistics::Diagonal { values, tokens }) = loaded else {
                    panic!("{weight}: no diagonal")
                };
                assert_eq!(values.len(), columns);
                if format == "imatrix" {
                    assert_eq!(tokens, x.len() as u64);
                }
                for (i, &value) in values.iter().enumerate() {
                    // The older format says 1 where there were no tokens.
                    let none = if format == "dat" { 1.0 } else { 0.0 };
                    let mean = if x.is_empty() { none } else { tiny::product(&x, i, i) / x.len() as f32 };
                    assert_close(value, mean);
                }
            }
        }
    }
}

#[test]
fn statistics_do_not_depend_on_the_number_of_threads() {
    let calibration = open(&tiny::gram()).unwrap();
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| calibration.load(DOWN, 2, DOWN_COLUMNS).unwrap())
    };
    assert_eq!(on(1), on(3));
}

#[test]
fn inputs_are_shared() {
    let [(_, gram), (_, imatrix), (_, dat)] = all();
    assert_eq!(gram.input_of(K), Some(Q));
    assert_eq!(gram.input_of(Q), Some(Q));
    assert_eq!(imatrix.input_of(K), Some(K));
    assert_eq!(dat.input_of(K), Some(K));
    for calibration in [gram, imatrix, dat] {
        assert_eq!(calibration.input_of("output.weight"), None);
        assert_eq!(calibration.load("output.weight", 0, ATTN_COLUMNS).unwrap(), None);
    }
}

#[test]
fn descriptions() {
    let [(_, gram), (_, imatrix), (_, dat)] = all();
    assert_says(gram.describe(), &["Gram matrices of 4 inputs of Tiny", "8 tokens of text.txt"]);
    assert_says(imatrix.describe(), &["importance matrix of 6 weights", "8 tokens of text.txt"]);
    assert_says(dat.describe(), &["importance matrix of 6 weights", "1024 tokens of text.txt"]);
    assert_eq!([gram.tokens(), imatrix.tokens(), dat.tokens()], [8, 8, 1024]);
}

/// What a resumed conversion goes by: the same for another run over the same text, not for another text, however
/// its file is called.
#[test]
fn identities() {
    let gram = |keys: &[(&str, Value)]| {
        let mut parts = tiny::gram();
        parts.keys.push(("gram.text.sha256".into(), Value::String("aa".into())));
        keys.iter().for_each(|(key, value)| parts.set(key, value.clone()));
        open(&parts).unwrap().identity()
    };
    let plain = gram(&[]);
    assert_eq!(gram(&[("gram.text.name", Value::String("other name.txt".into()))]), plain);
    assert_ne!(gram(&[("gram.text.sha256", Value::String("ab".into()))]), plain);
    assert_ne!(gram(&[("gram.tokens", Value::U64(9))]), plain);
    let imatrix = |change: f32| {
        let mut parts = tiny::imatrix_gguf();
        parts.values("blk.0.attn_k.weight.in_sum2")[3] += change;
        open(&parts).unwrap().identity()
    };
    assert_eq!(imatrix(0.0), imatrix(0.0));
    assert_ne!(imatrix(0.0), imatrix(1.0));
}

#[test]
fn the_right_model_passes() {
    for (_, calibration) in all() {
        calibration.check("llama", 2, &tiny::weights()).unwrap();
    }
}

#[test]
fn another_architecture() {
    let e = error(open(&tiny::gram()).unwrap().check("qwen2", 2, &tiny::weights()));
    assert_says(e, &["calibration", "architecture llama, not qwen2", "calibrate this model"]);
}

#[test]
fn other_columns() {
    let mut weights = tiny::weights();
    weights[1].1 += 1;
    for (format, calibration) in all() {
        let what = if format == "gram" { "70 columns there, 71 here" } else { "70 values there, 71 here" };
        assert_says(error(calibration.check("llama", 2, &weights)), &["another model", K, what]);
        let columns = weights[1].1;
        assert_says(error(calibration.load(K, 0, columns)), &[K, &columns.to_string()]);
    }
}

#[test]
fn other_experts() {
    let mut weights = tiny::weights();
    weights[5].2 += 1;
    for (_, calibration) in all() {
        assert_says(error(calibration.check("llama", 2, &weights)), &["another model", DOWN]);
        let e = error(calibration.load(DOWN, EXPERTS, DOWN_COLUMNS));
        assert_says(e, &[DOWN, "has 3 experts", "no expert 3"]);
    }
}

#[test]
fn fewer_blocks_in_the_calibration() {
    let mut weights = tiny::weights();
    weights.push(("blk.2.attn_q.weight".into(), ATTN_COLUMNS, 1));
    weights.push(("blk.2.attn_k.weight".into(), ATTN_COLUMNS, 1));
    for (_, calibration) in all() {
        let e = error(calibration.check("llama", 3, &weights));
        assert_says(e, &["no statistics for `blk.2.attn_q.weight` (2 such)", "calibrate the whole model"]);
    }
}

#[test]
fn more_blocks_in_the_calibration() {
    let weights: Vec<_> = tiny::weights().into_iter().filter(|w| !w.0.starts_with("blk.1.")).collect();
    for (_, calibration) in all() {
        let e = error(calibration.check("llama", 1, &weights));
        assert_says(e, &["another model", "`blk.1.", "the model has 1 blocks"]);
    }
}

#[test]
fn a_role_without_statistics_may_be_missing() {
    let mut weights = tiny::weights();
    weights.push(("blk.0.never_multiplied.weight".into(), 64, 1));
    for (_, calibration) in all() {
        calibration.check("llama", 2, &weights).unwrap();
    }
}

#[test]
fn bad_values_are_named() {
    for (bad, word) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (f32::NEG_INFINITY, "-inf")] {
        let mut parts = tiny::gram();
        // Row 2, column 1.
        parts.values("blk.0.attn_q.weight.in_gram")[4] = bad;
        let e = error(open(&parts).unwrap().load(K, 0, ATTN_COLUMNS));
        assert_says(e, &["blk.0.attn_q.weight.in_gram", "row 2, column 1", word, "make it again"]);
    }
}

#[test]
fn the_first_bad_value_is_named() {
    let mut parts = tiny::gram();
    let values = parts.values("blk.1.ffn_down_exps.weight.in_gram");
    values.fill(f32::NAN);
    values[0] = 1.0;
    let e = error(open(&parts).unwrap().load(DOWN, 0, DOWN_COLUMNS));
    assert_says(e, &["expert 0, row 1, column 0"]);
}

#[test]
fn a_negative_diagonal() {
    let mut parts = tiny::gram();
    parts.values("blk.0.attn_q.weight.in_gram")[2] = -1.0;
    let e = error(open(&parts).unwrap().load(Q, 0, ATTN_COLUMNS));
    assert_says(e, &["row 1, column 1", "-1", "sum of squares"]);
}

#[test]
fn bad_counts() {
    for bad in [f32::NAN, -2.0, 0.5, f32::INFINITY] {
        let mut parts = tiny::gram();
        parts.values("blk.1.ffn_down_exps.weight.counts")[1] = bad;
        let e = error(open(&parts).unwrap().load(DOWN, 1, DOWN_COLUMNS));
        assert_says(e, &["blk.1.ffn_down_exps.weight.counts", "expert 1", "a number of tokens"]);
        let mut parts = tiny::imatrix_gguf();
        parts.values("blk.1.ffn_down_exps.weight.counts")[1] = bad;
        assert_says(error(open(&parts)), &["blk.1.ffn_down_exps.weight.counts", "expert 1"]);
    }
}

#[test]
fn an_unfinished_file() {
    let mut parts = tiny::gram();
    parts.values("blk.0.attn_q.weight.counts")[0] = -1.0;
    let e = error(open(&parts).unwrap().load(Q, 0, ATTN_COLUMNS));
    assert_says(e, &["blk.0.attn_q.weight.in_gram", "not finished", "tenpak-gguf calibrate"]);
}

#[test]
fn bad_values_of_importance_matrices() {
    for bad in [f32::NAN, f32::INFINITY, -1.0] {
        let mut parts = tiny::imatrix_gguf();
        parts.values("blk.0.attn_k.weight.in_sum2")[7] = bad;
        assert_says(error(open(&parts)), &["blk.0.attn_k.weight", "value 7", "sum of squares"]);
    }
    let mut dat = tiny::imatrix_dat(2);
    let first_value = 4 + 4 + Q.len() + 4 + 4;
    dat[first_value..][..4].copy_from_slice(&f32::NAN.to_le_bytes());
    assert_says(error(open_bytes(&dat)), &[Q, "value 0", "NaN"]);
}

#[test]
fn every_cut_is_refused() {
    for (name, bytes) in [("gram", bytes(&tiny::gram())), ("imatrix", bytes(&tiny::imatrix_gguf()))] {
        for len in (0..bytes.len() - 32).step_by(101) {
            assert!(open_bytes(&bytes[..len]).is_err(), "{name} of {len} bytes");
        }
    }
    let dat = tiny::imatrix_dat(2);
    // A first entry that is incomplete says that this is something else; what follows the entries is optional.
    let first = 4 + 4 + Q.len() + 4 + 4 + 4 * ATTN_COLUMNS;
    let entries = dat.len() - 4 - 4 - "text.txt".len();
    for len in (0..entries).step_by(13).chain([entries - 1]) {
        let e = error(open_bytes(&dat[..len]));
        assert_says(e, &[if len < first { "neither" } else { "the file ends in entry" }]);
    }
    assert!(open_bytes(&dat[..entries]).is_ok());
}

#[test]
fn other_kinds_of_files() {
    assert_says(error(open_bytes(b"")), &["neither a GGUF file", "tenpak-gguf calibrate"]);
    assert_says(error(open_bytes(&[b'x'; 4096])), &["neither a GGUF file", "tenpak-gguf calibrate"]);
    let model = support::tiny_gguf::bytes(&[], &[]);
    assert_says(error(open_bytes(&model)), &["GGUF file of kind \"model\"", "tenpak-gguf calibrate"]);
    let e = error(Calibration::open(std::path::Path::new("/no/such/file")));
    assert_says(e, &["/no/such/file"]);
}

#[test]
fn headers_that_contradict() {
    let refused = |change: &dyn Fn(&mut Parts), words: &[&str]| {
        let mut parts = tiny::gram();
        change(&mut parts);
        assert_says(error(open(&parts)), words);
    };
    refused(&|p| p.set("gram.version", Value::U32(3)), &["version 3", "newer tenpak-gguf"]);
    refused(&|p| p.set("gram.tokens", Value::String("8".into())), &["gram.tokens", "damaged"]);
    refused(&|p| p.set("gram.inputs", Value::strings([Q])), &["6 names", "gram.inputs 1"]);
    refused(&|p| p.set("gram.weights", Value::U32(1)), &["gram.weights", "not a list of names"]);
    refused(&|p| p.set("gram.inputs", Value::strings(["x"; 6])), &["`x.in_gram` is missing"]);
    refused(&|p| drop(p.tensors.remove(1)), &["`blk.0.attn_q.weight.counts` is missing"]);
    let no_triangle = |p: &mut Parts| {
        p.tensors[0].1 = vec![ATTN_COLUMNS as u64, 1];
        p.tensors[0].2.truncate(ATTN_COLUMNS);
    };
    refused(&no_triangle, &["blk.0.attn_q.weight.in_gram", "rows of 70, no triangle"]);
    let other_counts = |p: &mut Parts| {
        p.tensors[1].1 = vec![1, 2];
        p.tensors[1].2.push(1.0);
    };
    refused(&other_counts, &["blk.0.attn_q.weight.counts", "2 values for 1 experts"]);
}

#[test]
fn dense_importance_of_three_dimensions_has_one_count() {
    let mut parts = tiny::imatrix_gguf();
    let counts = parts.tensors.iter_mut().find(|t| t.0 == "blk.1.ffn_down_exps.weight.counts").unwrap();
    (counts.1, counts.2) = (vec![1, 1], vec![4.0]);
    let calibration = open(&parts).unwrap();
    let loaded = calibration.load(DOWN, 2, DOWN_COLUMNS).unwrap();
    let Some(Statistics::Diagonal { values, tokens: 4 }) = loaded else { panic!("{loaded:?}") };
    let x = tiny::inputs(DOWN, 2);
    assert_close(values[0], tiny::product(&x, 0, 0) / 4.0);
}

/// A file that says how much depends on two weights, one of which is embeddings.
fn with_sensitivities(divergence: [f32; 3], curve: &[f32]) -> Parts {
    let mut parts = tiny::gram();
    parts.set("gram.version", Value::U32(2));
    let strings =
        |words: [&str; 3]| Value::Array(Kind::String, words.map(|w| Value::String(w.into())).to_vec());
    parts.keys.push(("sensitivity.weights".into(), strings(["token_embd.weight", Q, "token_embd.weight"])));
    parts.keys.push(("sensitivity.uses".into(), strings(["rows", "product", "product"])));
    for (name, values) in [
        ("divergence", &divergence[..]),
        ("error", &[0.1, 0.2, 0.3]),
        ("energy", &[4.0, 5.0, 6.0]),
        ("curve", curve),
    ] {
        parts.tensors.push((format!("sensitivity.{name}"), vec![values.len() as u64], values.to_vec()));
    }
    parts
}

#[test]
fn sensitivities_are_read() {
    let calibration = open(&with_sensitivities([1.0, 2.0, 3.0], &[0.1, 0.1, 1.0, 0.8])).unwrap();
    let found = calibration.sensitivities().unwrap().expect("they are there");
    let of = |weight, site| found.of(weight, site).map(|s| (s.divergence, s.energy));
    assert_eq!(of("token_embd.weight", Use::Rows), Some((1.0, 4.0)));
    assert_eq!(of(Q, Use::Product), Some((2.0, 5.0)));
    assert_eq!(of("token_embd.weight", Use::Product), Some((3.0, 6.0)));
    assert_eq!(of(Q, Use::Rows), None);
    assert!((found.expected(1.0) - 0.8).abs() < 1e-6);
    assert_eq!(open(&tiny::gram()).unwrap().sensitivities().unwrap(), None);
}

/// Rounding and chance put what is measured of a weight that does nothing below zero; its standard error stands for it.
#[test]
fn sensitivities_below_zero_by_chance() {
    let mut parts = with_sensitivities([-0.3, -2.5e-7, 3.0], &[0.1, 0.1, 1.0, 0.8]);
    let error = parts.tensors.iter_mut().find(|(name, ..)| name == "sensitivity.error").expect("a tensor");
    error.2 = vec![0.1, 1.4e-7, 0.3];
    let calibration = open(&parts).unwrap();
    let found = calibration.sensitivities().unwrap().expect("they are there");
    let of = |weight, site| found.of(weight, site).map(|s| s.divergence as f32);
    assert_eq!(of("token_embd.weight", Use::Rows), Some(0.1));
    assert_eq!(of(Q, Use::Product), Some(1.4e-7));
}

#[test]
fn sensitivities_that_cannot_be() {
    let refused = |parts: Parts, words: &[&str]| {
        assert_says(error(open(&parts).unwrap().sensitivities()), words);
    };
    let curve = [0.1, 0.1, 1.0, 0.8];
    refused(with_sensitivities([-1.0, -1.0, -1.0], &curve), &["sensitivity.divergence", "not finished"]);
    refused(with_sensitivities([1.0, f32::NAN, 3.0], &curve), &[Q, "NaN", "damaged"]);
    refused(with_sensitivities([1.0, -2.0, 3.0], &curve), &[Q, "-2", "damaged"]);
    refused(with_sensitivities([1.0, 2.0, 3.0], &[1.0, 0.8, 0.1, 0.1]), &["does not rise", "damaged"]);
    refused(with_sensitivities([1.0, 2.0, 3.0], &[0.0, 0.0, 1.0, 1.0]), &["does not rise", "damaged"]);
    let mut short = with_sensitivities([1.0, 2.0, 3.0], &curve);
    short.tensors.retain(|(name, ..)| name != "sensitivity.energy");
    refused(short, &["sensitivity.energy", "missing"]);
    let mut other = with_sensitivities([1.0, 2.0, 3.0], &curve);
    other.set("sensitivity.uses", Value::Array(Kind::String, vec![Value::String("rows".into()); 2]));
    refused(other, &["not of one length"]);
}
