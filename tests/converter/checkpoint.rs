//! Hugging Face folders: what is read, what it becomes, and that it comes back.

use crate::support;
use safetensors::Dtype::{BF16, F16, F32};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use support::tiny_llama::{self, BLOCKS, Folder, HEAD_DIM, HEADS, HIDDEN, Stored, TinyLlama, VOCAB};
use support::{family, plan};
use tenpak_gguf::checkpoint::{Dtype, Model, Options};
use tenpak_gguf::export;
use tenpak_gguf::gguf::{File, GgmlType, Value};
use tenpak_gguf::job;
use tenpak_gguf::plan::Recipe;

fn open(folder: &Folder) -> Model {
    Model::open(&folder.path, &Options::default()).unwrap_or_else(|e| panic!("{e}"))
}

fn convert(model: &Model, recipe: Recipe, path: &Path) -> File {
    let plan = plan(model, recipe);
    let bytes = job::write(model, &plan, None, path, &|_| {}).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!((bytes, bytes), (plan.file_bytes, std::fs::metadata(path).unwrap().len()));
    File::open(path).unwrap()
}

fn kind(file: &File, name: &str) -> String {
    file.tensors().iter().find(|t| t.name == name).unwrap_or_else(|| panic!("no {name}")).kind.name()
}

fn values(file: &File, name: &str) -> Vec<f32> {
    let t = file.tensors().iter().find(|t| t.name == name).unwrap();
    let mut out = vec![0.0; t.elements() as usize];
    let data = file.data(t).unwrap();
    match tenpak_gguf::types::by_id(t.kind.0) {
        Some(ours) => (ours.kernels().unwrap().dequantize)(data, &mut out),
        None => {
            let floats = [Dtype::F32, Dtype::F16, Dtype::BF16].into_iter().find(|d| d.ggml() == t.kind);
            floats.unwrap().widen(data, &mut out);
        }
    }
    out
}

#[test]
fn one_file_and_shards_give_the_same_model() {
    let tiny = TinyLlama::new();
    let (single, sharded) = (tiny.write(), tiny.write_sharded());
    let (a, b) = (open(&single), open(&sharded));
    assert_eq!(a.keys, b.keys);
    assert_eq!(a.tensors.len(), tiny.tensors.len());
    for (a, b) in a.tensors.iter().zip(&b.tensors) {
        assert_eq!((&a.name, &a.shape, a.dtype), (&b.name, &b.shape, b.dtype));
    }
    let paths = [single.beside("a.gguf"), sharded.beside("b.gguf")];
    convert(&a, Recipe::plain(Dtype::BF16), &paths[0]);
    convert(&b, Recipe::plain(Dtype::BF16), &paths[1]);
    assert!(std::fs::read(&paths[0]).unwrap() == std::fs::read(&paths[1]).unwrap());
}

#[test]
fn keys_are_those_of_llama_cpp() {
    let folder = TinyLlama::new().write();
    let model = open(&folder);
    let key = |name: &str| model.key(name).unwrap_or_else(|| panic!("no {name}"));
    for (name, value) in [
        ("llama.block_count", BLOCKS),
        ("llama.embedding_length", HIDDEN),
        ("llama.attention.head_count", HEADS),
        ("llama.rope.dimension_count", HEAD_DIM),
        ("llama.vocab_size", VOCAB),
        ("tokenizer.ggml.eos_token_id", 1),
    ] {
        assert_eq!(key(name), &Value::U32(value as u32), "{name}");
    }
    assert_eq!(key("general.architecture").as_str(), Some("llama"));
    assert_eq!(key("general.name").as_str(), Some("Tiny Llama"));
    assert_eq!(key("llama.rope.freq_base"), &Value::F32(10000.0));
    assert_eq!(key("llama.attention.layer_norm_rms_epsilon"), &Value::F32(1e-5));
    assert_eq!(key("tokenizer.ggml.model").as_str(), Some("gpt2"));
    assert_eq!(key("tokenizer.ggml.pre").as_str(), Some("gpt-2"));
    assert_eq!(key("tokenizer.ggml.merges"), &Value::strings(["a b", "Ġ a"]));
    assert_eq!(key("tokenizer.ggml.add_bos_token").as_bool(), Some(true));
    let tokens = key("tokenizer.ggml.tokens").as_array().unwrap();
    assert_eq!(
        (tokens.len(), tokens[0].as_str(), tokens[VOCAB - 1].as_str()),
        (VOCAB, Some("<s>"), Some("[PAD23]"))
    );
    let types = key("tokenizer.ggml.token_type").as_array().unwrap();
    assert_eq!((&types[0], &types[2], &types[VOCAB - 1]), (&Value::I32(3), &Value::I32(1), &Value::I32(5)));
}

