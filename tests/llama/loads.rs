//! llama.cpp loads every file that the converter makes of a checkpoint and evaluates it: every architecture with every
//! tensor that it may have or lack, biases where transformers has none, heads of all kinds, and every scaling of rotary
//! embeddings. What would not load is refused.

use super::fixtures::*;
use super::place::{Place, THREADS};
use super::support::reference_case::Case;
use super::support::tiny_llama::Stored;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use tenpak_gguf::checkpoint::{Dtype, Model, Options};
use tenpak_gguf::job;
use tenpak_gguf::plan::{Plan, Recipe};

/// Flags that say of a model that it has biases, and the matrix whose bias shows it.
const FLAGS: [(&str, &str); 3] =
    [("attention_bias", "q_proj"), ("use_qkv_bias", "q_proj"), ("mlp_bias", "up_proj")];

/// The files that were made, and how many checkpoints were refused.
struct Files<'a> {
    place: &'a Place,
    made: Vec<PathBuf>,
    refused: usize,
}

impl Files<'_> {
    /// Converts a checkpoint, if it is not refused.
    fn make(&mut self, case: &Case, tensors: &BTreeMap<String, Stored>, what: &str) -> bool {
        let folder = case.write_with(tensors);
        let options = Options { no_tokenizer: true, ..Options::default() };
        let Ok(model) = Model::open(&folder.path, &options) else {
            self.refused += 1;
            return false;
        };
        let (number, what) = (self.made.len(), what.replace(['/', ' '], "-"));
        let path = self.place.path(&format!("{number}-{}-{what}.gguf", case.name));
        let plan = Plan::new(&model, &Recipe::plain(Dtype::F16)).unwrap_or_else(|e| panic!("{e}"));
        job::write(&model, &plan, None, &path, &|_| {}).unwrap_or_else(|e| panic!("{e}"));
        self.made.push(path);
        true
    }

    /// The same that has to be a file.
    #[track_caller]
    fn must(&mut self, case: &Case, tensors: &BTreeMap<String, Stored>, what: &str) {
        assert!(self.make(case, tensors, what), "{} {what} is refused", case.name);
    }
}

/// A name of a tensor for all blocks and experts.
fn family(name: &str) -> String {
    let parts = name.split('.').map(|part| if part.parse::<u32>().is_ok() { "N" } else { part });
    parts.collect::<Vec<_>>().join(".")
}

/// Biases of one kind of tensor, each with these values.
fn biases(tensors: &BTreeMap<String, Stored>, of: &str, value: f32) -> BTreeMap<String, Stored> {
    let weights = tensors.iter().filter(|(name, _)| family(name) == of);
    let bias = |(name, t): (&String, &Stored)| {
        // GPT-2 has a row for each input.
        let is_transposed = name.contains(".c_") && name.starts_with("transformer.");
        let rows = if is_transposed { t.shape[1] } else { t.shape[0] };
        (name.replace(".weight", ".bias"), Stored::new(t.dtype, &[rows], &vec![value; rows]))
    };
    weights.map(bias).collect()
}

fn with_biases(files: &mut Files, case: &Case) {
    let tensors = case.tensors();
    let mut families: Vec<_> =
        tensors.keys().filter(|name| name.ends_with(".weight")).map(|n| family(n)).collect();
    families.sort();
    families.dedup();
    for of in families {
        let zeros = biases(&tensors, &of, 0.0);
        if zeros.keys().all(|name| tensors.contains_key(name)) {
            let mut fewer = tensors.clone();
            fewer.retain(|name, _| !zeros.contains_key(name));
            files.make(case, &fewer, &format!("without-bias-of-{of}"));
            continue;
        }
        let with = |more: BTreeMap<String, Stored>| tensors.clone().into_iter().chain(more).collect();
        files.must(case, &with(zeros), &format!("zeros-{of}"));
        let mut flagged = Case::read(&case.name);
        for (flag, _) in FLAGS.iter().filter(|(_, matrix)| of.contains(matrix)) {
            flagged.json["config"][flag] = json!(true);
        }
        files.make(&flagged, &with(biases(&tensors, &of, 0.5)), &format!("bias-{of}"));
    }
}

fn without_tensors(files: &mut Files, case: &Case) {
    let tensors = case.tensors();
    let mut families: Vec<_> = tensors.keys().map(|name| family(name)).collect();
    families.dedup();
    for gone in families {
        let mut fewer = tensors.clone();
        fewer.retain(|name, _| family(name) != gone);
        let mut case = Case::read(&case.name);
        case.json["config"]["tie_word_embeddings"] = json!(true);
        // StableLM has no norm there then.
        case.json["config"]["use_parallel_residual"] = json!(gone.contains("post_attention"));
        files.make(&case, &fewer, &format!("without-{gone}"));
    }
}

