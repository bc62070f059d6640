//! A small model with experts, made of a dense one of the llama architecture, to test what handles experts.
//!
//! Two blocks with four experts each, which are feed-forward parts of eight blocks of the dense model; the routers are
//! rows of its key projections. The text that it writes makes no sense; its activations are those of a real model.

use super::short_model::keys_of_blocks;
use std::error::Error;
use std::path::Path;
use tenpak_gguf::gguf::{File, Tensor, TensorHeader, Value, Writer};
use tenpak_gguf::names;

const BLOCKS: usize = 2;
const EXPERTS: usize = 4;
const EXPERTS_USED: u32 = 2;

/// Writes the file `moe`.
pub fn make(dense: &Path, moe: &Path) -> Result<(), Box<dyn Error>> {
    let dense = File::open(dense)?;
    let tensor = |name: &str| {
        let found = dense.tensors().iter().find(|t| t.name == name);
        found.ok_or_else(|| format!("`{name}` is missing"))
    };
    let mut keys = keys_of_blocks(&dense, BLOCKS as u64);
    keys.push(("llama.expert_count".into(), Value::U32(EXPERTS as u32)));
    keys.push(("llama.expert_used_count".into(), Value::U32(EXPERTS_USED)));

    // Name, extents, the tensors that are put one after the other, and how many of their bytes are taken.
    let mut plan: Vec<(String, Vec<u64>, Vec<&Tensor>, usize)> = Vec::new();
    for t in dense.tensors() {
        let kept = names::block(&t.name).is_none_or(|block| block < BLOCKS as u64);
        let is_expert = ["ffn_gate.", "ffn_up.", "ffn_down."].iter().any(|role| t.name.contains(role));
        if kept && !is_expert {
            plan.push((t.name.clone(), t.shape.clone(), vec![t], t.bytes() as usize));
        }
    }
    for block in 0..BLOCKS {
        for role in ["ffn_gate", "ffn_up", "ffn_down"] {
            let experts = (0..EXPERTS).map(|e| tensor(&format!("blk.{}.{role}.weight", block * EXPERTS + e)));
            let experts = experts.collect::<Result<Vec<_>, _>>()?;
            let shape = vec![experts[0].shape[0], experts[0].shape[1], EXPERTS as u64];
            let bytes = experts[0].bytes() as usize;
            plan.push((format!("blk.{block}.{role}_exps.weight"), shape, experts, bytes));
        }
        let key = tensor(&format!("blk.{block}.attn_k.weight"))?;
        let bytes = key.bytes() as usize / key.shape[1] as usize * EXPERTS;
        let shape = vec![key.shape[0], EXPERTS as u64];
        plan.push((format!("blk.{block}.ffn_gate_inp.weight"), shape, vec![key], bytes));
    }
    let header = |(name, shape, tensors, bytes): &(String, Vec<u64>, Vec<&Tensor>, usize)| TensorHeader {
        name: name.clone(),
        shape: shape.clone(),
        kind: tensors[0].kind,
        bytes: (bytes * tensors.len()) as u64,
    };
    let mut writer = Writer::create(moe, &keys, plan.iter().map(header).collect())?;
    for (_, _, tensors, bytes) in &plan {
        for tensor in tensors {
            writer.write(&dense.data(tensor)?[..*bytes])?;
        }
    }
    writer.finish()?;
    Ok(())
}
