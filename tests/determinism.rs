//! The bytes of a conversion are the same everywhere: at every level of instructions, with any number of threads, on every
//! machine. The model and its calibration are made with sums and products only, which IEEE 754 rounds in one way.

mod support;

use sha2::{Digest, Sha256};
use std::path::Path;
use support::random::Random;
use support::tiny_calibration::Parts;
use tenpak_gguf::gguf::Value;
use tenpak_gguf::isa::Isa;
use tenpak_gguf::job::{Convert, Outputs, Statistics};
use tenpak_gguf::plan::Recipe;
use tenpak_gguf::quantize::Effort;

/// Columns of the two kinds of matrices, which take blocks of 256 and of 64.
const COLUMNS: [usize; 2] = [256, 192];
const ROWS: usize = 48;
const TOKENS: usize = 300;
/// Types of blocks of 256 (or 128), and of 64.
const TYPES: [&[&str]; 2] = [
    &["t2", "t25", "t3", "t35", "t4", "t5", "g4", "o4", "o4x2", "o3", "o3x2", "s34", "s24"],
    &["t2_64", "t25_64", "t3_64", "t35_64", "t4_64", "t5_64", "nf4"],
];

/// sha256 of what a calibrated and an uncalibrated conversion make, in git so that every machine is compared with every other.
const DIGESTS: [(&str, &str); 2] = [
    ("calibrated", include_str!("golden/conversion-calibrated.sha256")),
    ("uncalibrated", include_str!("golden/conversion-uncalibrated.sha256")),
];

/// Values from -1 to 1, more of them near 0.
fn values(random: &mut Random, n: usize) -> Vec<f32> {
    let mut uniform = || (random.next() >> 40) as f32 / (1u32 << 23) as f32 - 1.0;
    (0..n).map(|_| uniform() * uniform()).collect()
}

/// A matrix for each type.
fn matrices() -> Vec<(String, usize, &'static str)> {
    let of = |kind: usize| TYPES[kind].iter().map(move |t| (kind, *t));
    let all = of(0).chain(of(1)).enumerate();
    all.map(|(i, (kind, t))| (format!("blk.{i}.ffn_down.weight"), COLUMNS[kind], t)).collect()
}

fn recipe() -> Recipe {
    let rule =
        |(name, _, t): &(String, usize, &str)| format!("[[rule]]\nnames = [{name:?}]\ntypes = [{t:?}]\n");
    let rules: String = matrices().iter().map(rule).collect();
    Recipe::parse("determinism", &rules, &[]).expect("a recipe")
}

/// Writes a model and its Gram matrices.
fn write(folder: &Path) {
    let mut random = Random(11);
    let (mut weights, mut sums) = (Vec::new(), Vec::new());
    for (name, columns, _) in matrices() {
        weights.push((name.clone(), vec![columns as u64, ROWS as u64], values(&mut random, columns * ROWS)));
        let common = values(&mut random, columns);
        let tokens: Vec<Vec<f32>> = (0..TOKENS)
            .map(|_| {
                let strength = 4.0 * values(&mut random, 1)[0];
                values(&mut random, columns).iter().zip(&common).map(|(x, c)| x + strength * c).collect()
            })
            .collect();
        let pairs = (0..columns).flat_map(|i| (0..=i).map(move |j| (i, j)));
        let gram: Vec<f32> = pairs.map(|(i, j)| tokens.iter().map(|x| x[i] * x[j]).sum()).collect();
        sums.push((format!("{name}.in_gram"), vec![gram.len() as u64, 1], gram));
        sums.push((format!("{name}.counts"), vec![1, 1], vec![TOKENS as f32]));
    }
    let string = |s: &str| Value::String(s.into());
    let general = |kind: &str| {
        vec![
            ("general.type".into(), string(kind)),
            ("general.architecture".into(), string("llama")),
            ("general.name".into(), string("Same everywhere")),
        ]
    };
    Parts { keys: general("model"), tensors: weights }.write(&folder.join("model.gguf"));
    let names = || Value::strings(matrices().iter().map(|(name, ..)| name.as_str()));
    let keys = vec![
        ("gram.version".into(), Value::U32(1)),
        ("gram.text.name".into(), string("text.txt")),
        ("gram.tokens".into(), Value::U64(TOKENS as u64)),
        ("gram.weights".into(), names()),
        ("gram.inputs".into(), names()),
    ];
    Parts { keys: [general("gram"), keys].concat(), tensors: sums }.write(&folder.join("gram.gguf"));
}

/// sha256 of the tensors of a conversion with so many threads, at the level of this process.
fn digest(folder: &Path, kind: &str, threads: usize) -> String {
    let out = folder.join(format!("{kind}-{threads}.gguf"));
    let job = Convert {
        statistics: match kind {
            "calibrated" => Statistics::File(folder.join("gram.gguf")),
            _ => Statistics::None,
        },
        effort: Effort::Normal,
        recipe: Some(recipe()),
        ..Convert::new(folder.join("model.gguf"))
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
    pool.install(|| job.run(&Outputs::new(out.clone()), &|_| {})).unwrap_or_else(|e| panic!("{e}"));
    let file = tenpak_gguf::gguf::File::open(&out).expect("a file");
    let mut sha256 = Sha256::new();
    for t in file.tensors() {
        sha256.update(&t.name);
        sha256.update(file.data(t).expect("data"));
    }
    format!("{:x}", sha256.finalize())
}

/// At the level of this process, with one thread and with three.
#[test]
fn conversions_have_the_recorded_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path());
    for (kind, recorded) in DIGESTS {
        for threads in [1, 3] {
            let found = digest(folder.path(), kind, threads);
            assert_eq!(found, recorded.trim(), "{kind}, {threads} threads, {:?}", Isa::current());
        }
    }
}

/// At every other level of this processor, each in a process of its own.
#[test]
fn every_level_makes_the_same() {
    if std::env::var_os("TENPAK_ISA").is_some() {
        return;
    }
    for isa in support::levels() {
        let mut command = std::process::Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", "conversions_have_the_recorded_bytes"]).env("TENPAK_ISA", isa.name());
        let done = command.output().expect("it starts");
        assert!(done.status.success(), "{isa:?}: {}", String::from_utf8_lossy(&done.stdout));
    }
}
