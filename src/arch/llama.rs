//! Llama 1 to 3, TinyLlama, SmolLM and many more.

use super::blocks::alike;
use super::pieces::*;
use super::rope_factors;
use super::table::{Architecture, Head, may_have_biases, nothing_settled};
use super::tokenizer::Vocabulary;

pub const LLAMA: Architecture = Architecture {
    name: "llama",
    hf: &["LlamaForCausalLM", "LLaMAForCausalLM"],
    defaults: r#"{"max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": false}"#,
    settled: nothing_settled,
    blocks: alike,
    fixed: r#"{"model_type": "llama", "hidden_act": "silu"}"#,
    shown: &[ATTENTION_BIAS, MLP_BIAS],
    prefix: "model.",
    head: Head::Optional,
    tensors: &[&EMBEDDINGS, &NORMS, &PAIRED_ATTENTION, &may_have_biases(GATED_MLP)],
    keys: &[FACTOR_BASICS, &[RMS_EPSILON, HEAD_SIZE, VOCABULARY_SIZE, ROTATED_HEADS, SILU]],
    vocabulary: Vocabulary::LLAMA,
    computed: |config| rope_factors::factors(&SCALED_BY_FACTORS, config),
};
