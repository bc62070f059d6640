//! `tenpak-gguf eval`

use super::progress::Progress;
use super::{human_bytes, is_quiet, table};
use anyhow::{Context, bail};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use tenpak_gguf::job::{self, Cache, DEFAULT_CHUNKS, Eval, EvalEvent, Found, Receipt, Tables};
use tenpak_gguf::llama::TaskKind;
use tenpak_gguf::printable;
use tenpak_gguf::report::{self, DEFAULT_PROMPTS, DEFAULT_TOKENS, Report};

/// Show what files cost: their predictions beside those of the model that they were made of
///
/// llama-perplexity runs the base and each file over the same texts. Divergence (KLD, in nats) is how far the predictions of a
/// file are from those of the base; `same first choice` is how often both find the same token most likely. What stands
/// after ± is the standard error.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tenpak-gguf eval small.gguf --against base.gguf                   on text that the base writes itself
  tenpak-gguf eval a.gguf b.gguf --against base.gguf -f wiki.txt -f code.txt     a table; each text is a domain
  tenpak-gguf eval a.gguf --against base.gguf -f chat=talk.txt      a domain that has another name than its file
  tenpak-gguf eval a.gguf --against base.gguf -f wiki.txt --markdown     or --csv, --json
  tenpak-gguf eval a.gguf --against base.gguf -f wiki.txt --max-kld 0.05 --max-ppl-increase 3     ends with 1 above that
  tenpak-gguf eval a.gguf --against base.gguf --speed               with tokens a second, by llama-bench
  tenpak-gguf eval a.gguf --against base.gguf --tasks hellaswag=hellaswag_val_full.txt --task-count 400
  tenpak-gguf eval a.gguf --against base.gguf -f wiki.txt --receipt a.json      figures, and sha256 of all that they are of
  tenpak-gguf eval a.gguf b.gguf --against base.gguf --report report.html       charts, tensors, texts: a page that loads nothing
  tenpak-gguf eval --merge wiki.json code.json --receipt all.json   texts that were judged on several machines
  tenpak-gguf eval --check a.json                                   again what the receipt says, and whether it is so

The base's predictions are kept in the cache (`tenpak-gguf cache`), by the content of base, text and programs: two bytes for each token
of the vocabulary and each of 255 positions of a chunk, 25 MB a chunk for a vocabulary of 49152.
A receipt has names of files without their folders. --check looks for them beside the receipt and in the current folder, and
among the files that are given (FILE, --against, -f, --tasks), by sha256; figures may differ by a tenth of their standard errors.
Task files are llama.cpp's: HellaSwag as text with six lines for each task, multiple choice as its binary files.")]
pub struct Args {
    /// GGUF files; of split ones the first parts
    #[arg(value_name = "FILE", required_unless_present_any = ["check", "merge"])]
    files: Vec<PathBuf>,
    /// What they are compared with: a plain GGUF file of the same model
    #[arg(long, value_name = "BASE", required_unless_present_any = ["check", "merge"])]
    against: Option<PathBuf>,
    /// Text, UTF-8; give several for several domains [default: the base writes one, of 8 chunks]
    #[arg(short = 'f', long = "text", value_name = "[NAME=]TEXT")]
    texts: Vec<String>,
    /// Chunks of 512 tokens of each text, from its start
    #[arg(long, value_name = "N", default_value_t = DEFAULT_CHUNKS, value_parser = chunks)]
    chunks: usize,
    /// Tasks too: hellaswag=FILE or multiple-choice=FILE
    #[arg(long, value_name = "KIND=FILE", value_parser = tasks)]
    tasks: Vec<(TaskKind, PathBuf)>,
    /// Tasks of each file; 0 for all
    #[arg(long, value_name = "N", default_value_t = 400)]
    task_count: u64,
    /// Tokens a second too, of a prompt of 512 tokens and of 64 that are written
    #[arg(long)]
    speed: bool,
    /// Calibration that the files were made with: the receipt gets its sha256 if they do not name it themselves, and the page what
    /// errors are expected to do
    #[arg(long, value_name = "FILE")]
    calibration: Option<PathBuf>,
    /// Print the receipt, as JSON
    #[arg(long, group = "format")]
    json: bool,
    /// Print tables in Markdown
    #[arg(long, group = "format")]
    markdown: bool,
    /// Print a table of comma-separated values, a line for each file and domain
    #[arg(long, group = "format")]
    csv: bool,
    /// Write the receipt
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
    /// Write a page: quality over size, tensors over depth, where the loss is, weights, texts side by side
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// What the texts of the page begin with; give several for several [default: three of its own]
    #[arg(long = "prompt", value_name = "TEXT", requires = "report")]
    prompts: Vec<String>,
    /// Tokens of each text of the page, the most likely each time; 0 for no texts
    #[arg(long, value_name = "N", default_value_t = DEFAULT_TOKENS, requires = "report")]
    text_tokens: u64,
    /// Write over an existing receipt and page
    #[arg(long)]
    force: bool,
    /// End with 1 if the mean divergence of a file, over all domains, is above this
    #[arg(long, value_name = "NATS", value_parser = limit)]
    max_kld: Option<f64>,
    /// End with 1 if the perplexity of a file, over all domains, is more than so many percent above that of the base
    #[arg(long, value_name = "PERCENT", value_parser = limit)]
    max_ppl_increase: Option<f64>,
    /// Repeat the evaluation of a receipt and say whether the figures are the same; ends with 1 if not
    #[arg(long, value_name = "RECEIPT", conflicts_with_all = ["chunks", "task_count", "speed", "calibration"])]
    check: Option<PathBuf>,
    /// Instead: one receipt of receipts whose texts or tasks were judged apart, of the same files
    #[arg(long, value_name = "RECEIPT", num_args = 1.., conflicts_with_all = [
        "files", "against", "texts", "chunks", "tasks", "task_count", "speed", "calibration", "report", "check"
    ])]
    merge: Vec<PathBuf>,
    /// llama-perplexity, or its folder
    #[arg(long, value_name = "PATH")]
    collector: Option<PathBuf>,
    /// Folder of what is kept [default: $TENPAK_CACHE, or tenpak-gguf in the folder of your caches]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Threads to use [default: all cores]
    #[arg(short, long)]
    threads: Option<usize>,
}

