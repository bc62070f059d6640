//! `tenpak-gguf plan`

use super::events::Teller;
use super::python::PythonArgs;
use super::sizes::{ConverterArgs, DEFAULT_SIZE, SizeArgs, StatisticsArgs};
use super::{human_bytes, planned, print_json, set_threads, table};
use anyhow::bail;
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};
use tenpak_gguf::chart::{Curve, Point};
use tenpak_gguf::job::{self, Event, Place, Priced, Size};

/// Show the best mix of types for a size, or what each size would cost, without writing a model
///
/// Measures what `convert` would measure, and keeps it in the same cache.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tenpak-gguf plan ./Mistral-7B                                      the mix for 10x: sizes by type, the expected divergence
  tenpak-gguf plan ./Mistral-7B --target 14x --save-recipe mix.toml  as rules for `convert --recipe`, to be changed
  tenpak-gguf plan ./Mistral-7B --pareto curve.svg                   divergence over size; curve.csv for the numbers
  tenpak-gguf plan ./Mistral-7B --pareto curve.svg --beside *.gguf   with these files of the same model, judged")]
pub struct Args {
    /// Hugging Face folder or GGUF file
    model: PathBuf,
    #[command(flatten)]
    size: SizeArgs,
    #[command(flatten)]
    statistics: StatisticsArgs,
    #[command(flatten)]
    converter: ConverterArgs,
    #[command(flatten)]
    python: PythonArgs,
    /// Write the chosen mix of types into a recipe file
    #[arg(long, value_name = "FILE")]
    save_recipe: Option<PathBuf>,
    /// Write the expected divergence over size into a picture (.svg) or a table (.csv)
    #[arg(long, value_name = "FILE", value_parser = curve_file)]
    pareto: Option<PathBuf>,
    /// GGUF files of the same model that the curve shows beside it: they are judged on text that was kept back
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "pareto")]
    beside: Vec<PathBuf>,
    /// Threads to use [default: all cores]
    #[arg(short, long)]
    threads: Option<usize>,
    /// Write over existing files
    #[arg(short, long)]
    force: bool,
    /// As JSON, with every tensor and the points of the curve
    #[arg(long)]
    json: bool,
    // What only a plain file needs; it is here for the options that it excludes.
    #[arg(long, hide = true)]
    outtype: Option<String>,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    if args.outtype.is_some() {
        bail!("--outtype: a plain file has no mix of types; give it to `tenpak-gguf convert`");
    }
    for path in args.pareto.iter().chain(&args.save_recipe) {
        job::check_output(path, std::slice::from_ref(&args.model), args.force)?;
    }
    // They are judged last, after minutes.
    args.beside.iter().try_for_each(|file| tenpak_gguf::gguf::File::open(file).map(drop))?;
    set_threads(args.threads)?;
    let place = Place::Cached(args.statistics.cache()?);
    let job = job::Convert {
        size: Some(args.size.size().unwrap_or(DEFAULT_SIZE)),
        statistics: args.statistics.statistics(false)?,
        effort: args.statistics.effort(),
        low_rank: args.statistics.low_rank(),
        foreign: args.converter.options(&args.python, &args.statistics, place),
        threads: args.threads,
        ..job::Convert::new(&args.model)
    };
    let teller = Teller::new(args.json);
    let tell = |event: Event| teller.tell(event);
    let opened = job.open(&tell)?;
    opened.tell_what_becomes(&tell);
    let Some(mut priced) = opened.priced(&tell)? else {
        bail!(
            "there is no calibration that says how much depends on each weight; give none, and it is measured"
        );
    };
    let found = priced.rehearsed(job.size.unwrap_or(DEFAULT_SIZE), &tell)?;
    let mut all = args.json.then(|| planned::json(&found.plan));
    match &mut all {
        Some(all) => all["expected_kld"] = found.expected.into(),
        None => {
            planned::print(&found.plan)?;
            writeln!(std::io::stdout(), "expected divergence: {:.4} nats", found.expected)?;
        }
    }
    if let Some(path) = &args.save_recipe {
        job::save(path, found.text.as_bytes())?;
        say!("{}: the mix, for `convert --recipe`", path.display());
    }
    if let Some(path) = &args.pareto {
        let (ours, others) = (sizes(&priced), others(&priced, &args.beside)?);
        let curve = Curve { name: "tenpak, best mix (expected)".into(), named: false, ours, others };
        match &mut all {
            Some(all) => all["curve"] = curve.ours.iter().chain(&curve.others).map(json_of).collect(),
            None => print_curve(&curve)?,
        }
        let text = if path.extension().is_some_and(|e| e == "csv") { curve.csv() } else { curve.svg() };
        job::save(path, text.as_bytes())?;
        say!("{}: divergence over size", path.display());
    }
    all.map_or(Ok(()), |all| print_json(&all))
}

/// The best mixes from the smallest file to 4.2 bits per weight.
fn sizes(priced: &Priced) -> Vec<Point> {
    let mut points: Vec<Point> = Vec::new();
    for step in 0..=44 {
        let bits = 2.0 + 0.05 * step as f64;
        let Ok(found) = priced.allocation(Size::BitsPerWeight(bits)) else { continue };
        let bytes = found.plan.file_bytes + found.plan.corrections().1;
        if points.last().is_some_and(|last| last.bytes == bytes) {
            continue;
        }
        let name = format!("{bits:.2} bpw");
        points.push(Point {
            name,
            bytes,
            weights: found.plan.weights(),
            divergence: found.expected,
            error: None,
        });
    }
    points
}

fn others(priced: &Priced, files: &[PathBuf]) -> anyhow::Result<Vec<Point>> {
    let mut points = Vec::new();
    for file in files {
        let judged = priced.judge(file).map_err(|why| anyhow::anyhow!("{}: {why}", file.display()))?;
        let opened = tenpak_gguf::gguf::File::open(file)?;
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let weights = opened.tensors().iter().map(|t| t.elements()).sum();
        let bytes = opened
            .paths()
            .iter()
            .map(|path| std::fs::metadata(path).map(|m| m.len()))
            .sum::<Result<u64, _>>()?;
        let (divergence, error) = (judged.divergence.mean, Some(judged.divergence.uncertainty));
        points.push(Point { name, bytes, weights, divergence, error });
    }
    Ok(points)
}

fn json_of(point: &Point) -> serde_json::Value {
    json!({
        "name": point.name,
        "bytes": point.bytes,
        "bpw": point.bits(),
        "kld": { "value": point.divergence, "error": point.error },
    })
}

fn print_curve(curve: &Curve) -> anyhow::Result<()> {
    let mut rows = table(["file", "size", "bpw", "x", "KLD"], &[1, 2, 3, 4]);
    let step = (curve.ours.len() / 12).max(1);
    for point in curve.ours.iter().step_by(step).chain(&curve.others) {
        let divergence = match point.error {
            Some(error) => format!("{:.4} ± {error:.4}", point.divergence),
            None => format!("{:.4} expected", point.divergence),
        };
        let (bits, times) = (format!("{:.3}", point.bits()), format!("{:.2}x", 32.0 / point.bits()));
        rows.add_row([point.name.clone(), human_bytes(point.bytes), bits, times, divergence]);
    }
    writeln!(std::io::stdout(), "\n{rows}\n")?;
    Ok(())
}

fn curve_file(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    let is_known = path.extension().is_some_and(|e| e == "svg" || e == "csv");
    is_known.then(|| path.to_owned()).ok_or_else(|| "its name has to end in .svg or .csv".into())
}
