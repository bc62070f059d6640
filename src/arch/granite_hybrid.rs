//! Granite 4 with states: Mamba 2 in place of most attentions, and experts or none.

use super::blocks::{Block, Blocks};
use super::config::{Config, EXPERTS as EXPERT_COUNTS};
use super::error::Error;
use super::file_keys::FileKeys;
use super::granite::MULTIPLIERS;
use super::keys::{Key, Keys, Only};
use super::kv_heads;
use super::llama::LLAMA;
use super::pieces::*;
use super::table::{Architecture, Conversion, Extent, Half, Shown, Tensor, Width, nothing_computed, of};
use super::tokenizer::Vocabulary;
use serde_json::Value as Json;

pub const GRANITE_HYBRID: Architecture = Architecture {
    name: "granitehybrid",
    hf: &["GraniteMoeHybridForCausalLM"],
    defaults: r#"{"max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "num_local_experts": 8,
        "num_experts_per_tok": 2, "shared_intermediate_size": 1024, "mamba_n_heads": 128, "mamba_n_groups": 1,
        "mamba_d_state": 256, "mamba_d_conv": 4, "mamba_expand": 2, "mamba_conv_bias": true, "tie_word_embeddings": false}"#,
    blocks: |config| {
        let has_experts = config.integer(EXPERT_COUNTS)?.unwrap_or(0) > 0;
        let block = |is_recurrent| Block { has_experts, is_recurrent, ..Block::default() };
        Ok(states(config)?.into_iter().map(block).collect())
    },
    fixed: r#"{"model_type": "granitemoehybrid", "hidden_act": "silu", "position_embedding_type": "nope"}"#,
    shown: &[ATTENTION_BIAS, Shown::flag("mamba_conv_bias", "blk.{b}.ssm_conv1d.bias", true)],
    tensors: &[
        &EMBEDDINGS,
        &NORMS,
        &of(PAIRED_ATTENTION, Blocks::Attention),
        &of(MAMBA, Blocks::Recurrent),
        &of(SHARED_ALONE, Blocks::Dense),
        &of(SHARED_AND_CHOSEN, Blocks::Experts),
    ],
    keys: &[
        SIZES_BESIDE_CONTEXT,
        &[
            // Without rotary embeddings nothing limits it.
            Key::number("context_length", 1 << 20),
            Key::check(&["max_position_embeddings"], |_| Ok(())),
            Key::group(write_kv_heads, read_kv_heads).reading(&["num_key_value_heads", "layer_types"]),
            Key::group(write_unused_rope, |_| Ok(())).reading(ROPE_NAMES),
            Key::only(
                &["position_embedding_type"],
                Only::Word(&["nope"]),
                "has no rotary embeddings in models with states",
            ),
            RMS_EPSILON,
            VOCABULARY_SIZE,
            ROTATED_HEADS,
            HEADS_FILL_WIDTH,
            Key::integer("expert_count", &["num_local_experts"]),
            Key::integer("expert_used_count", &["num_experts_per_tok"]),
            Key::integer("expert_shared_feed_forward_length", &["shared_intermediate_size"]),
            SILU,
        ],
        MULTIPLIERS,
        &[
            Key::integer("ssm.conv_kernel", &["mamba_d_conv"]),
            Key::integer("ssm.state_size", &["mamba_d_state"]),
            Key::integer("ssm.group_count", &["mamba_n_groups"]),
            Key::integer("ssm.time_step_rank", &["mamba_n_heads"]),
            Key::only(&["mamba_expand"], Only::Number(2.0), "has states twice as wide as the model"),
            Key::group(write_inner_size, |_| Ok(())).reading(&["mamba_d_head"]),
            Key::only(&["mamba_proj_bias"], Only::Flag(false), "has no biases of the matrices around states"),
            Key::check(&["time_step_limit"], check_steps),
            Key::check(&["num_local_experts", "intermediate_size"], check_dense_width),
        ],
    ],
    vocabulary: Vocabulary::PLAIN,
    computed: nothing_computed,
    ..LLAMA
};

const SIZES_BESIDE_CONTEXT: &[Key] = &{
    let [blocks, _, width, inner, heads] = SIZES;
    [blocks, width, inner, heads]
};

const MAMBA: [Tensor; 7] = [
    Tensor::new("layers.{b}.mamba.in_proj", "blk.{b}.ssm_in", Width::Columns).by(Extent::MambaInputs),
    Tensor::new("layers.{b}.mamba.conv1d", "blk.{b}.ssm_conv1d", Width::None)
        .by(Extent::Is("ssm.conv_kernel"))
        .converted(Conversion::Squeezed)
        .may_have_bias(),
    Tensor::whole("layers.{b}.mamba.dt_bias", "blk.{b}.ssm_dt.bias").by(Extent::Is("ssm.time_step_rank")),
    Tensor::whole("layers.{b}.mamba.A_log", "blk.{b}.ssm_a").converted(Conversion::DecayColumn).part(),
    Tensor::whole("layers.{b}.mamba.D", "blk.{b}.ssm_d").converted(Conversion::Column).part(),
    Tensor::new("layers.{b}.mamba.norm", "blk.{b}.ssm_norm", Width::None)
        .converted(Conversion::Groups("mamba_n_groups"))
        .part(),
    Tensor::new("layers.{b}.mamba.out_proj", "blk.{b}.ssm_out", Width::Rows).by(Extent::Is("ssm.inner_size")),
];

const SHARED: Extent = Extent::SHARED_INNER;

