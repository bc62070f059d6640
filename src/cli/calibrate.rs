//! `tenpak-gguf calibrate`

use super::{human_bytes, is_quiet};
use std::path::{Path, PathBuf};
use tenpak_gguf::calibration::Calibration;
use tenpak_gguf::job;

/// The name of a text that the model writes.
const SELF: &str = "self";

/// Measure what the linear layers of a model get as input, for `convert --calibration`
///
/// Runs the model over text and sums x x^T over the inputs x of its linear layers. The work is done by
/// llama-tenpak-calibrate, a program of the patched llama.cpp.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tenpak-gguf convert ./SmolLM2-135M-Instruct -o base.gguf --outtype bf16        the model, unquantized
  tenpak-gguf calibrate base.gguf -f calibration.txt -o smol.gram.gguf
  tenpak-gguf calibrate base.gguf -f self -o smol.gram.gguf                      on text that the model writes
  tenpak-gguf convert ./SmolLM2-135M-Instruct --calibration smol.gram.gguf -o smol.gguf
  tenpak-gguf calibrate base.gguf -f text.txt -o 3.gram.gguf --part 3/8          the third of eight parts, on one machine
  tenpak-gguf calibrate --merge *.gram.gguf -o all.gram.gguf                     all eight, as if by one run
  tenpak-gguf calibrate --merge own.gram.gguf code.gram.gguf -o both.gram.gguf   two texts, as if they were one

The text should be of the kinds that the model will meet (prose, code, several languages), and not the one that the
result is judged on. A run that was interrupted goes on where it was when the same command is given again. The
collector is looked for as --collector says, then $TENPAK_COLLECTOR, beside this program, and in $PATH;
scripts/build_llama.sh builds it.")]
pub struct Args {
    /// The model as a GGUF file: unquantized, or the sums are those of what a quantized model computes
    #[arg(required_unless_present = "merge")]
    base: Option<PathBuf>,
    /// Text, UTF-8; `self` lets the model write it (a file of that name is ./self)
    #[arg(short = 'f', long = "file", value_name = "TEXT", required_unless_present = "merge")]
    text: Option<PathBuf>,
    /// Of the text that the model writes; another seed, another text [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=i64::MAX as u64))]
    seed: Option<u64>,
    /// Keep the text that the model writes; it is a text for -f and --parse-special
    #[arg(long, value_name = "FILE")]
    keep_text: Option<PathBuf>,
    /// Tokens such as <|im_end|> in the text are tokens, not characters
    #[arg(long)]
    parse_special: bool,
    /// File to write
    #[arg(short, long)]
    output: PathBuf,
    /// Tokens of the text to use, from its start [default: 131072]
    #[arg(long, value_name = "N")]
    tokens: Option<u64>,
    /// One of N equal parts of these tokens, so that N machines can measure; --merge adds them up
    #[arg(long, value_name = "I/N", value_parser = super::convert::shard)]
    part: Option<(usize, usize)>,
    /// Instead: add up the calibrations of all parts of a text, or those of several texts
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["base", "text", "seed", "keep_text", "parse_special",
        "tokens", "part", "context", "memory", "budget", "threads", "gpu_layers", "collector"])]
    merge: Vec<PathBuf>,
    /// Tokens of a chunk; chunks are independent of each other [default: 512]
    #[arg(short, long, value_name = "N")]
    context: Option<u64>,
    /// Memory for the sums beside the model, such as 8G; what does not fit is collected in further passes over
    /// the text [default: half of what is free]
    #[arg(long, value_name = "SIZE")]
    memory: Option<String>,
    /// Minutes at most for the sensitivities of the weights, which `convert --target` chooses types by: 0 for as little text
    /// as possible, `none` for statistics alone, which do for `--type` and recipes [default: half of what the statistics take]
    #[arg(long, value_name = "MINUTES", value_parser = budget)]
    budget: Option<job::Budget>,
    /// Threads to use [default: one for each core]
    #[arg(short, long)]
    threads: Option<usize>,
    /// Layers to put on the GPU; the sums are computed there too [default: all that fit]
    #[arg(long, value_name = "N")]
    gpu_layers: Option<u32>,
    /// The collector, or its folder
    #[arg(long, value_name = "PATH")]
    collector: Option<PathBuf>,
    /// Write over an existing file
    #[arg(long)]
    force: bool,
}

impl Args {
    fn text(&self) -> anyhow::Result<job::Text> {
        let text = self.text.as_deref().unwrap_or(Path::new(SELF));
        if text == Path::new(SELF) {
            if self.part.is_some() {
                anyhow::bail!(
                    "--part: needs one text for all machines, and -f {SELF} may write another on each: `--keep-text own.txt` keeps that \
                     of a run without --part, for -f own.txt --parse-special"
                );
            }
            let seed = self.seed.unwrap_or(job::DEFAULT_SEED);
            return Ok(job::Text::Own { seed, keep: self.keep_text.clone() });
        }
        let only_own = [("--seed", self.seed.is_some()), ("--keep-text", self.keep_text.is_some())];
        if let Some((option, _)) = only_own.iter().find(|(_, given)| *given) {
            anyhow::bail!("{option}: is for a text that the model writes; give -f {SELF}");
        }
        let (path, parse_special) = (text.to_owned(), self.parse_special);
        Ok(job::Text::File { path, name: None, parse_special })
    }
}

fn budget(value: &str) -> Result<job::Budget, String> {
    match value {
        "none" => Ok(job::Budget::Nothing),
        _ => value
            .parse()
            .map(job::Budget::Minutes)
            .map_err(|_| "is neither a number of minutes nor none".into()),
    }
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let text = args.text()?;
    let output = args.output.clone();
    let Some(base) = args.base else {
        let merge = job::Merge { parts: args.merge, output: args.output, overwrite: args.force };
        return print(&output, &merge.run()?);
    };
    let job = job::Calibrate {
        base,
        text,
        output: args.output,
        tokens: args.tokens,
        part: args.part,
        context: args.context,
        memory: args.memory,
        threads: args.threads,
        gpu_layers: args.gpu_layers,
        budget: args.budget,
        collector: args.collector,
        overwrite: args.force,
        quiet: is_quiet(),
    };
    print(&output, &job.run()?)
}

/// Says what was written.
fn print(output: &Path, calibration: &Calibration) -> anyhow::Result<()> {
    let bytes = human_bytes(std::fs::metadata(output)?.len());
    report!("{}: {}, {bytes}", output.display(), calibration.describe());
    Ok(())
}
