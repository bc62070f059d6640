//! Rows that architectures share. A family that names its tensors otherwise has rows of its own in its file.

use super::config::{BLOCKS, Config, HEADS, HIDDEN, KV_HEADS};
use super::error::Error;
use super::file_keys::FileKeys;
use super::keys::{Key, Keys, Only};
use super::rope::{Layers, Rope, Scaling, Yarn};
use super::table::{Conversion, Extent, Half, Shown, Tensor, Width};
use serde_json::Value as Json;

/// Embeddings, the last norm, and the output head where it is not the embeddings.
pub const EMBEDDINGS: [Tensor; 3] = [
    Tensor::new("embed_tokens", "token_embd", Width::Columns),
    Tensor::new("norm", "output_norm", Width::Columns),
    Tensor::new("lm_head", "output", Width::Columns).optional(),
];

/// [`EMBEDDINGS`] with a bias of the last norm.
pub const BIASED_EMBEDDINGS: [Tensor; 3] = {
    let [tokens, norm, head] = EMBEDDINGS;
    [tokens, norm.with_bias(), head]
};

/// Queries, keys, values and what becomes of them.
pub const ATTENTION: [Tensor; 4] = [
    Tensor::new("layers.{b}.self_attn.q_proj", "blk.{b}.attn_q", Width::Columns)
        .by(Extent::Queries)
        .may_have_bias(),
    Tensor::new("layers.{b}.self_attn.k_proj", "blk.{b}.attn_k", Width::Columns)
        .by(Extent::Keys)
        .may_have_bias(),
    Tensor::new("layers.{b}.self_attn.v_proj", "blk.{b}.attn_v", Width::Columns)
        .by(Extent::Keys)
        .may_have_bias(),
    ATTENTION_OUTPUT,
];

/// The matrix after the values have been mixed.
pub const ATTENTION_OUTPUT: Tensor =
    Tensor::new("layers.{b}.self_attn.o_proj", "blk.{b}.attn_output", Width::Rows).by(Extent::Queries);

/// [`ATTENTION`] where llama.cpp has the two elements of a rotary pair side by side.
pub const PAIRED_ATTENTION: [Tensor; 4] = {
    let [q, k, v, o] = ATTENTION;
    [q.converted(Conversion::QueryPairs), k.converted(Conversion::KeyPairs), v, o.may_have_bias()]
};

/// Norms of queries and keys.
pub const QK_NORMS: [Tensor; 2] = [
    Tensor::new("layers.{b}.self_attn.q_norm", "blk.{b}.attn_q_norm", Width::None).by(Extent::Head),
    Tensor::new("layers.{b}.self_attn.k_norm", "blk.{b}.attn_k_norm", Width::None).by(Extent::Head),
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
    Tensor::new("layers.{b}.mlp.gate_proj", "blk.{b}.ffn_gate", Width::Columns).by(Extent::INNER),
    Tensor::new("layers.{b}.mlp.up_proj", "blk.{b}.ffn_up", Width::Columns).by(Extent::INNER),
    Tensor::new("layers.{b}.mlp.down_proj", "blk.{b}.ffn_down", Width::Rows).by(Extent::INNER),
];

/// The routing to experts, and the experts.
pub const EXPERTS: [Tensor; 4] = [
    Tensor::new("layers.{b}.mlp.gate", "blk.{b}.ffn_gate_inp", Width::Columns).by(Extent::EXPERTS),
    Tensor::new("layers.{b}.mlp.experts.{x}.gate_proj", "blk.{b}.ffn_gate_exps", Width::Columns)
        .by(Extent::EXPERT_INNER)
        .converted(Conversion::Stacked),
    Tensor::new("layers.{b}.mlp.experts.{x}.up_proj", "blk.{b}.ffn_up_exps", Width::Columns)
        .by(Extent::EXPERT_INNER)
        .converted(Conversion::Stacked),
    Tensor::new("layers.{b}.mlp.experts.{x}.down_proj", "blk.{b}.ffn_down_exps", Width::Rows)
        .by(Extent::EXPERT_INNER)
        .converted(Conversion::Stacked),
];

/// Experts as transformers 5 has them in memory, gate and up in one tensor.
pub const FUSED_EXPERTS: [Tensor; 3] = [
    Tensor::new("layers.{b}.mlp.experts.gate_up_proj", "blk.{b}.ffn_gate_exps", Width::Columns)
        .by(Extent::EXPERT_INNER)
        .converted(Conversion::Rows(Half::First))
        .only_read(),
    Tensor::new("layers.{b}.mlp.experts.gate_up_proj", "blk.{b}.ffn_up_exps", Width::Columns)
        .by(Extent::EXPERT_INNER)
        .converted(Conversion::Rows(Half::Second))
        .only_read(),
    Tensor::new("layers.{b}.mlp.experts.down_proj", "blk.{b}.ffn_down_exps", Width::Rows)
        .by(Extent::EXPERT_INNER)
        .only_read(),
];

