//! Recipes in files: what they make, and what is said about those that cannot be.

use crate::support;
use std::path::{Path, PathBuf};
use support::tiny_llama::{Folder, HIDDEN, Stored, TinyLlama};
use support::{assert_says, family};
use tenpak_gguf::checkpoint::{Model, Options};
use tenpak_gguf::gguf::File;
use tenpak_gguf::names::SharedInput;
use tenpak_gguf::plan::{BUILT_IN, Candidates, OF_TENPAK, Plan, Recipe};

/// Exit code, standard output and standard error of a command.
fn tenpak(args: &[&str]) -> (Option<i32>, String, String) {
    let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_tenpak-gguf"));
    let output = program.args(crate::support::uncalibrated(args)).output().expect("it starts");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}

/// Converts the tiny model; the bytes of the file.
#[track_caller]
fn converted(folder: &Folder, options: &[&str]) -> Vec<u8> {
    let out = folder.beside("out.gguf");
    let (code, _, err) =
        tenpak(&[&["convert", text(&folder.path), "-o", text(&out), "--force"], options].concat());
    assert_eq!(code, Some(0), "{err}");
    std::fs::read(out).unwrap()
}

fn written(folder: &Folder, recipe: &str) -> PathBuf {
    let path = folder.beside("my.toml");
    std::fs::write(&path, recipe).unwrap();
    path
}

#[test]
fn built_in_recipes_are_listed_and_printed() {
    let (_, list, _) = tenpak(&["recipes"]);
    for built_in in BUILT_IN.iter().chain(OF_TENPAK) {
        let about = built_in.recipe(&[]).unwrap().about().to_owned();
        let line = list.lines().find(|line| line.split_whitespace().next() == Some(built_in.name));
        assert_says(line.expect(built_in.name), &[&about]);
        assert_eq!(tenpak(&["recipes", built_in.name]).1, built_in.text);
    }
    let (code, _, err) = tenpak(&["recipes", "best"]);
    assert_eq!(code, Some(1));
    assert_says(err, &["`best`", "default, all, linear, keep, stock, plain"]);
}

/// A recipe that is printed, given back and named makes the same file as the options that stand for it.
#[test]
fn recipes_make_what_options_make() {
    let folder = TinyLlama::of_one_block().write();
    for (name, change, options) in [
        ("default", ("", ""), &[][..]),
        ("all", ("type = \"t3\"", "type = \"t2\""), &["--type", "t2"]),
        ("linear", ("", ""), &["--type", "t3", "--keep-embeddings"]),
        ("keep", ("stored", "stored"), &["--recipe", "keep"]),
        ("plain", ("\"f16\"", "\"bf16\""), &["--outtype", "bf16"]),
    ] {
        let printed = tenpak(&["recipes", name]).1;
        let changed = printed.replacen(change.0, change.1, 1);
        let path = written(&folder, &changed);
        let by_options = converted(&folder, options);
        assert!(converted(&folder, &["--recipe", text(&path)]) == by_options, "{name}");
        if changed == printed {
            assert!(converted(&folder, &["--recipe", name]) == by_options, "{name}");
        }
    }
}

const REST: &str = "[[rule]]\nwhy = 'the rest'\ntypes = ['t3', 'f16']\n";

#[test]
fn the_first_rule_that_matches_decides() {
    let folder = TinyLlama::new().write();
    let recipe = format!(
        "about = 'mine'
        [[rule]]
        why = 'the last block'
        blocks = [-1]
        roles = ['mlp']
        types = ['f32']
        [[rule]]
        names = ['blk.*.ffn_{{up,down}}.weight']
        types = ['t4']
        [[rule]]
        why = 'all of attention but its output'
        roles = ['attention.q', 'attention.k', 'attention.v']
        blocks = ['0-1']
        types = ['t2_64']
        [[rule]]
        roles = ['head']
        types = ['nf4', 'f16']
        [[rule]]
        why = 'for other models'
        roles = ['experts']
        names = ['*_shexp.*']
        blocks = [77]
        types = ['t4']
        optional = true
        {REST}"
    );
    let path = written(&folder, &recipe);
    converted(&folder, &["--recipe", text(&path)]);
    let file = File::open(&folder.beside("out.gguf")).unwrap();
    for (name, kind) in [
        ("token_embd.weight", "t3"),
        ("output.weight", "nf4_64"),
        ("output_norm.weight", "f32"),
        ("blk.0.attn_q.weight", "t2_64"),
        ("blk.1.attn_v.weight", "t2_64"),
        ("blk.1.attn_output.weight", "t3"),
        ("blk.0.ffn_gate.weight", "t3"),
        ("blk.0.ffn_up.weight", "t4"),
        ("blk.0.ffn_down.weight", "t4_64"),
        ("blk.1.ffn_up.weight", "f32"),
    ] {
        let found = file.tensors().iter().find(|t| t.name == name).expect(name);
        assert_eq!(found.kind.name(), kind, "{name}");
    }
    let (_, plan, _) = tenpak(&["convert", text(&folder.path), "--dry-run", "--recipe", text(&path)]);
    let whys = ["rule 1: the last block", "rule 2", "rule 6: the rest", "llama.cpp wants vectors, norms"];
    assert_says(plan, &whys);
}

