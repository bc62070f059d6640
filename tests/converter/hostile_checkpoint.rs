//! Checkpoints that cannot be converted: each error names the file or tensor and says what helps.

use crate::support;
use safetensors::Dtype::F32;
use serde_json::{Value as Json, json};
use std::path::Path;
use support::reference_case::Case;
use support::tiny_gguf::{file, tensor, write};
use support::tiny_llama::{self, Folder, HIDDEN, INNER, Stored, TinyLlama, VOCAB};
use support::{assert_says, error, family, files_in, plan};
use tenpak_gguf::checkpoint::{Dtype, Model, Options};
use tenpak_gguf::gguf::{GgmlType, Value};
use tenpak_gguf::job;
use tenpak_gguf::plan::Recipe;

#[track_caller]
fn refused(folder: &Folder, words: &[&str]) {
    assert_says(error(Model::open(&folder.path, &Options::default())), words);
}

/// A model with a changed config.json is refused.
#[track_caller]
fn config_refused(change: impl Fn(&mut Json), words: &[&str]) {
    let mut tiny = TinyLlama::new();
    change(&mut tiny.config);
    refused(&tiny.write(), &[words, &["config.json"]].concat());
}

#[track_caller]
fn tokenizer_refused(change: impl Fn(&mut Json), words: &[&str]) {
    let mut tiny = TinyLlama::new();
    change(&mut tiny.tokenizer);
    refused(&tiny.write(), &[words, &["tokenizer.json"]].concat());
}

#[test]
fn nothing_there() {
    let e = error(Model::open(Path::new("/no/such/model"), &Options::default()));
    assert_says(e, &["/no/such/model"]);
}

#[test]
fn missing_config() {
    let folder = TinyLlama::new().write();
    folder.remove("config.json");
    refused(&folder, &["config.json"]);
}

#[test]
fn config_that_is_no_json() {
    let folder = TinyLlama::new().write();
    std::fs::write(folder.path.join("config.json"), "{").unwrap();
    refused(&folder, &["config.json", "not a JSON object"]);
}

#[test]
fn config_without_architectures() {
    config_refused(|c| drop(c.as_object_mut().unwrap().remove("architectures")), &["architecture"]);
}

#[test]
fn config_without_a_number() {
    for name in ["hidden_size", "num_hidden_layers", "vocab_size", "num_attention_heads"] {
        config_refused(|c| drop(c.as_object_mut().unwrap().remove(name)), &[name]);
    }
}

#[test]
fn config_with_an_absurd_number() {
    for name in ["hidden_size", "num_hidden_layers", "vocab_size", "num_attention_heads", "head_dim"] {
        config_refused(|c| c[name] = json!(1u64 << 40), &[name, "more than any model has"]);
        config_refused(|c| c[name] = json!(-1), &[name, "no size"]);
    }
    // So many layers fit in a number, but nowhere else.
    let mut tiny = TinyLlama::new();
    tiny.config["num_hidden_layers"] = json!(1 << 24);
    refused(&tiny.write(), &["16777216 layers", "model.layers.2."]);
}

#[test]
fn no_attention_heads() {
    for name in ["num_attention_heads", "num_key_value_heads"] {
        config_refused(|c| c[name] = json!(0), &["attention"]);
    }
}

#[test]
fn unknown_architecture() {
    let words =
        ["MambaForCausalLM", "not supported yet", "LlamaForCausalLM", "GGUF", "convert_hf_to_gguf.py"];
    config_refused(|c| c["architectures"] = json!(["MambaForCausalLM"]), &words);
}

#[test]
fn quantized_checkpoint() {
    let words = ["quantized by `quip`", "start from the unquantized model"];
    config_refused(|c| c["quantization_config"] = json!({"quant_method": "quip"}), &words);
}

#[test]
fn unknown_rope_scaling() {
    config_refused(
        |c| c["rope_scaling"] = json!({"rope_type": "proportional", "factor": 4.0}),
        &["`proportional`", "llama"],
    );
}

#[test]
fn missing_tokenizer() {
    let folder = TinyLlama::new().write();
    folder.remove("tokenizer.json");
    refused(&folder, &["tokenizer.json", "is not there", "config.json, tokenizer.json and safetensors"]);
}

