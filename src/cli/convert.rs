//! `tenpak-gguf convert`

use super::{FloatType, check_output, human_bytes, progress_bar, rate, set_threads, table};
use anyhow::bail;
use clap::ValueEnum;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;
use tenpak_gguf::checkpoint::{Model, Options};
use tenpak_gguf::convert::{self, Plan, Recipe, Trellis};

/// Make a GGUF file of a Hugging Face folder or of an unquantized GGUF file
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tenpak-gguf convert ./SmolLM2-135M-Instruct -o smol.gguf            T4 for attention and embeddings, T3 for the rest
  tenpak-gguf convert ./SmolLM2-135M-Instruct -o smol.gguf --type t2  T2 for every matrix
  tenpak-gguf convert model-f16.gguf -o smol.gguf --dry-run           the plan and its size, nothing written
  tenpak-gguf convert ./SmolLM2-135M-Instruct -o smol-f16.gguf --outtype f16   a plain file, for any llama.cpp

Rows that 256 does not divide use the types with blocks of 64 (t3_64 for t3 and so on).")]
pub struct Args {
    /// Hugging Face folder (config.json, tokenizer.json, safetensors) or GGUF file in F32, F16 or BF16
    model: PathBuf,
    /// File to write
    #[arg(short, long, required_unless_present = "dry_run")]
    output: Option<PathBuf>,
    /// One trellis type for every matrix
    #[arg(long = "type", value_name = "TYPE", conflicts_with = "outtype")]
    family: Option<Family>,
    /// A plain file in a float type instead
    #[arg(long, value_name = "FLOAT")]
    outtype: Option<FloatType>,
    /// Print the plan and sizes, write nothing
    #[arg(long)]
    dry_run: bool,
    /// Threads to use [default: all cores]
    #[arg(short, long)]
    threads: Option<usize>,
    /// Write over an existing file
    #[arg(short, long)]
    force: bool,
    /// llama.cpp's name of the pre-tokenizer, if tokenizer.json does not show a known one
    #[arg(long, value_name = "NAME")]
    tokenizer_pre: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Family {
    T2,
    T3,
    T4,
}

impl Args {
    fn recipe(&self) -> Recipe {
        match (self.family, self.outtype) {
            (Some(Family::T2), _) => Recipe::All(Trellis::T2),
            (Some(Family::T3), _) => Recipe::All(Trellis::T3),
            (Some(Family::T4), _) => Recipe::All(Trellis::T4),
            (None, Some(float)) => Recipe::Plain(float.into()),
            (None, None) => Recipe::Default,
        }
    }
}

pub fn run(args: Args) -> anyhow::Result<()> {
    set_threads(args.threads)?;
    let model = Model::open(&args.model, &Options { tokenizer_pre: args.tokenizer_pre.clone() })?;
    let plan = convert::plan(&model, args.recipe());
    let weights: u64 = model.tensors.iter().map(|t| t.elements()).sum();
    for name in &plan.left_plain {
        eprintln!("warning: tensor `{name}`: rows are not a multiple of 64; it stays F16");
    }
    if args.dry_run {
        return print_plan(&plan, weights);
    }
    let Some(output) = &args.output else { bail!("-o FILE is missing") };
    check_output(output, &args.model, args.force)?;
    let start = Instant::now();
    let bar = progress_bar(weights, "converting");
    let result = convert::run(&model, &plan, output, &|n| bar.inc(n));
    bar.finish_and_clear();
    let bytes = result?;
    let out = &mut std::io::stdout();
    writeln!(out, "{}: {} tensors, {}", output.display(), plan.headers.len(), rate(bytes, weights))?;
    writeln!(out, "{:.1} s", start.elapsed().as_secs_f64())?;
    Ok(())
}

/// Sizes by type, then the whole.
fn print_plan(plan: &Plan, weights: u64) -> anyhow::Result<()> {
    let mut by_type = BTreeMap::new();
    for h in &plan.headers {
        let entry = by_type.entry(h.kind).or_insert((0u64, 0u64, 0u64));
        entry.0 += 1;
        entry.1 += h.shape.iter().product::<u64>();
        entry.2 += h.bytes;
    }
    let mut table = table(["type", "tensors", "weights", "size", "bpw"], &[1, 2, 3, 4]);
    for (kind, (tensors, weights, bytes)) in by_type {
        table.add_row([
            kind.name(),
            tensors.to_string(),
            weights.to_string(),
            human_bytes(bytes),
            format!("{:.4}", bytes as f64 * 8.0 / weights as f64),
        ]);
    }
    let out = &mut std::io::stdout();
    writeln!(out, "{table}\n\nfile: {}", rate(plan.file_bytes, weights))?;
    Ok(())
}
