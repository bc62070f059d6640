//! `tenpak-gguf convert`

use super::{FloatType, check_output, human_bytes, progress_bar, rate, set_threads, table};
use anyhow::{Context, anyhow, bail};
use clap::ValueEnum;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tenpak_gguf::calibration::{Calibration, collect};
use tenpak_gguf::checkpoint::{Dtype, Model, Options};
use tenpak_gguf::convert::{self, Guide, Plan, Recipe, Target, Trellis};
use tenpak_gguf::names::is_matrix;
use tenpak_gguf::quantize::Effort;
use tenpak_gguf::split;

/// Make a GGUF file of a Hugging Face folder or of another GGUF file
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tenpak-gguf convert ./SmolLM2-135M-Instruct -o smol.gguf            T4 for attention and embeddings, T3 for the rest
  tenpak-gguf convert ./SmolLM2-135M-Instruct -o smol.gguf --type t2  T2 for every matrix
  tenpak-gguf convert ./SmolLM2-135M-Instruct -o smol.gguf --calibration-text calib.txt      much better, and slower
  tenpak-gguf convert ./SmolLM2-135M-Instruct -o smol.gguf --calibration smol.gram.gguf      with a calibration made before
  tenpak-gguf convert model-f16.gguf -o smol.gguf --dry-run           the plan and its size, nothing written
  tenpak-gguf convert ./SmolLM2-135M-Instruct -o smol-f16.gguf --outtype f16   a plain file, for any llama.cpp
  tenpak-gguf convert ./Llama-3-8B-GPTQ -o llama.gguf                 what GPTQ, AWQ or bitsandbytes made, without loss
  tenpak-gguf convert ./big -o big.gguf --shard $SLURM_ARRAY_TASK_ID/8      one of eight parts; llama.cpp loads the first

Rows that 256 does not divide use the types with blocks of 64 (t3_64 for t3 and so on).")]
pub struct Args {
    /// Hugging Face folder (config.json, a tokenizer, safetensors or pytorch_model.bin) or GGUF file, best
    /// an unquantized one
    model: PathBuf,
    /// File to write
    #[arg(short, long, required_unless_present = "dry_run")]
    output: Option<PathBuf>,
    /// One trellis type for every matrix
    #[arg(long = "type", value_name = "TYPE", conflicts_with = "outtype")]
    family: Option<Family>,
    /// Leave embeddings and output head in the type of the checkpoint
    #[arg(long, requires = "family")]
    keep_embeddings: bool,
    /// Keep what is quantized already as it is, where a type holds it without loss [default for folders, unless --type
    /// is given]
    #[arg(long, conflicts_with_all = ["outtype", "keep_embeddings"])]
    keep_quantization: bool,
    /// Quantize anew what is quantized already [default for GGUF files]
    #[arg(long, conflicts_with = "keep_quantization")]
    requantize: bool,
    /// Statistics of the model's inputs: a file of `tenpak-gguf calibrate`, or an imatrix of llama.cpp
    #[arg(long, value_name = "FILE", conflicts_with = "outtype")]
    calibration: Option<PathBuf>,
    /// Measure those statistics first, on this text (see `tenpak-gguf calibrate`)
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["calibration", "outtype"])]
    calibration_text: Option<PathBuf>,
    /// llama-tenpak-calibrate or its folder, for --calibration-text
    #[arg(long, value_name = "PATH", requires = "calibration_text")]
    collector: Option<PathBuf>,
    /// How long the calibrated search takes
    #[arg(long, value_name = "EFFORT", default_value = "normal")]
    effort: EffortName,
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
    /// Go on where the same command was killed; the file is the same as without
    #[arg(long, conflicts_with = "dry_run")]
    resume: bool,
    /// Write parts of at most so many bytes (K, M and G are powers of 1000): FILE-00001-of-0000N.gguf and so on
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    split_max_size: Option<u64>,
    /// Write one of N parts of about the same size alone, so that N jobs can write all
    #[arg(long, value_name = "I/N", value_parser = shard, conflicts_with = "split_max_size")]
    shard: Option<(usize, usize)>,
    /// llama.cpp's name of the pre-tokenizer, if tokenizer.json does not show a known one
    #[arg(long, value_name = "NAME")]
    tokenizer_pre: Option<String>,
    /// Leave the tokenizer out: programs can feed the file token ids only
    #[arg(long, conflicts_with = "tokenizer_pre")]
    no_tokenizer: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Family {
    T2,
    T3,
    T4,
}

#[derive(Clone, Copy, ValueEnum)]
enum EffortName {
    Fast,
    Normal,
    Best,
}