#[test]
fn damaged_sentencepiece() {
    let folder = TinyLlama::new().write();
    folder.remove("tokenizer.json");
    std::fs::write(folder.path.join("tokenizer.model"), "x").unwrap();
    refused(&folder, &["tokenizer.model", "not a SentencePiece model", "fetch it again"]);
}

#[test]
fn tokenizer_of_another_kind() {
    tokenizer_refused(|t| t["model"]["type"] = json!("Unigram"), &["Unigram", "not supported yet"]);
    tokenizer_refused(|t| t["model"]["byte_fallback"] = json!(true), &["byte-level"]);
}

/// A pre-tokenizer that llama.cpp has no name for.
fn metaspace() -> Json {
    json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true})
}

/// Their class says how text is cut, and this one is not known.
#[test]
fn old_tokenizer_files_of_another_class() {
    let mut tiny = TinyLlama::new();
    tiny.tokenizer_config["tokenizer_class"] = json!("CodeGenTokenizer");
    let folder = tiny.write();
    folder.remove("tokenizer.json");
    folder.write_json("vocab.json", &json!({"a": 0}));
    std::fs::write(folder.path.join("merges.txt"), "").unwrap();
    refused(&folder, &["tokenizer_config.json", "CodeGenTokenizer", "save it"]);
}

#[test]
fn unknown_pre_tokenizer() {
    tokenizer_refused(|t| t["pre_tokenizer"] = metaspace(), &["--tokenizer-pre", "llama-bpe"]);
    let split =
        json!({"type": "Split", "pattern": {"Regex": "\\w+"}, "behavior": "Isolated", "invert": false});
    tokenizer_refused(|t| t["pre_tokenizer"] = split.clone(), &["--tokenizer-pre"]);
}

#[test]
fn a_pre_tokenizer_can_be_named() {
    let mut tiny = TinyLlama::new();
    tiny.tokenizer["pre_tokenizer"] = metaspace();
    let options = Options { tokenizer_pre: Some("olmo".into()), ..Options::default() };
    let folder = tiny.write();
    let model = Model::open(&folder.path, &options).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(model.key("tokenizer.ggml.pre").and_then(Value::as_str), Some("olmo"));
}

#[test]
fn token_beyond_the_vocabulary() {
    tokenizer_refused(|t| t["model"]["vocab"]["far"] = json!(24), &["\"far\"", "24", "vocab_size"]);
}

#[test]
fn missing_safetensors() {
    let folder = TinyLlama::new().write();
    folder.remove("model.safetensors");
    refused(&folder, &["tiny-llama", "model.safetensors", "is there"]);
    std::fs::write(folder.path.join("pytorch_model.bin"), "x").unwrap();
    refused(&folder, &["pytorch_model.bin", "not a zip file", "fetch it again", "safetensors"]);
}

#[test]
fn missing_shard() {
    let folder = TinyLlama::new().write_sharded();
    folder.remove("model-00002-of-00002.safetensors");
    refused(&folder, &["model-00002-of-00002.safetensors", "not there", "fetch it"]);
}

/// A shard of an interrupted download may be whole, but an old one.
#[test]
fn a_tensor_of_the_index_that_no_shard_has() {
    let tiny = TinyLlama::new();
    let folder = tiny.write_sharded();
    let index = folder.path.join("model.safetensors.index.json");
    let mut json = tiny_llama::read_json(&index);
    json["weight_map"]["model.layers.1.mlp.extra_proj.weight"] = json!("model-00002-of-00002.safetensors");
    folder.write_json("model.safetensors.index.json", &json);
    let words =
        ["model-00002-of-00002.safetensors", "`model.layers.1.mlp.extra_proj.weight`", "not of one saving"];
    refused(&folder, &words);
}

/// The names say how many there are.
#[test]
fn missing_shard_without_an_index() {
    let folder = TinyLlama::new().write_sharded();
    folder.remove("model.safetensors.index.json");
    folder.remove("model-00002-of-00002.safetensors");
    refused(&folder, &["model-00002-of-00002.safetensors", "not this one", "fetch it"]);
}

