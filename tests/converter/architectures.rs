//! Every architecture against llama.cpp's own converter: the same keys, and the same tensors byte for byte, from the
//! same folder, in F16, BF16 and F32. The references are tests/architectures/*.digest; see docs/reference-f16.md.
//! And every architecture back into a folder: tensors and names of the checkpoint, and the same file when it is converted
//! again.

use crate::support;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use support::reference_case::Case;
use support::tiny_llama::{self, Folder, Stored};
use tenpak_gguf::arch::Architecture;
use tenpak_gguf::checkpoint::{Model, Options};

/// Lines of `inspect --digest`, sha256 cut as in the references.
fn digest(path: &Path) -> Vec<String> {
    let mut inspect = Command::new(env!("CARGO_BIN_EXE_tenpak-gguf"));
    let out = inspect.arg("inspect").arg("--digest").arg(path).output().expect("it runs");
    let text = String::from_utf8(out.stdout).expect("UTF-8");
    let cut = |line: &str| {
        let parts: Vec<&str> = line.splitn(4, ' ').collect();
        let [kind, name, sha, rest] = parts[..] else { panic!("{line}") };
        format!("{kind} {name} {} {rest}", &sha[..16])
    };
    text.lines().map(cut).collect()
}

/// llama.cpp's converter forgets the type of GPT-NeoX files.
fn is_forgotten(case: &Case, line: &str) -> bool {
    case.name == "gpt_neox" && line.starts_with("key general.file_type ")
}

/// llama.cpp's converter gives all pieces of a tokenizer.json one score, and forgets which tokens it says are special.
fn is_in_order_here(case: &Case, line: &str) -> bool {
    let keys = ["key tokenizer.ggml.scores ", "key tokenizer.ggml.token_type "];
    case.name == "llama-linear" && keys.iter().any(|key| line.starts_with(key))
}

/// Runs `convert` or `export` on a file or folder.
#[track_caller]
fn run(command: &str, from: &Path, to: &Path, outtype: &str, more: &[&str]) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_tenpak-gguf"));
    program.arg(command).arg(from).arg("-o").arg(to).args(["--outtype", outtype]).args(more);
    let done = program.output().expect("it runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// The option that names the pre-tokenizer of a case.
fn pre_option(case: &Case) -> Vec<&str> {
    case.pre().map_or(Vec::new(), |pre| vec!["--tokenizer-pre", pre])
}

#[track_caller]
fn same_as_the_reference(case: &Case, folder: &Folder) {
    for outtype in ["f16", "bf16", "f32"] {
        let path = folder.beside(&format!("{outtype}.gguf"));
        run("convert", &folder.path, &path, outtype, &pre_option(case));
        let (ours, theirs) = (digest(&path), case.reference(outtype));
        let differs = |l: &&String| !is_in_order_here(case, l);
        let missing: Vec<_> = theirs.iter().filter(|l| !ours.contains(l)).filter(differs).collect();
        let extra = ours.iter().filter(|l| !theirs.contains(l) && !is_forgotten(case, l)).filter(differs);
        let extra: Vec<_> = extra.collect();
        assert!(
            missing.is_empty() && extra.is_empty(),
            "{} as {outtype}\nllama.cpp's: {missing:#?}\nours: {extra:#?}",
            case.name
        );
    }
}

/// How far an exported weight may be from the stored one, of its type: one is added to Gemma's norms in that type, f32
/// for BF16, and taken away again. These are half the distances of values next to 1.
const TOLERANCE: f32 = 6e-8;
/// See [`TOLERANCE`].
const F16_TOLERANCE: f32 = 4.9e-4;

/// Names and values of an exported folder are those of the checkpoint, but for what the file does not have: other parts
/// of the model, and experts in one tensor.
#[track_caller]
fn same_tensors(case: &Case, back: &Path) {
    let architecture = Architecture::of(case.json["config"]["architectures"][0].as_str().expect("a name"));
    let architecture = architecture.expect("one that is known");
    let tensors = case.tensors().into_iter();
    let of_language = tensors.map(|(name, t)| (name.replacen("language_model.", "", 1), t));
    let before: BTreeMap<String, Stored> =
        of_language.filter(|(name, _)| !architecture.matches(name).is_empty()).collect();
    let after = tiny_llama::read_tensors(back);
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>(), "{}", case.name);
    for (name, t) in &before {
        let exported = &after[name];
        assert_eq!(t.shape, exported.shape, "{}: {name}", case.name);
        let is_norm_in_f16 = t.dtype == safetensors::Dtype::F16 && name.contains("norm");
        let tolerance = if is_norm_in_f16 { F16_TOLERANCE } else { TOLERANCE };
        for (a, b) in t.values().iter().zip(exported.values()) {
            assert!((a - b).abs() <= tolerance, "{}: {name}: {a} became {b}", case.name);
        }
    }
}

