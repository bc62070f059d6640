//! `tenpak-gguf convert`

use super::events::Teller;
use super::python::PythonArgs;
use super::sizes::{ConverterArgs, DEFAULT_SIZE, SizeArgs, StatisticsArgs, bytes};
use super::{FloatType, forecast, foreign, is_quiet, planned, print_json, set_threads};
use anyhow::{anyhow, bail};
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tenpak_gguf::checkpoint::Foreign;
use tenpak_gguf::job::{self, Event, Outputs, Place, Statistics, Verify};
use tenpak_gguf::plan::{self, Cut, Family, Recipe, Sample};

/// Make a GGUF file of a Hugging Face folder or of another GGUF file
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tenpak-gguf convert ./Mistral-7B -o mistral.gguf                    calibrated, the best mix for 10x
  tenpak-gguf convert ./Mistral-7B -o mistral.gguf --target 14x       or --bpw 2.5, --size 2.8G: the best mix for that
  tenpak-gguf convert ./Mistral-7B -o mistral.gguf --calibration-text text.txt      calibrated on a text of yours
  tenpak-gguf convert ./Mistral-7B -o mistral.gguf --effort fast      a third of the time, and somewhat worse
  tenpak-gguf convert ./Mistral-7B -o mistral.gguf --type t2          one type for every matrix, calibrated
  tenpak-gguf convert ./Mistral-7B -o mistral.gguf --no-calibration   quick, needs no llama.cpp, and far worse
  tenpak-gguf convert ./Mistral-7B --dry-run                          what each step makes, nothing written or measured
  tenpak-gguf convert ./Mistral-7B -o mistral.gguf --save-recipe mix.toml    the chosen mix as rules, to be changed
  tenpak-gguf convert ./Mistral-7B -o mistral.gguf --recipe mix.toml  types by these rules
  tenpak-gguf convert ./Mistral-7B -o mistral.gguf --low-rank 16      with mistral.lora.gguf, for llama.cpp's --lora
  tenpak-gguf convert ./Llama-70B -o part.gguf --sample-layers 4      four blocks only; `eval` says what all would cost
  tenpak-gguf convert ./Mistral-7B -o mistral-f16.gguf --outtype f16  a plain file, for any llama.cpp
  tenpak-gguf convert ./Llama-3-8B-GPTQ -o llama.gguf                 what GPTQ, AWQ or bitsandbytes made, without loss
  tenpak-gguf convert ./Model -o model.gguf --verify                  first compared with the folder; see below
  tenpak-gguf convert ./Jamba-Mini -o jamba.gguf --python ~/env/bin/python     a class that llama.cpp's converter knows
  tenpak-gguf convert ./big -o big.gguf --shard $SLURM_ARRAY_TASK_ID/8      one of eight parts; llama.cpp loads the first

Calibration runs the model over text, by default text that the model writes itself, with llama-tenpak-calibrate of the
patched llama.cpp (scripts/build_llama.sh). What it makes stays in a cache (`tenpak-gguf cache`), so that another size of
the same model takes less.

--verify runs llama.cpp with a plain file of the model over a few hundred tokens, and compares ids with those of the
folder's tokenizer, and embeddings, the output of every block and logits with what transformers computes in the
Python that --python names (pip install torch transformers sentencepiece). What differs first ends the conversion.