#[test]
fn files_of_another_format() {
    let folder = TinyLlama::new().write();
    std::fs::rename(folder.path.join("model.safetensors"), folder.path.join("consolidated.safetensors"))
        .unwrap();
    refused(&folder, &["model.safetensors", "consolidated.safetensors has other names", "fetch"]);
    folder.remove("config.json");
    folder.write_json("params.json", &json!({"dim": 256}));
    refused(&folder, &["config.json", "params.json", "another format", "fetch"]);
}

#[test]
fn missing_head() {
    let mut tiny = TinyLlama::new();
    tiny.tensors.remove("lm_head.weight");
    refused(&tiny.write(), &["`lm_head.weight`", "`tie_word_embeddings` false", "shard may be missing"]);
    // Where nothing is said, the embeddings serve, as they do for llama.cpp.
    for said in [json!(true), json!(null)] {
        tiny.config["tie_word_embeddings"] = said;
        let folder = tiny.write();
        assert!(Model::open(&folder.path, &Options::default()).is_ok());
    }
}

/// Models of embeddings have none, whatever their config.json says.
#[test]
fn no_head_where_there_is_none() {
    let mut case = Case::read("qwen2");
    case.json["config"]["tie_word_embeddings"] = json!(false);
    let mut tensors = case.tensors();
    tensors.remove("lm_head.weight");
    refused(&case.write_with(&tensors), &["`lm_head.weight`"]);
    case.json["config"]["architectures"] = json!(["Qwen2Model"]);
    let folder = case.write_with(&tensors);
    let opened =
        Model::open(&folder.path, &Options { tokenizer_pre: Some("qwen2".into()), ..Options::default() });
    assert!(opened.is_ok(), "{}", error(opened));
}

#[test]
fn more_layers_than_config_says() {
    let mut tiny = TinyLlama::new();
    tiny.config["num_hidden_layers"] = json!(1);
    let words = ["model.safetensors", "`model.layers.1.", "1 layers", "not of one model"];
    refused(&tiny.write(), &words);
}

#[test]
fn fewer_embeddings_than_vocab_size() {
    let words = ["vocab_size 30", "24 embeddings", "not of one model", "config.json"];
    config_refused(|c| c["vocab_size"] = json!(30), &words);
}

/// It is refused before memory is taken for the tokens that no file names.
#[test]
fn more_tokens_than_any_tensor_has_rows() {
    let words = ["vocab_size 4000000", "no tensor has more than", "not of one model", "config.json"];
    config_refused(|c| c["vocab_size"] = json!(4_000_000), &words);
}

#[test]
fn shard_cut_short() {
    let folder = TinyLlama::new().write();
    let path = folder.path.join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    for len in [0, 7, 8, 100, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..len]).unwrap();
        refused(&folder, &["model.safetensors", "fetch it again"]);
    }
}

#[test]
fn a_safetensors_file_instead_of_its_folder() {
    let folder = TinyLlama::new().write();
    let e = error(Model::open(&folder.path.join("model.safetensors"), &Options::default()));
    assert_says(e, &["give the folder"]);
}

#[test]
fn missing_embeddings() {
    let mut tiny = TinyLlama::new();
    tiny.tensors.remove("model.embed_tokens.weight");
    refused(&tiny.write(), &["`model.embed_tokens.weight`", "shard may be missing"]);
}

#[test]
fn missing_block() {
    let mut tiny = TinyLlama::new();
    tiny.tensors.retain(|name, _| !name.starts_with("model.layers.1."));
    refused(&tiny.write(), &["2 layers", "shard may be missing"]);
}

#[test]
fn missing_matrix_of_a_block() {
    let mut tiny = TinyLlama::new();
    tiny.tensors.remove("model.layers.1.mlp.up_proj.weight");
    refused(&tiny.write(), &["model.layers.1.mlp.up_proj.weight"]);
}

#[test]
fn unknown_tensor() {
    let mut tiny = TinyLlama::new();
    tiny.tensors.insert("model.layers.0.self_attn.q_norm.weight".into(), Stored::new(F32, &[1], &[1.0]));
    refused(&tiny.write(), &["`model.layers.0.self_attn.q_norm.weight`", "llama"]);
}

#[test]
fn integer_tensor() {
    let mut tiny = TinyLlama::new();
    let t = tiny.tensors.get_mut("lm_head.weight").unwrap();
    *t = Stored { dtype: safetensors::Dtype::I8, shape: vec![4], bytes: vec![0; 4] };
    refused(
        &tiny.write(),
        &["model.safetensors", "`lm_head.weight`", "I8", "start from the unquantized model"],
    );
}

