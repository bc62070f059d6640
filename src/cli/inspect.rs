//! `tenpak-gguf inspect`

use super::{human_bytes, rate, table};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use tenpak_gguf::gguf::File;
use tenpak_gguf::names;

/// Show keys, tensors and totals of a GGUF file of any kind
#[derive(clap::Args)]
pub struct Args {
    /// GGUF file; the first part of a split one
    file: PathBuf,
    /// Totals only
    #[arg(short, long)]
    summary: bool,
    /// A line for every key and tensor with its sha256 instead, to compare files with
    #[arg(long, conflicts_with = "summary")]
    digest: bool,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let file = File::open(&args.file)?;
    let out = &mut std::io::BufWriter::new(std::io::stdout().lock());
    if args.digest {
        return print_digest(&file, out);
    }
    let (version, alignment) = (file.version(), file.alignment());
    writeln!(out, "{}: GGUF version {version}, alignment {alignment}", args.file.display())?;
    if !args.summary {
        let mut keys = table(["key", "value"], &[]);
        for (key, value) in file.keys() {
            keys.add_row([key.clone(), value.to_string().replace('\n', "\\n")]);
        }
        writeln!(out, "\n{keys}")?;
        let mut tensors = table(["tensor", "type", "shape", "size", "bpw"], &[3, 4]);
        for t in file.tensors() {
            let shape: Vec<String> = t.shape.iter().map(u64::to_string).collect();
            tensors.add_row([
                t.name.clone(),
                t.kind.name(),
                shape.join(" x "),
                human_bytes(t.bytes()),
                bpw(t.bytes(), t.elements()),
            ]);
        }
        writeln!(out, "\n{tensors}")?;
    }
    let mut by_type = BTreeMap::new();
    for t in file.tensors() {
        let entry = by_type.entry(t.kind).or_insert((0u64, 0u64, 0u64));
        entry.0 += 1;
        entry.1 += t.elements();
        entry.2 += t.bytes();
    }
    let mut totals = table(["type", "tensors", "weights", "size", "bpw"], &[1, 2, 3, 4]);
    for (kind, (tensors, weights, bytes)) in by_type {
        totals.add_row([
            kind.name(),
            tensors.to_string(),
            weights.to_string(),
            human_bytes(bytes),
            bpw(bytes, weights),
        ]);
    }
    // Linear layers: what is multiplied in every block, without embeddings, head and norms.
    let linear = file.tensors().iter().filter(|t| names::block(&t.name).is_some() && t.shape.len() > 1);
    let (bytes, weights) = linear.fold((0, 0), |(b, w), t| (b + t.bytes(), w + t.elements()));
    let all: u64 = file.tensors().iter().map(|t| t.elements()).sum();
    writeln!(out, "\n{totals}\n\nlinear layers: {} bpw", bpw(bytes, weights))?;
    writeln!(out, "file: {}", rate(file.bytes(), all))?;
    Ok(())
}

fn bpw(bytes: u64, weights: u64) -> String {
    format!("{:.4}", bytes as f64 * 8.0 / weights.max(1) as f64)
}

/// `key NAME SHA256 VALUE` and `tensor NAME SHA256 TYPE SHAPE`, by name; values are cut as in tables.
fn print_digest(file: &File, out: &mut impl Write) -> anyhow::Result<()> {
    let mut lines = Vec::new();
    for (name, value) in file.keys() {
        let shown = value.to_string().replace('\n', "\\n");
        lines.push(format!("key {name} {:x} {shown}", Sha256::digest(value.to_bytes())));
    }
    for t in file.tensors() {
        let shape: Vec<String> = t.shape.iter().map(u64::to_string).collect();
        let digest = Sha256::digest(file.data(t)?);
        lines.push(format!("tensor {} {digest:x} {} {}", t.name, t.kind.name(), shape.join("x")));
    }
    lines.sort();
    for line in lines {
        writeln!(out, "{line}")?;
    }
    Ok(())
}
