//! `tenpak-gguf inspect`

mod depth;
mod diff;
mod digests;
mod json;
mod vocabulary;

use super::totals::{bpw, of_file};
use super::{human_bytes, rate, shape, table};
use json::Parts;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use tenpak_gguf::gguf::{File, Value};
use tenpak_gguf::job::FileSizes;
use tenpak_gguf::names::Role;
use tenpak_gguf::printable;

/// Show what is in a GGUF file of any kind
#[derive(clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "\
Examples:
  tenpak-gguf inspect model.gguf                  keys, tensors, sums, and types over depth
  tenpak-gguf inspect model.gguf --summary        sums by type and by kind, types over depth
  tenpak-gguf inspect model.gguf --tensors        tensors alone; --metadata: keys with their whole values
  tenpak-gguf inspect model.gguf --vocabulary     tokens with their ids, as the text that they stand for
  tenpak-gguf inspect model.gguf --template       the chat template
  tenpak-gguf inspect model.gguf --json | jq '.tensors[] | select(.bpw > 8) | .name'
  tenpak-gguf inspect model.gguf --tensors --sha256         sha256 of the data of each tensor, and of all
  tenpak-gguf inspect model-00001-of-00003.gguf   of a split file the first part, for all of them
  tenpak-gguf inspect diff a.gguf b.gguf          keys and tensors that differ; ends with 1 if any do

Only the header is read, unless data are compared or sha256 is asked for. What cannot be seen in strings of the file,
control characters for example, is shown escaped. A file that is called diff is ./diff."
)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// GGUF file; the first part of a split one
    #[arg(required = true)]
    file: Option<PathBuf>,
    /// Sums only: by type, by kind, and types over depth
    #[arg(short, long, group = "shown")]
    summary: bool,
    /// Tensors only
    #[arg(long)]
    tensors: bool,
    /// Keys only, with strings whole and more of arrays
    #[arg(long)]
    metadata: bool,
    /// Tokens of the vocabulary, as the text that they stand for
    #[arg(long, group = "shown")]
    vocabulary: bool,
    /// The chat template, and others that the file has
    #[arg(long, group = "shown")]
    template: bool,
    /// sha256 of the data of each tensor; reads the whole file
    #[arg(long, conflicts_with_all = ["vocabulary", "template", "metadata", "summary"])]
    sha256: bool,
    /// As JSON, with whole arrays
    #[arg(long, conflicts_with_all = ["vocabulary", "template"])]
    json: bool,
    /// A line for every key and tensor with its sha256 instead, to compare files with
    #[arg(long, conflicts_with_all = ["shown", "tensors", "metadata", "sha256", "json"])]
    digest: bool,
}

#[derive(clap::Subcommand)]
enum Command {
    Diff(diff::Args),
}

impl Args {
    fn parts(&self) -> Parts {
        let some = self.summary || self.tensors || self.metadata;
        Parts {
            metadata: self.metadata || !some,
            tensors: self.tensors || !some,
            sums: self.summary || !some,
        }
    }
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let out = &mut BufWriter::new(std::io::stdout().lock());
    let code = match (&args.command, &args.file) {
        (Some(Command::Diff(args)), _) => diff::run(args, out)?,
        (None, Some(path)) => {
            let file = File::open(path)?;
            show(&args, &file, out)?;
            file.check_unchanged()?;
            ExitCode::SUCCESS
        }
        (None, None) => unreachable!("the file is required"),
    };
    out.flush()?;
    Ok(code)
}

