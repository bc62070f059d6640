//! `tenpak-gguf export`

use super::progress::Progress;
use super::{FloatType, human_bytes, set_threads};
use anyhow::bail;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use tenpak_gguf::export;
use tenpak_gguf::gguf::File;
use tenpak_gguf::job::{check_folder, check_output};

/// Turn a GGUF file into a plain one, into a Hugging Face folder, or into one for an unpatched llama.cpp
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tenpak-gguf export smol.gguf -o smol-f16.gguf    for any llama.cpp
  tenpak-gguf export smol.gguf -o ./smol           config.json, tokenizer.json, model.safetensors
  tenpak-gguf export smol.gguf -o smol-stock.gguf --stock-ids     made with --recipe stock: for an unpatched llama.cpp with
                                                                  GGML_BACKEND_PATH=libggml-tenpak.so")]
pub struct Args {
    /// GGUF file in tenpak types or floats
    file: PathBuf,
    /// File ending in .gguf, or folder
    #[arg(short, long)]
    output: PathBuf,
    /// Float type of the matrices
    #[arg(long, value_name = "FLOAT", default_value = "f16")]
    outtype: FloatType,
    /// Leave the types and give them ids that an unpatched llama.cpp can be made to read
    #[arg(long, conflicts_with = "outtype")]
    stock_ids: bool,
    /// Threads to use [default: all cores]
    #[arg(short, long)]
    threads: Option<usize>,
    /// Write over existing files
    #[arg(short, long)]
    force: bool,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    set_threads(args.threads)?;
    let file = File::open(&args.file)?;
    let is_gguf = args.output.extension().is_some_and(|e| e == "gguf");
    if args.stock_ids && !is_gguf {
        bail!(
            "{}: a file with other ids of types is GGUF: its name has to end in .gguf",
            args.output.display()
        );
    }
    let check = if is_gguf { check_output } else { check_folder };
    check(&args.output, file.paths(), args.force)?;
    let weights = file.tensors().iter().map(|t| t.elements()).sum();
    let bar = Mutex::new(Progress::new(weights, "exporting"));
    let bar = || bar.lock().unwrap_or_else(PoisonError::into_inner);
    let progress = |n| bar().inc(n);
    let result = if args.stock_ids {
        export::to_stock_ids(&file, &args.output, args.force, &progress)
    } else if is_gguf {
        export::to_gguf(&file, args.outtype.into(), &args.output, args.force, &progress)
    } else {
        export::to_folder(&file, args.outtype.into(), &args.output, args.force, &progress)
    };
    bar().finish();
    report!("{}: {}", args.output.display(), human_bytes(result?));
    Ok(())
}
