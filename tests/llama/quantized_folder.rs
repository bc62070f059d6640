//! A quantized checkpoint made of a plain one, as GPTQ or bitsandbytes store theirs, to test what reads them.
//!
//! Every weight is rounded to the nearest code; the libraries choose better codes and store them alike.

use half::f16;
use safetensors::{Dtype as Stored, SafeTensors, tensor::TensorView};
use serde_json::{Value as Json, json};
use std::error::Error;
use std::path::Path;
use tenpak_gguf::checkpoint::Dtype;
use tenpak_gguf::types::codes4::layout::{BlockG4, BlockNf4, Codes4, NF4};

/// Columns of a group of GPTQ's, and weights of a block of bitsandbytes'.
const GROUP: usize = BlockG4::LEN;
const BLOCK: usize = BlockNf4::LEN;
/// The matrix of ragged groups.
const RAGGED: &str = "model.layers.0.self_attn.q_proj.weight";

/// A tensor of the new checkpoint.
type Tensor = (String, Stored, Vec<usize>, Vec<u8>);

/// Who quantized.
#[derive(Clone, Copy, PartialEq)]
pub enum Method {
    /// 4 bits in groups of 128 for the down projections, and for one matrix whose rows 128 does not divide.
    Gptq,
    /// bitsandbytes' NF4 in blocks of 64 for all linear layers.
    Nf4,
}

impl Method {
    /// The method, for names of files.
    pub fn name(self) -> &'static str {
        match self {
            Method::Gptq => "gptq",
            Method::Nf4 => "nf4",
        }
    }
}

/// Makes the folder `out` of the first blocks of the model in a folder with one safetensors file. Tensors that are not quantized
/// are copied; without a method, all are.
pub fn make(folder: &Path, method: Option<Method>, blocks: usize, out: &Path) -> Result<(), Box<dyn Error>> {
    let bytes = std::fs::read(folder.join("model.safetensors"))?;
    let mut tensors = Vec::new();
    for (name, t) in SafeTensors::deserialize(&bytes)?.tensors() {
        let block =
            name.strip_prefix("model.layers.").and_then(|rest| rest.split('.').next()?.parse::<usize>().ok());
        if block.is_some_and(|block| block >= blocks) {
            continue;
        }
        let method = method.filter(|method| match method {
            Method::Gptq => name.ends_with("down_proj.weight") || name == RAGGED,
            Method::Nf4 => name.ends_with("_proj.weight"),
        });
        match (method, t.shape()) {
            (Some(method), &[rows, columns]) => {
                let values = floats(&t)?;
                let base = name.trim_end_matches(".weight");
                tensors.extend(match method {
                    Method::Gptq => gptq(base, &values, rows, columns),
                    Method::Nf4 => nf4(base, &values, rows, columns),
                });
            }
            _ => tensors.push((name, t.dtype(), t.shape().to_vec(), t.data().to_vec())),
        }
    }
    std::fs::create_dir_all(out)?;
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(folder.join(name), out.join(name))?;
    }
    let mut config: Json = serde_json::from_slice(&std::fs::read(folder.join("config.json"))?)?;
    config["num_hidden_layers"] = json!(blocks);
    let quantization = method.map(|method| match method {
        Method::Gptq => json!({"quant_method": "gptq", "bits": 4, "group_size": GROUP, "desc_act": false,
                         "checkpoint_format": "gptq"}),
        Method::Nf4 => {
            json!({"quant_method": "bitsandbytes", "load_in_4bit": true, "bnb_4bit_quant_type": "nf4",
                    "bnb_4bit_use_double_quant": false})
        }
    });
    if let Some(quantization) = quantization {
        config["quantization_config"] = quantization;
    }
    std::fs::write(out.join("config.json"), serde_json::to_vec_pretty(&config)?)?;
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        TensorView::new(*dtype, shape.clone(), bytes).map(|view| (name.as_str(), view))
    });
    let views: Vec<_> = views.collect::<Result<_, _>>()?;
    safetensors::serialize_to_file(views, None, &out.join("model.safetensors"))?;
    Ok(())
}

/// The elements of a tensor of floats.
pub fn floats(t: &TensorView) -> Result<Vec<f32>, String> {
    let dtype = match t.dtype() {
        Stored::F32 => Dtype::F32,
        Stored::F16 => Dtype::F16,
        Stored::BF16 => Dtype::BF16,
        other => return Err(format!("weights are {other:?}: give a checkpoint that is not quantized")),
    };
    let mut values = vec![0.0; t.shape().iter().product()];
    dtype.widen(t.data(), &mut values);
    Ok(values)
}

/// Version 1 of the format: zero points less one.
fn gptq(base: &str, values: &[f32], rows: usize, columns: usize) -> Vec<Tensor> {
    let groups = columns.div_ceil(GROUP);
    let mut codes = vec![0u32; columns / 8 * rows];
    let mut zeros = vec![0u32; groups * rows / 8];
    let mut scales = vec![f16::ZERO; groups * rows];
    for (r, row) in values.chunks_exact(columns).enumerate() {
        for (g, group) in row.chunks(GROUP).enumerate() {
            let block = BlockG4::fit(group);
            scales[g * rows + r] = f16::from_le_bytes(block.scale.d);
            zeros[(g * rows + r) / 8] |= ((block.scale.zero as u32).wrapping_sub(1) % 16) << (r % 8 * 4);
            for (i, &x) in group.iter().enumerate() {
                let c = g * GROUP + i;
                codes[c / 8 * rows + r] |= (block.nearest(x) as u32) << (c % 8 * 4);
            }
        }
    }
    let order: Vec<u32> = (0..columns).map(|c| (c / GROUP) as u32).collect();
    let words = |words: &[u32]| words.iter().flat_map(|w| w.to_le_bytes()).collect();
    vec![
        (format!("{base}.qweight"), Stored::I32, vec![columns / 8, rows], words(&codes)),
        (format!("{base}.qzeros"), Stored::I32, vec![groups, rows / 8], words(&zeros)),
        (
            format!("{base}.scales"),
            Stored::F16,
            vec![groups, rows],
            scales.iter().flat_map(|s| s.to_le_bytes()).collect(),
        ),
        (format!("{base}.g_idx"), Stored::I32, vec![columns], words(&order)),
    ]
}

fn nf4(base: &str, values: &[f32], rows: usize, columns: usize) -> Vec<Tensor> {
    let (mut codes, mut scales) = (Vec::new(), Vec::new());
    for values in values.chunks(BLOCK) {
        let block = BlockNf4::fit(values);
        scales.push(f32::from_le_bytes(block.scale.d));
        codes.extend(values.chunks(2).map(|x| block.nearest(x[0]) << 4 | block.nearest(x[1])));
    }
    let state =
        json!({"quant_type": "nf4", "blocksize": BLOCK, "dtype": "float16", "shape": [rows, columns]});
    let state = state.to_string().into_bytes();
    let floats = |floats: &[f32]| floats.iter().flat_map(|x| x.to_le_bytes()).collect();
    vec![
        (format!("{base}.weight"), Stored::U8, vec![codes.len(), 1], codes),
        (format!("{base}.weight.absmax"), Stored::F32, vec![scales.len()], floats(&scales)),
        (format!("{base}.weight.quant_map"), Stored::F32, vec![NF4.len()], floats(&NF4)),
        (format!("{base}.weight.quant_state.bitsandbytes__nf4"), Stored::U8, vec![state.len()], state),
    ]
}