impl Args {
    fn job(&self) -> anyhow::Result<Eval> {
        let cache = self.cache.clone().map(Cache::new).or_else(Cache::of_user);
        Ok(Eval {
            files: self.files.clone(),
            base: self.against.clone().unwrap_or_default(),
            texts: self.texts.iter().map(|text| domain(text)).collect(),
            chunks: self.chunks,
            tasks: self.tasks.clone(),
            task_count: self.task_count,
            speed: self.speed,
            calibration: self.calibration.clone(),
            programs: self.collector.clone(),
            cache: cache.context("there is no folder for caches; give --cache DIR")?,
            threads: self.threads,
            quiet: is_quiet(),
        })
    }

    /// The same evaluation as that of a receipt.
    fn job_of(&self, receipt: &Receipt, at: &Path) -> anyhow::Result<Eval> {
        let mut given = self.files.clone();
        given.extend(self.against.clone());
        given.extend(self.texts.iter().map(|text| domain(text).1));
        given.extend(self.tasks.iter().map(|(_, path)| path.clone()));
        let reading = |path: &Path| say!("{}: sha256", path.display());
        let Found { files, base, texts, tasks } = receipt.find(at, &given, &reading)?;
        Ok(Eval {
            files,
            base,
            texts,
            tasks,
            chunks: receipt.domains.iter().map(|domain| domain.chunks).max().unwrap_or(DEFAULT_CHUNKS),
            task_count: receipt.tasks.first().map_or(0, |tasks| tasks.tasks),
            speed: receipt.speed,
            calibration: None,
            ..self.job()?
        })
    }

    /// The page of an evaluation.
    fn report(&self, eval: &Eval) -> Report {
        let prompts = match self.text_tokens {
            0 => Vec::new(),
            _ if self.prompts.is_empty() => DEFAULT_PROMPTS.map(str::to_owned).to_vec(),
            _ => self.prompts.clone(),
        };
        Report {
            files: eval.files.clone(),
            base: eval.base.clone(),
            prompts,
            tokens: self.text_tokens,
            calibration: self.calibration.clone(),
            programs: eval.programs.clone(),
            threads: eval.threads,
        }
    }

