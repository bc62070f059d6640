//! `tenpak-gguf release`

use super::human_bytes;
use super::progress::Progress;
use super::sizes::bytes;
use anyhow::bail;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use tenpak_gguf::release::{self, Calibration, DEFAULT_MAX_BYTES, Event, Release, Said};

/// Make the folder that a model hub takes: files, card, figures, recipes, checksums
///
/// Tensors are copied as they are; the keys of the files are completed, and say model, author, licence, base model, who quantized it,
/// tags, recipe and calibration. The folder is whole when it has SHA256SUMS, which is written last.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tenpak-gguf eval t3.gguf t2.gguf --against base.gguf -f wiki.txt --receipt receipt.json
  tenpak-gguf release t3.gguf t2.gguf -o ./SmolLM2-GGUF --receipt receipt.json --base-model HuggingFaceTB/SmolLM2-135M-Instruct \\
      --calibration gram.gguf --quantized-by me          SmolLM2-135M-Instruct-T3-10x.gguf, ..., README.md, SHA256SUMS
  tenpak-gguf release ... --dry-run                      what the folder would have, and its card
  tenpak-gguf release ... --upload me/SmolLM2-GGUF       and hands the folder to `hf upload`
  tenpak-gguf release -o ./SmolLM2-GGUF --upload me/SmolLM2-GGUF      a folder that is there: checked by its SHA256SUMS first

Names of files are those of the base model with the type that most weights have and how many times smaller than FP32 the file is.
A folder may be there; files of it are replaced with --force only.")]
pub struct Args {
    /// GGUF files of one model; of split ones the first parts
    #[arg(value_name = "FILE", required_unless_present = "upload")]
    files: Vec<PathBuf>,
    /// The folder
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Receipt of an evaluation of the files (`tenpak-gguf eval --receipt`): table and chart of the card
    #[arg(long, value_name = "FILE", requires = "files")]
    receipt: Option<PathBuf>,
    /// The model of the hub that the files were made of; `none` if it is on none [default: what the files say]
    #[arg(long, value_name = "ORGANIZATION/NAME")]
    base_model: Option<String>,
    /// Its licence, by the hub's identifier or by name; `none` for none [default: what the files say]
    #[arg(long, value_name = "ID")]
    license: Option<String>,
    /// Where the licence is, if the hub does not know it
    #[arg(long, value_name = "URL")]
    license_link: Option<String>,
    /// Name of the model [default: that of the base model]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Who made the model [default: what the files say, or the organization of the base model]
    #[arg(long, value_name = "WHO")]
    author: Option<String>,
    /// Who made the files
    #[arg(long, value_name = "WHO")]
    quantized_by: Option<String>,
    /// A further tag; give several for several
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// What the model does, by the hub's name [default: what the files say, or text-generation]
    #[arg(long, value_name = "NAME")]
    pipeline_tag: Option<String>,
    /// Recipe that a file was made by, once for each file [default: made of the types that the files have]
    #[arg(long = "recipe", value_name = "FILE")]
    recipes: Vec<PathBuf>,
    /// Calibration that the files were made with: the folder says its sha256
    #[arg(long, value_name = "FILE")]
    calibration: Option<PathBuf>,
    /// Put the calibration into the folder
    #[arg(long, requires = "calibration")]
    with_calibration: bool,
    /// The files were made without calibration
    #[arg(long, conflicts_with = "calibration")]
    no_calibration: bool,
    /// Command that made the files, for the card [default: `convert` with recipe and calibration]
    #[arg(long, value_name = "TEXT")]
    command: Option<String>,
    /// Cut files into parts of at most so many bytes (K, M and G are powers of 1000)
    #[arg(long, value_name = "BYTES", value_parser = bytes, default_value_t = DEFAULT_MAX_BYTES)]
    split_max_size: u64,
    /// Upload the folder with `hf` (pip install huggingface_hub)
    #[arg(long, value_name = "ORGANIZATION/NAME")]
    upload: Option<String>,
    /// Of a new repository: let nobody else see it
    #[arg(long, requires = "upload")]
    private: bool,
    /// Say what would be made, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Write over files of the folder
    #[arg(short, long)]
    force: bool,
}

impl Args {
    fn job(&self) -> Release {
        let calibration = match &self.calibration {
            Some(path) if self.with_calibration => Calibration::Included(path.clone()),
            Some(path) => Calibration::File(path.clone()),
            None if self.no_calibration => Calibration::Without,
            None => Calibration::Unsaid,
        };
        Release {
            files: self.files.clone(),
            folder: self.output.clone(),
            said: Said {
                name: self.name.clone(),
                author: self.author.clone(),
                license: self.license.clone(),
                license_link: self.license_link.clone(),
                base_model: self.base_model.clone(),
                quantized_by: self.quantized_by.clone(),
                tags: self.tags.clone(),
                pipeline_tag: self.pipeline_tag.clone(),
                repo: self.upload.clone(),
            },
            receipt: self.receipt.clone(),
            recipes: self.recipes.clone(),
            calibration,
            command: self.command.clone(),
            max_bytes: self.split_max_size,
            overwrite: self.force,
        }
    }
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let out = &mut std::io::stdout();
    if !args.files.is_empty() {
        let bar = Mutex::new(Progress::hidden());
        let tell = |event: Event| tell(event, &bar);
        let job = args.job();
        let plan = job.plan(&tell)?;
        plan.notes().iter().for_each(|note| say!("note: {note}"));
        if args.dry_run {
            for (path, bytes) in plan.models() {
                writeln!(out, "{}: {}", path.display(), human_bytes(bytes))?;
            }
            for path in plan.outputs().iter().skip(plan.models().count()) {
                writeln!(out, "{}", path.display())?;
            }
            writeln!(out, "\n{}", tenpak_gguf::printable::lines(&plan.card()))?;
        } else {
            plan.write(&tell)?;
            writeln!(out, "{}: the release is whole", args.output.display())?;
        }
    }
    let Some(repo) = &args.upload else { return Ok(()) };
    if args.dry_run {
        let words = release::upload_words(&args.output, repo, args.private);
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        writeln!(out, "hf {}", words.join(" "))?;
        return Ok(());
    }
    if repo.split('/').count() != 2 {
        bail!("--upload {repo}: not the name of a repository on the hub, which is ORGANIZATION/NAME");
    }
    release::check(&args.output, &|_| {})?;
    out.flush()?;
    release::upload(&args.output, repo, args.private)?;
    Ok(())
}

fn tell(event: Event, bar: &Mutex<Progress>) {
    let mut bar = bar.lock().unwrap_or_else(PoisonError::into_inner);
    match event {
        Event::Reading(path) => {
            let bytes = std::fs::metadata(path).map_or(0, |about| about.len());
            if bytes > 1_000_000_000 {
                say!("{}: sha256 of {}", path.display(), human_bytes(bytes));
            }
        }
        Event::Copying(path, bytes) => {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            *bar = Progress::counting(bytes, "bytes", name);
        }
        Event::Copied(bytes) => bar.inc(bytes),
        Event::Written(path) => {
            bar.finish();
            say!("{}", path.display());
        }
    }
}
