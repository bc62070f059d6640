//! `calibrate --merge`: parts of a calibration added up.

use crate::support;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use support::tiny_calibration::{self as tiny, Parts};
use support::{assert_says, error, files_in};
use tempfile::TempDir;
use tenpak_gguf::calibration::{Calibration, Use};
use tenpak_gguf::gguf::{File, Value};
use tenpak_gguf::job::{Error, Merge};

const Q: &str = "blk.0.attn_q.weight";
/// Tokens of the parts.
const TOKENS: [u64; 3] = [8, 8, 16];

/// Part `i` of three, counted from 0: its sums are `i + 1` times those of the tiny calibration, and so are its sensitivities.
fn part(i: usize) -> Parts {
    let mut parts = tiny::gram();
    let times = (i + 1) as f32;
    parts.tensors.iter_mut().flat_map(|t| &mut t.2).for_each(|v| *v *= times);
    parts.set("gram.version", Value::U32(2));
    parts.set("gram.tokens", Value::U64(TOKENS[i]));
    parts.set("gram.text.name", format!("a, part 7 of 9, part {} of 3", i + 1).into());
    parts.keys.push(("sensitivity.weights".into(), Value::strings([Q])));
    parts.keys.push(("sensitivity.uses".into(), Value::strings(["product"])));
    let mut vector = |name: &str, values: &[f32]| {
        parts.tensors.push((name.to_owned(), vec![values.len() as u64], values.to_vec()));
    };
    vector("token.counts", &[times, 0.0, 2.0]);
    vector("sensitivity.divergence", &[times]);
    vector("sensitivity.error", &[0.1 * times]);
    vector("sensitivity.energy", &[4.0]);
    vector("sensitivity.curve", &[0.1, 0.1 * times, 1.0, times]);
    parts
}

struct Case {
    folder: TempDir,
}

