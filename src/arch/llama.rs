//! Llama 1 to 3, TinyLlama, SmolLM and many more.

use super::pieces::*;
use super::rope;
use super::table::Architecture;
use super::tokenizer::Vocabulary;

pub const LLAMA: Architecture = Architecture {
    name: "llama",
    hf: &["LlamaForCausalLM", "LLaMAForCausalLM"],
    defaults: r#"{"max_position_embeddings": 2048, "rope_theta": 10000.0}"#,
    fixed: r#"{"model_type": "llama", "hidden_act": "silu"}"#,
    shown: &[ATTENTION_BIAS, MLP_BIAS],
    prefix: "model.",
    tensors: &[&EMBEDDINGS, &NORMS, &PAIRED_ATTENTION, &GATED_MLP],
    keys: &[BASICS, &[RMS_EPSILON, HEAD_SIZE, VOCABULARY_SIZE, ROTATED_HEADS]],
    vocabulary: Vocabulary::LLAMA,
    computed: rope::llama3_factors,
};