impl From<EffortName> for Effort {
    fn from(name: EffortName) -> Effort {
        match name {
            EffortName::Fast => Effort::Fast,
            EffortName::Normal => Effort::Normal,
            EffortName::Best => Effort::Best,
        }
    }
}

impl Args {
    fn options(&self) -> Options {
        Options {
            tokenizer_pre: self.tokenizer_pre.clone(),
            no_tokenizer: self.no_tokenizer,
            // Plain files are those of llama.cpp's converter.
            keep_tied_head: self.outtype.is_some(),
        }
    }

    /// All files that are read.
    fn inputs(&self, model: &Model) -> Vec<PathBuf> {
        model
            .files()
            .into_iter()
            .chain(self.calibration.clone())
            .chain(self.calibration_text.clone())
            .collect()
    }

    /// What is to be written where.
    fn files(&self, plan: Plan, output: &Path) -> anyhow::Result<Vec<(Plan, PathBuf)>> {
        let (parts, wanted) = match (self.split_max_size, self.shard) {
            (None, None) => return Ok(vec![(plan, output.to_owned())]),
            (Some(bytes), _) => {
                let parts = split::by_size(&plan, bytes);
                let all = 0..parts.len();
                (parts, all)
            }
            (None, Some((i, n))) => {
                (split::by_count(&plan, n).map_err(|e| anyhow!("--shard: {e}"))?, i - 1..i)
            }
        };
        Ok(wanted.map(|i| (split::part(&plan, &parts, i), split::path(output, i, parts.len()))).collect())
    }

    fn recipe(&self, is_quantized: bool) -> Recipe {
        // Of a GGUF file nothing else might be left to do.
        let keeps = is_quantized && self.model.is_dir() && !self.requantize;
        let family = self.family.map(|family| match family {
            Family::T2 => Trellis::T2,
            Family::T3 => Trellis::T3,
            Family::T4 => Trellis::T4,
        });
        match (family, self.outtype) {
            _ if self.keep_quantization => Recipe::Keep(family),
            (None, None) if keeps => Recipe::Keep(None),
            (Some(family), _) if self.keep_embeddings => Recipe::Linear(family),
            (Some(family), _) => Recipe::All(family),
            (None, Some(float)) => Recipe::Plain(float.into()),
            (None, None) => Recipe::Default,
        }
    }
}

pub fn run(args: Args) -> anyhow::Result<()> {
    set_threads(args.threads)?;
    let tokenizer =
        [("--tokenizer-pre", args.tokenizer_pre.is_some()), ("--no-tokenizer", args.no_tokenizer)];
    if let Some((option, _)) = tokenizer.iter().find(|(_, given)| *given && args.model.is_file()) {
        bail!(
            "{option}: a GGUF file keeps its tokenizer; give it when the folder is converted of which {} was made",
            args.model.display()
        );
    }
    let model = Model::open(&args.model, &args.options())?;
    let is_quantized = model.tensors.iter().any(|t| model.quantization(t).is_some());
    if args.keep_quantization && !is_quantized {
        bail!("--keep-quantization: nothing in {} is quantized", args.model.display());
    }
    let plan = convert::plan(&model, args.recipe(is_quantized));
    tell_quantization(&model, &plan);
    let weights: u64 = model.tensors.iter().map(|t| t.elements()).sum();
    for name in &plan.left_plain {
        eprintln!("warning: tensor `{name}`: rows are not a multiple of 64; it stays F16");
    }
    if args.dry_run {
        return print_plan(&plan, weights);
    }
    let Some(output) = &args.output else { bail!("-o FILE is missing") };
    let files = args.files(plan, output)?;
    let inputs = args.inputs(&model);
    // Parts that are complete need not be written again.
    let is_complete =
        |plan: &Plan, path: &Path| args.resume && convert::resume::is_complete(plan, path, &inputs);
    for (_, path) in files.iter().filter(|(plan, path)| !is_complete(plan, path)) {
        check_output(path, &inputs, args.force)?;
    }
    let start = Instant::now();
    let calibration = match (&args.calibration, &args.calibration_text) {
        (Some(file), _) => Some(open_calibration(file, &model)?),
        (None, Some(text)) => Some(calibrate(&model, text, &args, output)?),
        (None, None) => None,
    };
    if let Some(calibration) = &calibration {
        eprintln!("calibration: {}", calibration.describe());
    }
    let guide = calibration.as_ref().map(|calibration| Guide { calibration, effort: args.effort.into() });
    for (plan, path) in &files {
        if is_complete(plan, path) {
            eprintln!("{}: complete already", path.display());
            continue;
        }
        for name in convert::resume::left_by_others(&model, plan, guide, path) {
            eprintln!(
                "warning: {name} was left by a conversion with other options or of another model; delete it"
            );
        }
        let weights = plan.headers.iter().flat_map(|h| h.shape.iter().copied().reduce(|a, b| a * b)).sum();
        let bar = progress_bar(weights, "converting");
        let result = convert::run_or_resume(&model, plan, guide, path, args.resume, &|n| bar.inc(n));
        bar.finish_and_clear();
        let out = &mut std::io::stdout();
        writeln!(out, "{}: {} tensors, {}", path.display(), plan.headers.len(), rate(result?, weights))?;
    }
    writeln!(std::io::stdout(), "{:.1} s", start.elapsed().as_secs_f64())?;
    Ok(())
}

