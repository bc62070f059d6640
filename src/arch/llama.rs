//! The llama architecture: Llama 1 to 3, TinyLlama, SmolLM and many more, in both directions.

use super::How::{KeyPairs, QueryPairs, Same};
use super::config::Shape;
use super::keys::Keys;
use super::tokenizer::Vocabulary;
use super::{Architecture, How, Tensor, captured, made, maybe, rope, same};
use crate::gguf::Value;
use crate::names;
use serde_json::{Value as Json, json};

pub use super::rope::FREQS as ROPE_FREQS;

pub(super) const LLAMA: Architecture = Architecture {
    name: "llama",
    hf: &["LlamaForCausalLM", "LLaMAForCausalLM"],
    defaults: r#"{"max_position_embeddings": 2048, "rope_theta": 10000.0}"#,
    prefix: "model.",
    tensors: TENSORS,
    vocabulary: Vocabulary::LLAMA,
    keys,
    computed: rope::llama3_factors,
};

const TENSORS: &[Tensor] = &[
    same("embed_tokens", "token_embd"),
    same("norm", "output_norm"),
    maybe("lm_head", "output", Same),
    same("layers.{b}.input_layernorm", "blk.{b}.attn_norm"),
    made("layers.{b}.self_attn.q_proj", "blk.{b}.attn_q", QueryPairs),
    made("layers.{b}.self_attn.k_proj", "blk.{b}.attn_k", KeyPairs),
    same("layers.{b}.self_attn.v_proj", "blk.{b}.attn_v"),
    same("layers.{b}.self_attn.o_proj", "blk.{b}.attn_output"),
    same("layers.{b}.post_attention_layernorm", "blk.{b}.ffn_norm"),
    same("layers.{b}.mlp.gate_proj", "blk.{b}.ffn_gate"),
    same("layers.{b}.mlp.up_proj", "blk.{b}.ffn_up"),
    same("layers.{b}.mlp.down_proj", "blk.{b}.ffn_down"),
];

fn keys(keys: &mut Keys) -> Result<(), String> {
    keys.sizes()?;
    keys.kv_heads()?;
    rope::write(keys)?;
    keys.float("attention.layer_norm_rms_epsilon", &["rms_norm_eps"])?;
    keys.head_size(true)?;
    keys.integer("vocab_size", &["vocab_size"])?;
    let dim = keys.config.shape()?.head_dim as u32;
    keys.put("rope.dimension_count", dim);
    Ok(())
}

/// The Hugging Face name of a GGUF tensor.
pub fn hf_name(gguf: &str) -> Option<String> {
    let (stem, suffix) = gguf.rsplit_once('.')?;
    let named = |t: &&Tensor| captured(t.gguf, stem).is_some();
    let block = names::block(gguf).unwrap_or_default().to_string();
    let hf = TENSORS.iter().find(named)?.hf.replace("{b}", &block);
    // The head stands beside the model.
    let prefix = if hf == "lm_head" { "" } else { LLAMA.prefix };
    ["weight", "bias"].contains(&suffix).then(|| format!("{prefix}{hf}.{suffix}"))
}

/// The number of heads whose rows change order, for q and k tensors by their GGUF name.
pub fn permuted_heads(gguf: &str, shape: &Shape) -> Option<u64> {
    let (stem, _) = gguf.rsplit_once('.')?;
    match TENSORS.iter().find(|t| captured(t.gguf, stem).is_some())?.how {
        How::QueryPairs => Some(shape.heads),
        How::KeyPairs => Some(shape.kv_heads),
        _ => None,
    }
}

/// The config.json of a model with these GGUF keys, and the shape it describes.
pub fn config_json(
    key: impl Fn(&str) -> Option<Value>,
    tied: bool,
    dtype: &str,
) -> Result<(Json, Shape), String> {
    let integer = |name: &str| {
        let name = format!("llama.{name}");
        key(&name).and_then(|v| v.as_u64()).ok_or_else(|| format!("key `{name}` is not there or no integer"))
    };
    let heads = integer("attention.head_count")?;
    let hidden = integer("embedding_length")?;
    let head_dim = integer("rope.dimension_count").unwrap_or(hidden / heads.max(1));
    let shape = Shape {
        blocks: integer("block_count")?,
        heads,
        kv_heads: integer("attention.head_count_kv").unwrap_or(heads),
        head_dim,
    }
    .checked()?;
    let float = |name: &str| key(&format!("llama.{name}")).and_then(|v| v.as_f64());
    // Through the shortest decimal that gives the same f32: 1e-5, not 9.999999747378752e-06.
    let decimal = |v: f64| (v as f32).to_string().parse::<f64>().unwrap_or(v);
    let eps = float("attention.layer_norm_rms_epsilon")
        .ok_or("key `llama.attention.layer_norm_rms_epsilon` is not there")?;
    let tokens = key("tokenizer.ggml.tokens").and_then(|v| v.as_array().map(|a| a.len() as u64));
    let mut config = json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": hidden,
        "intermediate_size": integer("feed_forward_length")?,
        "max_position_embeddings": integer("context_length")?,
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.blocks,
        "num_key_value_heads": shape.kv_heads,
        "rms_norm_eps": decimal(eps),
        "rope_theta": decimal(float("rope.freq_base").unwrap_or(10000.0)),
        "tie_word_embeddings": tied,
        "torch_dtype": dtype,
        "vocab_size": integer("vocab_size").ok().or(tokens).ok_or("the vocabulary has no size")?,
    });
    if integer("attention.key_length").is_ok() {
        config["head_dim"] = json!(head_dim);
    }
    for (name, id) in [("bos", "bos_token_id"), ("eos", "eos_token_id"), ("padding", "pad_token_id")] {
        if let Some(token) = key(&format!("tokenizer.ggml.{name}_token_id")).and_then(|v| v.as_u64()) {
            config[id] = json!(token);
        }
    }
    Ok((config, shape))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways() {
        for hf in [
            "model.embed_tokens.weight",
            "lm_head.weight",
            "model.layers.11.self_attn.q_proj.weight",
            "model.layers.0.mlp.down_proj.bias",
        ] {
            assert_eq!(hf_name(&LLAMA.places(hf)[0].name).as_deref(), Some(hf));
        }
        assert_eq!(hf_name("blk.x.ffn_down.weight"), None);
    }
}
