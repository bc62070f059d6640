//! Rows that architectures share. A family that names its tensors otherwise has rows of its own in its file.

use super::config::{BLOCKS, Config, HEADS, HIDDEN, KV_HEADS};
use super::error::Error;
use super::file_keys::FileKeys;
use super::keys::{Key, Keys};
use super::rope;
use super::table::{Conversion, Tensor, Width};

/// Embeddings, the last norm, and the output head where it is not the embeddings.
pub const EMBEDDINGS: [Tensor; 3] = [
    Tensor::new("embed_tokens", "token_embd", Width::Columns),
    Tensor::new("norm", "output_norm", Width::Columns),
    Tensor::new("lm_head", "output", Width::Columns).optional(),
];

/// Queries, keys, values and what becomes of them.
pub const ATTENTION: [Tensor; 4] = [
    Tensor::new("layers.{b}.self_attn.q_proj", "blk.{b}.attn_q", Width::Columns),
    Tensor::new("layers.{b}.self_attn.k_proj", "blk.{b}.attn_k", Width::Columns),
    Tensor::new("layers.{b}.self_attn.v_proj", "blk.{b}.attn_v", Width::Columns),
    ATTENTION_OUTPUT,
];

/// The matrix after the values have been mixed.
pub const ATTENTION_OUTPUT: Tensor =
    Tensor::new("layers.{b}.self_attn.o_proj", "blk.{b}.attn_output", Width::Rows);

/// [`ATTENTION`] where llama.cpp has the two elements of a rotary pair side by side.
pub const PAIRED_ATTENTION: [Tensor; 4] = {
    let [q, k, v, o] = ATTENTION;
    [q.converted(Conversion::QueryPairs), k.converted(Conversion::KeyPairs), v, o]
};

/// Norms of queries and keys.
pub const QK_NORMS: [Tensor; 2] = [
    Tensor::new("layers.{b}.self_attn.q_norm", "blk.{b}.attn_q_norm", Width::None),
    Tensor::new("layers.{b}.self_attn.k_norm", "blk.{b}.attn_k_norm", Width::None),
];

/// The norm before attention.
pub const NORM_BEFORE_ATTENTION: Tensor =
    Tensor::new("layers.{b}.input_layernorm", "blk.{b}.attn_norm", Width::Columns);

/// Norms before attention and before the feed-forward matrices.
pub const NORMS: [Tensor; 2] = [
    NORM_BEFORE_ATTENTION,
    Tensor::new("layers.{b}.post_attention_layernorm", "blk.{b}.ffn_norm", Width::Columns),
];

/// Norms after attention and after the feed-forward matrices.
pub const NORMS_AFTER: [Tensor; 2] = [
    Tensor::new("layers.{b}.post_attention_layernorm", "blk.{b}.post_attention_norm", Width::Columns),
    Tensor::new("layers.{b}.post_feedforward_layernorm", "blk.{b}.post_ffw_norm", Width::Columns),
];

/// Feed-forward matrices, of which one gates the other.
pub const GATED_MLP: [Tensor; 3] = [
    Tensor::new("layers.{b}.mlp.gate_proj", "blk.{b}.ffn_gate", Width::Columns),
    Tensor::new("layers.{b}.mlp.up_proj", "blk.{b}.ffn_up", Width::Columns),
    Tensor::new("layers.{b}.mlp.down_proj", "blk.{b}.ffn_down", Width::Rows),
];

/// The routing to experts, and the experts.
pub const EXPERTS: [Tensor; 4] = [
    Tensor::new("layers.{b}.mlp.gate", "blk.{b}.ffn_gate_inp", Width::Columns),
    Tensor::new("layers.{b}.mlp.experts.{x}.gate_proj", "blk.{b}.ffn_gate_exps", Width::Columns)
        .converted(Conversion::Stacked),
    Tensor::new("layers.{b}.mlp.experts.{x}.up_proj", "blk.{b}.ffn_up_exps", Width::Columns)
        .converted(Conversion::Stacked),
    Tensor::new("layers.{b}.mlp.experts.{x}.down_proj", "blk.{b}.ffn_down_exps", Width::Rows)
        .converted(Conversion::Stacked),
];

/// Experts as transformers 5 has them in memory, gate and up in one tensor.
pub const FUSED_EXPERTS: [Tensor; 3] = [
    Tensor::new("layers.{b}.mlp.experts.gate_up_proj", "blk.{b}.ffn_gate_exps", Width::Columns)
        .converted(Conversion::FirstHalf)
        .only_read(),
    Tensor::new("layers.{b}.mlp.experts.gate_up_proj", "blk.{b}.ffn_up_exps", Width::Columns)
        .converted(Conversion::SecondHalf)
        .only_read(),
    Tensor::new("layers.{b}.mlp.experts.down_proj", "blk.{b}.ffn_down_exps", Width::Rows).only_read(),
];

