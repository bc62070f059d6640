//! Phi 3, 3.5 and 4: fused matrices stay fused.

use super::How::Same;
use super::config::Config;
use super::keys::Keys;
use super::rope;
use super::tokenizer::Vocabulary;
use super::{Architecture, Computed, maybe, same};
use serde_json::Value as Json;

pub const PHI3: Architecture = Architecture {
    name: "phi3",
    hf: &["Phi3ForCausalLM"],
    defaults: r#"{"max_position_embeddings": 4096, "original_max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "num_key_value_heads": 32}"#,
    prefix: "model.",
    tensors: &[
        same("embed_tokens", "token_embd"),
        same("norm", "output_norm"),
        maybe("lm_head", "output", Same),
        same("layers.{b}.input_layernorm", "blk.{b}.attn_norm"),
        same("layers.{b}.self_attn.qkv_proj", "blk.{b}.attn_qkv"),
        same("layers.{b}.self_attn.o_proj", "blk.{b}.attn_output"),
        same("layers.{b}.post_attention_layernorm", "blk.{b}.ffn_norm"),
        same("layers.{b}.mlp.gate_up_proj", "blk.{b}.ffn_up"),
        same("layers.{b}.mlp.down_proj", "blk.{b}.ffn_down"),
    ],
    vocabulary: Vocabulary::PHI3,
    keys,
    computed: long_rope,
};

fn keys(keys: &mut Keys) -> Result<(), String> {
    keys.sizes()?;
    keys.kv_heads()?;
    keys.float("attention.layer_norm_rms_epsilon", &["rms_norm_eps"])?;
    let rotated = rope::rotated_dimensions(keys.config, 1.0)?;
    keys.put("rope.dimension_count", rotated);
    let rope = rope::parameters(keys.config);
    let number = |name: &str| rope.get(name).and_then(Json::as_f64);
    let original = number("original_max_position_embeddings").ok_or("no original context length is said")?;
    keys.put("rope.scaling.original_context_length", original as u32);
    keys.put("rope.freq_base", number("rope_theta").ok_or("`rope_theta` is not there")? as f32);
    // Zero says that there is no window: llama.cpp takes a missing key for an old file.
    let window = keys.config.integer(&["sliding_window"])?.unwrap_or(0);
    keys.put("attention.sliding_window", window as u32);
    if rope.get("long_factor").is_some_and(|f| !f.is_null()) {
        let scale = keys.config.needed_float(&["max_position_embeddings"])? / original;
        let kind = rope.get("rope_type").or(rope.get("type")).and_then(Json::as_str).unwrap_or_default();
        let attention = match kind {
            _ if scale <= 1.0 => 1.0,
            "su" | "longrope" => (1.0 + scale.ln() / original.ln()).sqrt(),
            "yarn" => 0.1 * scale.ln() + 1.0,
            other => return Err(format!("rope scaling `{other}` is not supported yet")),
        };
        keys.put("rope.scaling.attn_factor", attention as f32);
    }
    Ok(())
}

/// Factors for contexts beyond the original length and within it.
fn long_rope(config: &Config) -> Result<Computed, String> {
    let rope = rope::parameters(config);
    let pairs = rope::rotated_dimensions(config, 1.0)? as usize / 2;
    let mut tensors = Vec::new();
    for (name, tensor) in
        [("long_factor", "rope_factors_long.weight"), ("short_factor", "rope_factors_short.weight")]
    {
        let Some(factors) = rope.get(name).and_then(Json::as_array) else { continue };
        let factors: Option<Vec<f32>> = factors.iter().map(|f| f.as_f64().map(|f| f as f32)).collect();
        let factors = factors.filter(|f| f.len() == pairs);
        tensors.push((tensor, factors.ok_or_else(|| format!("`{name}` is not {pairs} numbers"))?));
    }
    match tensors.len() {
        1 => Err("one of `long_factor` and `short_factor` is not there".into()),
        _ => Ok(tensors),
    }
}