#[test]
fn wrong_head_rows() {
    let mut tiny = TinyLlama::new();
    let q = Stored::new(F32, &[100, HIDDEN], &vec![0.0; 100 * HIDDEN]);
    tiny.tensors.insert("model.layers.0.self_attn.q_proj.weight".into(), q);
    refused(&tiny.write(), &["`model.layers.0.self_attn.q_proj.weight`", "100 rows", "4 heads of 64"]);
}

#[test]
fn wrong_width() {
    for (name, shape, words) in [
        ("model.layers.1.mlp.down_proj.weight", [100, INNER], ["100 rows", "`hidden_size` 256"]),
        ("model.layers.1.mlp.up_proj.weight", [INNER, 128], ["128 columns", "`hidden_size` 256"]),
        ("lm_head.weight", [VOCAB, 64], ["64 columns", "`hidden_size` 256"]),
    ] {
        let mut tiny = TinyLlama::new();
        let t = Stored::new(F32, &shape, &vec![0.0; shape[0] * shape[1]]);
        tiny.tensors.insert(name.into(), t);
        refused(&tiny.write(), &[&words[..], &[&format!("`{name}`")]].concat());
    }
}

#[test]
fn overlapping_offsets() {
    let folder = TinyLlama::new().write();
    let header = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#;
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 12]].concat();
    std::fs::write(folder.path.join("model.safetensors"), bytes).unwrap();
    refused(&folder, &["model.safetensors", "not a whole safetensors file", "fetch it again"]);
}

#[test]
fn an_adapter() {
    let adapter = json!({"peft_type": "LORA", "base_model_name_or_path": "org/base"});
    let beside_its_model = TinyLlama::new().write();
    beside_its_model.write_json("adapter_config.json", &adapter);
    refused(&beside_its_model, &["adapter_config.json", "LoRA adapter of `org/base`", "merge_and_unload"]);
    let alone = TinyLlama::new().write();
    for file in ["model.safetensors", "config.json"] {
        alone.remove(file);
    }
    alone.write_json("adapter_config.json", &adapter);
    refused(&alone, &["adapter_config.json", "merge_and_unload"]);
}

#[test]
fn missing_expert() {
    let case = Case::read("mixtral-8x7B-Instruct-v0.1");
    for (missing, words) in [(1, ["number 1 of", "shard"]), (3, ["3 experts", "says 4"])] {
        let mut tensors = case.tensors();
        tensors.remove(&format!("model.layers.1.block_sparse_moe.experts.{missing}.w2.weight"));
        refused(&case.write_with(&tensors), &[&words[..], &["`blk.1.ffn_down_exps.weight`"]].concat());
    }
}

#[test]
fn numbers_of_experts_that_cannot_be() {
    let case = Case::read("mixtral-8x7B-Instruct-v0.1");
    for (name, value, words) in [
        ("num_experts_per_tok", 0, ["4 experts", "a token uses 0"]),
        ("num_experts_per_tok", 5, ["4 experts", "a token uses 5"]),
        ("num_local_experts", 0, ["4 experts", "says 0"]),
    ] {
        let folder = case.write_with(&case.tensors());
        let path = folder.path.join("config.json");
        let mut config = tiny_llama::read_json(&path);
        config[name] = json!(value);
        folder.write_json("config.json", &config);
        refused(&folder, &words);
    }
}

#[test]
fn values_that_are_not_finite() {
    for bad in [f32::NAN, f32::INFINITY] {
        let mut tiny = TinyLlama::new();
        let mut values = vec![0.5; HIDDEN * 64];
        values[7 * 64 + 3] = bad;
        let down = Stored::new(F32, &[HIDDEN, 64], &values);
        tiny.tensors.insert("model.layers.1.mlp.down_proj.weight".into(), down);
        let folder = tiny.write();
        let model = Model::open(&folder.path, &Options::default()).unwrap_or_else(|e| panic!("{e}"));
        let plan = plan(&model, Recipe::all(family("t3")));
        let e = error(job::write(&model, &plan, None, &folder.beside("out.gguf"), &|_| {}));
        let words =
            ["model.safetensors", "`blk.1.ffn_down.weight`", "row 7", &bad.to_string(), "fetch it again"];
        assert_says(e, &words);
        assert_eq!(files_in(folder.parent.path()), ["tiny-llama"]);
    }
}