/// The expert of all tokens, and how much of it each gets.
pub const SHARED_EXPERT: [Tensor; 4] = [
    Tensor::new("layers.{b}.mlp.shared_expert_gate", "blk.{b}.ffn_gate_inp_shexp", Width::Columns),
    Tensor::new("layers.{b}.mlp.shared_expert.gate_proj", "blk.{b}.ffn_gate_shexp", Width::Columns)
        .by(Extent::SHARED_INNER),
    Tensor::new("layers.{b}.mlp.shared_expert.up_proj", "blk.{b}.ffn_up_shexp", Width::Columns)
        .by(Extent::SHARED_INNER),
    Tensor::new("layers.{b}.mlp.shared_expert.down_proj", "blk.{b}.ffn_down_shexp", Width::Rows)
        .by(Extent::SHARED_INNER),
];

/// The experts of all tokens where a model says how many there are.
pub const SHARED_EXPERTS: [Tensor; 3] = {
    const WIDTH: Extent = Extent::Product("expert_feed_forward_length", "expert_shared_count");
    [
        Tensor::new("layers.{b}.mlp.shared_experts.gate_proj", "blk.{b}.ffn_gate_shexp", Width::Columns)
            .by(WIDTH)
            .optional(),
        Tensor::new("layers.{b}.mlp.shared_experts.up_proj", "blk.{b}.ffn_up_shexp", Width::Columns)
            .by(WIDTH)
            .optional(),
        Tensor::new("layers.{b}.mlp.shared_experts.down_proj", "blk.{b}.ffn_down_shexp", Width::Rows)
            .by(WIDTH)
            .optional(),
    ]
};

/// What shows these experts.
pub const SHOWN_SHARED_EXPERTS: [Shown; 3] = [
    Shown::value("n_shared_experts", "blk.{b}.ffn_gate_shexp.weight", has_shared_experts),
    Shown::value("n_shared_experts", "blk.{b}.ffn_up_shexp.weight", has_shared_experts),
    Shown::value("n_shared_experts", "blk.{b}.ffn_down_shexp.weight", has_shared_experts),
];

/// Whether config.json says that there are experts of all tokens.
fn has_shared_experts(config: &Config) -> bool {
    config.get("n_shared_experts").and_then(Json::as_u64).is_some_and(|count| count > 0)
}

/// What is added to the scores of experts when they are chosen.
pub const CORRECTION: Tensor =
    Tensor::whole("layers.{b}.mlp.gate.e_score_correction_bias", "blk.{b}.exp_probs_b.bias")
        .by(Extent::EXPERTS);

/// GGUF's number for scores of experts by the logistic function.
pub const SIGMOID: u32 = 2;

/// Experts in groups, of which some are chosen first, and experts of all tokens.
pub const GROUPED_EXPERTS: &[Key] = &[
    Key::integer("expert_count", &["n_routed_experts", "num_local_experts"]),
    Key::integer("expert_used_count", &["num_experts_per_tok"]),
    Key::integer("expert_group_count", &["n_group"]).optional(),
    Key::integer("expert_group_used_count", &["topk_group"]).optional(),
    Key::integer("expert_feed_forward_length", &["moe_intermediate_size"]),
    Key::integer("expert_shared_count", &["n_shared_experts"]),
];

/// Blocks, context, width, heads.
pub const SIZES: [Key; 5] = [
    Key::integer("block_count", BLOCKS),
    Key::integer("context_length", &["max_position_embeddings", "n_ctx", "n_positions"]),
    Key::integer("embedding_length", HIDDEN),
    Key::integer("feed_forward_length", &["intermediate_size", "n_inner"]),
    Key::integer("attention.head_count", HEADS),
];

/// [`SIZES`] but for the blocks.
pub const SIZES_BESIDE_BLOCKS: &[Key] = &{
    let [_, context, width, inner, heads] = SIZES;
    [context, width, inner, heads]
};

/// [`SIZES`] but for the width between feed-forward matrices.
pub const SIZES_BESIDE_MLP: &[Key] = &{
    let [blocks, context, width, _, heads] = SIZES;
    [blocks, context, width, heads]
};