Of a class of config.json that this program has no table for, llama.cpp's convert_hf_to_gguf.py makes a BF16 file first:
in the cache, or beside the output and deleted at the end. It needs Python with PyTorch and transformers, of which an error
says how to get them (or name one with --python), and room for two bytes a weight. No code of a checkpoint is run.
Rows that 256 does not divide use the types with blocks of 64 (t3_64 for t3 and so on).")]
pub struct Args {
    /// Hugging Face folder (config.json, a tokenizer, safetensors or pytorch_model.bin) or GGUF file, best
    /// an unquantized one
    model: PathBuf,
    /// File to write
    #[arg(short, long, required_unless_present = "dry_run")]
    output: Option<PathBuf>,
    #[command(flatten)]
    size: SizeArgs,
    /// One trellis type for every matrix
    #[arg(long = "type", value_name = "TYPE", value_parser = ["t2", "t25", "t3", "t35", "t4", "t5"], conflicts_with_all = ["outtype", "sized"])]
    family: Option<String>,
    /// Types by the rules of a file, or of a built-in recipe (see `tenpak-gguf recipes`)
    #[arg(long, value_name = "RECIPE", conflicts_with_all = ["family", "outtype", "keep_embeddings", "keep_quantization", "requantize", "sized"])]
    recipe: Option<PathBuf>,
    /// Leave embeddings and output head in the type of the checkpoint
    #[arg(long, requires = "family")]
    keep_embeddings: bool,
    /// Keep what is quantized already as it is, where a type holds it without loss [default for folders, unless --type
    /// is given]
    #[arg(long, conflicts_with_all = ["outtype", "keep_embeddings", "sized"])]
    keep_quantization: bool,
    /// Quantize anew what is quantized already [default for GGUF files]
    #[arg(long, conflicts_with = "keep_quantization")]
    requantize: bool,
    #[command(flatten)]
    statistics: StatisticsArgs,
    #[command(flatten)]
    converter: ConverterArgs,
    /// Quantize these blocks only, as 0,8,16 or 0-3,20, and what is in no block; the others are floats. `tenpak-gguf eval` says
    /// what the whole file would cost
    #[arg(long, value_name = "BLOCKS", value_parser = Sample::of_list, conflicts_with = "outtype")]
    layers: Option<Sample>,
    /// The same of so many blocks, spread evenly (8), the first (first:8), every k-th (every:4), or one of each kind (kinds)
    #[arg(long, value_name = "N", conflicts_with_all = ["layers", "outtype"])]
    sample_layers: Option<Sample>,
    /// Write the chosen mix of types into a recipe file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["family", "recipe", "outtype", "no_calibration"])]
    save_recipe: Option<PathBuf>,
    /// A plain file in a float type instead
    #[arg(long, value_name = "FLOAT")]
    outtype: Option<FloatType>,
    /// Compare tokens and logits of the file in llama.cpp with those of the folder before anything is written
    #[arg(long, conflicts_with = "dry_run")]
    verify: bool,
    #[command(flatten)]
    python: PythonArgs,
    /// Print the plan and sizes, write nothing
    #[arg(long)]
    dry_run: bool,
    /// Print as JSON what was written and what it costs, or the plan of a dry run with every tensor
    #[arg(long)]
    json: bool,
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

impl Args {
    /// What the options say about types; nothing if they leave it to the model.
    fn recipe(&self) -> anyhow::Result<Option<Recipe>> {
        let family = self.family.as_deref().and_then(Family::named);
        Ok(match (&self.recipe, family, self.outtype) {
            (Some(recipe), ..) => Some(Recipe::named_or_read(recipe)?),
            (_, Some(family), _) if self.keep_quantization => Some(Recipe::keep_and_quantize(family)),
            (_, None, _) if self.keep_quantization => Some(Recipe::keep()),
            (_, Some(family), _) if self.keep_embeddings => Some(Recipe::linear(family)),
            (_, Some(family), _) => Some(Recipe::all(family)),
            (_, None, Some(float)) => Some(Recipe::plain(float.into())),
            (_, None, None) if self.requantize => Some(Recipe::default()),
            (_, None, None) => None,
        })
    }

    fn job(&self, recipe: Option<Recipe>, is_kept: bool) -> anyhow::Result<job::Convert> {
        let statistics = match self.outtype {
            Some(_) => Statistics::None,
            None => self.statistics.statistics(is_kept)?,
        };
        let best = recipe.is_none() && statistics != Statistics::None;
        let size = self.size.size().or(best.then_some(DEFAULT_SIZE));
        Ok(job::Convert {
            source: self.model.clone(),
            recipe,
            size,
            statistics,
            effort: self.statistics.effort(),
            low_rank: self.statistics.low_rank(),
            sample: self.layers.clone().or_else(|| self.sample_layers.clone()),
            tokenizer_pre: self.tokenizer_pre.clone(),
            no_tokenizer: self.no_tokenizer,
            verify: self.verify(),
            foreign: self.converter.options(&self.python, &self.statistics, self.place()),
            threads: self.threads,
        })
    }

    fn verify(&self) -> Option<Verify> {
        let (python, collector) = (self.python.python.clone(), self.statistics.collector());
        self.verify.then_some(Verify { python, collector })
    }

    /// Where llama.cpp's converter writes, if there is no cache.
    fn place(&self) -> Place {
        let folder = self.output.as_deref().and_then(Path::parent);
        match folder {
            Some(folder) if folder.as_os_str().is_empty() => Place::In(".".into()),
            Some(folder) => Place::In(folder.to_owned()),
            None => Place::Temporary,
        }
    }

