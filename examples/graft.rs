//! Writes a GGUF file with some tensors of another file of the same model, so that two files differ only where a
//! comparison is about.
//!
//! ```text
//! cargo run --release --example graft FILE.gguf OTHER.gguf OUT.gguf token_embd.weight output.weight
//! ```
//!
//! The tensors that are named come from OTHER, everything else from FILE.

use std::path::Path;
use tenpak_gguf::gguf::{File, Tensor, TensorHeader, Writer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [file, other, out, names @ ..] = &args[..] else {
        return Err("give FILE.gguf OTHER.gguf OUT.gguf TENSOR...".into());
    };
    let (file, other) = (File::open(Path::new(file))?, File::open(Path::new(other))?);
    let mut plan: Vec<(&Tensor, &File)> = Vec::new();
    for tensor in file.tensors() {
        if !names.contains(&tensor.name) {
            plan.push((tensor, &file));
            continue;
        }
        let donor = other.tensors().iter().find(|t| t.name == tensor.name && t.shape == tensor.shape);
        plan.push((donor.ok_or_else(|| format!("{args:?}: no `{}` of that shape", tensor.name))?, &other));
    }
    let header = |t: &Tensor| TensorHeader {
        name: t.name.clone(),
        shape: t.shape.clone(),
        kind: t.kind,
        bytes: t.bytes(),
    };
    let headers = plan.iter().map(|(t, _)| header(t)).collect();
    let mut writer = Writer::create(Path::new(out), file.keys(), headers)?;
    for (tensor, from) in plan {
        writer.write(from.data(tensor)?)?;
    }
    writer.finish()?;
    Ok(())
}
