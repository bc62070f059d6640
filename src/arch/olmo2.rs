//! OLMo 2: norms after attention and feed-forward only.

use super::blocks::alike;
use super::pieces::*;
use super::table::{Architecture, Extent, Head, Tensor, nothing_computed, nothing_settled};
use super::tokenizer::Vocabulary;

pub const OLMO2: Architecture = Architecture {
    name: "olmo2",
    hf: &["Olmo2ForCausalLM"],
    defaults: r#"{"max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": false}"#,
    settled: nothing_settled,
    blocks: alike,
    fixed: r#"{"model_type": "olmo2", "hidden_act": "silu"}"#,
    shown: &[ATTENTION_BIAS],
    prefix: "model.",
    head: Head::Needed,
    tensors: &[&EMBEDDINGS, &NORMS_AFTER, &ATTENTION, &WIDE_QK_NORMS, &GATED_MLP],
    keys: &[BASICS, OPTIONAL, &[SILU, HEADS_FILL_WIDTH]],
    vocabulary: Vocabulary::PLAIN,
    computed: nothing_computed,
};

/// Norms of all heads at once.
const WIDE_QK_NORMS: [Tensor; 2] = {
    let [q, k] = QK_NORMS;
    [q.by(Extent::Queries), k.by(Extent::Keys)]
};
