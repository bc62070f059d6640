//! Corrections of low rank: the adapter beside a file, and what both together compute.

use crate::support;
use half::f16;
use std::path::{Path, PathBuf};
use support::random::Random;
use support::tiny_calibration::Parts;
use support::{assert_says, error, files_in};
use tempfile::TempDir;
use tenpak_gguf::checkpoint::Dtype;
use tenpak_gguf::export;
use tenpak_gguf::gguf::{File, GgmlType, Value};
use tenpak_gguf::job::{self, Convert, Error, LowRank, Outputs, Statistics};
use tenpak_gguf::plan::Recipe;
use tenpak_gguf::quantize::Effort;
use tenpak_gguf::release::{Calibration, DEFAULT_MAX_BYTES, Release, Said};
use tenpak_gguf::types::{self, TensorType};

const Q: &str = "blk.0.attn_q.weight";
const DOWN: &str = "blk.0.ffn_down.weight";
const EXPERTS: &str = "blk.0.ffn_up_exps.weight";
/// Columns and rows of the matrices that are corrected.
const SHAPES: [(&str, usize, usize); 2] = [(Q, 256, 128), (DOWN, 192, 96)];
/// Columns of all experts' inputs.
const EXPERT_COLUMNS: usize = 64;
/// Tokens of the calibration.
const TOKENS: usize = 600;

/// Rows of a matrix whose weights have some strong directions.
fn weights(columns: usize, rows: usize, random: &mut Random) -> Vec<f32> {
    let mut values = random.gaussians(columns * rows);
    for _ in 0..4 {
        let (l, r) = (random.gaussians(rows), random.gaussians(columns));
        for (k, v) in values.iter_mut().enumerate() {
            *v += l[k / columns] * r[k % columns];
        }
    }
    values.iter().map(|v| v * 0.02).collect()
}

/// Inputs, some of whose columns are larger and depend on each other.
fn inputs(columns: usize) -> Vec<Vec<f32>> {
    let mut random = Random(columns as u64);
    let common = random.gaussians(columns);
    let mut token = || {
        let strength = 2.0 * random.gaussian();
        random.gaussians(columns).iter().zip(&common).map(|(x, c)| x + strength * c).collect()
    };
    (0..TOKENS).map(|_| token()).collect()
}

struct Case {
    folder: TempDir,
    job: Convert,
}

impl Case {
    /// A model of two matrices and of experts, calibrated, everything in T2.
    fn new(architecture: &str) -> Case {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let mut random = Random(3);
        let mut tensors: Vec<_> = SHAPES
            .iter()
            .map(|&(name, columns, rows)| {
                (name.to_owned(), vec![columns as u64, rows as u64], weights(columns, rows, &mut random))
            })
            .collect();
        let experts = weights(EXPERT_COLUMNS, 64, &mut random);
        tensors.push((EXPERTS.into(), vec![EXPERT_COLUMNS as u64, 32, 2], experts));
        let string = |s: &str| Value::String(s.into());
        let keys = vec![
            ("general.architecture".into(), string(architecture)),
            ("general.name".into(), string("Tiny")),
        ];
        Parts { keys, tensors }.write(&path("model.gguf"));

        let mut tensors = Vec::new();
        for &(name, columns, _) in &SHAPES {
            let x = inputs(columns);
            let pairs = (0..columns).flat_map(|i| (0..=i).map(move |j| (i, j)));
            let sums: Vec<f32> = pairs.map(|(i, j)| x.iter().map(|x| x[i] * x[j]).sum()).collect();
            tensors.push((format!("{name}.in_gram"), vec![sums.len() as u64, 1], sums));
            tensors.push((format!("{name}.counts"), vec![1, 1], vec![TOKENS as f32]));
        }
        let keys = vec![
            ("general.type".into(), string("gram")),
            ("general.architecture".into(), string(architecture)),
            ("general.name".into(), string("Tiny")),
            ("gram.version".into(), Value::U32(1)),
            ("gram.text.name".into(), string("text.txt")),
            ("gram.tokens".into(), Value::U64(TOKENS as u64)),
            ("gram.weights".into(), Value::strings([Q, DOWN])),
            ("gram.inputs".into(), Value::strings([Q, DOWN])),
        ];
        Parts { keys, tensors }.write(&path("calibration.gguf"));
        let job = Convert {
            statistics: Statistics::File(path("calibration.gguf")),
            effort: Effort::Fast,
            recipe: Some(recipe("")),
            ..Convert::new(path("model.gguf"))
        };
        Case { folder, job }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str) -> Result<(), Error> {
        self.job.run(&Outputs::new(self.path(name)), &|_| {})
    }

