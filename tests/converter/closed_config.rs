//! Whatever config.json says is carried into the file, refused, or told by name: for every architecture, every value of
//! transformers' configuration class is changed. `tests/architectures/configurations/transformers.json` has the values of
//! all classes (`scripts/reference_configurations.py`).

use crate::support;
use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};
use std::path::Path;
use support::reference_case::Case;
use support::tiny_llama::Folder;
use tenpak_gguf::arch::{Architecture, is_harmless};
use tenpak_gguf::checkpoint::{Model, Options};
use tenpak_gguf::gguf::Value;

/// One case of every class.
pub const CASES: [&str; 35] = [
    "Tiny-Llama-3.2-Instruct",
    "llama-linear",
    "mistral",
    "mixtral-8x7B-Instruct-v0.1",
    "qwen2",
    "qwen2_moe",
    "qwen3",
    "qwen3_moe",
    "gemma",
    "gemma2",
    "gemma3",
    "phi3",
    "gpt2",
    "gpt_neox",
    "starcoder2",
    "olmo2",
    "granite",
    "stablelm",
    "falcon-40b",
    "smollm3",
    "olmo3",
    "ministral3",
    "glm4_moe",
    "lfm2",
    "lfm2_moe",
    "gpt_oss",
    "deepseek_v3",
    "qwen3_next",
    "qwen3_5",
    "qwen3_5_moe",
    "llama4",
    "granite_hybrid",
    "gemma3n",
    "gemma4",
    "gemma4-moe",
];

/// What becomes of a folder: keys, names of tensors with those that config.json gives, and notes; or the error.
pub type Outcome = Result<(Vec<(String, Value)>, Vec<String>, Vec<String>), String>;

pub fn outcome(folder: &Folder, config: &Map<String, Json>) -> Outcome {
    folder.write_json("config.json", &Json::Object(config.clone()));
    let options = Options { no_tokenizer: true, ..Options::default() };
    let model = Model::open(&folder.path, &options).map_err(|e| e.to_string())?;
    let computed = |name: &str| name.starts_with("rope_") || name.ends_with(".bias");
    let tensors = model.tensors.iter().map(|t| {
        let mut values = vec![0.0; if computed(&t.name) { t.elements() as usize } else { 0 }];
        model.read_rows(t, 0, &mut values).expect("rows");
        let bits: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        format!("{} {:?} {:x}", t.name, t.shape, Sha256::digest(bits))
    });
    let tensors = tensors.collect();
    Ok((model.keys, tensors, model.notes))
}

/// The values of a class where config.json does not say them.
fn class(case: &Case) -> Map<String, Json> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/architectures/configurations/transformers.json");
    let text = std::fs::read(path).expect("the values of all classes");
    let classes: Map<String, Json> = serde_json::from_slice(&text).expect("JSON");
    let name = case.json["config"]["architectures"][0].as_str().expect("a name");
    classes[name].as_object().expect("values").clone()
}

/// The architecture of a case, its folder, and its config.json with all values of the class. Where windows are turned on
/// by a flag they are on, or other values would rightly be of no effect.
pub fn case(name: &str) -> (&'static Architecture, Folder, Map<String, Json>) {
    let case = Case::read(name);
    let said = case.json["config"].as_object().expect("a config.json").clone();
    let architecture =
        Architecture::of(said["architectures"][0].as_str().expect("a name")).expect("a known one");
    let mut config = class(&case);
    config.remove("rope_parameters");
    if said.contains_key("num_experts") {
        // The same under the name that transformers saves.
        config.remove("num_local_experts");
    }
    config.extend(said);
    if config.contains_key("use_sliding_window") {
        config.extend([
            ("use_sliding_window".to_owned(), true.into()),
            ("sliding_window".to_owned(), 8.into()),
            ("max_window_layers".to_owned(), 1.into()),
        ]);
    }
    (architecture, case.write(), config)
}