/// Every mistake in a recipe is named with the file, the rule and what helps.
#[test]
fn recipes_that_cannot_be() {
    let folder = TinyLlama::new().write();
    let rule = |conditions: &str| format!("{REST}[[rule]]\nwhy = 'mine'\n{conditions}\n");
    let before = |conditions: &str| format!("[[rule]]\nwhy = 'mine'\n{conditions}\n{REST}");
    let t3 = "types = ['t3']";
    for (recipe, words) in [
        ("about = 'nothing'".to_owned(), &["line 1", "rule", "docs/recipes.md"][..]),
        (rule("typos = ['t3']"), &["line 6", "`typos`", "expected one of", "`types`"]),
        (format!("ruel = 1\n{REST}"), &["line 1", "`ruel`", "`rule`"]),
        (rule("types = 3"), &["line 6", "expected a sequence"]),
        (rule("types = []"), &["rule 2 (mine)", "`types` is empty"]),
        (rule("types = ['q4_0']"), &["rule 2 (mine)", "`q4_0`", "keep, stored, f32", "t3", "nf4_64"]),
        (rule("types = ['a8']"), &["rule 2 (mine)", "`a8`"]),
        (rule("types = ['$t']"), &["rule 2 (mine)", "`t`", "[parameters]"]),
        (format!("[parameters]\nt = 't3'\n{REST}"), &["`t`", "\"$t\"", "delete"]),
        (format!("file_type = 't3'\n{REST}"), &["`file_type`", "f16, bf16 or f32"]),
        (before(&format!("roles = ['atention']\n{t3}")), &["rule 1 (mine)", "`atention`", "attention.q"]),
        (before(&format!("names = ['[']\n{t3}")), &["rule 1 (mine)", "`*` stands for"]),
        (before(&format!("blocks = ['1']\n{t3}")), &["rule 1 (mine)", "\"1\"", "8-15"]),
        (before(&format!("blocks = ['3-1']\n{t3}")), &["rule 1 (mine)", "\"3-1\""]),
        (before(&format!("blocks = [0.5]\n{t3}")), &["line 3", "such as 0 or -1"]),
        (before(&format!("blocks = [2]\n{t3}")), &["rule 1 (mine)", "2 blocks", "optional = true"]),
        (before(&format!("blocks = ['0-2']\n{t3}")), &["rule 1 (mine)", "0-2", "2 blocks"]),
        (before(&format!("blocks = [-3]\n{t3}")), &["rule 1 (mine)", "-3"]),
        (
            before(&format!("names = ['blk.*.attn_q.*', 'blk.*.ffn_dwn.*']\n{t3}")),
            &["rule 1 (mine)", "\"blk.*.ffn_dwn.*\"", "blk.0.", "optional = true"],
        ),
        // Norms are no matrices: nothing can be chosen for them.
        (before(&format!("roles = ['norm']\n{t3}")), &["rule 1 (mine)", "no matrix", "optional = true"]),
        (before(&format!("quantized = true\n{t3}")), &["rule 1 (mine)", "no matrix", "optional = true"]),
        (rule(t3), &["rule 2 (mine)", "decides nothing", "move it up"]),
        (before("types = ['keep', 'stored']"), &["rule 2 (the rest)", "decides nothing"]),
        (
            before("types = ['g4']"),
            &["rule 1 (mine)", "(g4)", "rows of 64", "multiple of 128", "\"stored\" or \"f16\""],
        ),
        (before("types = ['keep']"), &["rule 1 (mine)", "(keep)", "not in blocks already"]),
        (
            "[[rule]]\nroles = ['attention']\ntypes = ['t3']".into(),
            &["token_embd.weight", "(embeddings)", "last rule without conditions"],
        ),
    ] {
        let path = written(&folder, &recipe);
        let (code, out, err) = tenpak(&["convert", text(&folder.path), "--dry-run", "--recipe", text(&path)]);
        assert_eq!((code, &out[..]), (Some(1), ""), "{recipe}");
        assert!(err.starts_with("error: ") && err.lines().count() == 1, "{err}");
        assert_says(&err, &[&["my.toml"], words].concat());
    }
}