/// Norms are written as F32 by every recipe.
#[test]
fn a_norm_that_is_not_finite() {
    for dtype in [F32, safetensors::Dtype::F16, safetensors::Dtype::BF16] {
        let mut tiny = TinyLlama::of_one_block();
        let mut values = vec![1.0; HIDDEN];
        values[200] = f32::NAN;
        tiny.tensors.insert("model.norm.weight".into(), Stored::new(dtype, &[HIDDEN], &values));
        let folder = tiny.write_sharded();
        let model = Model::open(&folder.path, &Options::default()).unwrap_or_else(|e| panic!("{e}"));
        for recipe in [Recipe::all(family("t3")), Recipe::plain(Dtype::F16), Recipe::plain(Dtype::F32)] {
            let plan = plan(&model, recipe);
            let e = error(job::write(&model, &plan, None, &folder.beside("out.gguf"), &|_| {}));
            assert_says(
                e,
                &["model-00001-of-00002.safetensors", "`output_norm.weight`", "NaN", "fetch it again"],
            );
            assert_eq!(files_in(folder.parent.path()), ["tiny-llama"]);
        }
    }
}

#[test]
fn gguf_of_a_type_of_activations() {
    let (_folder, path) = file(&[]);
    write(&path, &[], &[tensor("blk.0.w", &[256], GgmlType(15))]);
    let e = error(Model::open(&path, &Options::default()));
    let words = ["model.gguf", "`blk.0.w`", "q8_K", "start from the unquantized model", "llama-quantize"];
    assert_says(e, &words);
}

#[test]
fn names_in_an_index_stay_in_the_folder() {
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("model.safetensors");
    for name in ["../model.safetensors", "a/../../x.safetensors", secret.to_str().expect("a plain name"), ""]
    {
        let folder = TinyLlama::new().write();
        let weights = folder.path.join("model.safetensors");
        std::fs::copy(&weights, folder.beside("model.safetensors")).unwrap();
        std::fs::copy(&weights, &secret).unwrap();
        folder.remove("model.safetensors");
        let map = json!({"model.norm.weight": name});
        folder.write_json("model.safetensors.index.json", &json!({"weight_map": map}));
        refused(&folder, &["model.safetensors.index.json", "is no file of this folder"]);
    }
}

/// The tokenizers library panics here.
#[test]
fn a_prefix_that_is_longer_than_parts_of_merges() {
    tokenizer_refused(|t| t["model"]["continuing_subword_prefix"] = json!("(a|b)*["), &["not a tokenizer"]);
}

#[test]
fn rules_that_make_a_text_longer_without_end() {
    let double = json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"});
    let rules = json!({"type": "Sequence", "normalizers": vec![double; 40]});
    tokenizer_refused(|t| t["normalizer"] = rules.clone(), &["`normalizer`", "times as long"]);
}

/// Padding and truncation are no part of how text is cut.
#[test]
fn padding_does_not_matter() {
    let plain =
        Model::open(&TinyLlama::new().write().path, &Options::default()).unwrap_or_else(|e| panic!("{e}"));
    let mut tiny = TinyLlama::new();
    tiny.tokenizer["padding"] = json!({"strategy": {"Fixed": 4_000_000_000u64}, "direction": "Right",
        "pad_to_multiple_of": 1u64 << 62, "pad_id": 0, "pad_type_id": 0, "pad_token": "x"});
    let padded = Model::open(&tiny.write().path, &Options::default()).unwrap_or_else(|e| panic!("{e}"));
    assert!(plain.keys == padded.keys);
}

/// Nothing depends on it but what is suggested for sampling, and people should know.
#[test]
fn a_generation_config_that_is_not_read_is_named() {
    let folder = TinyLlama::new().write();
    std::fs::write(folder.path.join("generation_config.json"), "{").unwrap();
    let model = Model::open(&folder.path, &Options::default()).unwrap_or_else(|e| panic!("{e}"));
    assert!(
        model.notes.iter().any(|note| note.contains("generation_config.json is not used")),
        "{:?}",
        model.notes
    );
}
