//! Mistral 3 and Ministral 3: llama, of which Ministral 3 has queries that grow with their positions.

use super::config::Config;
use super::error::Error;
use super::file_keys::FileKeys;
use super::keys::{Key, Keys};
use super::llama::LLAMA;
use super::pieces::*;
use super::rope::{Rope, Yarn};
use super::table::{Architecture, may_have_biases, nothing_computed};
use serde_json::{Value as Json, json};

pub const MISTRAL3: Architecture = Architecture {
    name: "mistral3",
    hf: &["Ministral3ForCausalLM", "Mistral3ForConditionalGeneration"],
    defaults: r#"{"num_key_value_heads": 8, "tie_word_embeddings": false}"#,
    settled: settle,
    fixed: r#"{"model_type": "ministral3", "hidden_act": "silu"}"#,
    shown: &[],
    tensors: &[&EMBEDDINGS, &NORMS, &PAIRED_ATTENTION, &may_have_biases(GATED_MLP)],
    keys: &[
        &SIZES,
        &[
            KV_HEAD_COUNT,
            Key::group(write_rope, read_rope).reading(ROPE_NAMES),
            RMS_EPSILON,
            HEAD_SIZE,
            VOCABULARY_SIZE,
            ROTATED_HEADS,
            SILU,
            WINDOW_LEFT_OUT,
        ],
    ],
    computed: nothing_computed,
    ..LLAMA
};

/// What queries grow by.
const BETA: &str = "llama_4_scaling_beta";
const TEMPERATURE: &str = "attention.temperature_scale";

/// Yarn says its context twice.
const SCALED_QUERIES: Rope = Rope { yarn: Yarn::Mistral, more: &[BETA, "max_position_embeddings"], ..SCALED };

fn is_ministral(config: &Config) -> bool {
    config.get("model_type").is_some_and(|kind| kind == "ministral3")
}

/// What transformers assumes, which differs between Mistral and Ministral 3.
fn settle(config: &mut Config) {
    let usual = match is_ministral(config) {
        true => json!({"max_position_embeddings": 262_144, "rms_norm_eps": 1e-5, "head_dim": 128}),
        false => json!({"max_position_embeddings": 131_072, "rms_norm_eps": 1e-6, "sliding_window": 4096}),
    };
    for (name, value) in usual.as_object().expect("an object") {
        if config.said(name).is_none() {
            config.set(name, value.clone());
        }
    }
    if is_ministral(config) && config.find(&["rope_parameters", "rope_scaling"]).is_none() {
        let yarn = json!({"rope_type": "yarn", "rope_theta": 1e6, "factor": 16.0, "beta_fast": 32.0, "beta_slow": 1.0,
            "original_max_position_embeddings": 16384, "mscale": 1.0, "mscale_all_dim": 1.0, BETA: 0.1});
        config.set("rope_parameters", yarn);
    }
}

fn write_rope(keys: &mut Keys) -> Result<(), Error> {
    if is_ministral(keys.config) {
        let rope = SCALED_QUERIES.parameters(keys.config)?;
        let beta = rope.needed(BETA)?;
        if rope.kind() != "yarn" {
            let kind = Json::from(rope.kind());
            return Err(keys.differs("rope_type", &kind, "has queries grow by the original context of yarn"));
        }
        keys.put(TEMPERATURE, beta as f32);
    }
    SCALED_QUERIES.write(keys)
}

/// A file whose queries do not grow is a Mistral.
fn read_rope(file: &mut FileKeys) -> Result<(), Error> {
    SCALED_QUERIES.read(file)?;
    match file.float(TEMPERATURE)? {
        Some(beta) => {
            let mut scaling = file.json()["rope_scaling"].clone();
            scaling[BETA] = beta.into();
            file.set("rope_scaling", scaling);
        }
        None => {
            file.set("architectures", json!(["MistralForCausalLM"]));
            file.set("model_type", "mistral");
            file.set("sliding_window", Json::Null);
        }
    }
    Ok(())
}
