//! Makes files to measure speed with: a model in which every block is a copy of one. Speed depends on types and shapes,
//! not on values, and a quantizer that takes an hour for a model takes minutes for a block of it.
//!
//! ```text
//! cargo run --release --example repeat_block first MODEL.gguf BLOCK.gguf           the model cut off after its first block
//! cargo run --release --example repeat_block all MODEL.gguf BLOCK.gguf OUT.gguf    matrices of every block from BLOCK's one
//! ```
//!
//! OUT has the embeddings, output head, norms and keys of MODEL, so that files of several types differ where they are
//! compared. Types may be unknown to us, as those of ik_llama.cpp are.

use std::path::Path;
use tenpak_gguf::gguf::{Error, File, Tensor, TensorHeader, Value, Writer};
use tenpak_gguf::names::in_block;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match &args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["first", model, out] => first(&File::open(Path::new(model))?, Path::new(out))?,
        ["all", model, block, out] => {
            all(&File::open(Path::new(model))?, &File::open(Path::new(block))?, Path::new(out))?
        }
        _ => return Err("give first MODEL.gguf BLOCK.gguf, or all MODEL.gguf BLOCK.gguf OUT.gguf".into()),
    }
    Ok(())
}

fn first(model: &File, out: &Path) -> Result<(), Error> {
    let mut keys: Vec<(String, Value)> = model.keys().to_vec();
    for (key, value) in &mut keys {
        if key.ends_with(".block_count") {
            *value = Value::U32(1);
        }
    }
    let kept = model.tensors().iter().filter(|t| in_block(&t.name).is_none_or(|(block, _)| block == 0));
    write(out, &keys, kept.map(|t| (t.name.clone(), t, model)).collect())
}

fn all(model: &File, block: &File, out: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let mut plan = Vec::new();
    for t in model.tensors() {
        let (t, from) = match in_block(&t.name) {
            Some((_, layer)) if t.shape.len() == 2 => {
                let found = block
                    .tensors()
                    .iter()
                    .find(|b| in_block(&b.name) == Some((0, layer)) && b.shape == t.shape);
                (
                    found.ok_or_else(|| format!("no block has a `{layer}` of the shape of `{}`", t.name))?,
                    block,
                )
            }
            _ => (t, model),
        };
        plan.push((t, from));
    }
    let names = model.tensors().iter().map(|t| t.name.clone());
    Ok(write(out, model.keys(), names.zip(plan).map(|(name, (t, from))| (name, t, from)).collect())?)
}

/// Tensors with their new names and the files that they are in.
fn write(out: &Path, keys: &[(String, Value)], plan: Vec<(String, &Tensor, &File)>) -> Result<(), Error> {
    let header = |(name, t, _): &(String, &Tensor, &File)| TensorHeader {
        name: name.clone(),
        shape: t.shape.clone(),
        kind: t.kind,
        bytes: t.bytes(),
    };
    let mut writer = Writer::create(out, keys, plan.iter().map(header).collect())?;
    for (_, t, from) in plan {
        writer.write(from.stored(t))?;
    }
    writer.finish().map(|_| ())
}