/// What all tokens go through, where nothing else is.
const SHARED_ALONE: [Tensor; 3] = [
    Tensor::new("layers.{b}.shared_mlp.input_linear", "blk.{b}.ffn_gate", Width::Columns)
        .by(SHARED)
        .converted(Conversion::Rows(Half::First))
        .part(),
    Tensor::new("layers.{b}.shared_mlp.input_linear", "blk.{b}.ffn_up", Width::Columns)
        .by(SHARED)
        .converted(Conversion::Rows(Half::Second))
        .part(),
    Tensor::new("layers.{b}.shared_mlp.output_linear", "blk.{b}.ffn_down", Width::Rows).by(SHARED),
];

/// The same beside experts.
const SHARED_AND_CHOSEN: [Tensor; 7] = [
    Tensor { gguf: "blk.{b}.ffn_gate_shexp", ..SHARED_ALONE[0] },
    Tensor { gguf: "blk.{b}.ffn_up_shexp", ..SHARED_ALONE[1] },
    Tensor { gguf: "blk.{b}.ffn_down_shexp", ..SHARED_ALONE[2] },
    Tensor::new("layers.{b}.block_sparse_moe.router.layer", "blk.{b}.ffn_gate_inp", Width::Columns)
        .by(Extent::EXPERTS),
    Tensor::new("layers.{b}.block_sparse_moe.input_linear", "blk.{b}.ffn_gate_exps", Width::Columns)
        .by(Extent::INNER)
        .converted(Conversion::Rows(Half::First))
        .part(),
    Tensor::new("layers.{b}.block_sparse_moe.input_linear", "blk.{b}.ffn_up_exps", Width::Columns)
        .by(Extent::INNER)
        .converted(Conversion::Rows(Half::Second))
        .part(),
    Tensor::new("layers.{b}.block_sparse_moe.output_linear", "blk.{b}.ffn_down_exps", Width::Rows)
        .by(Extent::INNER),
];

/// Of every block whether it has a state in place of attention, in the words of transformers 4 or 5.
fn states(config: &Config) -> Result<Vec<bool>, Error> {
    let blocks = config.shape()?.blocks;
    let Some(said) = config.get("layer_types") else {
        return Err(Error::Missing(vec!["layer_types".into()]));
    };
    let other = |kinds| Error::Layers { value: said.to_string(), kinds };
    let kind = |layer: &Json| match layer.as_str() {
        Some("attention" | "full_attention") => Ok(false),
        Some("mamba" | "linear_attention") => Ok(true),
        _ => Err(other("`mamba` and `attention`")),
    };
    let layers = said.as_array().into_iter().flatten().map(kind).collect::<Result<Vec<_>, _>>()?;
    match layers.len() as u64 == blocks {
        true if layers.contains(&true) => Ok(layers),
        // Such models are of another architecture in llama.cpp.
        true => Err(other("states in some layers at least")),
        false => Err(other("a kind for each block")),
    }
}

/// Blocks with a state have no heads of keys.
fn write_kv_heads(keys: &mut Keys) -> Result<(), Error> {
    let without = states(keys.config)?;
    kv_heads::write(keys, &without)
}

fn read_kv_heads(file: &mut FileKeys) -> Result<(), Error> {
    kv_heads::read(file, "mamba", "attention")
}

/// llama.cpp's converter has the base although nothing is rotated.
fn write_unused_rope(keys: &mut Keys) -> Result<(), Error> {
    let base = SCALED.parameters(keys.config)?.number("rope_theta")?;
    keys.put("rope.freq_base", base.unwrap_or(super::rope::USUAL_BASE) as f32);
    keys.put("rope.scaling.finetuned", false);
    Ok(())
}

fn write_inner_size(keys: &mut Keys) -> Result<(), Error> {
    let config = keys.config;
    let inner = config.needed_integer(&["mamba_expand"])? * config.needed_integer(&["hidden_size"])?;
    let heads = config.needed_integer(&["mamba_n_heads"])?;
    if let Some(said) = config.get("mamba_d_head").filter(|said| *said != "auto")
        && said.as_u64().is_none_or(|size| size * heads != inner)
    {
        return Err(keys.differs(
            "mamba_d_head",
            said,
            "has `mamba_n_heads` heads of states that are together twice as wide as the model",
        ));
    }
    keys.put("ssm.inner_size", inner as u32);
    Ok(())
}

/// Steps of time have no limit but zero.
fn check_steps(keys: &mut Keys) -> Result<(), Error> {
    let Some(said) = keys.config.get("time_step_limit") else { return Ok(()) };
    let limit = |i: usize| said.get(i).and_then(Json::as_f64);
    // JSON of Python has Infinity, which is no number here.
    match (limit(0), limit(1)) {
        (Some(0.0), None) => Ok(()),
        (Some(0.0), Some(most)) if most == f64::INFINITY => Ok(()),
        _ => Err(keys.differs("time_step_limit", said, "does not limit steps of time")),
    }
}

/// Without experts llama.cpp takes the width of experts for that of what all tokens go through.
fn check_dense_width(keys: &mut Keys) -> Result<(), Error> {
    let config = keys.config;
    let width = config.needed_integer(&["intermediate_size"])?;
    let shared = config.needed_integer(&["shared_intermediate_size"])?;
    match config.integer(&["num_local_experts"])?.unwrap_or(0) {
        0 if width != shared => {
            let does =
                format!("takes `shared_intermediate_size`, {shared}, for it where there are no experts");
            Err(keys.differs("intermediate_size", &width.into(), &does))
        }
        _ => Ok(()),
    }
}