#[test]
fn recipes_that_are_not_there() {
    let folder = TinyLlama::new().write();
    let (code, _, err) = tenpak(&["convert", text(&folder.path), "--dry-run", "--recipe", "no/such.toml"]);
    assert_eq!(code, Some(1));
    assert_says(err, &["no/such.toml", "No such file", "tenpak-gguf recipes"]);
    for other in [&["--type", "t3"][..], &["--outtype", "f16"], &["--keep-quantization"], &["--requantize"]] {
        let args = ["convert", text(&folder.path), "--dry-run", "--recipe", "default"];
        let (code, _, err) = tenpak(&[&args[..], other].concat());
        assert_eq!(code, Some(2));
        assert_says(err, &["--recipe", other[0]]);
    }
}

/// A tensor that is left in floats by llama-quantize has no other candidates.
#[test]
fn what_is_not_quantizable_has_no_blocks() {
    let (_folder, path) = support::tiny_gguf::file(&[]);
    let matrix = |name| support::tiny_gguf::tensor(name, &[256, 2], tenpak_gguf::gguf::GgmlType::F16);
    support::tiny_gguf::write(&path, &[], &[matrix("blk.0.laurel_l.weight"), matrix("blk.0.attn_q.weight")]);
    let model = Model::open(&path, &Options::default()).unwrap();
    let names = |i: usize| match Candidates::of(&model, &model.tensors[i]) {
        Candidates::Any(all) => all.iter().map(|c| (c.target.ggml().name(), c.bytes)).collect::<Vec<_>>(),
        Candidates::One(..) => panic!("a matrix"),
    };
    let floats = [("f32", 2048), ("bf16", 1024), ("f16", 1024)].map(|(name, n)| (name.to_owned(), n));
    assert_eq!(names(0), floats);
    let all = names(1);
    assert!(all.starts_with(&floats));
    for t in tenpak_gguf::types::REGISTRY.iter().filter(|t| t.kernels().is_some()) {
        let bytes = 2 * t.row_bytes(256).unwrap() as u64;
        assert!(all.contains(&(t.name.to_owned(), bytes)), "{}", t.name);
    }
    let e = Plan::new(&model, &Recipe::parse("mine", "[[rule]]\ntypes = ['t3']", &[]).unwrap());
    assert_says(support::error(e), &["mine, rule 1", "blk.0.laurel_l.weight", "floats only", "\"stored\""]);
}

/// No built-in recipe gives different types to tensors that share an input.
#[test]
fn tensors_that_share_an_input_are_planned_alike() {
    let folder = TinyLlama::new().write();
    let model = Model::open(&folder.path, &Options::default()).unwrap();
    for recipe in [Recipe::default(), Recipe::all(family("t2"))] {
        let plan = Plan::new(&model, &recipe).unwrap();
        for t in &plan.tensors {
            let Some(input) = SharedInput::of(&t.header.name) else { continue };
            let same = plan.tensors.iter().filter(|o| SharedInput::of(&o.header.name) == Some(input));
            let kinds: Vec<_> = same.map(|o| o.header.kind).collect();
            assert!(kinds.len() > 1 && kinds.iter().all(|kind| *kind == t.header.kind), "{input:?}");
        }
    }
}

/// Rows that no block of the preferred type divides: the next type of the rule, with a warning.
#[test]
fn the_next_type_is_taken_where_the_first_does_not_fit() {
    let mut tiny = TinyLlama::new();
    tiny.config["intermediate_size"] = 60.into();
    for b in 0..2 {
        let down = Stored::new(safetensors::Dtype::F32, &[HIDDEN, 60], &vec![0.5; HIDDEN * 60]);
        tiny.tensors.insert(format!("model.layers.{b}.mlp.down_proj.weight"), down);
        for name in ["gate", "up"] {
            let matrix = Stored::new(safetensors::Dtype::F32, &[60, HIDDEN], &vec![0.5; 60 * HIDDEN]);
            tiny.tensors.insert(format!("model.layers.{b}.mlp.{name}_proj.weight"), matrix);
        }
    }
    let folder = tiny.write();
    let path = written(&folder, "[[rule]]\ntypes = ['g4', 't3', 'bf16']");
    let (code, plan, err) = tenpak(&["convert", text(&folder.path), "--dry-run", "--recipe", text(&path)]);
    assert_eq!(code, Some(0), "{err}");
    assert_says(&err, &["`blk.0.ffn_down.weight`", "not a multiple of 64", "it stays BF16"]);
    assert_says(plan, &["bf16", "g4_128"]);
}