/// Heads of keys and values: as many as of queries where nothing is said.
pub const KV_HEAD_COUNT: Key = Key::integer("attention.head_count_kv", KV_HEADS)
    .or_else(|config| Ok(config.shape()?.heads), |file| file.integer("attention.head_count"));

/// Names of what describes rotary embeddings that are the same in all layers.
pub const ROPE_NAMES: &[&str] = &[
    "rope_parameters",
    "rope_scaling",
    "rope_theta",
    "partial_rotary_factor",
    "original_max_position_embeddings",
    "max_position_embeddings",
];

/// Rotary embeddings of graphs that take no factors for frequencies.
pub const SCALED: Rope = Rope {
    scaling: &[Scaling::Linear, Scaling::Yarn],
    base: "rope_theta",
    says_usual_base: true,
    part: None,
    layers: Layers::Same,
    yarn: Yarn::Plain,
    more: &[],
};

/// Rotary embeddings of llama and of what was made from it.
pub const SCALED_BY_FACTORS: Rope =
    Rope { scaling: &[Scaling::Linear, Scaling::Yarn, Scaling::Llama3, Scaling::LongRope], ..SCALED };

/// [`SCALED`], of architectures whose files need not have the base.
pub const UNSAID: Rope = Rope { says_usual_base: false, ..SCALED };

/// The keys of [`SCALED`].
pub const ROPE: Key = Key::group(|keys| SCALED.write(keys), |file| SCALED.read(file)).reading(ROPE_NAMES);

/// The keys of [`SCALED_BY_FACTORS`].
pub const FACTOR_ROPE: Key =
    Key::group(|keys| SCALED_BY_FACTORS.write(keys), |file| SCALED_BY_FACTORS.read(file)).reading(ROPE_NAMES);

/// The keys of [`UNSAID`].
pub const UNSAID_ROPE: Key =
    Key::group(|keys| UNSAID.write(keys), |file| UNSAID.read(file)).reading(ROPE_NAMES);

/// The activation of graphs that apply SiLU.
pub const SILU: Key = Key::only(&["hidden_act"], Only::Word(&["silu", "swish"]), "applies SiLU");