/// Another value of the same kind.
fn other(name: &str, value: &Json, blocks: usize) -> Json {
    match (name, value) {
        ("layer_types", _) => json!(vec!["full_attention"; blocks]),
        ("mlp_only_layers" | "moe_layers", _) => json!([0]),
        ("no_rope_layers", _) => json!(vec![1; blocks]),
        ("time_step_limit", _) => json!([0.0, 1.0]),
        ("sliding_window_pattern", _) => json!(2),
        ("num_ln_in_parallel_attn", _) => json!(1),
        ("use_bidirectional_attention", _) => json!(true),
        (_, Json::Null) => json!(24),
        (_, Json::Bool(flag)) => json!(!flag),
        (_, Json::Number(n)) if n.is_u64() => json!((2 * n.as_u64().expect("an integer")).max(1)),
        (_, Json::Number(n)) => json!(2.0 * n.as_f64().expect("a number")),
        (_, Json::String(_)) => json!("relu"),
        ("intermediate_size", Json::Array(_)) => json!(vec![64; blocks]),
        ("activation_sparsity_pattern", _) => json!(vec![0.5; blocks]),
        (_, other) => panic!("{name}: no other value than {other}"),
    }
}

/// Values of no effect in the model of a case.
const OF_NO_EFFECT: [(&str, &str); 24] = [
    // The new architecture has its own number of heads.
    ("falcon-40b", "multi_query"),
    // The number is not zero, and no more is read of it here.
    ("qwen2_moe", "max_window_layers"),
    ("qwen3_moe", "max_window_layers"),
    // Names that others are read before.
    ("gemma3", "_sliding_window_pattern"),
    ("gpt2", "n_ctx"),
    ("glm4_moe", "num_mtp_layers"),
    ("lfm2", "intermediate_size"),
    // The kinds of all layers are said.
    ("lfm2", "full_attn_idxs"),
    ("smollm3", "no_rope_layer_interval"),
    ("llama4", "no_rope_layer_interval"),
    // transformers does not read it.
    ("smollm3", "max_window_layers"),
    // The width is a multiple of both.
    ("lfm2", "block_multiple_of"),
    // Blocks that predict further tokens are left out.
    ("deepseek_v3", "num_mtp_layers"),
    ("deepseek_v3", "num_nextn_predict_layers"),
    // Only training clips.
    ("gemma3n", "altup_coef_clip"),
    // Tensors show it, if there are any.
    ("gemma3n", "vocab_size_per_layer_input"),
    ("gemma4", "vocab_size_per_layer_input"),
    ("gemma4-moe", "vocab_size_per_layer_input"),
    // Sizes of experts where there are none; where there shall be some their number is missed.
    ("gemma4", "enable_moe_block"),
    ("gemma4", "num_experts"),
    ("gemma4", "top_k_experts"),
    ("gemma4", "moe_intermediate_size"),
    // Layers whose heads are said one by one are not of that kind then.
    ("gemma4-moe", "layer_types"),
    // Nothing is rotated.
    ("granite_hybrid", "max_position_embeddings"),
];

/// Sizes with which others or the tensors do not go together: errors name those.
const SIZES: [&str; 4] = ["num_hidden_layers", "n_layer", "num_attention_heads", "head_dim"];

#[test]
fn every_value_is_known() {
    for name in CASES {
        let (architecture, _, config) = case(name);
        let unknown: Vec<_> = config.keys().filter(|name| !architecture.knows(name)).collect();
        assert!(unknown.is_empty(), "{name}: {unknown:?}");
    }
}

