//! SmolLM3: llama with every fourth layer without rotary embeddings.

use super::error::Error;
use super::keys::{Key, Keys, Only};
use super::llama::LLAMA;
use super::pieces::*;
use super::table::{Architecture, Tensor, nothing_computed};
use serde_json::Value as Json;

pub const SMOLLM3: Architecture = Architecture {
    name: "smollm3",
    hf: &["SmolLM3ForCausalLM"],
    defaults: r#"{"num_key_value_heads": 4, "max_position_embeddings": 32768, "rms_norm_eps": 1e-6,
        "rope_theta": 2000000.0, "no_rope_layer_interval": 4, "tie_word_embeddings": true}"#,
    fixed: r#"{"model_type": "smollm3", "hidden_act": "silu"}"#,
    shown: &[ATTENTION_BIAS],
    tensors: &[&EMBEDDINGS, &NORMS, &PLAIN_OUTPUT, &GATED_MLP],
    keys: &[
        BASICS,
        &[
            RMS_EPSILON,
            OPTIONAL_HEAD_SIZE,
            VOCABULARY_SIZE,
            ROTATED_HEADS,
            SILU,
            NO_MLP_BIAS,
            Key::check(&["no_rope_layers", "no_rope_layer_interval"], check_rotated_layers),
            Key::check(SLIDING, note_sliding_layers),
        ],
    ],
    computed: nothing_computed,
    ..LLAMA
};

/// What windows depend on; config.json says `max_window_layers` besides, which transformers does not read.
const SLIDING: &[&str] = &["use_sliding_window", "sliding_window", "layer_types", "max_window_layers"];

/// [`PAIRED_ATTENTION`] without a bias of the output.
const PLAIN_OUTPUT: [Tensor; 4] = {
    let [q, k, v, _] = PAIRED_ATTENTION;
    [q, k, v, ATTENTION_OUTPUT]
};

/// Every so many layers one has no rotary embeddings in llama.cpp.
const UNROTATED: u64 = 4;

/// Compares which layers have rotary embeddings with what llama.cpp takes for granted.
pub fn check_rotated_layers(keys: &mut Keys) -> Result<(), Error> {
    let config = keys.config;
    let does = "has rotary embeddings in all layers but every fourth";
    let said = config.get("no_rope_layers");
    if let Some(said) = said.filter(|said| said.as_array().is_none_or(|layers| !layers.is_empty())) {
        let blocks = config.shape()?.blocks;
        let is_rotated = |block: u64| {
            let value = said.get(block as usize)?;
            value.as_bool().or_else(|| Some(value.as_f64()? != 0.0))
        };
        let is_usual = |block: u64| is_rotated(block) == Some(!(block + 1).is_multiple_of(UNROTATED));
        return if (0..blocks).all(is_usual) {
            Ok(())
        } else {
            Err(keys.differs("no_rope_layers", said, does))
        };
    }
    keys.write(&Key::only(&["no_rope_layer_interval"], Only::Number(UNROTATED as f64), does))
}

/// Says up to which length the results are those of the model. Layers without rotary embeddings have the window where
/// nothing else is said.
fn note_sliding_layers(keys: &mut Keys) -> Result<(), Error> {
    let config = keys.config;
    if !config.is_true("use_sliding_window") {
        return Ok(());
    }
    let slides = match layer_types(keys)? {
        Some(layers) => layers.contains(&true),
        None => config.shape()?.blocks >= UNROTATED,
    };
    let window = config.get("sliding_window").and_then(Json::as_u64).filter(|_| slides);
    note_window(keys, window)
}
