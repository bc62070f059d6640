//! A tensor is in the file only if llama.cpp loads it there: biases that are zero are left out with a note, others are
//! refused, heads that differ from the embeddings stay. `tests/llama/loads.rs` loads such files.

use crate::support;
use safetensors::Dtype::F32;
use serde_json::json;
use std::collections::BTreeMap;
use support::reference_case::Case;
use support::tiny_llama::Stored;
use tenpak_gguf::checkpoint::{Error, Model, Options};

fn open(case: &Case, tensors: &BTreeMap<String, Stored>, options: Options) -> Result<Model, Error> {
    Model::open(&case.write_with(tensors).path, &Options { no_tokenizer: true, ..options })
}

/// A case with changes of its tensors.
fn changed(name: &str, change: impl Fn(&mut BTreeMap<String, Stored>)) -> Result<Model, Error> {
    let case = Case::read(name);
    let mut tensors = case.tensors();
    change(&mut tensors);
    open(&case, &tensors, Options::default())
}

#[track_caller]
fn opened(result: Result<Model, Error>) -> Model {
    result.unwrap_or_else(|e| panic!("{e}"))
}

#[track_caller]
fn refused(result: Result<Model, Error>, words: &[&str]) {
    support::assert_says(support::error(result), words);
}

fn has(model: &Model, name: &str) -> bool {
    model.tensors.iter().any(|t| t.name == name)
}

fn bias(value: f32) -> Stored {
    Stored::new(F32, &[48], &[value; 48])
}

/// GPTQ's programs give every layer a bias.
#[test]
fn biases_of_zeros_are_left_out_with_a_note() {
    let names = ["model.layers.0.mlp.up_proj.bias", "model.layers.1.mlp.up_proj.bias"];
    let with = |value: f32| {
        changed("qwen2", |tensors| {
            names.iter().for_each(|name| drop(tensors.insert((*name).into(), bias(value))));
        })
    };
    for zero in [0.0, -0.0] {
        let model = opened(with(zero));
        assert!(!has(&model, "blk.0.ffn_up.bias"));
        support::assert_says(model.notes.join("\n"), &["2 biases", "zero", "qwen2", names[0]]);
    }
    refused(with(1e-3), &["model.safetensors", &format!("`{}`", names[0]), "qwen2", "not zero"]);
    assert!(has(&opened(changed("llama-linear", |_| {})), "blk.0.ffn_up.bias"), "llama has biases there");
}

#[test]
fn biases_that_llama_cpp_needs() {
    let without =
        |name: &str, bias: &str| changed(name, |tensors| tensors.retain(|name, _| !name.ends_with(bias)));
    refused(without("gpt2", "c_fc.bias"), &["`transformer.h.0.mlp.c_fc.bias`", "gpt2 needs it", "shard"]);
    refused(without("stablelm", "model.norm.bias"), &["`model.norm.bias`", "stablelm needs it"]);
    // config.json says that there are none: zeros.
    for (name, flag, ends, zeros) in [
        ("gpt_neox", "attention_bias", &["dense.bias", "query_key_value.bias"][..], "blk.1.attn_qkv.bias"),
        ("starcoder2", "use_bias", &["_proj.bias", "c_fc.bias"], "blk.1.ffn_up.bias"),
    ] {
        let mut case = Case::read(name);
        case.json["config"][flag] = json!(false);
        let mut tensors = case.tensors();
        tensors.retain(|name, _| !ends.iter().any(|end| name.ends_with(end)));
        let model = opened(open(&case, &tensors, Options::default()));
        let bias = model.tensors.iter().find(|t| t.name == zeros).expect("zeros");
        let mut values = vec![1.0; bias.elements() as usize];
        model.read_rows(bias, 0, &mut values).expect("rows");
        assert!(values.len() >= 48 && values.iter().all(|value| *value == 0.0), "{name}");
    }
}

/// Biases of which config.json says nothing are not in transformers' model.
#[test]
fn biases_that_config_json_denies() {
    let with = |value: f32| {
        changed("Tiny-Llama-3.2-Instruct", |tensors| {
            for block in 0..2 {
                let name = format!("model.layers.{block}.self_attn.q_proj.bias");
                tensors.insert(name, Stored::new(F32, &[64], &[value; 64]));
            }
        })
    };
    assert!(has(&opened(with(0.0)), "blk.0.attn_q.bias"));
    refused(with(0.5), &["q_proj.bias", "`attention_bias`", "say otherwise"]);
    let mut case = Case::read("stablelm");
    case.json["config"]["qk_layernorm"] = json!(true);
    refused(
        open(&case, &case.tensors(), Options::default()),
        &["q_layernorm", "`qk_layernorm`", "is not there"],
    );
}