    /// Mean over inputs of |(W - Q - L R) x|^2 / |W x|^2, by matrix.
    fn losses(&self, name: &str, adapter: Option<&str>) -> Vec<f64> {
        let (model, file) = (open(&self.path("model.gguf")), open(&self.path(name)));
        let adapter = adapter.map(|name| open(&self.path(name)));
        let of = |&(name, columns, rows): &(&str, usize, usize)| {
            let w = values(&model, name);
            let mut e: Vec<f32> = w.iter().zip(values(&file, name)).map(|(w, q)| w - q).collect();
            if let Some(adapter) = &adapter {
                let (r, l) =
                    (values(adapter, &format!("{name}.lora_a")), values(adapter, &format!("{name}.lora_b")));
                let rank = r.len() / columns;
                assert_eq!(l.len(), rank * rows, "{name}");
                for (k, e) in e.iter_mut().enumerate() {
                    let (i, j) = (k / columns, k % columns);
                    *e -= (0..rank).map(|d| l[i * rank + d] * r[d * columns + j]).sum::<f32>();
                }
            }
            let square = |rows: &[f32]| -> f64 {
                let dot = |row: &[f32], x: &[f32]| row.iter().zip(x).map(|(w, x)| w * x).sum::<f32>();
                let of_token = |x: &Vec<f32>| {
                    rows.chunks_exact(columns).map(|row| f64::from(dot(row, x)).powi(2)).sum::<f64>()
                };
                inputs(columns).iter().map(of_token).sum()
            };
            square(&e) / square(&w)
        };
        SHAPES.iter().map(of).collect()
    }
}

fn recipe(more: &str) -> Recipe {
    let text = format!("[[rule]]\nroles = ['attention', 'mlp', 'experts']\ntypes = ['t2']\n{more}\n");
    Recipe::parse("the recipe", &text, &[]).unwrap_or_else(|e| panic!("{e}"))
}

fn open(path: &Path) -> File {
    File::open(path).unwrap_or_else(|e| panic!("{e}"))
}

fn values(file: &File, name: &str) -> Vec<f32> {
    let t = file.tensors().iter().find(|t| t.name == name).unwrap_or_else(|| panic!("{name}"));
    let bytes = file.data(t).expect("data");
    match t.kind {
        GgmlType::F32 => {
            return bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        }
        GgmlType::F16 => {
            return bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect();
        }
        _ => {}
    }
    let mut values = vec![0.0; t.elements() as usize];
    let ours = types::by_id(t.kind.0).and_then(TensorType::kernels).map(|kernels| kernels.dequantize);
    ours.or_else(|| t.kind.dequantizer()).expect("a known type")(bytes, &mut values);
    values
}

#[test]
fn corrections_lower_the_loss() {
    let mut case = Case::new("llama");
    case.write("plain.gguf").expect("it is written");
    assert_eq!(files_in(case.folder.path()).len(), 3, "no adapter without corrections");
    let plain = case.losses("plain.gguf", None);
    for rank in [4, 32] {
        case.job.low_rank = Some(LowRank::Rank(rank));
        let name = format!("rank{rank}.gguf");
        case.write(&name).expect("it is written");
        let corrected = case.losses(&name, Some(&format!("rank{rank}.lora.gguf")));
        for (plain, corrected) in plain.iter().zip(&corrected) {
            // .45 to .60 with rank 4 seen, .21 to .23 with rank 32.
            let most = if rank == 4 { 0.7 } else { 0.3 };
            assert!(*corrected < most * plain, "rank {rank}: {corrected} of {plain}");
        }
        let alone = case.losses(&name, None);
        assert!(
            alone.iter().zip(&corrected).all(|(alone, with)| alone > with),
            "the file belongs to the adapter"
        );
    }
}

