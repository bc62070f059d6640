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
const CASES: [&str; 19] = [
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
];

/// What becomes of a folder: keys, names of tensors with those that config.json gives, and notes; or the error.
type Outcome = Result<(Vec<(String, Value)>, Vec<String>, Vec<String>), String>;

fn outcome(folder: &Folder, config: &Map<String, Json>) -> Outcome {
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
fn case(name: &str) -> (&'static Architecture, Folder, Map<String, Json>) {
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
        ("mlp_only_layers", _) => json!([0]),
        ("sliding_window_pattern", _) => json!(2),
        ("num_ln_in_parallel_attn", _) => json!(1),
        ("use_bidirectional_attention", _) => json!(true),
        (_, Json::Null) => json!(24),
        (_, Json::Bool(flag)) => json!(!flag),
        (_, Json::Number(n)) if n.is_u64() => json!(2 * n.as_u64().expect("an integer")),
        (_, Json::Number(n)) => json!(2.0 * n.as_f64().expect("a number")),
        (_, Json::String(_)) => json!("relu"),
        (_, other) => panic!("{name}: no other value than {other}"),
    }
}

/// Values of no effect in the model of a case.
const OF_NO_EFFECT: [(&str, &str); 5] = [
    // The new architecture has its own number of heads.
    ("falcon-40b", "multi_query"),
    // The number is not zero, and no more is read of it here.
    ("qwen2_moe", "max_window_layers"),
    ("qwen3_moe", "max_window_layers"),
    // Names that others are read before.
    ("gemma3", "_sliding_window_pattern"),
    ("gpt2", "n_ctx"),
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
            if is_harmless(&key) && key != "tie_word_embeddings" || has_another_name {
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

/// The values of config.json that describe rotary embeddings.
const ROPE: [&str; 4] = ["rope_scaling", "rope_parameters", "rope_theta", "rotary_emb_base"];

/// config.json with this description of rotary embeddings, as transformers 4 or 5 writes it.
fn with_rope(config: &Map<String, Json>, rope: &Json, is_new: bool) -> Map<String, Json> {
    let mut config = config.clone();
    ROPE.iter().for_each(|name| drop(config.remove(*name)));
    let mut rope = rope.as_object().expect("an object").clone();
    if is_new {
        rope.insert("rope_theta".into(), 30000.0.into());
        let by_layer = json!({"full_attention": rope, "sliding_attention": {"rope_type": "default"}});
        let is_layered = config.contains_key("rope_local_base_freq");
        config.insert("rope_parameters".into(), if is_layered { by_layer } else { rope.into() });
    } else {
        let kind = rope.remove("rope_type").expect("a kind");
        rope.insert("type".into(), kind);
        let base = if config["model_type"] == "gpt_neox" { "rotary_emb_base" } else { "rope_theta" };
        config.insert(base.into(), 30000.0.into());
        config.insert("rope_scaling".into(), rope.into());
    }
    config
}

/// Every kind of scaling, in both forms, for every architecture: what llama.cpp's graph computes is in the file, and
/// everything else is refused by its name.
#[test]
fn rope_scaling_is_carried_or_refused() {
    for name in CASES.iter().copied().filter(|name| *name != "gpt2") {
        let (architecture, folder, config) = case(name);
        let heads = config["num_attention_heads"].as_u64().expect("heads");
        let width = config["hidden_size"].as_u64().expect("a width");
        let dim = config.get("head_dim").and_then(Json::as_u64).unwrap_or(width / heads);
        let has_factors = matches!(architecture.name, "llama" | "granite");
        let is_phi = architecture.name == "phi3";
        let kinds = [
            (json!({"rope_type": "default"}), true),
            (json!({"rope_type": "linear", "factor": 4.0}), !is_phi),
            (json!({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024}), !is_phi),
            (
                json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                    "original_max_position_embeddings": 1024}),
                has_factors,
            ),
            (
                json!({"rope_type": "longrope", "short_factor": vec![1.5; dim as usize / 2],
                    "long_factor": vec![4.0; dim as usize / 2], "original_max_position_embeddings": 1024}),
                has_factors || is_phi,
            ),
            (json!({"rope_type": "dynamic", "factor": 2.0}), !is_phi),
            (json!({"rope_type": "proportional", "factor": 2.0}), false),
        ];
        for (rope, is_carried) in kinds {
            let kind = rope["rope_type"].as_str().expect("a kind");
            let mut outcomes = Vec::new();
            for is_new in [false, true] {
                let now = outcome(&folder, &with_rope(&config, &rope, is_new));
                if is_phi && kind == "yarn" {
                    // Phi 3's class takes it for longrope, whose factors are missing.
                    assert!(now.is_err_and(|e| e.contains("long_factor")), "{name} {kind}");
                    continue;
                }
                let (keys, tensors, notes) = match now {
                    Err(error) => {
                        assert!(
                            !is_carried && error.contains(&format!("`{kind}`")),
                            "{name} {kind}: {error}"
                        );
                        continue;
                    }
                    Ok(outcome) => outcome,
                };
                assert!(is_carried, "{name} {kind}: {keys:?}");
                let key = |name: &str| {
                    let name = format!("{}.{name}", architecture.name);
                    keys.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone())
                };
                assert_eq!(key("rope.freq_base"), Some(Value::F32(30000.0)), "{name} {kind}");
                let has = |tensor: &str| tensors.iter().any(|t| t.starts_with(tensor));
                match kind {
                    "linear" | "yarn" => {
                        assert_eq!(key("rope.scaling.type"), Some(kind.into()), "{name}");
                        assert_eq!(key("rope.scaling.factor"), Some(Value::F32(4.0)), "{name}");
                    }
                    "llama3" => assert!(has("rope_freqs.weight"), "{name}"),
                    "longrope" => {
                        assert!(
                            has("rope_factors_long.weight") && has("rope_factors_short.weight"),
                            "{name}"
                        );
                        assert!(key("rope.scaling.attn_factor").is_some(), "{name}");
                    }
                    "dynamic" => assert!(notes.iter().any(|n| n.contains("`dynamic`")), "{name}: {notes:?}"),
                    _ => {}
                }
                if matches!(kind, "yarn" | "longrope") && !is_phi {
                    let original = key("rope.scaling.original_context_length");
                    assert_eq!(original, Some(Value::U32(1024)), "{name} {kind}");
                }
                outcomes.push((keys, tensors, notes));
            }
            assert!(
                outcomes.windows(2).all(|pair| pair[0] == pair[1]),
                "{name} {kind}: both forms are the same"
            );
        }
    }
}