#[test]
fn plain_recipes_store_floats_and_norms_as_f32() {
    let folder = TinyLlama::new().write();
    let model = open(&folder);
    for (dtype, number) in [(Dtype::F32, 0), (Dtype::F16, 1), (Dtype::BF16, 32)] {
        let file = convert(&model, Recipe::plain(dtype), &folder.beside("plain.gguf"));
        assert_eq!(file.key("general.file_type"), Some(&Value::U32(number)));
        for t in file.tensors() {
            let expected = if t.name.ends_with("norm.weight") { GgmlType::F32 } else { dtype.ggml() };
            assert_eq!(t.kind, expected, "{}", t.name);
        }
    }
}

#[test]
fn the_default_recipe_gives_t4_to_what_is_sensitive() {
    let folder = TinyLlama::new().write();
    let file = convert(&open(&folder), Recipe::default(), &folder.beside("default.gguf"));
    for (name, expected) in [
        ("token_embd.weight", "t4"),
        ("output.weight", "t4"),
        ("output_norm.weight", "f32"),
        ("blk.0.attn_norm.weight", "f32"),
        ("blk.1.attn_q.weight", "t4"),
        ("blk.1.attn_output.weight", "t4"),
        ("blk.0.ffn_up.weight", "t3"),
        ("blk.0.ffn_down.weight", "t3_64"),
    ] {
        assert_eq!(kind(&file, name), expected, "{name}");
    }
}

/// Squared error over power that a matrix of the tiny model may have; tests/converter/encoder.rs has the exact bars.
const T3_ERROR: f64 = 0.022;

#[test]
fn t3_is_near_the_floats() {
    let folder = TinyLlama::new().write();
    let model = open(&folder);
    let exact = convert(&model, Recipe::plain(Dtype::F32), &folder.beside("exact.gguf"));
    let file = convert(&model, Recipe::all(family("t3")), &folder.beside("t3.gguf"));
    for t in file.tensors().iter().filter(|t| t.shape.len() > 1) {
        let (x, y) = (values(&exact, &t.name), values(&file, &t.name));
        let power: f64 = x.iter().map(|&x| x as f64 * x as f64).sum();
        let error: f64 = x.iter().zip(&y).map(|(&x, &y)| (x as f64 - y as f64).powi(2)).sum();
        assert!(error / power < T3_ERROR, "{}: {}", t.name, error / power);
    }
}

/// Rows that no block length divides stay F16, and are named.
#[test]
fn rows_that_no_block_divides_stay_f16() {
    let mut tiny = TinyLlama::new();
    tiny.config["intermediate_size"] = json!(60);
    for b in 0..BLOCKS {
        let down = Stored::new(F32, &[HIDDEN, 60], &vec![0.5; HIDDEN * 60]);
        tiny.tensors.insert(format!("model.layers.{b}.mlp.down_proj.weight"), down);
        for name in ["gate", "up"] {
            let matrix = Stored::new(F32, &[60, HIDDEN], &vec![0.5; HIDDEN * 60]);
            tiny.tensors.insert(format!("model.layers.{b}.mlp.{name}_proj.weight"), matrix);
        }
    }
    let folder = tiny.write();
    let plan = plan(&open(&folder), Recipe::all(family("t2")));
    let left: Vec<_> = plan.left_plain().map(|t| &t.header.name[..]).collect();
    assert_eq!(left, ["blk.0.ffn_down.weight", "blk.1.ffn_down.weight"]);
    let file = convert(&open(&folder), Recipe::all(family("t2")), &folder.beside("t2.gguf"));
    assert_eq!(kind(&file, "blk.0.ffn_down.weight"), "f16");
}

