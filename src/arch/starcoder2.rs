//! StarCoder 2.

use super::keys::Key;
use super::pieces::*;
use super::table::{Architecture, Tensor, Width, nothing_computed};
use super::tokenizer::Vocabulary;

pub const STARCODER2: Architecture = Architecture {
    name: "starcoder2",
    hf: &["Starcoder2ForCausalLM"],
    defaults: r#"{"num_key_value_heads": 2, "max_position_embeddings": 4096, "norm_epsilon": 1e-5,
        "rope_theta": 10000.0, "tie_word_embeddings": true}"#,
    fixed: r#"{"model_type": "starcoder2", "hidden_act": "gelu_pytorch_tanh"}"#,
    shown: &[("use_bias", "blk.0.attn_q.bias", true)],
    prefix: "model.",
    tensors: &[&EMBEDDINGS, &NORMS, &ATTENTION, &MLP],
    keys: &[BASICS, EPSILONS],
    vocabulary: Vocabulary::PLAIN,
    computed: nothing_computed,
};

const MLP: [Tensor; 2] = [
    Tensor::new("layers.{b}.mlp.c_fc", "blk.{b}.ffn_up", Width::Columns),
    Tensor::new("layers.{b}.mlp.c_proj", "blk.{b}.ffn_down", Width::Rows),
];

/// [`OPTIONAL`], with the name of this family.
const EPSILONS: &[Key] = &{
    let [rms, epsilon, count, used, head] = OPTIONAL_ROWS;
    [rms, epsilon.written_as("norm_epsilon"), count, used, head]
};
