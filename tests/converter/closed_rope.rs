//! Rotary embeddings of config.json are carried into the file or refused by name, in the words of transformers 4 and 5.

use super::closed_config::{CASES, case, key_of, noted, outcome, refused};
use serde_json::{Map, Value as Json, json};
use tenpak_gguf::gguf::Value;

/// The values of config.json that describe rotary embeddings.
const ROPE: [&str; 4] = ["rope_scaling", "rope_parameters", "rope_theta", "rotary_emb_base"];

/// The kinds of scaling that llama.cpp's graph of an architecture computes. Ministral 3 and DeepSeek need more of yarn than
/// factor and context.
fn carried_scalings(architecture: &str) -> &'static [&'static str] {
    match architecture {
        "llama4" => &["default", "linear", "yarn", "llama3", "dynamic"],
        "llama" | "granite" => &["default", "linear", "yarn", "llama3", "longrope", "dynamic"],
        "phi3" => &["default", "longrope"],
        "mistral3" => &[],
        "deepseek2" => &["default", "dynamic"],
        _ => &["default", "linear", "yarn", "dynamic"],
    }
}

/// config.json with this description of rotary embeddings, as transformers 4 or 5 writes it.
fn with_rope(config: &Map<String, Json>, rope: &Json, is_new: bool) -> Map<String, Json> {
    let mut config = config.clone();
    ROPE.iter().for_each(|name| drop(config.remove(*name)));
    let mut rope = rope.as_object().expect("an object").clone();
    if is_new {
        rope.insert("rope_theta".into(), 30000.0.into());
        let is_olmo = config["model_type"] == "olmo3";
        let sliding = match is_olmo {
            // It has one base for all layers.
            true => json!({"rope_type": "default", "rope_theta": 30000.0}),
            false => json!({"rope_type": "default"}),
        };
        let by_layer = json!({"full_attention": rope, "sliding_attention": sliding});
        let is_layered = is_olmo || config.contains_key("rope_local_base_freq");
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
    // Gemma 4 has parameters for each kind of layer alone: `other_models_are_refused` of `closed_config` has them.
    const OTHERS: [&str; 4] = ["gpt2", "granite_hybrid", "gemma4", "gemma4-moe"];
    for name in CASES.iter().copied().filter(|name| !OTHERS.contains(name)) {
        let (architecture, folder, config) = case(name);
        let heads = config["num_attention_heads"].as_u64().expect("heads");
        let width = config["hidden_size"].as_u64().expect("a width");
        let dim = config.get("head_dim").and_then(Json::as_u64).unwrap_or(width / heads);
        let carried = carried_scalings(architecture.name);
        let is_phi = architecture.name == "phi3";
        let kinds = [
            json!({"rope_type": "default"}),
            json!({"rope_type": "linear", "factor": 4.0}),
            json!({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024}),
            json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": 1024}),
            json!({"rope_type": "longrope", "short_factor": vec![1.5; dim as usize / 2],
                "long_factor": vec![4.0; dim as usize / 2], "original_max_position_embeddings": 1024}),
            json!({"rope_type": "dynamic", "factor": 2.0}),
            json!({"rope_type": "proportional", "factor": 2.0}),
        ];
        // The older form gives layers with a window of OLMo 3 another base.
        let forms: &[bool] = if name == "olmo3" { &[true] } else { &[false, true] };
        for rope in kinds {
            let kind = rope["rope_type"].as_str().expect("a kind");
            let is_carried = carried.contains(&kind);
            let mut outcomes = Vec::new();
            for is_new in forms.iter().copied() {
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
