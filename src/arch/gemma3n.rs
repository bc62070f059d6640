//! Gemma 3n, the language model alone: several predictions of the hidden state (AltUp), residuals of low rank (Laurel),
//! embeddings for each layer, and last layers that attend to keys of layers before them.

use super::blocks::{AttendsTo, Block, Blocks};
use super::config::{BLOCKS, Config};
use super::error::Error;
use super::file_keys::FileKeys;
use super::gemma::{SANDWICH, SLIDING_WINDOW, read_layers};
use super::gemma3::ROPE_OF_LAYERS;
use super::keys::{Key, Keys, Only};
use super::pieces::*;
use super::table::{Architecture, Bias, Conversion, Extent, Head, Tensor, Width, all, nothing_computed, of};
use super::tokenizer::Vocabulary;
use crate::gguf::{Kind, Value};
use serde_json::{Value as Json, json};

pub const GEMMA3N: Architecture = Architecture {
    name: "gemma3n",
    hf: &["Gemma3nForCausalLM", "Gemma3nForConditionalGeneration"],
    defaults: r#"{"hidden_size": 2048, "intermediate_size": 16384, "num_hidden_layers": 35, "num_attention_heads": 8,
        "num_key_value_heads": 2, "head_dim": 256, "max_position_embeddings": 32768, "rms_norm_eps": 1e-6,
        "rope_theta": 1000000.0, "rope_local_base_freq": 10000.0, "sliding_window": 512, "vocab_size": 262400,
        "vocab_size_per_layer_input": 262144, "hidden_size_per_layer_input": 256, "final_logit_softcapping": 30.0,
        "altup_active_idx": 0, "altup_num_inputs": 4, "altup_correct_scale": true, "laurel_rank": 64,
        "num_kv_shared_layers": 15, "attention_bias": false, "tie_word_embeddings": true}"#,
    settled: |config| settle_layers(config, 5),
    blocks: |config| borrowing_blocks(config, |_| Block::PLAIN),
    fixed: r#"{"model_type": "gemma3n_text", "hidden_activation": "gelu_pytorch_tanh"}"#,
    shown: &[],
    prefix: "model.",
    head: Head::Optional,
    tensors: &[
        &KNOWN_EMBEDDINGS,
        &PLAIN_SANDWICH,
        &QUERIES,
        &of(KEYS, Blocks::OwnKeys),
        &LENT_KEYS,
        &GATED_MLP,
        &PER_LAYER_EMBEDDINGS,
        &ALTUP,
        &LAUREL,
    ],
    keys: &[
        SIZES_BESIDE_MLP,
        &[
            Key::group(write_widths, read_widths).reading(&["intermediate_size"]),
            KV_HEAD_COUNT,
            ROPE_OF_LAYERS,
            RMS_EPSILON,
            HEAD_SIZE,
            Key::group(write_cap, |file| {
                file.set("final_logit_softcapping", file.float("final_logit_softcapping")?);
                Ok(())
            })
            .reading(&["final_logit_softcapping"]),
            SLIDING_WINDOW,
            WINDOWS,
            Key::integer("altup.active_idx", &["altup_active_idx"]),
            Key::only(&["altup_active_idx"], Only::Number(0.0), "has the first prediction be the active one"),
            Key::integer("altup.num_inputs", &["altup_num_inputs"]),
            Key::only(&["altup_num_inputs"], Only::Number(4.0), "has four predictions"),
            Key::only(&["altup_correct_scale"], Only::Flag(true), "scales what is corrected"),
            Key::only(&["laurel_rank"], Only::Number(64.0), "has residuals of rank 64"),
            PER_LAYER_LENGTH,
            Key::only(
                &["hidden_size_per_layer_input"],
                Only::Number(256.0),
                "has 256 elements for each layer",
            ),
            Key::integer("attention.shared_kv_layers", &["num_kv_shared_layers"]),
            Key::check(&["num_kv_shared_layers"], check_sharing),
            Key::group(write_sparsity, read_sparsity).reading(&["activation_sparsity_pattern"]),
            NO_ATTENTION_BIAS,
            // Only training clips, and tensors show how many tokens have embeddings for each layer.
            Key::check(&["altup_coef_clip", "vocab_size_per_layer_input"], |_| Ok(())),
        ],
        &GELU_AS_HIDDEN_ACTIVATION,
    ],
    vocabulary: Vocabulary::GEMMA,
    computed: nothing_computed,
};