#[test]
fn every_value_is_carried_or_refused() {
    let mut wrong = Vec::new();
    for name in CASES {
        let (_, folder, config) = case(name);
        let base = outcome(&folder, &config);
        assert!(base.is_ok(), "{name}: {base:?}");
        let blocks = config.get("num_hidden_layers").or(config.get("n_layer")).and_then(Json::as_u64);
        for (key, value) in config.iter().filter(|(key, value)| !is_harmless(key) && !value.is_object()) {
            let mut changed = config.clone();
            changed[key] = other(key, value, blocks.expect("blocks") as usize);
            let now = outcome(&folder, &changed);
            let names_it =
                |error: &String| error.contains(&format!("`{key}`")) || error.contains("config.json says");
            let is_wrong = match &now {
                Ok(_) => now == base,
                Err(error) => !names_it(error) && !SIZES.contains(&&key[..]),
            };
            if is_wrong && !OF_NO_EFFECT.contains(&(name, key)) {
                wrong.push(format!("{name}: {key} is {} and not {value}: {now:?}", changed[key]));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_is_not_said_is_what_transformers_assumes() {
    let mut wrong = Vec::new();
    for name in CASES {
        let (_, folder, config) = case(name);
        for (key, value) in class(&Case::read(name)) {
            // Experts have two names, and so has the context of GPT-2, which old files say under the other alone.
            let has_another_name = ["num_local_experts", "n_positions"].contains(&&key[..]);
            // Sizes of heads that follow from others, whatever the class says of its own.
            let follows = name == "deepseek_v3" && ["head_dim", "qk_head_dim"].contains(&&key[..]);
            if is_harmless(&key) && key != "tie_word_embeddings" || has_another_name || follows {
                continue;
            }
            let (mut said, mut unsaid) = (config.clone(), config.clone());
            if key == "rope_parameters" {
                for key in [
                    "rope_theta",
                    "rope_scaling",
                    "rope_local_base_freq",
                    "rotary_emb_base",
                    "rotary_pct",
                    "partial_rotary_factor",
                ] {
                    said.remove(key);
                    unsaid.remove(key);
                }
            }
            said.insert(key.clone(), value.clone());
            unsaid.remove(&key);
            let (said, unsaid) = (outcome(&folder, &said), outcome(&folder, &unsaid));
            if unsaid.is_ok() && unsaid != said {
                wrong.push(format!("{name}: without {key}, which is {value}: {unsaid:?}\nwith it: {said:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A case with other values in config.json.
pub fn changed(name: &str, values: Json) -> Outcome {
    let (_, folder, mut config) = case(name);
    config.extend(values.as_object().expect("values").clone());
    outcome(&folder, &config)
}

#[track_caller]
pub fn key_of(name: &str, values: Json, key: &str) -> Option<Value> {
    let (keys, ..) = changed(name, values).unwrap_or_else(|e| panic!("{e}"));
    keys.into_iter().find(|(name, _)| name == key).map(|(_, value)| value)
}

#[track_caller]
pub fn refused(name: &str, values: Json, words: &[&str]) {
    match changed(name, values.clone()) {
        Ok(_) => panic!("{name} with {values} should have been refused"),
        Err(error) => support::assert_says(error, words),
    }
}

#[track_caller]
pub fn noted(name: &str, values: Json, words: &[&str]) {
    let (.., notes) = changed(name, values).unwrap_or_else(|e| panic!("{e}"));
    support::assert_says(notes.join("\n"), words);
}

#[test]
fn layers_with_a_window() {
    let layers = |kinds: [&str; 2]| json!({"layer_types": kinds.map(|kind| format!("{kind}_attention"))});
    let pattern =
        |name: &str, layers| key_of(name, layers, &format!("{name}.attention.sliding_window_pattern"));
    let bools = |value: Option<Value>| {
        value.map(|v| {
            v.as_array().expect("an array").iter().map(|v| v.as_bool().expect("a flag")).collect::<Vec<_>>()
        })
    };
    // What llama.cpp takes for granted needs no key.
    assert_eq!(pattern("gemma2", layers(["sliding", "full"])), None);
    assert_eq!(pattern("gemma3", layers(["sliding", "sliding"])), None);
    assert_eq!(bools(pattern("gemma2", layers(["full", "sliding"]))), Some(vec![false, true]));
    assert_eq!(bools(pattern("gemma3", layers(["sliding", "full"]))), Some(vec![true, false]));
    assert_eq!(bools(pattern("gemma3", json!({"sliding_window_pattern": 2}))), Some(vec![true, false]));
    assert_eq!(key_of("gemma3", layers(["full", "full"]), "gemma3.attention.sliding_window"), None);
    refused("gemma3", layers(["chunked", "full"]), &["`layer_types`", "chunked_attention"]);
    refused("gemma2", json!({"layer_types": ["full_attention"]}), &["`layer_types`"]);
}

/// Where llama.cpp has no window, the results are those of the model up to the window.
#[test]
fn a_window_that_llama_cpp_does_not_have() {
    for (name, values) in [
        ("mistral", json!({"sliding_window": 4096})),
        ("mixtral-8x7B-Instruct-v0.1", json!({"sliding_window": 4096})),
        ("starcoder2", json!({"sliding_window": 4096})),
        ("phi3", json!({"sliding_window": 4095})),
        ("qwen2", json!({"sliding_window": 4096})),
        ("qwen3_moe", json!({"sliding_window": 4096})),
    ] {
        noted(name, values, &["`sliding_window` is 409", "looks back to all tokens"]);
    }
    let (.., notes) =
        changed("mistral", json!({"sliding_window": 32768})).expect("a window of the whole context");
    assert_eq!(notes, [""; 0]);
}

/// A value that no class of the architecture reads is not what the model computes.
#[test]
fn another_name_of_the_activation_is_noted() {
    for name in ["gemma2", "gemma3", "gemma3n", "gemma4"] {
        noted(
            name,
            json!({"hidden_act": "silu"}),
            &["`hidden_act` is \"silu\"", "`hidden_activation` counts"],
        );
    }
    let (.., notes) = changed("gemma2", json!({"hidden_act": "gelu"})).expect("the same activation");
    assert!(!notes.iter().any(|note| note.contains("hidden_act")), "{notes:?}");
}

/// llama.cpp caps the logits of Gemma 4 at 30 unless a file says that it shall not.
#[test]
fn logits_without_a_cap() {
    let cap = |values| key_of("gemma4", values, "gemma4.final_logit_softcapping");
    assert_eq!(cap(json!({"final_logit_softcapping": null})), Some(Value::F32(0.0)));
    assert_eq!(cap(json!({})), Some(Value::F32(30.0)));
}

#[test]
fn other_models_are_refused() {
    for (name, values, words) in [
        (
            "Tiny-Llama-3.2-Instruct",
            json!({"hidden_act": "relu"}),
            &["`hidden_act` is \"relu\"", "llama", "SiLU"][..],
        ),
        ("gemma2", json!({"query_pre_attn_scalar": 224}), &["`query_pre_attn_scalar` is 224", "head, 16"]),
        ("gemma2", json!({"hidden_activation": "relu"}), &["`hidden_activation` is \"relu\"", "GELU"]),
        ("gemma3n", json!({"final_logit_softcapping": null}), &["`final_logit_softcapping` is null", "30"]),
        ("gemma3n", json!({"num_kv_shared_layers": 0}), &["`num_kv_shared_layers` is 0", "first 20"]),
        (
            "gemma4",
            json!({"per_layer_config": {"0": {"head_dim": 16}}}),
            &["`per_layer_config`", "in layers with a window"],
        ),
        (
            "gemma4",
            json!({"rope_parameters": {"full_attention": {"rope_type": "proportional", "factor": 8.0},
                "sliding_attention": {"rope_type": "default"}}}),
            &["`factor` is 8.0", "without a factor"],
        ),
        (
            "gemma4",
            json!({"use_bidirectional_attention": "all"}),
            &["`use_bidirectional_attention` is \"all\""],
        ),
        ("gemma2", json!({"final_logit_softcapping": null}), &["`final_logit_softcapping` is null"]),
        ("gemma", json!({"use_bidirectional_attention": true}), &["`use_bidirectional_attention` is true"]),
        ("qwen2_moe", json!({"norm_topk_prob": true}), &["`norm_topk_prob` is true"]),
        ("falcon-40b", json!({"alibi": true}), &["`alibi` is true", "rotary"]),
        ("falcon-40b", json!({"parallel_attn": false}), &["`parallel_attn` is false"]),
        ("granite", json!({"logits_scaling": 0}), &["`logits_scaling`", "zero"]),
        ("qwen2", json!({"head_dim": 16}), &["`head_dim` is 16"]),
        ("gpt2", json!({"add_cross_attention": true}), &["`add_cross_attention` is true"]),
        ("smollm3", json!({"no_rope_layers": [1, 1, 0, 1]}), &["`no_rope_layers`", "every fourth"]),
        (
            "smollm3",
            json!({"no_rope_layers": null, "no_rope_layer_interval": 2}),
            &["`no_rope_layer_interval` is 2"],
        ),
        ("olmo3", json!({"rope_theta": 10000.0}), &["`rope_theta` is 500000.0", "10000 in all layers"]),
        ("olmo3", json!({"sliding_window": null}), &["`sliding_window` is null"]),
        (
            "ministral3",
            json!({"rope_parameters": {"rope_type": "linear", "factor": 2.0, "llama_4_scaling_beta": 0.1}}),
            &["`rope_type` is \"linear\"", "yarn"],
        ),
        (
            "lfm2",
            json!({"layer_types": ["conv", "sliding_attention", "conv"]}),
            &["`layer_types`", "`full_attention`"],
        ),
        ("gpt_oss", json!({"swiglu_limit": 5.0}), &["`swiglu_limit` is 5.0", "to 7"]),
        ("deepseek_v3", json!({"q_lora_rank": null}), &["`q_lora_rank` is null", "number of blocks"]),
        (
            "deepseek_v3",
            json!({"rope_scaling": {"type": "yarn", "factor": 40.0, "mscale": 2.0, "mscale_all_dim": 1.0}}),
            &["`attention_factor`", "rotated part"],
        ),
        (
            "qwen3_next",
            json!({"linear_value_head_dim": 8}),
            &["`linear_value_head_dim` is 8", "`linear_key_head_dim`"],
        ),
        ("llama4", json!({"use_qk_norm": false}), &["`use_qk_norm` is false", "128 experts"]),
        ("llama4", json!({"moe_layers": [0]}), &["`moe_layers`", "`interleave_moe_layer_step`"]),
        (
            "granite_hybrid",
            json!({"layer_types": ["attention", "attention", "attention"]}),
            &["`layer_types`", "states"],
        ),
        ("granite_hybrid", json!({"time_step_limit": [0.0, 1.0]}), &["`time_step_limit`"]),
    ] {
        refused(name, values, words);
    }
}

#[test]
fn values_of_falcon_2() {
    let values = json!({"rope_theta": 500042.0, "max_position_embeddings": 8192});
    assert_eq!(key_of("falcon-40b", values.clone(), "falcon.rope.freq_base"), Some(Value::F32(500042.0)));
    assert_eq!(key_of("falcon-40b", values, "falcon.context_length"), Some(Value::U32(8192)));
}

#[test]
fn attention_that_sees_what_follows() {
    for name in ["qwen2", "gpt_neox"] {
        let key =
            key_of(name, json!({"is_causal": false}), &format!("{}.attention.causal", name.replace('_', "")));
        assert_eq!(key, Some(Value::Bool(false)));
        assert_eq!(key_of(name, json!({"is_causal": true}), &format!("{name}.attention.causal")), None);
    }
}

#[test]
fn unknown_values_are_named() {
    noted(
        "olmo2",
        json!({"clip_qkv": 8.0, "width_of_hat": 3}),
        &["`clip_qkv`, `width_of_hat`", "Olmo2ForCausalLM"],
    );
    let (.., notes) = changed("olmo2", json!({"width_of_hat": null})).expect("a model");
    assert_eq!(notes, [""; 0]);
}