#[test]
fn adapters_are_those_of_llama_cpp() {
    let mut case = Case::new("llama");
    case.job.recipe = Some(recipe("low_rank = 32"));
    case.write("out.gguf").expect("it is written");
    let (file, adapter) = (open(&case.path("out.gguf")), open(&case.path("out.lora.gguf")));
    let key =
        |file: &File, name: &str| file.keys().iter().find(|(key, _)| key == name).map(|(_, v)| v.clone());
    assert_eq!(key(&file, "tenpak.adapter"), Some("out.lora.gguf".into()));
    assert_eq!(key(&adapter, "general.type"), Some("adapter".into()));
    assert_eq!(key(&adapter, "general.architecture"), Some("llama".into()));
    assert_eq!(key(&adapter, "adapter.type"), Some("lora".into()));
    assert_eq!(key(&adapter, "adapter.lora.alpha"), Some(0.0f32.into()));
    // Nobody takes the file for the whole.
    let whole = |name: &str, file: &File| job::refuse_adapter(&case.path(name), file, "that is not here");
    assert_says(error(whole("out.gguf", &file)), &["out.gguf", "`out.lora.gguf`", "and that is not here"]);
    let again = Convert::new(case.path("out.gguf")).run(&Outputs::new(case.path("again.gguf")), &|_| {});
    assert_says(error(again), &["out.gguf", "out.lora.gguf", "--low-rank"]);
    let exported = export::to_gguf(&file, Dtype::F32, &case.path("floats.gguf"), false, &|_| {});
    assert_says(error(exported), &["out.gguf", "out.lora.gguf", "--low-rank"]);
    let release = Release {
        files: vec![case.path("out.gguf")],
        folder: case.path("release"),
        receipt: None,
        recipes: Vec::new(),
        calibration: Calibration::Unsaid,
        said: Said::default(),
        command: None,
        max_bytes: DEFAULT_MAX_BYTES,
        overwrite: false,
    };
    assert_says(error(release.plan(&|_| {}).map(drop)), &["out.gguf", "out.lora.gguf", "no place for that"]);
    let exported = export::to_stock_ids(&file, &case.path("stock.gguf"), false, &|_| {});
    assert_says(error(exported), &["out.gguf", "out.lora.gguf", "--low-rank"]);
    assert!(whole("model.gguf", &open(&case.path("model.gguf"))).is_ok());
    let tensors: Vec<_> =
        adapter.tensors().iter().map(|t| format!("{} {:?} {}", t.name, t.shape, t.kind.name())).collect();
    // Experts and what was not measured have none.
    let expected = [
        format!("{Q}.lora_a [256, 32] q8_0"),
        format!("{Q}.lora_b [32, 128] q8_0"),
        format!("{DOWN}.lora_a [192, 32] q8_0"),
        format!("{DOWN}.lora_b [32, 96] q8_0"),
    ];
    assert_eq!(tensors, expected);
}

#[test]
fn same_bytes_for_any_number_of_threads() {
    let bytes = |threads: usize| {
        let mut case = Case::new("qwen2");
        case.job.low_rank = Some(LowRank::Rank(5));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| case.write("out.gguf")).expect("it is written");
        ["out.gguf", "out.lora.gguf"].map(|name| std::fs::read(case.path(name)).expect("a file"))
    };
    assert!(bytes(1) == bytes(3));
}

#[test]
fn what_cannot_be_corrected_is_refused() {
    let mut case = Case::new("llama");
    case.job.low_rank = Some(LowRank::Rank(4));
    let statistics = std::mem::take(&mut case.job.statistics);
    assert_says(error(case.write("out.gguf")), &[Q, "calibrate", "--low-rank"]);
    case.job.statistics = statistics;
    let resumed = Outputs { resume: true, ..Outputs::new(case.path("out.gguf")) };
    assert_says(error(case.job.run(&resumed, &|_| {})), &["out.lora.gguf", "in one go", "--resume"]);
    std::fs::write(case.path("out.lora.gguf"), "mine").expect("a file");
    assert_says(error(case.write("out.gguf")), &["out.lora.gguf", "exists already", "--force"]);
    assert!(!case.path("out.gguf").exists());

    // The graph of DeepSeek's models multiplies without adapters.
    let mut case = Case::new("deepseek2");
    case.job.recipe = Some(recipe("low_rank = 4"));
    assert_says(error(case.write("out.gguf")), &["rule 1", "low_rank", "deepseek2"]);
    let recipe = Recipe::parse("it", "[[rule]]\ntypes = ['t2']\nlow_rank = 5000", &[]);
    assert_says(error(recipe), &["it, rule 1", "5000", "1024"]);
}
