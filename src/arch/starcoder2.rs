//! StarCoder 2.

use super::blocks::alike;
use super::keys::Key;
use super::pieces::*;
use super::table::{
    Architecture, Extent, Head, Shown, Tensor, Width, nothing_computed, nothing_settled, with_biases,
};
use super::tokenizer::Vocabulary;

pub const STARCODER2: Architecture = Architecture {
    name: "starcoder2",
    hf: &["Starcoder2ForCausalLM"],
    defaults: r#"{"num_key_value_heads": 2, "max_position_embeddings": 4096, "norm_epsilon": 1e-5,
        "rope_theta": 10000.0, "tie_word_embeddings": true}"#,
    settled: nothing_settled,
    blocks: alike,
    fixed: r#"{"model_type": "starcoder2", "hidden_act": "gelu_pytorch_tanh"}"#,
    shown: &[Shown::flag("use_bias", "blk.{b}.attn_q.bias", true).or_zeros()],
    prefix: "model.",
    head: Head::Optional,
    tensors: &[&BIASED_EMBEDDINGS, &with_biases(NORMS), &BIASED_ATTENTION, &with_biases(MLP)],
    keys: &[BASICS, EPSILONS, &[GELU, HEADS_FILL_WIDTH, WINDOW_LEFT_OUT]],
    vocabulary: Vocabulary::PLAIN,
    computed: nothing_computed,
};

const BIASED_ATTENTION: [Tensor; 4] = {
    let [q, k, v, o] = ATTENTION;
    [q, k, v, o.with_bias()]
};

const MLP: [Tensor; 2] = [
    Tensor::new("layers.{b}.mlp.c_fc", "blk.{b}.ffn_up", Width::Columns).by(Extent::INNER),
    Tensor::new("layers.{b}.mlp.c_proj", "blk.{b}.ffn_down", Width::Rows).by(Extent::INNER),
];

/// [`OPTIONAL`], with the name of this family.
const EPSILONS: &[Key] = &{
    let [rms, epsilon, count, used, head] = OPTIONAL_ROWS;
    [rms, epsilon.written_as("norm_epsilon"), count, used, head]
};
