//! Granite: llama with multipliers.

use super::Architecture;
use super::keys::Keys;
use super::llama::LLAMA;
use super::rope;

pub const GRANITE: Architecture =
    Architecture { name: "granite", hf: &["GraniteForCausalLM"], keys, ..LLAMA };

fn keys(keys: &mut Keys) -> Result<(), String> {
    keys.sizes()?;
    keys.kv_heads()?;
    rope::write(keys)?;
    keys.float("attention.layer_norm_rms_epsilon", &["rms_norm_eps"])?;
    keys.integer("vocab_size", &["vocab_size"])?;
    let dim = keys.config.shape()?.head_dim as u32;
    keys.put("rope.dimension_count", dim);
    for (key, name) in [
        ("attention.scale", "attention_multiplier"),
        ("embedding_scale", "embedding_multiplier"),
        ("residual_scale", "residual_multiplier"),
        ("logit_scale", "logits_scaling"),
    ] {
        // transformers multiplies by one where nothing is said; a zero is no multiplier.
        let value = keys.config.float(&[name])?.unwrap_or(1.0) as f32;
        if value != 0.0 {
            keys.put(key, value);
        }
    }
    Ok(())
}
