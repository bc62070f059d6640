//! gpt-oss: experts with biases, a window in every second layer, sinks of attention.

use super::blocks::alike;
use super::config::Config;
use super::gemma::{SLIDING_WINDOW, read_layers, write_every_second};
use super::keys::{Key, Only};
use super::pieces::*;
use super::rope::{Rope, Scaling, Yarn};
use super::table::{Architecture, Conversion, Extent, Half, Head, Shown, Tensor, Width, nothing_computed};
use super::tokenizer::Vocabulary;
use serde_json::json;

pub const GPT_OSS: Architecture = Architecture {
    name: "gpt-oss",
    hf: &["GptOssForCausalLM"],
    defaults: r#"{"num_key_value_heads": 8, "head_dim": 64, "max_position_embeddings": 131072, "rms_norm_eps": 1e-5,
        "rope_theta": 150000.0, "sliding_window": 128, "num_local_experts": 128, "num_experts_per_tok": 4,
        "intermediate_size": 2880, "tie_word_embeddings": false}"#,
    settled: settle,
    blocks: alike,
    fixed: r#"{"model_type": "gpt_oss", "hidden_act": "silu"}"#,
    shown: &[Shown::flag("attention_bias", "blk.{b}.attn_output.bias", true).or_zeros()],
    prefix: "model.",
    head: Head::Needed,
    tensors: &[
        &EMBEDDINGS,
        &[NORM_BEFORE_ATTENTION, NORMS_AFTER[0]],
        &[ATTENTION[0], ATTENTION[1], ATTENTION[2], ATTENTION_OUTPUT.with_bias()],
        &[Tensor::whole("layers.{b}.self_attn.sinks", "blk.{b}.attn_sinks.weight")
            .by(Extent::Is("attention.head_count"))],
        &BIASED_EXPERTS,
    ],
    keys: &[
        &SIZES,
        &[
            KV_HEAD_COUNT,
            Key::group(|keys| ROUGH.write(keys), |file| ROUGH.read(file)).reading(ROPE_NAMES),
            RMS_EPSILON,
            HEAD_SIZE,
            SLIDING_WINDOW,
            Key::group(write_every_second, read_layers).reading(&["layer_types"]),
            Key::integer("expert_count", &["num_local_experts", "num_experts"]),
            Key::integer("expert_used_count", &["num_experts_per_tok", "experts_per_token"]),
            Key::integer("expert_feed_forward_length", &["intermediate_size"]),
            Key::only(&["swiglu_limit"], Only::Number(7.0), "limits what goes into the activation to 7"),
            Key::only(&["swiglu_alpha"], Only::Number(1.702), "multiplies by 1.702 in the activation"),
            // What `original_max_position_embeddings` says.
            Key::check(&["initial_context_length"], |_| Ok(())),
            SILU,
        ],
    ],
    vocabulary: Vocabulary::PLAIN,
    computed: nothing_computed,
};

/// The models do not round the bounds of yarn's steps, and llama.cpp does.
const ROUGH: Rope = Rope { scaling: &[Scaling::Linear, Scaling::Yarn], yarn: Yarn::Rounded, ..SCALED };

const BIASED_EXPERTS: [Tensor; 10] = [
    Tensor::new("layers.{b}.mlp.router", "blk.{b}.ffn_gate_inp", Width::Columns)
        .by(Extent::EXPERTS)
        .with_bias(),
    // As they are published, in MXFP4.
    expert("layers.{b}.mlp.experts.gate_up_proj_blocks", "blk.{b}.ffn_gate_exps", Width::Columns)
        .converted(Conversion::Rows(Half::Even))
        .only_read(),
    expert("layers.{b}.mlp.experts.gate_up_proj_blocks", "blk.{b}.ffn_up_exps", Width::Columns)
        .converted(Conversion::Rows(Half::Odd))
        .only_read(),
    expert("layers.{b}.mlp.experts.down_proj_blocks", "blk.{b}.ffn_down_exps", Width::Rows).only_read(),
    // As transformers computes them, in floats: matrices are transposed.
    expert("layers.{b}.mlp.experts.gate_up_proj", "blk.{b}.ffn_gate_exps", Width::Columns)
        .converted(Conversion::Columns(Half::Even))
        .part(),
    expert("layers.{b}.mlp.experts.gate_up_proj", "blk.{b}.ffn_up_exps", Width::Columns)
        .converted(Conversion::Columns(Half::Odd))
        .part(),
    expert("layers.{b}.mlp.experts.down_proj", "blk.{b}.ffn_down_exps", Width::Rows)
        .converted(Conversion::Transposed)
        .part(),
    Tensor::whole("layers.{b}.mlp.experts.gate_up_proj_bias", "blk.{b}.ffn_gate_exps.bias")
        .by(Extent::EXPERT_INNER)
        .converted(Conversion::Elements(Half::Even))
        .part(),
    Tensor::whole("layers.{b}.mlp.experts.gate_up_proj_bias", "blk.{b}.ffn_up_exps.bias")
        .by(Extent::EXPERT_INNER)
        .converted(Conversion::Elements(Half::Odd))
        .part(),
    Tensor::whole("layers.{b}.mlp.experts.down_proj_bias", "blk.{b}.ffn_down_exps.bias")
        .by(Extent::Is("embedding_length")),
];

const fn expert(hf: &'static str, gguf: &'static str, width: Width) -> Tensor {
    Tensor::new(hf, gguf, width).by(Extent::EXPERT_INNER)
}

/// The rotary embeddings where nothing is said.
fn settle(config: &mut Config) {
    if config.find(&["rope_parameters", "rope_scaling"]).is_none() {
        let yarn = json!({"rope_type": "yarn", "factor": 32.0, "beta_fast": 32.0, "beta_slow": 1.0, "truncate": false,
            "original_max_position_embeddings": 4096});
        config.set("rope_scaling", yarn);
    }
}
