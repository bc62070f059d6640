//! The types that each recipe chooses, for every architecture, every kind of checkpoint and every name that llama.cpp
//! has for a tensor. The references are tests/golden/plans.digest and plans-of-names.txt; a change of them is a change
//! of what users get.

use crate::support;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::path::Path;
use support::quantized_case;
use support::reference_case::Case;
use support::tiny_gguf::{file, tensor, write};
use support::{family, plan};
use tenpak_gguf::checkpoint::{Dtype, Model, Options};
use tenpak_gguf::gguf::GgmlType;
use tenpak_gguf::plan::Recipe;

/// Recipes with the words that stand for them in the references.
fn recipes() -> Vec<(&'static str, Recipe)> {
    vec![
        ("default", Recipe::default()),
        ("t2", Recipe::all(family("t2"))),
        ("t3", Recipe::all(family("t3"))),
        ("t4", Recipe::all(family("t4"))),
        ("linear-t3", Recipe::linear(family("t3"))),
        ("keep", Recipe::keep()),
        ("keep-t2", Recipe::keep_and_quantize(family("t2"))),
        ("f16", Recipe::plain(Dtype::F16)),
        ("bf16", Recipe::plain(Dtype::BF16)),
        ("f32", Recipe::plain(Dtype::F32)),
    ]
}

fn open(path: &Path, options: &Options) -> Model {
    Model::open(path, options).unwrap_or_else(|e| panic!("{e}"))
}

/// Name and type of every tensor, what is left plain, and the keys that a plan adds.
fn lines(model: &Model, recipe: &Recipe) -> String {
    let plan = plan(model, recipe);
    let mut lines = String::new();
    for (key, value) in &plan.keys[model.keys.len()..] {
        writeln!(lines, "{key} {value}").unwrap();
    }
    for header in plan.headers() {
        writeln!(lines, "{} {:?} {} {}", header.name, header.shape, header.kind.0, header.bytes).unwrap();
    }
    let left: Vec<_> = plan.left_plain().map(|t| &t.header.name).collect();
    writeln!(lines, "{} {left:?}", plan.file_bytes).unwrap();
    lines
}

/// Compares with a file of tests/golden, line by line.
#[track_caller]
fn assert_is_golden(name: &str, found: &str) {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    let expected = std::fs::read_to_string(&path).expect("a reference");
    let differing: Vec<_> = expected.lines().zip(found.lines()).filter(|(a, b)| a != b).collect();
    assert!(differing.is_empty(), "{name} (expected, found): {differing:#?}");
    assert_eq!(expected.lines().count(), found.lines().count(), "{name}");
}

#[test]
fn plans_of_every_architecture_and_quantization() {
    let mut digests = String::new();
    let mut add = |case: &str, path: &Path, options: &Options| {
        let model = open(path, options);
        for (recipe, made) in recipes() {
            let digest = Sha256::digest(lines(&model, &made));
            let short: String = digest[..8].iter().map(|b| format!("{b:02x}")).collect();
            writeln!(digests, "{case} {recipe} {short}").unwrap();
        }
    };
    for case in Case::all() {
        let folder = case.write();
        for (name, keep_tied_head) in [("", false), (" with-head", true)] {
            let tokenizer_pre = case.pre().map(str::to_owned);
            let options = Options { tokenizer_pre, keep_tied_head, ..Options::default() };
            add(&format!("{}{name}", case.name), &folder.path, &options);
        }
    }
    for case in quantized_case::Case::all() {
        add(&case.name, &case.model().write().path, &Options::default());
    }
    let ggml = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/ggml.gguf");
    add("ggml.gguf", Path::new(ggml), &Options::default());
    assert_is_golden("plans.digest", &digests);
}

/// Shapes and types change from name to name, so that every rule meets most kinds of names.
#[test]
fn plans_of_every_name() {
    const NAMES: &str = include_str!("../golden/tensor-names.txt");
    const Q8_0: GgmlType = GgmlType(8);
    const I32: GgmlType = GgmlType(26);
    let shapes: &[&[u64]] = &[&[256, 2], &[320, 2], &[256], &[96, 2, 3], &[256, 1, 1], &[64, 3]];
    let files: [(&str, &[GgmlType]); 4] = [
        ("f16", &[GgmlType::F16]),
        ("f32", &[GgmlType::F32]),
        ("mixed", &[GgmlType::F16, GgmlType::F32, GgmlType::BF16, GgmlType::F16, I32, GgmlType::BF16, Q8_0]),
        ("q8_0", &[Q8_0, Q8_0, GgmlType::F32]),
    ];
    let mut found = String::new();
    for (file_name, kinds) in files {
        let headers: Vec<_> = NAMES
            .lines()
            .enumerate()
            .map(|(i, name)| {
                let (shape, kind) = (shapes[(i + i / 6) % shapes.len()], kinds[i % kinds.len()]);
                let suffix = if i % 23 == 22 { "bias" } else { "weight" };
                tensor(&format!("{name}.{suffix}"), shape, kind)
            })
            .collect();
        let (_folder, path) = file(&[]);
        write(&path, &[], &headers);
        let model = open(&path, &Options::default());
        let plans: Vec<_> = recipes().into_iter().map(|(_, recipe)| plan(&model, recipe)).collect();
        for (i, h) in headers.iter().enumerate() {
            let types: Vec<String> = plans.iter().map(|plan| plan.tensors[i].header.kind.name()).collect();
            let columns = h.shape[0];
            writeln!(found, "{file_name} {} {columns}: {}", h.name, types.join(" ")).unwrap();
        }
    }
    assert_is_golden("plans-of-names.txt", &found);
}