/// What is said for people, which stands in README.md and generation_config.json: export does not write them.
fn is_of_the_card(line: &str) -> bool {
    let keys = ["name", "basename", "finetune", "size_label", "architecture", "type", "file_type", "version"];
    let is_suppressed = line.starts_with("key tokenizer.ggml.suppress_tokens ");
    is_suppressed
        || line
            .strip_prefix("key general.")
            .is_some_and(|line| !keys.iter().any(|key| line.starts_with(*key)))
}

/// Folder to file to folder to file: both files are the same.
#[track_caller]
fn comes_back(case: &Case, no_tokenizer: bool) {
    let options = if no_tokenizer { &["-f", "--no-tokenizer"][..] } else { &["-f"] };
    let pre = if no_tokenizer { Vec::new() } else { pre_option(case) };
    let first_options = [options, &pre].concat();
    let folder = case.write();
    let back = folder.parent.path().join("back").join(&case.name);
    for outtype in ["f16", "f32"] {
        let (first, second) = (folder.beside("first.gguf"), folder.beside("second.gguf"));
        run("convert", &folder.path, &first, outtype, &first_options);
        run("export", &first, &back, "f32", &["-f"]);
        run("convert", &back, &second, outtype, options);
        let without_card = |path| {
            let mut lines = digest(path);
            lines.retain(|line| !is_of_the_card(line));
            lines
        };
        let (before, after) = (without_card(&first), without_card(&second));
        let missing: Vec<_> = before.iter().filter(|l| !after.contains(l)).collect();
        let extra: Vec<_> = after.iter().filter(|l| !before.contains(l)).collect();
        assert!(
            missing.is_empty() && extra.is_empty(),
            "{} as {outtype}\nbefore: {missing:#?}\nafter: {extra:#?}",
            case.name
        );
    }
    same_tensors(case, &back);
}

/// A model whose tensors export cannot put together again stays a file, and an error says so.
#[track_caller]
fn stays_a_file(case: &Case) {
    let folder = case.write();
    let file = folder.beside("first.gguf");
    run("convert", &folder.path, &file, "f16", &["--no-tokenizer"]);
    let back = folder.parent.path().join("back");
    let mut program = Command::new(env!("CARGO_BIN_EXE_tenpak-gguf"));
    let done = program.arg("export").arg(&file).arg("-o").arg(&back).output().expect("it runs");
    assert!(!done.status.success(), "{}", case.name);
    support::assert_says(String::from_utf8_lossy(&done.stderr), &["tensor `blk.", "plain GGUF"]);
}

macro_rules! cases {
    (both ways { $($test:ident: $name:literal,)* } one way { $($other:ident: $one:literal,)* }) => {
        $(#[test]
        fn $test() {
            let case = Case::read($name);
            same_as_the_reference(&case, &case.write());
        })*

        $(#[test]
        fn $other() {
            let case = Case::read($one);
            same_as_the_reference(&case, &case.write());
        })*

        mod exported {
            use super::*;

            $(#[test]
            fn $test() {
                let case = Case::read($name);
                comes_back(&case, false);
                comes_back(&case, true);
            })*

            $(#[test]
            fn $other() {
                stays_a_file(&Case::read($one));
            })*
        }

        #[test]
        fn no_case_is_forgotten() {
            let mut tested = vec![$($name,)* $($one),*];
            tested.sort();
            assert_eq!(Case::all().iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), tested);
        }
    };
}

cases! {
    both ways {
        llama_with_sentencepiece: "tiny-llama-1.1M-chat-v1.0",
        llama_3_with_a_model_card: "Tiny-Llama-3.2-Instruct",
        llama_with_byte_fallback_and_biases: "llama-linear",
        mistral: "mistral",
        mixtral: "mixtral-8x7B-Instruct-v0.1",
        qwen2: "qwen2",
        qwen2_moe: "qwen2_moe",
        qwen3: "qwen3",
        qwen3_moe: "qwen3_moe",
        gemma: "gemma",
        gemma2: "gemma2",
        gemma3: "gemma3",
        gemma3_of_a_model_with_vision: "gemma3-4b-it",
        gemma3n: "gemma3n",
        gemma4: "gemma4",
        gemma4_with_experts: "gemma4-moe",
        gemma4_with_embeddings_for_each_layer: "gemma4-e2b",
        gemma4_without_towers: "gemma4-unified",
        phi3: "phi3",
        phi3_with_long_context: "phi3-128k",
        gpt2: "gpt2",
        gpt_neox: "gpt_neox",
        starcoder2: "starcoder2",
        olmo2: "olmo2",
        granite: "granite",
        stablelm: "stablelm",
        falcon_7b: "falcon-7b",
        falcon_40b: "falcon-40b",
        smollm3: "smollm3",
        olmo3: "olmo3",
        ministral3: "ministral3",
        ministral3_of_a_model_with_vision: "ministral3-vision",
        phi4_mini: "phi4-mini",
        glm4_moe: "glm4_moe",
        lfm2: "lfm2",
        lfm2_moe: "lfm2_moe",
    }
    one way {
        gpt_oss: "gpt_oss",
        deepseek_v3: "deepseek_v3",
        qwen3_next: "qwen3_next",
        qwen3_5: "qwen3_5",
        qwen3_5_of_a_model_with_vision: "qwen3_5-vision",
        qwen3_5_moe: "qwen3_5_moe",
        llama4: "llama4",
        granite_hybrid: "granite_hybrid",
        granite_hybrid_without_experts: "granite_hybrid-dense",
    }
}