/// A case with other values in config.json.
fn changed(name: &str, values: Json) -> Outcome {
    let (_, folder, mut config) = case(name);
    config.extend(values.as_object().expect("values").clone());
    outcome(&folder, &config)
}

#[track_caller]
fn key_of(name: &str, values: Json, key: &str) -> Option<Value> {
    let (keys, ..) = changed(name, values).unwrap_or_else(|e| panic!("{e}"));
    keys.into_iter().find(|(name, _)| name == key).map(|(_, value)| value)
}

#[track_caller]
fn refused(name: &str, values: Json, words: &[&str]) {
    match changed(name, values.clone()) {
        Ok(_) => panic!("{name} with {values} should have been refused"),
        Err(error) => support::assert_says(error, words),
    }
}

#[track_caller]
fn noted(name: &str, values: Json, words: &[&str]) {
    let (.., notes) = changed(name, values).unwrap_or_else(|e| panic!("{e}"));
    support::assert_says(notes.join("\n"), words);
}

#[test]
fn yarn_as_transformers_has_it() {
    let yarn = |more: Json| {
        let mut yarn = json!({"type": "yarn", "factor": 4.0}).as_object().expect("an object").clone();
        yarn.extend(more.as_object().expect("an object").clone());
        json!({"rope_scaling": yarn})
    };
    let key = |more, key| key_of("qwen2", yarn(more), key);
    // Without its original length: `max_position_embeddings`.
    let original = "qwen2.rope.scaling.original_context_length";
    assert_eq!(key(json!({}), original), Some(Value::U32(32768)));
    // llama.cpp scales scores by 0.1 ln 4 + 1 = 1.1386294, and by this key besides.
    let scale = "qwen2.rope.scaling.attn_factor";
    assert_eq!(key(json!({}), scale), None);
    assert_eq!(key(json!({"attention_factor": 1.138_629_436_111_989}), scale), None);
    assert_eq!(key(json!({"attention_factor": 1.0}), scale), Some(Value::F32(1.0 / 1.138_629_4)));
    let by_mscale = json!({"mscale": 1.0, "mscale_all_dim": 1.0});
    assert_eq!(key(by_mscale, scale), Some(Value::F32(1.0 / 1.138_629_4)));
    refused("qwen2", yarn(json!({"beta_fast": 16.0})), &["`beta_fast` is 16.0", "takes 32 for it"]);
    refused("qwen2", yarn(json!({"truncate": false})), &["`truncate` is false", "rounds"]);
    refused("gemma3", yarn(json!({"attention_factor": 1.0})), &["`attention_factor`", "window"]);
    noted("qwen2", yarn(json!({"shape": "round"})), &["`shape`", "rotary embeddings"]);
}

