//! OLMo 3: OLMo 2 with a window in most layers.

use super::error::Error;
use super::file_keys::FileKeys;
use super::gemma::{SLIDING_WINDOW, read_layers};
use super::keys::{Key, Keys};
use super::olmo2::OLMO2;
use super::pieces::*;
use super::rope::{Layers, Rope};
use super::table::Architecture;
use crate::gguf::{Kind, Value};
use serde_json::Value as Json;

pub const OLMO3: Architecture = Architecture {
    hf: &["Olmo3ForCausalLM"],
    defaults: r#"{"max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "rope_theta": 500000.0,
        "rope_local_base_freq": 500000.0, "sliding_window": 4096, "tie_word_embeddings": false}"#,
    fixed: r#"{"model_type": "olmo3", "hidden_act": "silu"}"#,
    keys: &[
        &SIZES,
        &[
            KV_HEAD_COUNT,
            Key::group(|keys| UNSCALED.write(keys), |file| UNSCALED.read(file)).reading(ROPE_NAMES),
            Key::group(write_window, read_window).reading(&["sliding_window", "layer_types"]),
        ],
        OPTIONAL,
        &[SILU, HEADS_FILL_WIDTH],
    ],
    ..OLMO2
};

/// Layers with a window have no scaling.
const UNSCALED: Rope = Rope { layers: Layers::Unscaled, ..SCALED };

/// Every so many layers one has full attention where nothing is said.
const FULL: u64 = 4;

/// Writes the window, and which blocks have it.
fn write_window(keys: &mut Keys) -> Result<(), Error> {
    let blocks = keys.config.shape()?.blocks;
    let layers =
        layer_types(keys)?.unwrap_or_else(|| (1..=blocks).map(|block| !block.is_multiple_of(FULL)).collect());
    if keys.config.get("sliding_window").is_none() {
        return match layers.contains(&true) {
            true => Err(keys.differs(
                "sliding_window",
                &Json::Null,
                "has a window in layers whose rotary embeddings are not scaled",
            )),
            false => Ok(()),
        };
    }
    keys.write(&SLIDING_WINDOW)?;
    let layers = layers.into_iter().map(Value::Bool).collect();
    keys.put("attention.sliding_window_pattern", Value::Array(Kind::Bool, layers));
    Ok(())
}

fn read_window(file: &mut FileKeys) -> Result<(), Error> {
    SLIDING_WINDOW.read(file)?;
    read_layers(file)
}
