//! Gemma and Gemma 2: norms multiply by one more than their weight.

use super::error::Error;
use super::file_keys::FileKeys;
use super::keys::Key;
use super::pieces::*;
use super::table::{Architecture, Conversion, Tensor, all, nothing_computed};
use super::tokenizer::Vocabulary;

pub const GEMMA: Architecture = Architecture {
    name: "gemma",
    hf: &["GemmaForCausalLM"],
    defaults: r#"{"num_key_value_heads": 16, "head_dim": 256, "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-6, "tie_word_embeddings": true}"#,
    fixed: r#"{"model_type": "gemma", "hidden_act": "gelu_pytorch_tanh",
        "hidden_activation": "gelu_pytorch_tanh"}"#,
    shown: &[],
    prefix: "model.",
    tensors: &[&TIED_EMBEDDINGS, &all(NORMS, Conversion::PlusOne), &ATTENTION, &GATED_MLP],
    keys: &[&SIZES, &[KV_HEAD_COUNT, RMS_EPSILON, HEAD_SIZE]],
    vocabulary: Vocabulary::GEMMA.with_end_of_turn(107),
    computed: nothing_computed,
};

pub const GEMMA2: Architecture = Architecture {
    name: "gemma2",
    hf: &["Gemma2ForCausalLM"],
    defaults: r#"{"num_key_value_heads": 4, "head_dim": 256, "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-6, "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0,
        "sliding_window": 4096, "tie_word_embeddings": true}"#,
    fixed: r#"{"model_type": "gemma2", "hidden_act": "gelu_pytorch_tanh",
        "hidden_activation": "gelu_pytorch_tanh"}"#,
    tensors: &[&TIED_EMBEDDINGS, &SANDWICH, &ATTENTION, &GATED_MLP],
    keys: &[
        &SIZES,
        &[
            KV_HEAD_COUNT,
            RMS_EPSILON,
            HEAD_SIZE,
            Key::float("attn_logit_softcapping", &["attn_logit_softcapping"]),
            Key::float("final_logit_softcapping", &["final_logit_softcapping"]),
            SLIDING_WINDOW,
            Key::group(|_| Ok(()), |file| say_attention_scale(file, 46)),
        ],
    ],
    vocabulary: Vocabulary::GEMMA,
    ..GEMMA
};

/// Places that attention looks back to.
pub const SLIDING_WINDOW: Key = Key::integer("attention.sliding_window", &["sliding_window"]);

/// The head is the embeddings, even where it is stored.
const TIED_EMBEDDINGS: [Tensor; 3] = {
    let [tokens, norm, _] = EMBEDDINGS;
    [tokens, norm.converted(Conversion::PlusOne), Tensor::ignored("lm_head")]
};

/// Norms before and after attention and feed-forward.
pub const SANDWICH: [Tensor; 4] = {
    let [after_attention, after_mlp] = NORMS_AFTER;
    let [_, before_mlp] = NORMS;
    let before_mlp = Tensor { hf: "layers.{b}.pre_feedforward_layernorm", ..before_mlp };
    all([NORM_BEFORE_ATTENTION, after_attention, before_mlp, after_mlp], Conversion::PlusOne)
};

/// Says what scores are divided by the root of. No key has it: llama.cpp takes the size of a head, but for models of
/// 27 billion weights, which it tells by their number of blocks, the width by heads.
pub fn say_attention_scale(file: &mut FileKeys, blocks_of_27b: u64) -> Result<(), Error> {
    let integer = |name: &str| file.integer(name)?.ok_or_else(|| file.missing(name));
    let scalar = match integer("block_count")? == blocks_of_27b {
        true => integer("embedding_length")? / integer("attention.head_count")?.max(1),
        false => integer("attention.key_length")?,
    };
    file.set("query_pre_attn_scalar", scalar);
    Ok(())
}