/// The expert of all tokens, and how much of it each gets.
pub const SHARED_EXPERT: [Tensor; 4] = [
    Tensor::new("layers.{b}.mlp.shared_expert_gate", "blk.{b}.ffn_gate_inp_shexp", Width::Columns),
    Tensor::new("layers.{b}.mlp.shared_expert.gate_proj", "blk.{b}.ffn_gate_shexp", Width::Columns),
    Tensor::new("layers.{b}.mlp.shared_expert.up_proj", "blk.{b}.ffn_up_shexp", Width::Columns),
    Tensor::new("layers.{b}.mlp.shared_expert.down_proj", "blk.{b}.ffn_down_shexp", Width::Rows),
];

/// Blocks, context, width, heads.
pub const SIZES: [Key; 5] = [
    Key::integer("block_count", BLOCKS),
    Key::integer("context_length", &["max_position_embeddings", "n_ctx", "n_positions"]),
    Key::integer("embedding_length", HIDDEN),
    Key::integer("feed_forward_length", &["intermediate_size", "n_inner"]).optional(),
    Key::integer("attention.head_count", HEADS),
];

/// Heads of keys and values: as many as of queries where nothing is said.
pub const KV_HEAD_COUNT: Key = Key::integer("attention.head_count_kv", KV_HEADS)
    .or_else(|config| Ok(config.shape()?.heads), |file| file.integer("attention.head_count"));

/// Bases and scaling of rotary embeddings.
pub const ROPE: Key = Key::group(rope::write, rope::read);

/// What is added to the squares that a norm of squares divides by.
pub const RMS_EPSILON: Key = Key::float("attention.layer_norm_rms_epsilon", &["rms_norm_eps"]);

/// Size of the heads where config.json says it.
pub const OPTIONAL_HEAD_SIZE: Key = Key::group(
    |keys| if keys.config.get("head_dim").is_some() { write_head_size(keys) } else { Ok(()) },
    read_head_size,
);

/// Size of the heads, also where it follows from the width.
pub const HEAD_SIZE: Key = Key::group(write_head_size, read_head_size);

fn write_head_size(keys: &mut Keys) -> Result<(), Error> {
    let dim = keys.config.shape()?.head_dim as u32;
    keys.put("attention.key_length", dim);
    keys.put("attention.value_length", dim);
    Ok(())
}

fn read_head_size(file: &mut FileKeys) -> Result<(), Error> {
    if let Some(dim) = file.integer("attention.key_length")? {
        file.set("head_dim", dim);
    }
    Ok(())
}

/// Heads are rotated as a whole. Old files say the size of their heads in no other way.
pub const ROTATED_HEADS: Key = Key::group(
    |keys| {
        let dim = keys.config.shape()?.head_dim as u32;
        keys.put("rope.dimension_count", dim);
        Ok(())
    },
    |file| {
        let heads = file.integer("attention.head_count")?.unwrap_or(1).max(1);
        let usual = file.integer("embedding_length")?.unwrap_or(0) / heads;
        let rotated = file.integer("rope.dimension_count")?.filter(|dim| *dim != usual);
        if let Some(dim) = rotated.filter(|_| !file.is_set("head_dim")) {
            file.set("head_dim", dim);
        }
        Ok(())
    },
);

/// Number of tokens.
pub const VOCABULARY_SIZE: Key = Key::integer("vocab_size", &["vocab_size"]);

/// What most architectures begin with: sizes, heads, rotary embeddings.
pub const BASICS: &[Key] = &{
    let [blocks, context, width, inner, heads] = SIZES;
    [blocks, context, width, inner, heads, KV_HEAD_COUNT, ROPE]
};

/// What most architectures have besides, where config.json says it.
pub const OPTIONAL: &[Key] = &OPTIONAL_ROWS;

/// The rows of [`OPTIONAL`], for families that have another name for one of them.
pub const OPTIONAL_ROWS: [Key; 5] = [
    RMS_EPSILON.optional(),
    Key::float("attention.layer_norm_epsilon", &["layer_norm_eps", "norm_epsilon"]).optional(),
    Key::integer("expert_count", &["num_local_experts", "num_experts"]).optional(),
    Key::integer("expert_used_count", &["num_experts_per_tok"]).optional(),
    OPTIONAL_HEAD_SIZE,
];

/// What flags of config.json say about biases.
pub const ATTENTION_BIAS: (&str, &str, bool) = ("attention_bias", "blk.0.attn_q.bias", false);
/// See [`ATTENTION_BIAS`].
pub const MLP_BIAS: (&str, &str, bool) = ("mlp_bias", "blk.0.ffn_up.bias", false);

/// The part of a head that is rotated, as `rope.dimension_count`; `share` of it where nothing is said.
pub fn write_rotated_part(keys: &mut Keys, share: f64) -> Result<(), Error> {
    let rotated = rope::rotated_dimensions(keys.config, share)?;
    keys.put("rope.dimension_count", rotated);
    Ok(())
}

/// The share of a head that is rotated, under its name in config.json.
pub fn read_rotated_part(file: &mut FileKeys, name: &str) -> Result<(), Error> {
    let Some(rotated) = file.integer("rope.dimension_count")? else { return Ok(()) };
    let config = Config::new(file.json(), "{}");
    let head_dim = config.shape()?.head_dim as f64;
    // Reading rounds the product down.
    let share = rotated as f64 / head_dim;
    let share = if (share * head_dim) as u64 == rotated { share } else { share.next_up() };
    file.set(name, share);
    Ok(())
}
