//! Commands: what they take and what they print.

/// Prints a line on standard error, in which names from files may be: how far a job is, or what is worth knowing.
macro_rules! say {
    ($($words:tt)*) => {
        if !$crate::cli::is_quiet() {
            warn!($($words)*);
        }
    };
}

/// Prints a line on standard error, with --quiet too.
macro_rules! warn {
    ($($words:tt)*) => {
        eprintln!("{}", tenpak_gguf::printable::lines(&format!($($words)*)))
    };
}

/// Prints a line on standard output that says what a job did. If standard output is closed, what comes last says so, and the job
/// goes on.
macro_rules! report {
    ($($words:tt)*) => {
        if !$crate::cli::is_quiet() {
            use std::io::Write;
            let _ = writeln!(std::io::stdout(), $($words)*);
        }
    };
}

mod cache;
mod calibrate;
mod convert;
mod doctor;
mod eval;
mod events;
mod export;
mod forecast;
mod foreign;
mod inspect;
mod plan;
mod planned;
mod progress;
mod python;
mod recipes;
mod release;
mod shell;
mod sizes;
mod totals;
mod types;

use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use std::io::Write;
use std::process::ExitCode;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use tenpak_gguf::checkpoint::Dtype;
use tenpak_gguf::gguf::Tensor;
use tenpak_gguf::isa::Isa;
use tenpak_gguf::job::{Pin, human_bytes};

/// Converts models to GGUF files ten times smaller than FP32, in trellis tensor types
///
/// A file in these types runs in a llama.cpp built with ggml-patches.
#[derive(Parser)]
#[command(version, long_version = &LONG_VERSION[..], arg_required_else_help = true, after_help = AFTER_HELP)]
pub struct Cli {
    /// Print nothing but warnings, errors and what was asked for
    #[arg(short, long, global = true)]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Examples:
  tenpak-gguf doctor                                           what is installed, and what is missing
  tenpak-gguf convert ./SmolLM2-135M-Instruct -o smol.gguf     ten times smaller than FP32
  llama-cli -m smol.gguf                                       of a llama.cpp with the patches
  tenpak-gguf eval smol.gguf --against base.gguf -f text.txt   what the file costs

Environment:
  TENPAK_COLLECTOR    llama.cpp's programs: llama-tenpak-calibrate, or the folder of all
  TENPAK_CONVERTER    llama.cpp's convert_hf_to_gguf.py, or its folder
  TENPAK_PYTHON       the Python that runs it, and that `convert --verify` asks
  TENPAK_CACHE        the folder of what is kept to be used again
  TENPAK_ISA          a lower level of instructions than that of the processor, such as avx2
  NO_COLOR            no colors, whatever it is set to

What a command was asked for goes to standard output, all else to standard error: notes, warnings, how far it is (a bar on a
terminal, else a line twice a minute). It ends with 0 if all is well, with 1 if not, and with 2 if options are wrong.";

/// What `--version` prints.
static LONG_VERSION: LazyLock<String> = LazyLock::new(|| {
    let Pin { llama_cpp, ggml, package } = Pin::of_patches();
    let levels: Vec<&str> = Isa::available().map(Isa::name).collect();
    format!(
        "{}\nmade for llama.cpp {llama_cpp} (ggml {ggml}, {package})\ninstructions: {} (this processor has {})",
        env!("CARGO_PKG_VERSION"),
        Isa::current().name(),
        levels.join(", ")
    )
});

/// Whether nothing is printed but warnings, errors and what was asked for.
static QUIET: AtomicBool = AtomicBool::new(false);

fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
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
    Doctor(doctor::Args),
    Completions(shell::CompletionArgs),
    Man(shell::ManArgs),
}

/// Runs a command, and says how the program ends.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    QUIET.store(cli.quiet, Ordering::Relaxed);
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
        Command::Doctor(args) => return doctor::run(args),
        Command::Completions(args) => shell::completions(args, Cli::command())?,
        Command::Man(args) => shell::man(args, Cli::command())?,
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

/// Prints a value as JSON.
fn print_json(value: &serde_json::Value) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(value)?)?;
    Ok(())
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
