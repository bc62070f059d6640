//! Corrections of low rank, L R beside a quantized matrix, and the LoRA adapter file of llama.cpp that holds them.

use super::Plan;
use crate::checkpoint::{Model, SourceTensor};
use crate::gguf::{GgmlType, TensorHeader, Value, Writer};
use crate::names::{Attention, Mlp, Role};

/// Architectures whose graphs in llama.cpp reach the matrices of attention and of dense layers between attentions through
/// `build_lora_mm` alone, so that no correction is left out there. tests/llama/low_rank.rs reads llama.cpp's sources for that.
pub const CORRECTED: &[&str] = &[
    "falcon",
    "gemma",
    "gemma2",
    "gemma3",
    "gemma4",
    "glm4moe",
    "gpt-oss",
    "gpt2",
    "gptneox",
    "granite",
    "lfm2",
    "llama",
    "llama4",
    "mistral3",
    "olmo2",
    "phi3",
    "qwen2",
    "qwen2moe",
    "qwen3",
    "qwen35",
    "qwen3moe",
    "smollm3",
    "stablelm",
    "starcoder2",
];

/// The largest rank.
pub const MAX_RANK: usize = 1024;

/// Whether llama.cpp reaches a tensor with corrections, if the architecture is one of [`CORRECTED`].
pub fn takes_correction(t: &SourceTensor) -> bool {
    let attention = |part| part != Attention::Other;
    let is_reached = match Role::of(&t.name) {
        Role::Attention(part) => attention(part),
        Role::Mlp(Mlp::Gate | Mlp::Up | Mlp::GateUp | Mlp::Down) => true,
        _ => false,
    };
    is_reached && t.shape.len() == 2 && t.name.starts_with("blk.")
}

/// The type of a factor whose rows have so many values.
pub fn factor_type(columns: usize) -> GgmlType {
    const Q8_0: GgmlType = GgmlType(8);
    if columns.is_multiple_of(32) { Q8_0 } else { GgmlType::F16 }
}

/// R and L of a tensor as llama.cpp names them, `lora_a` (rank x columns) and `lora_b` (rows x rank).
pub fn factors(t: &SourceTensor, rank: usize) -> [TensorHeader; 2] {
    let header = |suffix, columns: usize, rows: usize| {
        let kind = factor_type(columns);
        let bytes = kind.bytes((columns * rows) as u64).expect("whole blocks");
        let shape = vec![columns as u64, rows as u64];
        TensorHeader { name: format!("{}.{suffix}", t.name), shape, kind, bytes }
    };
    [header("lora_a", t.columns(), rank), header("lora_b", rank, t.rows())]
}

impl Plan {
    /// How many matrices have corrections, and the bytes of these.
    pub fn corrections(&self) -> (usize, u64) {
        let corrected = || self.tensors.iter().filter(|t| t.rank > 0);
        let bytes = corrected().flat_map(|t| factors(&t.source, t.rank)).map(|factor| factor.bytes).sum();
        (corrected().count(), bytes)
    }
}

/// What is to be written into the adapter file.
#[derive(Clone, Debug)]
pub struct AdapterPlan {
    /// Keys of the file.
    pub keys: Vec<(String, Value)>,
    /// The factors of every corrected tensor, in the order of the plan.
    pub tensors: Vec<TensorHeader>,
}

impl AdapterPlan {
    /// The adapter of a plan, if any tensor is to be corrected.
    pub fn of(model: &Model, plan: &Plan) -> Option<AdapterPlan> {
        let corrected = plan.tensors.iter().filter(|t| t.rank > 0);
        let tensors: Vec<_> = corrected.flat_map(|t| factors(&t.source, t.rank)).collect();
        let said = |key: &str| model.key(key).and_then(|v| v.as_str()).unwrap_or_default();
        let keys = [
            ("general.type", Value::from("adapter")),
            ("general.architecture", Value::from(said("general.architecture"))),
            ("general.name", Value::from(&*format!("{}: corrections of low rank", said("general.name")))),
            ("adapter.type", Value::from("lora")),
            // llama.cpp then takes the products as they are.
            ("adapter.lora.alpha", Value::F32(0.0)),
        ];
        let keys = keys.map(|(key, value)| (key.to_owned(), value)).to_vec();
        (!tensors.is_empty()).then_some(AdapterPlan { keys, tensors })
    }

    /// Bytes of the file.
    pub fn file_bytes(&self) -> u64 {
        Writer::file_bytes(&self.keys, &self.tensors)
    }
}
