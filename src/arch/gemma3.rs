//! Gemma 3, the language model alone.

use super::blocks::alike;
use super::config::BLOCKS;
use super::error::Error;
use super::gemma::{
    SANDWICH, SLIDING_WINDOW, check_attention_scale, read_layers, say_attention_scale, write_layers,
};
use super::keys::{Key, Keys, Only};
use super::pieces::*;
use super::rope::{Layers, Rope, Scaling};
use super::table::{Architecture, Conversion, Head, Tensor, all, nothing_computed, nothing_settled};
use super::tokenizer::Vocabulary;

pub const GEMMA3: Architecture = Architecture {
    name: "gemma3",
    hf: &["Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"],
    defaults: r#"{"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256,
        "max_position_embeddings": 131072, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0,
        "rope_local_base_freq": 10000.0, "sliding_window": 4096, "vocab_size": 262208,
        "query_pre_attn_scalar": 256, "hidden_size": 2304, "intermediate_size": 9216,
        "num_hidden_layers": 26, "tie_word_embeddings": true}"#,
    settled: nothing_settled,
    blocks: alike,
    fixed: r#"{"model_type": "gemma3_text", "hidden_activation": "gelu_pytorch_tanh"}"#,
    shown: &[ATTENTION_BIAS],
    prefix: "model.",
    head: Head::Optional,
    tensors: &[&KNOWN_EMBEDDINGS, &SANDWICH, &ATTENTION, &all(QK_NORMS, Conversion::PlusOne), &GATED_MLP],
    keys: &[
        &SIZES,
        &[KV_HEAD_COUNT, ROPE_OF_LAYERS],
        OPTIONAL,
        &[
            Key::float("final_logit_softcapping", &["final_logit_softcapping"]).optional(),
            WINDOW,
            Key::group(|keys| check_attention_scale(keys, 62), |file| say_attention_scale(file, 62))
                .reading(&["query_pre_attn_scalar"]),
            Key::only(&["attn_logit_softcapping"], Only::Flag(false), "does not cap scores"),
            ONE_WAY,
        ],
        &GELU_AS_HIDDEN_ACTIVATION,
    ],
    vocabulary: Vocabulary::GEMMA,
    computed: nothing_computed,
};

/// Embeddings may have rows that no token has.
const KNOWN_EMBEDDINGS: [Tensor; 3] = {
    let [tokens, norm, head] = EMBEDDINGS;
    [tokens.converted(Conversion::KnownTokens), norm.converted(Conversion::PlusOne), head]
};

/// Layers with a window have a base of their own.
const LAYERED: Rope = Rope { scaling: &[Scaling::Linear, Scaling::Yarn], layers: Layers::OwnBase, ..SCALED };

/// The keys of [`LAYERED`].
pub const ROPE_OF_LAYERS: Key =
    Key::group(|keys| LAYERED.write(keys), |file| LAYERED.read(file)).reading(LAYERED_NAMES);

const LAYERED_NAMES: &[&str] = &[
    "rope_parameters",
    "rope_scaling",
    "rope_theta",
    "rope_local_base_freq",
    "partial_rotary_factor",
    "original_max_position_embeddings",
];

/// A window is there unless every block has full attention. All but each sixth block have it where nothing is said.
const WINDOW: Key = Key::group(
    |keys| match layers(keys)? {
        layers if !layers.contains(&true) => Ok(()),
        layers => {
            keys.write(&SLIDING_WINDOW)?;
            write_layers(keys, layers, 6)
        }
    },
    |file| match file.integer("attention.sliding_window")? {
        None => {
            file.set("sliding_window_pattern", 1);
            Ok(())
        }
        Some(_) => {
            SLIDING_WINDOW.read(file)?;
            read_layers(file)
        }
    },
)
.reading(&["sliding_window", "layer_types", "sliding_window_pattern", "_sliding_window_pattern"]);

/// Of every block whether it has a window.
fn layers(keys: &Keys) -> Result<Vec<bool>, Error> {
    if let Some(layers) = layer_types(keys)? {
        return Ok(layers);
    }
    let config = keys.config;
    let every = config.integer(&["sliding_window_pattern", "_sliding_window_pattern"])?.unwrap_or(6);
    let blocks = config.needed_integer(BLOCKS)?;
    Ok((1..=blocks).map(|block| every == 0 || !block.is_multiple_of(every)).collect())
}
