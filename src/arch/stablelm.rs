//! StableLM and StableLM 2.

use super::How::{Same, Stacked};
use super::keys::Keys;
use super::rope;
use super::tokenizer::Vocabulary;
use super::{Architecture, maybe, nothing_computed, same};

pub const STABLELM: Architecture = Architecture {
    name: "stablelm",
    hf: &["StableLmForCausalLM", "StableLMEpochForCausalLM"],
    defaults: r#"{"num_key_value_heads": 32, "max_position_embeddings": 4096, "layer_norm_eps": 1e-5,
        "use_parallel_residual": false}"#,
    prefix: "model.",
    tensors: &[
        same("embed_tokens", "token_embd"),
        same("norm", "output_norm"),
        maybe("lm_head", "output", Same),
        same("layers.{b}.input_layernorm", "blk.{b}.attn_norm"),
        same("layers.{b}.self_attn.q_proj", "blk.{b}.attn_q"),
        same("layers.{b}.self_attn.k_proj", "blk.{b}.attn_k"),
        same("layers.{b}.self_attn.v_proj", "blk.{b}.attn_v"),
        same("layers.{b}.self_attn.o_proj", "blk.{b}.attn_output"),
        // A norm for every head.
        maybe("layers.{b}.self_attn.q_layernorm.norms.{x}", "blk.{b}.attn_q_norm", Stacked),
        maybe("layers.{b}.self_attn.k_layernorm.norms.{x}", "blk.{b}.attn_k_norm", Stacked),
        maybe("layers.{b}.post_attention_layernorm", "blk.{b}.ffn_norm", Same),
        same("layers.{b}.mlp.gate_proj", "blk.{b}.ffn_gate"),
        same("layers.{b}.mlp.up_proj", "blk.{b}.ffn_up"),
        same("layers.{b}.mlp.down_proj", "blk.{b}.ffn_down"),
    ],
    vocabulary: Vocabulary::BPE,
    keys,
    computed: nothing_computed,
};

fn keys(keys: &mut Keys) -> Result<(), String> {
    keys.sizes()?;
    keys.kv_heads()?;
    let rotated = rope::rotated_dimensions(keys.config, 0.25)?;
    keys.put("rope.dimension_count", rotated);
    let parallel = keys.config.is_true("use_parallel_residual");
    keys.put("use_parallel_residual", parallel);
    keys.float("attention.layer_norm_epsilon", &["layer_norm_eps", "norm_eps"])
}