/// What transformers calls GELU and its approximations, which differ by less than 16-bit floats do.
pub const GELU_WORDS: Only =
    Only::Word(&["gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "gelu_python", "gelu_accurate"]);

/// The activation of graphs that apply GELU.
pub const GELU: Key = Key::only(
    &["hidden_act", "hidden_activation", "activation_function", "activation"],
    GELU_WORDS,
    "applies GELU",
);

/// The same of classes that read another name. Files that were made of those of older classes have both.
pub const GELU_AS_HIDDEN_ACTIVATION: [Key; 2] = [
    Key::only(&["hidden_activation"], GELU_WORDS, "applies GELU"),
    Key::check(&["hidden_act"], |keys| {
        if let Some(value) = keys.config.said("hidden_act").filter(|value| !GELU_WORDS.is(value)) {
            keys.note(format!(
                "`hidden_act` is {value} in config.json, and no class of this architecture reads it: `hidden_activation` counts"
            ));
        }
        Ok(())
    }),
];

/// Attention of models of embeddings may see what follows.
pub const CAUSAL: Key = Key::group(
    |keys| {
        if keys.config.said("is_causal") == Some(&Json::Bool(false)) {
            keys.put("attention.causal", false);
        }
        Ok(())
    },
    |file| {
        file.flag("attention.causal")?.into_iter().for_each(|causal| file.set("is_causal", causal));
        Ok(())
    },
)
.reading(&["is_causal"]);

/// Gemma's own flag for attention that sees what follows.
pub const ONE_WAY: Key =
    Key::only(&["use_bidirectional_attention"], Only::Flag(false), "attends to what came before alone");

/// The size of heads in graphs where all heads together are as wide as the model.
pub const HEADS_FILL_WIDTH: Key = Key::check(&["head_dim"], |keys| {
    let (heads, width) = (keys.config.needed_integer(HEADS)?, keys.config.needed_integer(HIDDEN)?);
    match keys.config.get("head_dim") {
        Some(dim) if keys.config.shape()?.head_dim * heads != width => {
            Err(keys.differs("head_dim", dim, "has heads that are together as wide as the model"))
        }
        _ => Ok(()),
    }
});

/// The window of models that look back to so many tokens in all layers, where llama.cpp looks back to all.
pub const WINDOW_LEFT_OUT: Key = Key::check(&["sliding_window"], |keys| {
    let window = keys.config.integer(&["sliding_window"])?;
    note_window(keys, window)
});

/// The window of Qwen, which layers have that `layer_types` names, or those from a number on.
pub const QWEN_WINDOW_LEFT_OUT: Key =
    Key::check(&["use_sliding_window", "sliding_window", "max_window_layers", "layer_types"], |keys| {
        let config = keys.config;
        if !config.is_true("use_sliding_window") {
            return Ok(());
        }
        let slides = match layer_types(keys)? {
            Some(layers) => layers.contains(&true),
            None => {
                let first = config.integer(&["max_window_layers"])?.unwrap_or(0);
                first < config.needed_integer(BLOCKS)?
            }
        };
        let window = config.integer(&["sliding_window"])?.filter(|_| slides);
        note_window(keys, window)
    });

/// The window of Qwen's models with experts.
pub const FLAGGED_WINDOW_LEFT_OUT: Key =
    Key::check(&["use_sliding_window", "sliding_window", "max_window_layers", "layer_types"], |keys| {
        // Qwen 2 has a window in every second of so many layers.
        let slides = keys.config.is_true("use_sliding_window")
            && keys.config.integer(&["max_window_layers"])? != Some(0)
            && layer_types(keys)?.is_none_or(|layers| layers.contains(&true));
        let window = keys.config.integer(&["sliding_window"])?.filter(|_| slides);
        note_window(keys, window)
    });

/// Says up to which length the results are those of the model. A window of the whole context is none.
pub fn note_window(keys: &mut Keys, window: Option<u64>) -> Result<(), Error> {
    let context = keys.config.needed_integer(&["max_position_embeddings"])?;
    if let Some(window) = window.filter(|window| *window > 0 && *window < context) {
        let name = keys.architecture;
        keys.note(format!(
            "`sliding_window` is {window}, and llama.cpp's {name} looks back to all tokens: it computes what the model does \
             up to {window} tokens, and something else beyond"
        ));
    }
    Ok(())
}

/// Of every block whether it has a window, if `layer_types` says it.
pub fn layer_types(keys: &Keys) -> Result<Option<Vec<bool>>, Error> {
    let Some(said) = keys.config.get("layer_types") else { return Ok(None) };
    let does = "has layers with full attention and with a window alone, and one for each block";
    let differs = || keys.differs("layer_types", said, does);
    let kind = |layer: &Json| match layer.as_str() {
        Some("full_attention") => Ok(false),
        Some("sliding_attention") => Ok(true),
        _ => Err(differs()),
    };
    let layers = said.as_array().ok_or_else(differs)?.iter().map(kind).collect::<Result<Vec<_>, _>>()?;
    if layers.len() as u64 == keys.config.needed_integer(BLOCKS)? { Ok(Some(layers)) } else { Err(differs()) }
}

/// Every block has experts.
pub const EXPERTS_IN_EVERY_BLOCK: [Key; 2] = [
    Key::only(&["decoder_sparse_step"], Only::Number(1.0), "has experts in every block"),
    Key::only(&["mlp_only_layers"], Only::Flag(false), "has experts in every block"),
];

/// What is added to the squares that a norm of squares divides by.
pub const RMS_EPSILON: Key = Key::float("attention.layer_norm_rms_epsilon", &["rms_norm_eps"]);

/// Size of the heads where config.json says it.
pub const OPTIONAL_HEAD_SIZE: Key = Key::group(
    |keys| if keys.config.get("head_dim").is_some() { write_head_size(keys) } else { Ok(()) },
    read_head_size,
)
.reading(&["head_dim"]);

/// Size of the heads, also where it follows from the width.
pub const HEAD_SIZE: Key = Key::group(write_head_size, read_head_size).reading(&["head_dim"]);

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

/// [`BASICS`] of llama and of what was made from it.
pub const FACTOR_BASICS: &[Key] = &{
    let [blocks, context, width, inner, heads] = SIZES;
    [blocks, context, width, inner, heads, KV_HEAD_COUNT, FACTOR_ROPE]
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
pub const ATTENTION_BIAS: Shown = Shown::flag("attention_bias", "blk.{b}.attn_q.bias", false);
/// See [`ATTENTION_BIAS`].
pub const MLP_BIAS: Shown = Shown::flag("mlp_bias", "blk.{b}.ffn_up.bias", false);

/// Graphs without biases of feed-forward matrices.
pub const NO_MLP_BIAS: Key =
    Key::only(&["mlp_bias"], Only::Flag(false), "has no biases of feed-forward matrices");

/// The part of a head that is rotated, as `rope.dimension_count`.
pub fn write_rotated_part(keys: &mut Keys, rope: &Rope) -> Result<(), Error> {
    let rotated = rope.rotated_dimensions(keys.config)?;
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
