//! Commands: what they take and what they print.

/// Prints a line on standard error, in which names from files may be.
macro_rules! say {
    ($($words:tt)*) => {
        eprintln!("{}", tenpak_gguf::printable::lines(&format!($($words)*)))
    };
}

mod cache;
mod calibrate;
mod convert;
mod eval;
mod export;
mod forecast;
mod foreign;
mod inspect;
mod plan;
mod progress;
mod python;
mod recipes;
mod release;
mod sizes;
mod totals;
mod types;

use anyhow::Context;
use clap::{Parser, Subcommand, ValueEnum};
use std::process::ExitCode;
use tenpak_gguf::checkpoint::Dtype;
use tenpak_gguf::gguf::Tensor;
use tenpak_gguf::job::human_bytes;

/// Converts models to GGUF files ten times smaller than FP32, in trellis tensor types.
///
/// A file in these types runs in a llama.cpp built with ggml-patches:
///
///   tenpak-gguf convert ./SmolLM2-135M-Instruct -o smol.gguf
///   llama-perplexity -m smol.gguf -f text.txt
#[derive(Parser)]
#[command(version, verbatim_doc_comment, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Convert(convert::Args),
    Calibrate(calibrate::Args),
    Cache(cache::Args),
    Plan(plan::Args),
    Eval(eval::Args),
    Inspect(inspect::Args),
    Export(export::Args),
    Release(release::Args),
    Recipes(recipes::Args),
    Types(types::Args),
}

/// Runs a command, and says how the program ends.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Convert(args) => convert::run(args)?,
        Command::Calibrate(args) => calibrate::run(args)?,
        Command::Cache(args) => cache::run(args)?,
        Command::Plan(args) => plan::run(args)?,
        Command::Eval(args) => return eval::run(args),
        Command::Inspect(args) => return inspect::run(args),
        Command::Export(args) => export::run(args)?,
        Command::Release(args) => release::run(args)?,
        Command::Recipes(args) => recipes::run(args)?,
        Command::Types(args) => types::run(args)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Float types on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FloatType {
    F16,
    Bf16,
    F32,
}

impl From<FloatType> for Dtype {
    fn from(t: FloatType) -> Dtype {
        match t {
            FloatType::F16 => Dtype::F16,
            FloatType::Bf16 => Dtype::BF16,
            FloatType::F32 => Dtype::F32,
        }
    }
}

/// Sets the number of threads for all parallel work.
fn set_threads(threads: Option<usize>) -> anyhow::Result<()> {
    let Some(threads) = threads else { return Ok(()) };
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().context("cannot start the threads")
}

/// Extents of a tensor, columns first: `576 x 1536`.
fn shape(t: &Tensor) -> String {
    let extents: Vec<String> = t.shape.iter().map(u64::to_string).collect();
    extents.join(" x ")
}

/// Whole-file figures: bits per weight and compression against 32 bits per weight.
fn rate(bytes: u64, weights: u64) -> String {
    let bpw = bytes as f64 * 8.0 / weights.max(1) as f64;
    format!("{}, {bpw:.3} bpw, {:.2}x smaller than FP32", human_bytes(bytes), 32.0 / bpw)
}

/// A table without frames but a line under its header.
fn table<const N: usize>(header: [&str; N], right_aligned: &[usize]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(header);
    for &i in right_aligned {
        if let Some(column) = table.column_mut(i) {
            column.set_cell_alignment(comfy_table::CellAlignment::Right);
        }
    }
    table
}