/// Experts one after the other, as transformers 5 keeps them, those of several names in turn.
fn stacked(tensors: &mut BTreeMap<String, Stored>, experts: &str, names: &[&str]) -> Stored {
    let mut parts = Vec::new();
    for x in 0.. {
        let taken: Vec<_> =
            names.iter().filter_map(|n| tensors.remove(&format!("{experts}.{x}.{n}"))).collect();
        if taken.is_empty() {
            break;
        }
        parts.push(taken);
    }
    let first = &parts[0][0];
    let shape = vec![parts.len(), names.len() * first.shape[0], first.shape[1]];
    Stored {
        dtype: first.dtype,
        shape,
        bytes: parts.iter().flatten().flat_map(|t| t.bytes.clone()).collect(),
    }
}

#[test]
fn experts_in_one_tensor_are_the_same() {
    for (case, experts, [gate, up, down]) in [
        ("qwen2_moe", "mlp.experts", ["gate_proj.weight", "up_proj.weight", "down_proj.weight"]),
        ("mixtral-8x7B-Instruct-v0.1", "block_sparse_moe.experts", ["w1.weight", "w3.weight", "w2.weight"]),
    ] {
        let case = Case::read(case);
        let mut tensors = case.tensors();
        for block in 0..2 {
            let experts = format!("model.layers.{block}.{experts}");
            let fused = format!("model.layers.{block}.mlp.experts");
            let gate_up = stacked(&mut tensors, &experts, &[gate, up]);
            let down = stacked(&mut tensors, &experts, &[down]);
            tensors.insert(format!("{fused}.gate_up_proj"), gate_up);
            tensors.insert(format!("{fused}.down_proj"), down);
        }
        same_as_the_reference(&case, &case.write_with(&tensors));
    }
}

/// StableLM 2 12B has a norm for every head, which llama.cpp's converter loses.
#[test]
fn norms_of_heads_are_stacked() {
    let mut case = Case::read("stablelm");
    case.json["config"]["qk_layernorm"] = true.into();
    let mut tensors = case.tensors();
    for block in 0..2 {
        for (norm, heads) in [("q_layernorm", 4), ("k_layernorm", 4)] {
            for head in 0..heads {
                let name = format!("model.layers.{block}.self_attn.{norm}.norms.{head}.weight");
                tensors.insert(name, Stored::new(safetensors::Dtype::F32, &[8], &[head as f32; 8]));
            }
        }
    }
    let folder = case.write_with(&tensors);
    let options = Options { tokenizer_pre: case.pre().map(str::to_owned), ..Options::default() };
    let model = Model::open(&folder.path, &options).unwrap_or_else(|e| panic!("{e}"));
    let norm = model.tensors.iter().find(|t| t.name == "blk.1.attn_k_norm.weight").expect("a norm");
    let mut values = vec![0.0; 32];
    model.read_rows(norm, 0, &mut values).expect("rows");
    assert_eq!((&norm.shape[..], values[7], values[8], values[31]), (&[8, 4][..], 0.0, 1.0, 3.0));
}

#[test]
fn what_sees_is_left_out_with_a_note() {
    let folder = Case::read("gemma3-4b-it").write();
    let mut program = Command::new(env!("CARGO_BIN_EXE_tenpak-gguf"));
    let done = program.arg("convert").arg(&folder.path).arg("--dry-run").output().expect("it runs");
    support::assert_says(
        String::from_utf8_lossy(&done.stderr),
        &["note: ", "language model alone", "--mmproj", "gemma3-4b-it"],
    );
    let plain = Case::read("gemma3").write();
    let model = Model::open(&plain.path, &Options::default()).unwrap_or_else(|e| panic!("{e}"));
    assert!(!model.notes.iter().any(|note| note.contains("--mmproj")), "{:?}", model.notes);
}
