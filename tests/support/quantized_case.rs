//! Matrices that a library has quantized, from tests/golden/quantized, and models around them.

use super::random::Random;
use super::tiny_llama::{HIDDEN, Stored, TinyLlama};
use safetensors::SafeTensors;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// Rows of every matrix; it has as many columns as the model is wide.
pub const ROWS: usize = 32;
/// Name of the matrix in the checkpoint, without `.weight`, and in the file.
pub const MODULE: &str = "model.layers.0.mlp.gate_proj";
pub const TENSOR: &str = "blk.0.ffn_gate.weight";

/// A file of tests/golden/quantized, see scripts/reference_quantized.py.
pub struct Case {
    pub name: String,
    /// `quantization_config`
    pub config: Json,
    /// Names without the module's.
    pub tensors: BTreeMap<String, Stored>,
    /// sha256 of the weights.
    pub sha256: String,
    /// Their type.
    pub dtype: String,
}

impl Case {
    pub fn load(name: &str) -> Case {
        let path = format!("{}/tests/golden/quantized/{name}.safetensors", env!("CARGO_MANIFEST_DIR"));
        let bytes = std::fs::read(path).expect("a case");
        let parsed = SafeTensors::deserialize(&bytes).expect("a whole file");
        let (_, header) = SafeTensors::read_metadata(&bytes).expect("a header");
        let said = header.metadata().as_ref().expect("metadata");
        let tensors = parsed.tensors().into_iter().map(|(name, t)| {
            let name = name.strip_prefix("m.").expect("of the module").to_owned();
            (name, Stored { dtype: t.dtype(), shape: t.shape().to_vec(), bytes: t.data().to_vec() })
        });
        Case {
            name: name.to_owned(),
            config: serde_json::from_str(&said["config"]).expect("JSON"),
            tensors: tensors.collect(),
            sha256: said["sha256"].clone(),
            dtype: said["dtype"].clone(),
        }
    }

    /// All cases.
    pub fn all() -> Vec<Case> {
        let folder = format!("{}/tests/golden/quantized", env!("CARGO_MANIFEST_DIR"));
        let names = super::files_in(std::path::Path::new(&folder));
        names.iter().map(|name| Case::load(name.strip_suffix(".safetensors").expect("only cases"))).collect()
    }

    /// A model one of whose matrices is this one; the others are floats.
    pub fn model(&self) -> TinyLlama {
        let mut tiny = TinyLlama::new();
        tiny.config["intermediate_size"] = json!(ROWS);
        tiny.config["torch_dtype"] = json!("bfloat16");
        tiny.config["quantization_config"] = self.config.clone();
        let mut random = Random(7);
        for b in 0..super::tiny_llama::BLOCKS {
            for (name, shape) in
                [("gate_proj", [ROWS, HIDDEN]), ("up_proj", [ROWS, HIDDEN]), ("down_proj", [HIDDEN, ROWS])]
            {
                let values = random.gaussians(ROWS * HIDDEN);
                let stored = Stored::new(safetensors::Dtype::BF16, &shape, &values);
                tiny.tensors.insert(format!("model.layers.{b}.mlp.{name}.weight"), stored);
            }
        }
        tiny.tensors.remove(&format!("{MODULE}.weight"));
        tiny.tensors.extend(self.tensors.iter().map(|(name, t)| (format!("{MODULE}.{name}"), t.clone())));
        tiny
    }
}