/// Embeddings may have rows that no token has.
pub const KNOWN_EMBEDDINGS: [Tensor; 3] = {
    let [tokens, norm, head] = EMBEDDINGS;
    [tokens.converted(Conversion::KnownTokens), norm, head]
};

/// Norms before and after attention and feed-forward, which multiply by their weight alone.
pub const PLAIN_SANDWICH: [Tensor; 4] = all(SANDWICH, Conversion::Same);

const fn unbiased(row: Tensor) -> Tensor {
    Tensor { bias: Bias::None, ..row }
}

/// What every block has of its attention.
pub const QUERIES: [Tensor; 3] = {
    let [queries, _, _, output] = ATTENTION;
    let [norm, _] = QK_NORMS;
    [unbiased(queries), unbiased(output), norm]
};

/// What blocks have that attend to keys and values of their own.
pub const KEYS: [Tensor; 3] = {
    let [_, keys, values, _] = ATTENTION;
    let [_, norm] = QK_NORMS;
    [unbiased(keys), norm, unbiased(values)]
};

/// The same in blocks that do not: older files have them, and no program reads them.
pub const UNREAD_KEYS: [Tensor; 3] = {
    let [keys, norm, values] = of(KEYS, Blocks::Borrowing);
    [keys.optional(), norm.optional(), values.optional()]
};

/// llama.cpp loads them in every block.
const LENT_KEYS: [Tensor; 3] = {
    let [keys, norm, values] = UNREAD_KEYS;
    [keys.lent(), norm.lent(), values.lent()]
};

const PER_LAYER: Extent = Extent::Is("embedding_length_per_layer_input");
const OF_ALL_LAYERS: Extent = Extent::Product("embedding_length_per_layer_input", "block_count");

/// Embeddings for each layer, and what becomes of them.
pub const PER_LAYER_EMBEDDINGS: [Tensor; 6] = [
    Tensor::new("embed_tokens_per_layer", "per_layer_token_embd", Width::None)
        .by(OF_ALL_LAYERS)
        .converted(Conversion::AllTokens),
    Tensor::new("per_layer_model_projection", "per_layer_model_proj", Width::Columns).by(OF_ALL_LAYERS),
    Tensor::new("per_layer_projection_norm", "per_layer_proj_norm", Width::None).by(PER_LAYER),
    Tensor::new("layers.{b}.per_layer_input_gate", "blk.{b}.inp_gate", Width::Columns).by(PER_LAYER),
    Tensor::new("layers.{b}.per_layer_projection", "blk.{b}.proj", Width::Rows).by(PER_LAYER),
    Tensor::new("layers.{b}.post_per_layer_input_norm", "blk.{b}.post_norm", Width::Columns),
];

/// How long they are.
pub const PER_LAYER_LENGTH: Key =
    Key::integer("embedding_length_per_layer_input", &["hidden_size_per_layer_input"]);

const ALTUP: [Tensor; 7] = [
    Tensor::new("altup_projections.{x}", "altup_proj", Width::Columns)
        .by(Extent::Parts(3))
        .converted(Conversion::Stacked),
    Tensor::new("altup_unembed_projections.{x}", "altup_unembd_proj", Width::Columns)
        .by(Extent::Parts(3))
        .converted(Conversion::Stacked),
    Tensor::new("layers.{b}.altup.correction_coefs", "blk.{b}.altup_correct_coef", Width::None)
        .by(Extent::Exactly(4)),
    Tensor::whole("layers.{b}.altup.correct_output_scale", "blk.{b}.altup_correct_scale.weight")
        .by(Extent::Is("embedding_length")),
    Tensor::new("layers.{b}.altup.prediction_coefs", "blk.{b}.altup_predict_coef", Width::None)
        .by(Extent::Exactly(4)),
    Tensor::new("layers.{b}.altup.modality_router", "blk.{b}.altup_router", Width::Columns)
        .by(Extent::Exactly(4)),
    Tensor::new("layers.{b}.altup.router_norm", "blk.{b}.altup_router_norm", Width::Columns),
];