    /// What is above the limits, in words.
    fn exceeded(&self, receipt: &Receipt) -> Vec<String> {
        let mut found = Vec::new();
        for judged in &receipt.models {
            let (name, all) = (judged.model.name(), &judged.all);
            for (option, limit, value) in [
                ("--max-kld", self.max_kld, all.kld.value),
                ("--max-ppl-increase", self.max_ppl_increase, all.perplexity_change.value),
            ] {
                // What is no number is above every limit.
                if let Some(limit) = limit.filter(|limit| value.is_nan() || value > *limit) {
                    found.push(format!("{name}: {value:.4} is above {option} {limit}"));
                }
            }
        }
        found
    }
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let inputs = args.files.iter().chain(&args.against).chain(&args.check).chain(&args.merge);
    let inputs: Vec<PathBuf> = inputs.cloned().collect();
    for path in args.receipt.iter().chain(&args.report) {
        job::check_output(path, &inputs, args.force)?;
    }
    let before = args.check.as_deref().map(Receipt::read).transpose()?;
    let bar = Mutex::new(Progress::hidden());
    let (receipt, eval) = if args.merge.is_empty() {
        let eval = match (&before, &args.check) {
            (Some(receipt), Some(at)) => args.job_of(receipt, at)?,
            _ => args.job()?,
        };
        (eval.run(&|event| tell(event, &bar))?, Some(eval))
    } else {
        (Receipt::read_merged(&args.merge)?, None)
    };
    let out = &mut std::io::stdout();
    let json = serde_json::to_string_pretty(&receipt)? + "\n";
    match (args.json, args.markdown, args.csv) {
        (true, ..) => write!(out, "{json}")?,
        (_, true, _) => write!(out, "{}", Tables::markdown(&receipt))?,
        (.., true) => write!(out, "{}", Tables::csv(&receipt))?,
        _ => write!(out, "{}", text(&receipt))?,
    }
    if let Some(path) = &args.receipt {
        tenpak_gguf::job::save(path, json.as_bytes())?;
        say!("{}: the receipt, for `tenpak-gguf eval --check`", path.display());
    }
    if let (Some(path), Some(eval)) = (&args.report, &eval) {
        let page = args.report(eval).page(&receipt, &|event| match event {
            report::Event::Weights(file) => say!("{}: weights beside those of the base", file.display()),
            report::Event::Texts(file) => say!("{}: texts", file.display()),
        })?;
        job::save(path, page.as_bytes())?;
        say!("{}: the page", path.display());
    }
    let mut wrong = args.exceeded(&receipt);
    if let Some(before) = &before {
        if before.program.sha256 != receipt.program.sha256 {
            say!("note: llama-perplexity or its libraries are others than those of the receipt");
        }
        wrong.extend(before.differences(&receipt));
        if wrong.is_empty() {
            say!("the figures are those of the receipt");
        }
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    Ok(ExitCode::SUCCESS)
}

/// The tables for terminals.
fn text(receipt: &Receipt) -> String {
    let Tables { files, figures } = Tables::of(receipt);
    let shown = |rows: Vec<Vec<String>>, left: usize| {
        let mut shown = table::<0>([], &[]);
        let columns = rows[0].len();
        for (i, row) in rows.into_iter().enumerate() {
            let row: Vec<String> = row.iter().map(|cell| printable::line(cell)).collect();
            if i == 0 {
                shown.set_header(row)
            } else {
                shown.add_row(row)
            };
        }
        for i in left..columns {
            if let Some(column) = shown.column_mut(i) {
                column.set_cell_alignment(comfy_table::CellAlignment::Right);
            }
        }
        shown.to_string()
    };
    let base = printable::line(receipt.base.name());
    let wholes = Tables::of_wholes(receipt);
    format!("{}\n\n{}\n\n{wholes}against {base}\n", shown(files, 1), shown(figures, 2))
}

fn tell(event: EvalEvent, bar: &Mutex<Progress>) {
    let mut bar = bar.lock().unwrap_or_else(PoisonError::into_inner);
    match event {
        EvalEvent::Reading(path) => {
            // Small files are read before anybody wonders.
            let bytes = std::fs::metadata(path).map_or(0, |about| about.len());
            if bytes > 1_000_000_000 {
                say!("{}: sha256 of {}", path.display(), human_bytes(bytes));
            }
        }
        EvalEvent::OwnText { path, is_there } => {
            let cached = if is_there { ", from the cache" } else { "" };
            say!("text that the base writes{cached}: {}", path.display());
        }
        EvalEvent::Cached(path) => {
            say!("predictions of the base, from the cache: {}", path.display());
        }
        EvalEvent::Started { file, domain, chunks } => {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            say!("{name} on {domain}, {chunks} chunks at most");
            *bar = Progress::counting(chunks as u64, "chunks", format!("{name} on {domain}"));
        }
        EvalEvent::Chunks(done) => bar.reach(done as u64),
        EvalEvent::Stopped => bar.finish(),
        EvalEvent::Doing { file, what } => say!("{}: {what}", file.display()),
    }
}

/// `NAME=TEXT`, or a text that has the name of its file.
fn domain(text: &str) -> (String, PathBuf) {
    match text.split_once('=') {
        Some((name, path)) if !Path::new(text).exists() && !name.is_empty() => {
            (name.to_owned(), PathBuf::from(path))
        }
        _ => {
            let path = PathBuf::from(text);
            (path.file_name().unwrap_or_default().to_string_lossy().into_owned(), path)
        }
    }
}

/// `hellaswag=FILE` or `multiple-choice=FILE`.
fn tasks(text: &str) -> Result<(TaskKind, PathBuf), String> {
    let parts = text.split_once('=').and_then(|(kind, path)| Some((TaskKind::named(kind)?, path.into())));
    parts.ok_or_else(|| "not hellaswag=FILE or multiple-choice=FILE".into())
}

fn chunks(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|n| (1..=1_000_000).contains(n));
    number.ok_or_else(|| "not a number of chunks from 1 on".into())
}

/// `0.05`, `3` or `3%`.
fn limit(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).parse::<f64>().ok();
    number.filter(|n| n.is_finite()).ok_or_else(|| "not a number such as 0.05 or 3".into())
}
