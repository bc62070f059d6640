//! Blocks that share scales, and blocks some of whose slots stay empty: the keys `group` and `outliers` of recipes.

use crate::support;
use std::path::PathBuf;
use support::random::Random;
use support::tiny_calibration::Parts;
use support::{assert_says, error};
use tempfile::TempDir;
use tenpak_gguf::gguf::{File, Value};
use tenpak_gguf::job::{Convert, Error, Outputs, Statistics};
use tenpak_gguf::plan::Recipe;
use tenpak_gguf::quantize::Effort;
use tenpak_gguf::types::{self, TensorType};

const DENSE: &str = "blk.0.attn_q.weight";
const EXPERTS: &str = "blk.0.ffn_up_exps.weight";
/// Of a row, of the dense matrix, and of each of two experts: groups of three blocks begin with every third row.
const COLUMNS: usize = 512;
const ROWS: usize = 70;
const EXPERT_ROWS: usize = 7;
/// Weights of a block.
const BLOCK: usize = 256;

struct Case {
    folder: TempDir,
    /// Of both tensors.
    weights: [Vec<f32>; 2],
}

impl Case {
    /// Blocks of different sizes, each with a weight far larger than the others.
    fn new() -> Case {
        let mut random = Random(9);
        let mut weights = |rows: usize| {
            let mut values = random.gaussians(rows * COLUMNS);
            for (i, block) in values.chunks_exact_mut(BLOCK).enumerate() {
                block.iter_mut().for_each(|v| *v *= [0.004, 0.02, 0.06, 0.02, 0.01][i % 5]);
                block[i * 7 % BLOCK] *= 20.0;
            }
            values
        };
        Case {
            folder: tempfile::tempdir().expect("a folder"),
            weights: [weights(ROWS), weights(2 * EXPERT_ROWS)],
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Converts with a recipe, with an importance matrix or without.
    fn write(&self, rule: &str, is_calibrated: bool) -> Result<File, Error> {
        let [dense, experts] = self.weights.clone();
        let shapes = [vec![COLUMNS as u64, ROWS as u64], vec![COLUMNS as u64, EXPERT_ROWS as u64, 2]];
        let [of_dense, of_experts] = shapes;
        let keys = vec![("general.architecture".into(), Value::String("llama".into()))];
        let tensors = vec![(DENSE.into(), of_dense, dense), (EXPERTS.into(), of_experts, experts)];
        Parts { keys, tensors }.write(&self.path("model.gguf"));
        let text = format!("[[rule]]\n{rule}\n");
        let recipe = Recipe::parse("the recipe", &text, &[]).map_err(Error::from)?;
        let statistics = if is_calibrated { Statistics::File(self.calibration()) } else { Statistics::None };
        let job = Convert {
            recipe: Some(recipe),
            statistics,
            effort: Effort::Fast,
            ..Convert::new(self.path("model.gguf"))
        };
        job.run(&Outputs { overwrite: true, ..Outputs::new(self.path("out.gguf")) }, &|_| {})?;
        Ok(File::open(&self.path("out.gguf")).expect("a file"))
    }

    /// An importance matrix of the dense matrix and of both experts.
    fn calibration(&self) -> PathBuf {
        let mut random = Random(4);
        let mut tensors = Vec::new();
        for (name, experts) in [(DENSE, 1), (EXPERTS, 2)] {
            let sums = random.gaussians(experts * COLUMNS).iter().map(|x| 8.0 * x * x + 0.1).collect();
            tensors.push((format!("{name}.in_sum2"), vec![COLUMNS as u64, experts as u64], sums));
            tensors.push((format!("{name}.counts"), vec![1, experts as u64], vec![8.0; experts]));
        }
        let keys = vec![
            ("general.type".into(), Value::String("imatrix".into())),
            ("imatrix.datasets".into(), Value::strings(["text.txt"])),
            ("imatrix.chunk_count".into(), Value::U32(1)),
            ("imatrix.chunk_size".into(), Value::U32(8)),
        ];
        Parts { keys, tensors }.write(&self.path("imatrix.gguf"));
        self.path("imatrix.gguf")
    }

    /// Mean squares of the errors of the dense matrix.
    fn error(&self, file: &File) -> f64 {
        let (kind, bytes) = data(file, DENSE);
        let mut read = vec![0.0; self.weights[0].len()];
        (kind.kernels().expect("a weight type").dequantize)(bytes, &mut read);
        let squares = self.weights[0].iter().zip(&read).map(|(w, r)| f64::from(w - r).powi(2));
        squares.sum::<f64>() / read.len() as f64
    }
}

fn data<'a>(file: &'a File, name: &str) -> (&'static TensorType, &'a [u8]) {
    let t = file.tensors().iter().find(|t| t.name == name).expect("a tensor");
    (types::by_id(t.kind.0).expect("a type of ours"), file.data(t).expect("data"))
}

/// Scale codes of all blocks of a tensor, one row after the other: the first byte of each.
fn scales(file: &File, name: &str) -> Vec<u8> {
    let (kind, bytes) = data(file, name);
    bytes.chunks_exact(kind.block_bytes).map(|block| block[0]).collect()
}

#[test]
fn blocks_of_a_group_have_one_scale() {
    let case = Case::new();
    for kind in ["o4", "o4x2", "o3", "s34", "s24"] {
        for is_calibrated in [false, true] {
            for blocks in [1, 2, 3, 32] {
                let group = blocks * BLOCK;
                let file = case
                    .write(&format!("types = ['{kind}']\ngroup = {group}"), is_calibrated)
                    .expect("it is written");
                let experts = scales(&file, EXPERTS);
                let (first, second) = experts.split_at(experts.len() / 2);
                for scales in [&scales(&file, DENSE)[..], first, second] {
                    let groups: Vec<&[u8]> = scales.chunks(blocks).collect();
                    let what = format!("{kind}, {group}, calibrated: {is_calibrated}");
                    assert!(groups.iter().all(|group| group.iter().all(|code| code == &group[0])), "{what}");
                    let differ = groups.windows(2).any(|pair| pair[0][0] != pair[1][0]);
                    assert!(differ || blocks == 32, "{what}: no group has a scale of its own");
                }
            }
        }
    }
}

/// Blocks of different sizes suffer by a common scale, and by slots that stay empty.
#[test]
fn what_is_shared_or_left_empty_costs() {
    let case = Case::new();
    for is_calibrated in [false, true] {
        let error = |rule: &str| case.error(&case.write(rule, is_calibrated).expect("it is written"));
        let errors =
            ["", "group = 512", "group = 8192"].map(|group| error(&format!("types = ['o4']\n{group}")));
        assert!(errors[0] < 0.9 * errors[1] && errors[1] < 0.9 * errors[2], "{errors:?}");
        let (two, one, none) = (
            error("types = ['o4x2']\ngroup = 8192"),
            error("types = ['o4x2']\ngroup = 8192\noutliers = 1"),
            error("types = ['o4x2']\ngroup = 8192\noutliers = 0"),
        );
        assert!(two < one && one < 0.5 * none, "{two} {one} {none}");
    }
}

#[test]
fn slots_that_are_not_used_are_empty() {
    let case = Case::new();
    for is_calibrated in [false, true] {
        for (outliers, group) in [(0, ""), (1, ""), (0, "group = 512"), (1, "group = 512")] {
            let rule = format!("types = ['o3x2']\noutliers = {outliers}\n{group}");
            let file = case.write(&rule, is_calibrated).expect("it is written");
            let (kind, bytes) = data(&file, DENSE);
            let mut used = 0;
            for block in bytes.chunks_exact(kind.block_bytes) {
                let slots = [&block[1..4], &block[4..7]];
                used += slots.iter().take(outliers).filter(|slot| slot[1..] != [0, 0]).count();
                assert!(slots.iter().skip(outliers).all(|slot| **slot == [0, 0, 0]), "{rule}");
            }
            assert_eq!(used, outliers * bytes.len() / kind.block_bytes, "{rule}");
        }
    }
}

#[test]
fn same_bytes_for_any_number_of_threads() {
    let bytes = |threads: usize, is_calibrated: bool| {
        let case = Case::new();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| case.write("types = ['o4']\ngroup = 768", is_calibrated)).expect("it is written");
        std::fs::read(case.path("out.gguf")).expect("a file")
    };
    for is_calibrated in [false, true] {
        assert!(bytes(1, is_calibrated) == bytes(3, is_calibrated));
    }
}

#[test]
fn makings_that_cannot_be() {
    let case = Case::new();
    let refused = |rule: &str, words: &[&str]| {
        assert_says(error(case.write(rule, false)), &[&["the recipe, rule 1"], words].concat());
    };
    for group in [0, 100, 300, 65536 + 256] {
        refused(
            &format!("types = ['o4']\ngroup = {group}"),
            &["`group`", &group.to_string(), "multiple of 256"],
        );
    }
    refused("types = ['t3', 'f16']\ngroup = 512", &["`group`", "o4, o4x2, o3, o3x2, s34, s24", "`types`"]);
    refused("types = ['g4']\noutliers = 0", &["`outliers`", "o4x2", "`types`"]);
    refused("types = ['o4', 'f16']\noutliers = 2", &["`outliers` is 2", "1 slots at most"]);
    let negative = Recipe::parse("it", "[[rule]]\ntypes = ['o4']\ngroup = -256", &[]);
    assert_says(error(negative), &["it, line 3", "-256"]);
    // A type that takes the place of another has no groups.
    assert!(case.write("types = ['o4', 'nf4']\ngroup = 512\noutliers = 1", false).is_ok());
}