const LAUREL: [Tensor; 3] = [
    Tensor::new("layers.{b}.laurel.linear_left", "blk.{b}.laurel_l", Width::Columns).by(Extent::Exactly(64)),
    Tensor::new("layers.{b}.laurel.linear_right", "blk.{b}.laurel_r", Width::Rows).by(Extent::Exactly(64)),
    Tensor::new("layers.{b}.laurel.post_laurel_norm", "blk.{b}.laurel_post_norm", Width::Columns),
];

/// Graphs without biases of attention.
pub const NO_ATTENTION_BIAS: Key =
    Key::only(&["attention_bias"], Only::Flag(false), "has no biases of attention");

/// Where nothing is said of the kinds of layers, all but each `usual`-th have a window.
pub fn settle_layers(config: &mut Config, usual: u64) {
    if let (None, Ok(Some(blocks))) = (config.get("layer_types"), config.integer(BLOCKS)) {
        let kind = |n: u64| if n.is_multiple_of(usual) { "full_attention" } else { "sliding_attention" };
        config.set("layer_types", (1..=blocks).map(kind).collect::<Vec<_>>());
    }
}

/// Of every block whether it has a window.
pub fn windows(config: &Config) -> Result<Vec<bool>, Error> {
    let said = config.get("layer_types").unwrap_or(&Json::Null);
    let wrong = || Error::Layers {
        value: said.to_string(),
        kinds: "`sliding_attention` and `full_attention`, one for each block,",
    };
    let kind = |layer: &Json| match layer.as_str() {
        Some("full_attention") => Ok(false),
        Some("sliding_attention") => Ok(true),
        _ => Err(wrong()),
    };
    let layers = said.as_array().ok_or_else(wrong)?.iter().map(kind).collect::<Result<Vec<_>, _>>()?;
    if layers.len() as u64 == config.needed_integer(BLOCKS)? { Ok(layers) } else { Err(wrong()) }
}

/// The number of the first block that attends to keys of a block before it.
pub fn first_borrowing(config: &Config) -> Result<u64, Error> {
    let (blocks, shared) = (config.needed_integer(BLOCKS)?, config.integer(&["num_kv_shared_layers"])?);
    Ok(blocks.saturating_sub(shared.unwrap_or(0)))
}

/// Blocks of which the last ones attend to keys of blocks before them; `other` says what they are besides, by their windows.
pub fn borrowing_blocks(config: &Config, other: impl Fn(bool) -> Block) -> Result<Vec<Block>, Error> {
    let first = first_borrowing(config)?;
    let block = |(number, has_window): (u64, bool)| {
        let block = Block { has_window, ..other(has_window) };
        if number < first { block } else { Block { attends_to: AttendsTo::Borrowed, ..block } }
    };
    Ok((0..).zip(windows(config)?).map(block).collect())
}

/// Which blocks have a window.
pub const WINDOWS: Key = Key::group(
    |keys| {
        let layers = windows(keys.config)?.into_iter().map(Value::Bool).collect();
        keys.put("attention.sliding_window_pattern", Value::Array(Kind::Bool, layers));
        Ok(())
    },
    read_layers,
)
.reading(&["layer_types"]);

/// The keys that blocks borrow are in llama.cpp those of the last two blocks that have some: of the one before the last where there is
/// a window, and of the last where there is none.
pub fn check_lenders(keys: &Keys) -> Result<(), Error> {
    let config = keys.config;
    let (first, windows) = (first_borrowing(config)? as usize, windows(config)?);
    if first == windows.len() || windows[..first].ends_with(&[true, false]) {
        return Ok(());
    }
    let does = format!(
        "has the last {} layers, as many as `num_kv_shared_layers` says, attend to keys of layer {}, with a window, and of layer \
         {}, with full attention",
        windows.len() - first,
        first.saturating_sub(2),
        first.saturating_sub(1)
    );
    Err(keys.differs("layer_types", config.get("layer_types").unwrap_or(&Json::Null), &does))
}

/// Blocks with keys of their own: llama.cpp knows no other number.
const WITH_KEYS: u64 = 20;