/// To F32 GGUF and back to a folder.
fn there_and_back(folder: &Folder) -> PathBuf {
    let file = convert(&open(folder), Recipe::plain(Dtype::F32), &folder.beside("f32.gguf"));
    let back = folder.beside("back");
    export::to_folder(&file, Dtype::F32, &back, true, &|_| {}).unwrap_or_else(|e| panic!("{e}"));
    back
}

#[track_caller]
fn assert_same_tensors(before: &BTreeMap<String, Stored>, after: &BTreeMap<String, Stored>) {
    assert!(before.keys().eq(after.keys()), "{:?}", after.keys());
    for (name, t) in before {
        assert_eq!((&t.shape, F32), (&after[name].shape, after[name].dtype), "{name}");
        assert!(t.values() == after[name].values(), "{name} is not what it was");
    }
}

#[test]
fn a_folder_comes_back_bit_for_bit() {
    let tiny = TinyLlama::new();
    let folder = tiny.write();
    let back = there_and_back(&folder);
    assert_same_tensors(&tiny.tensors, &tiny_llama::read_tensors(&back));
    let config = tiny_llama::read_json(&back.join("config.json"));
    for (name, value) in tiny.config.as_object().unwrap() {
        assert_eq!(&config[name], value, "{name}");
    }
    let tokenizer = tiny_llama::read_json(&back.join("tokenizer.json"));
    assert_eq!(tokenizer["model"]["vocab"], tiny.tokenizer["model"]["vocab"]);
    // A folder made of the folder that came back is the same file.
    let again = Model::open(&back, &Options::default()).unwrap_or_else(|e| panic!("{e}"));
    let model = open(&folder);
    // What is said for people follows the name of the folder.
    let for_programs = |model: &Model| {
        let mut keys: BTreeMap<_, _> = model.keys.iter().cloned().collect();
        keys.retain(|k, _| !k.starts_with("general."));
        keys
    };
    assert_eq!(for_programs(&again), for_programs(&model));
}

/// The order that llama.cpp wants, spelled out for one head.
#[test]
fn rows_of_q_are_interleaved() {
    let tiny = TinyLlama::new();
    let folder = tiny.write();
    let file = convert(&open(&folder), Recipe::plain(Dtype::F32), &folder.beside("f32.gguf"));
    let before = tiny.tensors["model.layers.0.self_attn.q_proj.weight"].values();
    let after = values(&file, "blk.0.attn_q.weight");
    let row = |v: &[f32], i: usize| v[i * HIDDEN..][..HIDDEN].to_vec();
    for head in 0..HEADS {
        for pair in 0..HEAD_DIM / 2 {
            for half in 0..2 {
                let (to, from) = (2 * pair + half, half * HEAD_DIM / 2 + pair);
                assert_eq!(row(&after, head * HEAD_DIM + to), row(&before, head * HEAD_DIM + from));
            }
        }
    }
}

/// `attention_bias`: the elements of q and k biases move as the rows of their matrices do.
#[test]
fn attention_biases_are_interleaved_and_come_back() {
    let mut tiny = TinyLlama::new();
    tiny.config["attention_bias"] = json!(true);
    for b in 0..BLOCKS {
        for (name, rows) in [("q", HEADS), ("k", tiny_llama::KV_HEADS), ("v", tiny_llama::KV_HEADS)] {
            let values: Vec<f32> = (0..rows * HEAD_DIM).map(|i| i as f32).collect();
            let bias = Stored::new(BF16, &[values.len()], &values);
            tiny.tensors.insert(format!("model.layers.{b}.self_attn.{name}_proj.bias"), bias);
        }
    }
    let folder = tiny.write();
    let file = convert(&open(&folder), Recipe::plain(Dtype::F32), &folder.beside("bias.gguf"));
    assert_eq!(values(&file, "blk.0.attn_q.bias")[..4], [0.0, 32.0, 1.0, 33.0]);
    assert_eq!(values(&file, "blk.0.attn_v.bias")[..4], [0.0, 1.0, 2.0, 3.0]);
    assert_same_tensors(&tiny.tensors, &tiny_llama::read_tensors(&there_and_back(&folder)));
}