    /// Refuses an output that is there already, before anything that takes long.
    fn check_output(&self) -> anyhow::Result<()> {
        let Outputs { path, cut, overwrite, resume } = self.outputs()?;
        if cut == Cut::Whole && !resume {
            job::check_output(&path, &[], overwrite)?;
        }
        Ok(())
    }

    fn outputs(&self) -> anyhow::Result<Outputs> {
        let Some(output) = &self.output else { bail!("-o FILE is missing") };
        let cut = match (self.split_max_size, self.shard) {
            (Some(bytes), _) => Cut::BySize(bytes),
            (None, Some((number, of))) => Cut::One { number, of },
            (None, None) => Cut::Whole,
        };
        Ok(Outputs { path: output.clone(), cut, overwrite: self.force, resume: self.resume })
    }
}

pub fn run(args: Args) -> anyhow::Result<()> {
    set_threads(args.threads)?;
    let recipe = args.recipe()?;
    let teller = Teller::new(args.json);
    let tell = |event: Event| {
        if let (Event::Allocated { recipe, .. }, Some(path)) = (&event, &args.save_recipe) {
            match job::save(path, recipe.as_bytes()) {
                Ok(()) => say!("{}: the chosen mix, for --recipe", path.display()),
                Err(e) => warn!("warning: {e}; the recipe is not saved"),
            }
        }
        teller.tell(event);
    };
    let start = Instant::now();
    let keeps = args.keep_quantization && args.family.is_none();
    // Of a foreign folder a file is made first, which is best in the cache if something is measured.
    let is_foreign = args.model.is_dir() && Foreign::of(&args.model)?.is_some();
    let first = args.job(recipe.clone(), keeps || !is_foreign)?;
    if let Some(prepared) = first.foreign()?.filter(|prepared| !prepared.is_there()) {
        if args.dry_run {
            say!("{}", foreign::sentence(&prepared));
            say!("Steps and types are known when that file is there.");
            return Ok(());
        }
        args.check_output()?;
    }
    // What a quantized folder has is kept, unless something else is asked for: there is nothing to calibrate.
    let is_sized = args.size.size().is_some();
    let opened = first.open(&tell).map_err(with_advice)?;
    let is_kept =
        recipe.is_none() && !is_sized && opened.model().is_quantized() && args.model.is_dir() || keeps;
    let job = args.job(recipe, is_kept)?;
    let opened = opened.with(&job);
    if args.keep_quantization && !opened.model().is_quantized() {
        bail!("--keep-quantization: nothing in {} is quantized", args.model.display());
    }
    opened.tell_what_becomes(&tell);
    if args.dry_run {
        let forecast = opened.forecast()?;
        if args.json {
            let mut all = planned::json(&opened.plan_of_sample()?);
            all["steps"] = forecast.as_ref().map_or_else(|| json!([]), forecast::json);
            return print_json(&all);
        }
        if let Some(found) = forecast {
            say!("{}\n\nTypes by rules, as they are without measurements:", forecast::text(&found));
        }
        if opened.is_provisional() {
            say!("note: the first blocks stand for those that matter least, which a conversion finds out");
        }
        return planned::print(&opened.plan_of_sample()?);
    }
    opened.write(&args.outputs()?, &tell).map_err(with_advice)?;
    let seconds = start.elapsed().as_secs_f64();
    if let Some(mut all) = teller.kept() {
        all.insert("seconds".into(), seconds.into());
        return print_json(&all.into());
    }
    if !is_quiet() {
        writeln!(std::io::stdout(), "{seconds:.1} s")?;
    }
    Ok(())
}

/// The error, with the options that help.
fn with_advice(error: job::Error) -> anyhow::Error {
    match error {
        job::Error::Plan(plan::Error::Parts { .. }) => anyhow!("--shard: {error}"),
        job::Error::Collector(job::CollectorError::NotFound(_)) => {
            anyhow!("{error}; without it, --no-calibration makes a file that is far worse")
        }
        error => error.into(),
    }
}

/// `2/8`, as numbers from 1.
pub(super) fn shard(text: &str) -> Result<(usize, usize), String> {
    let numbers = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
    let fits = |(i, n): &(usize, usize)| (1..=*n).contains(i) && *n <= u16::MAX as usize;
    numbers.filter(fits).ok_or_else(|| "not a part such as 2/8: the first of 8 is 1/8, the last 8/8".into())
}