impl Case {
    fn new(parts: &[Parts]) -> (Case, Merge) {
        let case = Case { folder: tempfile::tempdir().expect("a folder") };
        let paths: Vec<PathBuf> = (0..parts.len()).map(|i| case.path(&format!("{i}.gguf"))).collect();
        parts.iter().zip(&paths).for_each(|(part, path)| part.write(path));
        let merge = Merge { parts: paths, output: case.path("all.gguf"), overwrite: false };
        (case, merge)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn values(path: &Path, name: &str) -> Vec<f32> {
    let file = File::open(path).unwrap_or_else(|e| panic!("{e}"));
    let t = file.tensors().iter().find(|t| t.name == name).unwrap_or_else(|| panic!("{name}"));
    let bytes = file.data(t).expect("data");
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

fn refused(parts: &[Parts]) -> Error {
    let (case, merge) = Case::new(parts);
    let refused = error(merge.run());
    assert_eq!(files_in(case.folder.path()).len(), parts.len(), "nothing is written");
    refused
}

#[test]
fn sums_are_added_and_means_are_means() {
    let (case, mut merge) = Case::new(&[part(2), part(0), part(1)]);
    let whole = merge.run().unwrap_or_else(|e| panic!("{e}"));
    let all = case.path("all.gguf");
    let name = format!("{Q}.in_gram");
    for (found, one) in values(&all, &name).iter().zip(tiny::gram().values(&name)) {
        assert!((found - 6.0 * *one).abs() <= 1e-5 * one.abs(), "{found} is not 6 times {one}");
    }
    assert_eq!(values(&all, &format!("{Q}.counts")), [48.0]);
    assert_eq!(values(&all, "token.counts"), [6.0, 0.0, 6.0]);
    // Of 32 tokens: 1/4 of 1, 1/4 of 2, 1/2 of 3.
    let found = whole.sensitivities().expect("they are there").expect("sensitivities");
    let of_q = found.of(Q, Use::Product).expect("that of q");
    assert!((of_q.divergence - 2.25).abs() < 1e-6 && (of_q.energy - 4.0).abs() < 1e-6, "{of_q:?}");
    let expected = (0.025f64.powi(2) + 0.05f64.powi(2) + 0.15f64.powi(2)).sqrt();
    assert!((of_q.uncertainty - expected).abs() < 1e-6, "{of_q:?}");
    assert!((found.expected(0.1) - 0.225).abs() < 1e-6);
    let file = File::open(&all).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(file.key("gram.text.name"), Some(&"a, part 7 of 9".into()));
    assert_eq!(file.key("gram.tokens"), Some(&Value::U64(32)));
    drop(file);
    // It is a whole, and is not written over unasked.
    assert_says(error(merge.run()), &["all.gguf", "exists already"]);
    merge.parts = vec![all];
    merge.output = case.path("again.gguf");
    assert!(Calibration::open(&merge.parts[0]).is_ok());
    // The text's own name looks like a part's.
    assert_says(error(merge.run()), &["part 1 of 9", "missing"]);
}

fn sha256(text: &str) -> String {
    format!("{:x}", Sha256::digest(text))
}

/// A whole calibration of the text of this name, of which everything else is that of part `i`.
fn of_text(name: &str, i: usize) -> Parts {
    let mut whole = part(i);
    whole.set("gram.text.name", name.into());
    whole.keys.push(("gram.text.sha256".into(), sha256(name).into()));
    whole
}

#[test]
fn calibrations_of_several_texts_are_added_up() {
    let (case, merge) = Case::new(&[of_text("own", 2), of_text("code.txt", 0)]);
    let whole = merge.run().unwrap_or_else(|e| panic!("{e}"));
    let all = case.path("all.gguf");
    assert_eq!(values(&all, &format!("{Q}.counts")), [32.0]);
    // Of 24 tokens: 2/3 of 3, 1/3 of 1.
    let found = whole.sensitivities().expect("they are there").expect("sensitivities");
    let of_q = found.of(Q, Use::Product).expect("that of q");
    assert!((of_q.divergence - 7.0 / 3.0).abs() < 1e-6, "{of_q:?}");
    let file = File::open(&all).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(file.key("gram.text.name"), Some(&"own + code.txt".into()));
    let sums = [sha256("own"), sha256("code.txt")].join(" + ");
    assert_eq!(file.key("gram.text.sha256"), Some(&sums.into()));
    drop(file);

    let mut copy = of_text("code.txt", 1);
    copy.set("gram.text.name", "copy of code.txt".into());
    copy.write(&case.path("copy.gguf"));
    let merge =
        Merge { parts: vec![all, case.path("copy.gguf")], output: case.path("twice.gguf"), overwrite: false };
    assert_says(error(merge.run()), &["copy.gguf", "count twice", "all.gguf"]);
    let mut other = of_text("code.txt", 1);
    other.set("general.name", "Other".into());
    assert_says(refused(&[of_text("own", 0), other]), &["1.gguf", "`general.name`", "0.gguf"]);
}

#[test]
fn parts_that_are_no_whole_are_refused() {
    assert_says(refused(&[part(0), part(2)]), &["part 2 of 3", "missing"]);
    assert_says(refused(&[part(0), part(1), part(1), part(2)]), &["part 2 of 3", "more than once"]);
    assert_says(refused(&[part(0), tiny::gram()]), &["1.gguf", "whole calibration", "--part"]);
    assert_says(refused(&[tiny::gram()]), &["0.gguf", "whole calibration"]);
    let with = |key: &str, value: Value| {
        let mut other = part(1);
        other.set(key, value);
        refused(&[part(0), other, part(2)])
    };
    assert_says(with("general.name", "Other".into()), &["1.gguf", "`general.name`", "0.gguf"]);
    assert_says(with("gram.text.name", "b, part 2 of 3".into()), &["1.gguf", "the text"]);
    let mut shorter = part(1);
    shorter.values("token.counts").pop();
    shorter.tensors.iter_mut().filter(|t| t.0 == "token.counts").for_each(|t| t.1 = vec![2]);
    assert_says(refused(&[part(0), shorter, part(2)]), &["1.gguf", "what was measured"]);
    let mut unfinished = part(1);
    unfinished.values(&format!("{Q}.counts"))[0] = -1.0;
    assert_says(refused(&[part(0), unfinished, part(2)]), &["1.gguf", "not finished"]);
}