/// Opens a calibration. Models of one shape can be told apart by their names only: an unquantized model may well be
/// converted with what was measured on a quantized file of it.
fn open_calibration(file: &Path, model: &Model) -> anyhow::Result<Calibration> {
    let calibration = Calibration::open(file)?;
    let name = model.key("general.name").and_then(|v| v.as_str());
    if let (Some(found), Some(name)) = (calibration.model_name(), name)
        && found != name
    {
        eprintln!(
            "warning: {}: is the calibration of {found:?}, and this model is {name:?}; if it is another model, calibrate \
             this one",
            file.display()
        );
    }
    Ok(calibration)
}

/// Statistics of the model on a text. What is needed on the way lies beside the output and goes again.
fn calibrate(model: &Model, text: &Path, args: &Args, output: &Path) -> anyhow::Result<Calibration> {
    collect::find(args.collector.as_deref())?;
    File::open(text).with_context(|| text.display().to_string())?;
    let folder = match output.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let work = tempfile::Builder::new().prefix(".tenpak-calibration-").tempdir_in(folder)?;
    let base = if args.model.is_dir() {
        let base = work.path().join("base.gguf");
        let matrices = model.tensors.iter().filter(|t| is_matrix(&t.name, &t.shape));
        let dtype = matrices.map(|t| t.dtype.written()).next().unwrap_or(Dtype::F16);
        convert::run(model, &convert::plan(model, Recipe::Plain(dtype)), None, &base, &|_| ())?;
        base
    } else {
        args.model.clone()
    };
    let (text, output) = (text.to_owned(), work.path().join("model.gram.gguf"));
    let (threads, collector) = (args.threads, args.collector.clone());
    let options = collect::Options { text, output, threads, collector, ..Default::default() };
    collect::run(&base, &options)?;
    // Open files outlive their names where systems allow it; elsewhere the folder stays until the end.
    let calibration = Calibration::open(&options.output)?;
    drop(work);
    Ok(calibration)
}

/// How tensors were quantized already, and what becomes of them.
fn tell_quantization(model: &Model, plan: &Plan) {
    let mut found = BTreeMap::new();
    let mut is_second = false;
    for (t, target) in model.tensors.iter().zip(&plan.targets) {
        let Some(how) = model.quantization(t) else { continue };
        let becomes = match target {
            Target::Kept(kind) => format!("kept without loss as {}", kind.name()),
            Target::Blocks(kind) => format!("quantized anew to {}", kind.name),
            Target::Plain(dtype) => format!("written as {}", dtype.ggml().name()),
        };
        is_second |= matches!(target, Target::Blocks(_));
        *found.entry((how, becomes)).or_insert(0) += 1;
    }
    for ((how, becomes), tensors) in found {
        eprintln!("quantized already: {tensors} tensors ({how}), {becomes}");
    }
    if is_second {
        eprintln!(
            "note: these weights are quantized a second time, and both errors add up; \
             if there is an unquantized model, start from that"
        );
    }
}

/// `4G` and the like.
fn bytes(text: &str) -> Result<u64, String> {
    let unit = ["K", "M", "G"].iter().position(|unit| text.ends_with(unit));
    let (number, factor) = match unit {
        Some(power) => (&text[..text.len() - 1], 1000u64.pow(power as u32 + 1)),
        None => (text, 1),
    };
    let bytes = number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).filter(|n| *n > 0);
    bytes.ok_or_else(|| "not a number of bytes such as 4G, 500M or 1000000".into())
}

/// `2/8`, as numbers from 1.
fn shard(text: &str) -> Result<(usize, usize), String> {
    let numbers = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
    let fits = |(i, n): &(usize, usize)| (1..=*n).contains(i) && *n <= u16::MAX as usize;
    numbers.filter(fits).ok_or_else(|| "not a part such as 2/8: the first of 8 is 1/8, the last 8/8".into())
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