#[test]
fn tied_embeddings_are_stored_once() {
    let mut tiny = TinyLlama::new();
    tiny.config["tie_word_embeddings"] = json!(true);
    // Some checkpoints store the head all the same.
    tiny.tensors.insert("lm_head.weight".into(), tiny.tensors["model.embed_tokens.weight"].clone());
    for stored_all_the_same in [true, false] {
        if !stored_all_the_same {
            tiny.tensors.remove("lm_head.weight");
        }
        let folder = tiny.write();
        assert!(!open(&folder).tensors.iter().any(|t| t.name == "output.weight"));
        let back = there_and_back(&folder);
        assert_eq!(tiny_llama::read_json(&back.join("config.json"))["tie_word_embeddings"], true);
        assert!(!tiny_llama::read_tensors(&back).contains_key("lm_head.weight"));
    }
}

/// Rounding of a formula in f32 with powers; another order of operations may differ by as much.
const FACTOR_TOLERANCE: f32 = 1e-4;

/// Llama 3.1's parameters; factors by transformers' `_compute_llama3_parameters`.
#[test]
fn llama3_rope_factors() {
    let mut tiny = TinyLlama::new();
    tiny.config["rope_theta"] = json!(500000.0);
    tiny.config["rope_scaling"] = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 8192});
    let folder = tiny.write();
    let file = convert(&open(&folder), Recipe::default(), &folder.beside("rope.gguf"));
    assert_eq!(kind(&file, "rope_freqs.weight"), "f32");
    let factors = values(&file, "rope_freqs.weight");
    assert_eq!(factors.len(), HEAD_DIM / 2);
    for (i, factor) in factors.iter().enumerate() {
        let wavelength = std::f64::consts::TAU * 500000f64.powf(2.0 * i as f64 / HEAD_DIM as f64);
        let smooth = ((8192.0 / wavelength - 1.0) / 3.0).clamp(0.0, 1.0);
        let expected = 1.0 / ((1.0 - smooth) / 8.0 + smooth);
        assert!((factor - expected as f32).abs() < FACTOR_TOLERANCE, "{i}: {factor} {expected}");
    }
    assert_eq!((factors[0], factors[HEAD_DIM / 2 - 1]), (1.0, 8.0));
}

#[test]
fn linear_rope_scaling_is_a_key() {
    let mut tiny = TinyLlama::new();
    tiny.config["rope_scaling"] = json!({"type": "linear", "factor": 4.0});
    let folder = tiny.write();
    let model = open(&folder);
    assert_eq!(model.key("llama.rope.scaling.type").and_then(Value::as_str), Some("linear"));
    assert_eq!(model.key("llama.rope.scaling.factor"), Some(&Value::F32(4.0)));
}

#[test]
fn threads_do_not_change_the_file() {
    let folder = TinyLlama::of_one_block().write();
    let model = open(&folder);
    let bytes = |threads: usize| {
        let path = folder.beside(&format!("{threads}.gguf"));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| convert(&model, Recipe::default(), &path));
        std::fs::read(path).unwrap()
    };
    let one = bytes(1);
    assert!(one == bytes(7) && one == bytes(2));
}

/// F16 GGUF as the source gives what the folder gives.
#[test]
fn a_gguf_file_is_a_model_too() {
    let mut tiny = TinyLlama::new();
    for t in tiny.tensors.values_mut().filter(|t| t.shape.len() > 1) {
        *t = Stored::new(F16, &t.shape, &t.values());
    }
    let folder = tiny.write();
    let plain = folder.beside("f16.gguf");
    convert(&open(&folder), Recipe::plain(Dtype::F16), &plain);
    let from_gguf = Model::open(&plain, &Options::default()).unwrap_or_else(|e| panic!("{e}"));
    let paths = [folder.beside("a.gguf"), folder.beside("b.gguf")];
    convert(&open(&folder), Recipe::default(), &paths[0]);
    convert(&from_gguf, Recipe::default(), &paths[1]);
    assert!(std::fs::read(&paths[0]).unwrap() == std::fs::read(&paths[1]).unwrap());
}

/// vocab.json and merges.txt say what tokenizer.json does.
#[test]
fn old_tokenizer_files_are_the_same() {
    let tiny = TinyLlama::new();
    let new = open(&tiny.write());
    let mut tiny = TinyLlama::new();
    let special = |content: &str| serde_json::json!({"content": content, "special": true});
    tiny.tokenizer_config["tokenizer_class"] = "GPT2Tokenizer".into();
    tiny.tokenizer_config["added_tokens_decoder"] =
        serde_json::json!({"0": special("<s>"), "1": special("</s>")});
    let folder = tiny.write();
    folder.remove("tokenizer.json");
    folder.write_json("vocab.json", &tiny.tokenizer["model"]["vocab"]);
    std::fs::write(folder.path.join("merges.txt"), "#version: 0.2\na b\n\u{120} a\n").unwrap();
    assert_eq!(open(&folder).keys, new.keys);
}