fn show(args: &Args, file: &File, out: &mut impl Write) -> anyhow::Result<()> {
    if args.digest {
        return digests::print(file, out);
    }
    if args.vocabulary {
        return vocabulary::print(file, out);
    }
    if args.template {
        return print_templates(file, out);
    }
    let digests = args.sha256.then(|| digests::of(file));
    let parts = args.parts();
    if args.json {
        let value = json::of(file, parts, digests.as_deref());
        writeln!(out, "{}", serde_json::to_string_pretty(&value)?)?;
        return Ok(());
    }
    let (version, alignment) = (file.version(), file.alignment());
    writeln!(out, "{}: GGUF version {version}, alignment {alignment}", file.path().display())?;
    if parts.metadata {
        let mut keys = table(["key", "value"], &[]);
        for (key, value) in file.keys() {
            let value = if args.metadata { whole(value) } else { value.to_string() };
            keys.add_row([printable::line(key), printable::line(&value)]);
        }
        writeln!(out, "\n{keys}")?;
    }
    if parts.tensors {
        print_tensors(file, digests.as_deref(), out)?;
    }
    if parts.sums {
        print_sums(file, out)?;
    }
    Ok(())
}

/// A value with its whole strings, and so many elements of arrays.
fn whole(value: &Value) -> String {
    const ELEMENTS: usize = 16;
    match value {
        Value::String(text) => format!("{text:?}"),
        Value::Array(kind, values) if values.len() > 4 => {
            let mut shown = format!("[{}]{}", values.len(), format!("{kind:?}").to_lowercase());
            values.iter().take(ELEMENTS).for_each(|v| shown += &format!(" {v}"));
            if values.len() > ELEMENTS { shown + " ..." } else { shown }
        }
        value => value.to_string(),
    }
}

fn print_tensors(file: &File, digests: Option<&[String]>, out: &mut impl Write) -> anyhow::Result<()> {
    let mut tensors = table(["tensor", "type", "shape", "size", "bpw"], &[3, 4]);
    if digests.is_some() {
        tensors.set_header(["tensor", "type", "shape", "size", "bpw", "sha256 of the data"]);
    }
    for (i, t) in file.tensors().iter().enumerate() {
        let bpw = bpw(t.bytes(), t.elements());
        let mut row = vec![printable::line(&t.name), t.kind.name(), shape(t), human_bytes(t.bytes()), bpw];
        row.extend(digests.map(|digests| digests[i].clone()));
        tensors.add_row(row);
    }
    writeln!(out, "\n{tensors}")?;
    if let Some(digests) = digests {
        writeln!(out, "\nall data: {}", digests::of_all(file, digests))?;
    }
    Ok(())
}

/// Sums by type and by kind, types over depth, and the whole.
fn print_sums(file: &File, out: &mut impl Write) -> anyhow::Result<()> {
    let types = of_file(file, |t| t.kind).table("type", |kind| kind.name());
    writeln!(out, "\n{types}")?;
    let kinds = of_file(file, |t| Role::of(&t.name).name()).table("kind", |kind| (*kind).to_owned());
    writeln!(out, "\n{kinds}")?;
    if let Some(strip) = depth::strip(file) {
        writeln!(out, "\n{strip}")?;
    }
    let sizes = FileSizes::of(file);
    writeln!(out, "\nlinear layers: {} bpw", bpw(sizes.linear_bytes, sizes.linear_weights))?;
    writeln!(out, "file: {}", rate(sizes.bytes, sizes.weights))?;
    Ok(())
}

/// Templates, with a line of their key before each if there are several.
fn print_templates(file: &File, out: &mut impl Write) -> anyhow::Result<()> {
    const KEY: &str = "tokenizer.chat_template";
    let is_template = |key: &str| key == KEY || key.starts_with("tokenizer.chat_template.");
    let found = file.keys().iter().filter(|(key, _)| is_template(key));
    let found: Vec<_> = found.filter_map(|(key, value)| Some((key, value.as_str()?))).collect();
    if found.is_empty() {
        anyhow::bail!("{}: has no chat template ({KEY})", file.path().display());
    }
    for (key, template) in &found {
        if found.len() > 1 {
            writeln!(out, "# {}", printable::line(key))?;
        }
        writeln!(out, "{}", printable::lines(template).trim_end_matches('\n'))?;
    }
    Ok(())
}
