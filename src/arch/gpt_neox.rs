//! GPT-NeoX and Pythia.

use super::How::Ungrouped;
use super::keys::Keys;
use super::rope;
use super::tokenizer::Vocabulary;
use super::{Architecture, ignored, made, nothing_computed, same};

pub const GPT_NEOX: Architecture = Architecture {
    name: "gptneox",
    hf: &["GPTNeoXForCausalLM"],
    defaults: r#"{"rotary_pct": 0.25, "max_position_embeddings": 2048, "layer_norm_eps": 1e-5}"#,
    prefix: "gpt_neox.",
    tensors: &[
        same("embed_in", "token_embd"),
        same("embed_out", "output"),
        same("final_layer_norm", "output_norm"),
        same("layers.{b}.input_layernorm", "blk.{b}.attn_norm"),
        made("layers.{b}.attention.query_key_value", "blk.{b}.attn_qkv", Ungrouped),
        same("layers.{b}.attention.dense", "blk.{b}.attn_output"),
        same("layers.{b}.post_attention_layernorm", "blk.{b}.ffn_norm"),
        same("layers.{b}.mlp.dense_h_to_4h", "blk.{b}.ffn_up"),
        same("layers.{b}.mlp.dense_4h_to_h", "blk.{b}.ffn_down"),
        // Causal masks.
        ignored("layers.{b}.attention"),
        ignored("layers.{b}.attention.masked_bias"),
    ],
    vocabulary: Vocabulary::BPE,
    keys,
    computed: nothing_computed,
};

fn keys(keys: &mut Keys) -> Result<(), String> {
    keys.sizes()?;
    let rotated = rope::rotated_dimensions(keys.config, 0.25)?;
    keys.put("rope.dimension_count", rotated);
    let parallel = keys.config.get("use_parallel_residual").and_then(|v| v.as_bool()).unwrap_or(true);
    keys.put("use_parallel_residual", parallel);
    keys.float("attention.layer_norm_epsilon", &["layer_norm_eps"])
}