fn check_sharing(keys: &mut Keys) -> Result<(), Error> {
    let (blocks, name) = (keys.config.needed_integer(BLOCKS)?, "num_kv_shared_layers");
    if first_borrowing(keys.config)? != blocks.min(WITH_KEYS) {
        let said = keys.config.get(name).unwrap_or(&Json::Null);
        return Err(keys.differs(name, said, "has all layers after the first 20 attend to keys of those"));
    }
    check_lenders(keys)
}

/// A width for each block, or one for all.
fn write_widths(keys: &mut Keys) -> Result<(), Error> {
    let (config, name) = (keys.config, "intermediate_size");
    let blocks = config.needed_integer(BLOCKS)? as usize;
    let widths = match config.get(name).and_then(Json::as_array) {
        None => vec![config.needed_integer(&[name])?; blocks],
        Some(said) => {
            let wrong = || Error::NoSize { name: name.into(), value: json!(said).to_string() };
            let widths = said.iter().map(|n| n.as_u64().filter(|n| i32::try_from(*n).is_ok()));
            let widths: Vec<u64> = widths.collect::<Option<_>>().ok_or_else(wrong)?;
            if widths.len() == blocks { widths } else { return Err(wrong()) }
        }
    };
    let widths = widths.into_iter().map(|n| Value::I32(n as i32)).collect();
    keys.put("feed_forward_length", Value::Array(Kind::I32, widths));
    Ok(())
}

fn read_widths(file: &mut FileKeys) -> Result<(), Error> {
    let name = "feed_forward_length";
    let said = file.key(name).ok_or_else(|| file.missing(name))?;
    match said.as_array() {
        Some(widths) => {
            let widths: Vec<u64> = widths.iter().filter_map(Value::as_u64).collect();
            file.set("intermediate_size", widths);
        }
        None => file.set("intermediate_size", file.integer(name)?),
    }
    Ok(())
}

/// llama.cpp reads no key for it.
fn write_cap(keys: &mut Keys) -> Result<(), Error> {
    let name = "final_logit_softcapping";
    let said = keys.config.said(name).unwrap_or(&Json::Null);
    if said.as_f64() != Some(30.0) {
        return Err(keys.differs(name, said, "caps logits at 30"));
    }
    keys.put(name, 30.0f32);
    Ok(())
}

/// Blocks of which most gates are cut off, and their share.
const SPARSE_BLOCKS: usize = 10;
const SPARSITY: f64 = 0.95;
/// How many standard deviations above the mean a gate has to be that is among the others, by torch.
const CUT: f32 = 1.644_853_6;

/// llama.cpp cuts gates off in the first ten blocks, and reads no key for it.
fn write_sparsity(keys: &mut Keys) -> Result<(), Error> {
    let (config, name) = (keys.config, "activation_sparsity_pattern");
    let blocks = config.needed_integer(BLOCKS)? as usize;
    // What transformers assumes.
    let sparse = if blocks > SPARSE_BLOCKS { SPARSE_BLOCKS } else { 0 };
    let usual: Json = (0..blocks).map(|block| if block < sparse { SPARSITY } else { 0.0 }).collect();
    let said = config.get(name).unwrap_or(&usual);
    let shares: Vec<_> = said.as_array().into_iter().flatten().map(Json::as_f64).collect();
    let computed = |block: usize| if block < SPARSE_BLOCKS { SPARSITY } else { 0.0 };
    if shares != (0..blocks).map(|block| Some(computed(block))).collect::<Vec<_>>() {
        return Err(keys.differs(
            name,
            said,
            "cuts 0.95 of all gates off in the first ten layers, and in no others",
        ));
    }
    let cuts =
        (0..blocks).map(|block| Value::F32(if block < SPARSE_BLOCKS { CUT } else { f32::NEG_INFINITY }));
    keys.put("activation_sparsity_scale", Value::Array(Kind::F32, cuts.collect()));
    Ok(())
}

fn read_sparsity(file: &mut FileKeys) -> Result<(), Error> {
    let blocks = file.integer("block_count")?.unwrap_or(0) as usize;
    let share = |block: usize| if block < SPARSE_BLOCKS { SPARSITY } else { 0.0 };
    file.set("activation_sparsity_pattern", (0..blocks).map(share).collect::<Vec<_>>());
    Ok(())
}