/// Names that say which shard of how many it is need no index, as for llama.cpp's converter.
#[test]
fn shards_without_an_index_are_the_same_model() {
    let folder = TinyLlama::new().write_sharded();
    let digest = |name: &str| {
        let path = folder.beside(name);
        convert(&open(&folder), Recipe::plain(Dtype::BF16), &path);
        std::fs::read(path).unwrap()
    };
    let with_index = digest("a.gguf");
    folder.remove("model.safetensors.index.json");
    assert!(digest("b.gguf") == with_index);
}

/// F64 is read as torch's `.float()` reads it, and written as F32 where floats stay as they are.
#[test]
fn doubles_are_rounded() {
    let mut tiny = TinyLlama::new();
    let doubles = |n: usize| (0..n).map(|i| 0.01 + 1e-12 * i as f64).collect::<Vec<f64>>();
    for (name, shape) in
        [("model.layers.0.self_attn.q_proj.weight", &[HIDDEN, HIDDEN][..]), ("model.norm.weight", &[HIDDEN])]
    {
        let values = doubles(shape.iter().product());
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let stored = Stored { dtype: safetensors::Dtype::F64, shape: shape.to_vec(), bytes };
        tiny.tensors.insert(name.into(), stored);
    }
    let folder = tiny.write();
    let model = open(&folder);
    let expected: Vec<f32> = doubles(HIDDEN).iter().map(|v| *v as f32).collect();
    for recipe in [Recipe::plain(Dtype::F32), Recipe::keep()] {
        let file = convert(&model, recipe, &folder.beside("out.gguf"));
        assert_eq!(values(&file, "output_norm.weight"), expected);
        assert_eq!(kind(&file, "blk.0.attn_q.weight"), "f32");
        // The first row of a head stays where it is.
        assert_eq!(values(&file, "blk.0.attn_q.weight")[..HIDDEN], expected);
    }
    let file = convert(&model, Recipe::all(family("t3")), &folder.beside("out.gguf"));
    assert_eq!(kind(&file, "blk.0.attn_q.weight"), "t3");
}

/// transformers adds what tokenizer_config.json lists beyond tokenizer.json.
#[test]
fn tokens_of_tokenizer_config_are_added() {
    let mut tiny = TinyLlama::new();
    tiny.tokenizer_config["added_tokens_decoder"] = json!({
        "23": {"content": "<|end|>", "special": true, "normalized": false},
        "1": {"content": "</s>", "special": true, "normalized": false},
        "20": {"content": "ab", "special": false, "normalized": true},
    });
    let model = open(&tiny.write());
    let array = |name: &str| model.key(name).unwrap().as_array().unwrap().to_vec();
    let (tokens, types) = (array("tokenizer.ggml.tokens"), array("tokenizer.ggml.token_type"));
    assert_eq!((tokens[23].as_str(), &types[23]), (Some("<|end|>"), &Value::I32(3)));
    assert_eq!((tokens[20].as_str(), &types[20]), (Some("ab"), &Value::I32(4)));
    assert_eq!((tokens[1].as_str(), &types[1]), (Some("</s>"), &Value::I32(3)));
    // One more than the model has embeddings for.
    tiny.tokenizer_config["added_tokens_decoder"]["24"] = json!({"content": "<|more|>", "special": true});
    let model = open(&tiny.write());
    support::assert_says(model.notes.join("; "), &["left out", "`<|more|>` (24)", "vocab_size is 24"]);
    assert_eq!(model.key("tokenizer.ggml.tokens").and_then(Value::as_array).map(<[Value]>::len), Some(VOCAB));
    // A prompt would need it.
    tiny.tokenizer_config["chat_template"] = json!("{{ messages[0].content }}<|more|>");
    let opened = Model::open(&tiny.write().path, &Options::default());
    support::assert_says(
        support::error(opened),
        &["\"<|more|>\"", "24", "chat template", "resize_token_embeddings"],
    );
}