#[test]
fn rotary_embeddings_that_contradict_themselves() {
    let both = json!({"rope_parameters": {"rope_type": "default"}, "rope_scaling": {"type": "linear", "factor": 2.0}});
    refused("qwen2", both, &["`rope_type`", "`rope_parameters`", "`rope_scaling`"]);
    let layers = json!({"rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 2.0},
        "sliding_attention": {"rope_type": "default"}}});
    refused("qwen2", layers, &["full_attention", "sliding_attention"]);
    let scaled = json!({"rope_parameters": {"full_attention": {}, "sliding_attention": {"rope_type": "linear", "factor": 2.0}}});
    refused("gemma3", scaled, &["full_attention", "sliding_attention"]);
    refused("gemma3", json!({"rope_parameters": {"rope_theta": 5.0}}), &["full_attention"]);
    refused("qwen2", json!({"rope_scaling": "linear"}), &["`rope_scaling`", "\"linear\""]);
    refused("qwen2", json!({"rope_scaling": {"type": "linear"}}), &["`linear` has no `factor`"]);
    refused(
        "qwen2",
        json!({"partial_rotary_factor": 0.5}),
        &["`partial_rotary_factor` is 0.5", "as a whole"],
    );
    refused("stablelm", json!({"partial_rotary_factor": 0.4}), &["`partial_rotary_factor` is 0.4", "even"]);
    refused(
        "phi3",
        json!({"rope_scaling": {"type": "longrope", "long_factor": [1.0]}}),
        &["`long_factor`", "4 numbers"],
    );
}

/// Of the layers of Gemma 3 each kind has its own base.
#[test]
fn rotary_embeddings_by_layer() {
    let layers = json!({"rope_theta": null, "rope_local_base_freq": null,
        "rope_parameters": {"full_attention": {"rope_type": "linear", "rope_theta": 7.0, "factor": 2.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 5.0}}});
    for (key, value) in [("freq_base", 7.0), ("freq_base_swa", 5.0), ("scaling.factor", 2.0)] {
        let key = key_of("gemma3", layers.clone(), &format!("gemma3.rope.{key}"));
        assert_eq!(key, Some(Value::F32(value)));
    }
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

#[test]
fn other_models_are_refused() {
    for (name, values, words) in [
        (
            "Tiny-Llama-3.2-Instruct",
            json!({"hidden_act": "relu"}),
            &["`hidden_act` is \"relu\"", "llama", "SiLU"][..],
        ),
        ("gemma2", json!({"query_pre_attn_scalar": 224}), &["`query_pre_attn_scalar` is 224", "head, 16"]),
        ("gemma2", json!({"final_logit_softcapping": null}), &["`final_logit_softcapping` is null"]),
        ("gemma", json!({"use_bidirectional_attention": true}), &["`use_bidirectional_attention` is true"]),
        ("qwen2_moe", json!({"norm_topk_prob": true}), &["`norm_topk_prob` is true"]),
        ("falcon-40b", json!({"alibi": true}), &["`alibi` is true", "rotary"]),
        ("falcon-40b", json!({"parallel_attn": false}), &["`parallel_attn` is false"]),
        ("granite", json!({"logits_scaling": 0}), &["`logits_scaling`", "zero"]),
        ("qwen2", json!({"head_dim": 16}), &["`head_dim` is 16"]),
        ("gpt2", json!({"add_cross_attention": true}), &["`add_cross_attention` is true"]),
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