fn with_heads(files: &mut Files, case: &Case) {
    let tensors = case.tensors();
    let is_embeddings = |name: &&String| {
        ["embed_tokens", "wte", "embed_in", "word_embeddings"].iter().any(|e| name.contains(e))
    };
    let embeddings = &tensors[tensors.keys().find(is_embeddings).expect("embeddings")];
    let name = if case.name == "gpt_neox" { "embed_out.weight" } else { "lm_head.weight" };
    let other = Stored::new(embeddings.dtype, &embeddings.shape, &vec![0.25; embeddings.values().len()]);
    for (what, head) in [("same", embeddings), ("own", &other)] {
        for is_tied in [false, true] {
            let mut case = Case::read(&case.name);
            case.json["config"]["tie_word_embeddings"] = json!(is_tied);
            let mut with_head = tensors.clone();
            with_head.insert(name.into(), head.clone());
            files.make(&case, &with_head, &format!("{what}-head-tied-{is_tied}"));
        }
    }
}

fn with_scaling(files: &mut Files, case: &Case) {
    let mut config = case.json["config"].clone();
    if config.get("text_config").is_some() {
        return;
    }
    for name in ["rope_scaling", "rope_parameters"] {
        config.as_object_mut().expect("an object").remove(name);
    }
    let count = |name: &str| config[name].as_u64();
    let heads = count("num_attention_heads").or(count("n_head")).expect("heads");
    let width = count("hidden_size").or(count("n_embd")).expect("a width");
    let pairs = count("head_dim").unwrap_or(width / heads) as usize / 2;
    for scaling in [
        json!({"rope_type": "linear", "factor": 2.0}),
        json!({"rope_type": "yarn", "factor": 2.0, "attention_factor": 1.5}),
        json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}),
        json!({"rope_type": "longrope", "short_factor": vec![1.0; pairs], "long_factor": vec![2.0; pairs],
            "original_max_position_embeddings": 32}),
    ] {
        let mut case = Case::read(&case.name);
        let kind = scaling["rope_type"].as_str().expect("a kind").to_owned();
        case.json["config"] = config.clone();
        case.json["config"]["rope_scaling"] = scaling;
        files.make(&case, &case.tensors(), &kind);
    }
}

/// Norms of every head, layers with windows in another order, attention to what follows.
fn with_other_values(files: &mut Files) {
    let mut stablelm = Case::read("stablelm");
    stablelm.json["config"]["qk_layernorm"] = json!(true);
    let mut tensors = stablelm.tensors();
    for (block, norm, head) in
        (0..2).flat_map(|b| ["q", "k"].map(|n| (b, n))).flat_map(|(b, n)| (0..4).map(move |h| (b, n, h)))
    {
        let name = format!("model.layers.{block}.self_attn.{norm}_layernorm.norms.{head}.weight");
        tensors.insert(name, Stored::new(safetensors::Dtype::F32, &[8], &[1.0; 8]));
    }
    files.must(&stablelm, &tensors, "norms-of-heads");
    // As transformers 5 saves it: layers that attend to keys of others have none.
    let gemma3n = Case::read("gemma3n");
    let mut tensors = gemma3n.tensors();
    let is_of_keys = |name: &str| ["k_proj", "k_norm", "v_proj"].iter().any(|part| name.contains(part));
    tensors.retain(|name, _| {
        !(is_of_keys(name) && ["layers.20.", "layers.21."].iter().any(|l| name.contains(l)))
    });
    files.must(&gemma3n, &tensors, "borrowed-keys");
    let values: [(&str, &str, Json); 6] = [
        ("gemma4", "final_logit_softcapping", json!(null)),
        ("gemma2", "layer_types", json!(["full_attention", "sliding_attention"])),
        ("gemma3", "layer_types", json!(["full_attention", "sliding_attention"])),
        ("gemma3", "sliding_window_pattern", json!(1)),
        ("qwen2", "is_causal", json!(false)),
        ("falcon-40b", "rope_theta", json!(500042.0)),
    ];
    for (name, key, value) in values {
        let mut case = Case::read(name);
        case.json["config"][key] = value;
        files.must(&case, &case.tensors(), key);
    }
    for (name, flag, ends) in [
        ("gpt_neox", "attention_bias", ["dense.bias", "query_key_value.bias"]),
        ("starcoder2", "use_bias", ["_proj.bias", "c_fc.bias"]),
    ] {
        let mut case = Case::read(name);
        case.json["config"][flag] = json!(false);
        let mut tensors = case.tensors();
        tensors.retain(|name, _| !ends.iter().any(|end| name.ends_with(end)));
        files.must(&case, &tensors, flag);
    }
}

#[test]
fn every_file_of_every_architecture() {
    let place = Place::new();
    let mut files = Files { place: &place, made: Vec::new(), refused: 0 };
    for case in Case::all() {
        files.must(&case, &case.tensors(), "as-it-is");
        with_biases(&mut files, &case);
        without_tensors(&mut files, &case);
        with_heads(&mut files, &case);
        with_scaling(&mut files, &case);
    }
    with_other_values(&mut files);
    let list = place.path("list");
    let paths: Vec<_> = files.made.iter().map(|path| path.display().to_string()).collect();
    std::fs::write(&list, paths.join("\n")).expect("a list");
    let mut loads = Command::new(compiled("loads", include_str!("../support/loads.cpp")));
    loads.arg(&list).env("OMP_NUM_THREADS", THREADS.to_string());
    let printed = place.run("loads", &mut loads);
    note(format!("{} files, {} checkpoints refused", files.made.len(), files.refused));
    assert_eq!(printed.trim(), format!("{} loaded", files.made.len()));
    files.made.iter().for_each(|path| std::fs::remove_file(path).expect("a file of ours"));
}