#[test]
fn a_bias_of_another_length() {
    let with = |length: usize| {
        changed("qwen2", |tensors| {
            let name = "model.layers.0.self_attn.q_proj.bias".to_owned();
            tensors.insert(name, Stored::new(F32, &[length], &vec![0.5; length]));
        })
    };
    assert!(has(&opened(with(32)), "blk.0.attn_q.bias"));
    refused(with(31), &["`model.layers.0.self_attn.q_proj.bias`", "[31]", "q_proj.weight"]);
}

/// A head of its own stays, whatever config.json says; one that is the same as the embeddings goes, if it is tied.
#[test]
fn heads() {
    let head = |name: &str, factor: f32, is_tied: bool| {
        let mut case = Case::read(name);
        case.json["config"]["tie_word_embeddings"] = json!(is_tied);
        let mut tensors = case.tensors();
        let names = tensors.keys().find(|name| name.contains("embed_tokens") || name.contains("wte"));
        let embeddings = &tensors[&names.expect("embeddings").clone()];
        let values: Vec<f32> = embeddings.values().iter().map(|v| v * factor).collect();
        // Another type with the same values is the same.
        let head = Stored::new(F32, &embeddings.shape, &values);
        tensors.insert("lm_head.weight".into(), head);
        move |options: Options| open(&case, &tensors, options)
    };
    let default = Options::default;
    for name in ["qwen2", "gpt2", "gemma3"] {
        assert!(!has(&opened(head(name, 1.0, true)(default())), "output.weight"), "{name}");
        assert!(has(
            &opened(head(name, 1.0, true)(Options { keep_tied_head: true, ..default() })),
            "output.weight"
        ));
        assert!(has(&opened(head(name, 1.0, false)(default())), "output.weight"), "{name}");
        let own = opened(head(name, 2.0, true)(default()));
        assert!(has(&own, "output.weight"), "{name}");
        support::assert_says(own.notes.join("\n"), &["`lm_head.weight`", "`tie_word_embeddings` true"]);
    }
    // llama.cpp has no place for the head of a Gemma, and no model of StableLM without one.
    assert!(!has(&opened(head("gemma", 1.0, true)(default())), "output.weight"));
    refused(head("gemma", 2.0, true)(default()), &["`lm_head.weight`", "not the same as the embeddings"]);
    for name in ["stablelm", "olmo2", "gpt_neox"] {
        let mut case = Case::read(name);
        case.json["config"]["tie_word_embeddings"] = json!(true);
        let mut tensors = case.tensors();
        tensors.retain(|name, _| !name.ends_with("lm_head.weight") && !name.ends_with("embed_out.weight"));
        let model = opened(open(&case, &tensors, default()));
        let named = |name: &str| {
            let t = model.tensors.iter().find(|t| t.name == name).expect("a tensor");
            let mut values = vec![0.0; t.elements() as usize];
            model.read_rows(t, 0, &mut values).expect("rows");
            values
        };
        assert!(named("output.weight") == named("token_embd.weight"), "{name}");
    }
}

#[test]
fn buffers_are_left_out_and_other_tensors_are_refused() {
    for name in ["model.layers.0.self_attn.rotary_emb.inv_freq", "model.rotary_emb.inv_freq"] {
        let model = changed("qwen2", |tensors| drop(tensors.insert(name.into(), bias(0.5))));
        assert_eq!(opened(model).notes, [""; 0]);
    }
    let masks = changed("gpt2", |tensors| {
        tensors.insert("transformer.h.0.attn.bias".into(), Stored::new(F32, &[1, 1, 64, 64], &[1.0; 4096]));
        tensors.insert("transformer.h.0.attn.masked_bias".into(), Stored::new(F32, &[], &[-1e9]));
    });
    assert!(!has(&opened(masks), "blk.0.attn.bias"));
    for name in
        ["transformer.h.0.attn.weight", "transformer.h.0.crossattention.c_attn.weight", "v_head.weight"]
    {
        refused(changed("gpt2", |tensors| drop(tensors.insert(name.into(), bias(0.5)))), &[name, "gpt2"]);
    }
}

#[test]
fn shapes_that_the_keys_deny() {
    for (name, key, value, words) in [
        ("qwen2", "num_attention_heads", 8, &["k_proj.weight", "16 rows"][..]),
        ("qwen2", "num_key_value_heads", 1, &["k_proj.weight", "1 heads of keys"]),
        ("qwen3", "head_dim", 8, &["32 rows", "heads of keys and values of 8"]),
        (
            "llama-linear",
            "intermediate_size",
            96,
            &["down_proj.weight", "48 columns", "`intermediate_size` 96"],
        ),
        ("gpt2", "n_positions", 65, &["wpe.weight", "64 rows", "`n_positions` 65"]),
        ("qwen2_moe", "moe_intermediate_size", 48, &["24", "`moe_intermediate_size` 48"]),
        ("phi3", "intermediate_size", 24, &["down_proj", "48 columns", "`intermediate_size` 24"]),
    ] {
        let mut case = Case::read(name);
        case.json["config"][key] = json!(value);
        refused(open(&case, &case.tensors(), Options::default()), &[words, &["config.json says"]].concat());
    }
}
