//! Gemma 3, the language model alone.

use super::gemma::{SANDWICH, SLIDING_WINDOW, say_attention_scale};
use super::keys::Key;
use super::pieces::*;
use super::table::{Architecture, Conversion, Tensor, all, nothing_computed};
use super::tokenizer::Vocabulary;

pub const GEMMA3: Architecture = Architecture {
    name: "gemma3",
    hf: &["Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"],
    defaults: r#"{"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256,
        "max_position_embeddings": 131072, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0,
        "rope_local_base_freq": 10000.0, "sliding_window": 4096, "vocab_size": 262208,
        "tie_word_embeddings": true}"#,
    fixed: r#"{"model_type": "gemma3_text", "hidden_activation": "gelu_pytorch_tanh"}"#,
    shown: &[],
    prefix: "model.",
    tensors: &[&KNOWN_EMBEDDINGS, &SANDWICH, &ATTENTION, &all(QK_NORMS, Conversion::PlusOne), &GATED_MLP],
    keys: &[
        BASICS,
        OPTIONAL,
        &[
            Key::float("final_logit_softcapping", &["final_logit_softcapping"]).optional(),
            WINDOW,
            Key::group(|_| Ok(()), |file| say_attention_scale(file, 62)),
        ],
    ],
    vocabulary: Vocabulary::GEMMA,
    computed: nothing_computed,
};

/// Embeddings may have rows that no token has.
const KNOWN_EMBEDDINGS: [Tensor; 3] = {
    let [tokens, norm, head] = EMBEDDINGS;
    [tokens.converted(Conversion::KnownTokens), norm.converted(Conversion::PlusOne), head]
};

/// A window is there unless every block has full attention.
const WINDOW: Key = Key::group(
    |keys| match keys.config.integer(&["sliding_window_pattern"])? {
        Some(1) => Ok(()),
        _ => keys.write(&SLIDING_WINDOW),
    },
    |file| match file.integer("attention.sliding_window")? {
        None => {
            file.set("sliding_window_pattern", 1);
            Ok(())
        }
        Some(_) => SLIDING_WINDOW.read(file),
    },
);
