//! `tenpak-gguf inspect diff`

use crate::cli::totals::bpw;
use crate::cli::{rate, shape};
use rayon::prelude::*;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use tenpak_gguf::gguf::{File, Tensor, Value};
use tenpak_gguf::job::FileSizes;
use tenpak_gguf::printable;

/// Show in what two GGUF files differ; ends with 1 if they do
///
/// Tensors are compared by name, whatever their order and whatever part of a split file they are in.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tenpak-gguf inspect diff a.gguf b.gguf               keys, shapes, types and data
  tenpak-gguf inspect diff a.gguf b.gguf --no-data     by the headers alone, at once
  tenpak-gguf inspect diff a.gguf b.gguf --json | jq '.tensors[].name'")]
pub struct Args {
    /// GGUF file
    a: PathBuf,
    /// Another
    b: PathBuf,
    /// Do not compare data of tensors that have the same type and shape
    #[arg(long)]
    no_data: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Something of one name that differs, or that one of the files does not have.
struct Difference {
    name: String,
    a: Option<String>,
    b: Option<String>,
}

impl Difference {
    fn json(&self) -> Json {
        json!({ "name": self.name, "a": self.a, "b": self.b })
    }
}

pub fn run(args: &Args, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let (a, b) = (File::open(&args.a)?, File::open(&args.b)?);
    let (keys, tensors) = (keys(&a, &b), tensors(&a, &b, !args.no_data));
    a.check_unchanged()?;
    b.check_unchanged()?;
    let code = if keys.is_empty() && tensors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    if args.json {
        let list = |all: &[Difference]| all.iter().map(Difference::json).collect::<Json>();
        let all = json!({
            "a": args.a.display().to_string(),
            "b": args.b.display().to_string(),
            "data_compared": !args.no_data,
            "keys": list(&keys),
            "tensors": list(&tensors),
        });
        writeln!(out, "{}", serde_json::to_string_pretty(&all)?)?;
        return Ok(code);
    }
    for (name, file) in [("a", &a), ("b", &b)] {
        let sizes = FileSizes::of(file);
        let linear = bpw(sizes.linear_bytes, sizes.linear_weights);
        let whole = rate(sizes.bytes, sizes.weights);
        writeln!(out, "{name}: {}, {whole}, linear layers {linear} bpw", file.path().display())?;
    }
    print("keys", &keys, out)?;
    print("tensors", &tensors, out)?;
    print_retyped(&a, &b, out)?;
    if keys.is_empty() && tensors.is_empty() {
        let what = if args.no_data { "keys, types and shapes" } else { "keys and tensors" };
        writeln!(out, "\nthe same {what}")?;
    }
    Ok(code)
}

/// A line with `-` for what is in the first file and one with `+` for what is in the second.
fn print(what: &str, found: &[Difference], out: &mut impl Write) -> anyhow::Result<()> {
    if !found.is_empty() {
        writeln!(out, "\n{what} that differ: {}", found.len())?;
    }
    for Difference { name, a, b } in found {
        for (sign, shown) in [("-", a), ("+", b)] {
            if let Some(shown) = shown {
                writeln!(out, "{sign} {}  {}", printable::line(name), printable::line(shown))?;
            }
        }
    }
    Ok(())
}

/// How many tensors went from one type to another.
fn print_retyped(a: &File, b: &File, out: &mut impl Write) -> anyhow::Result<()> {
    let of_b: BTreeMap<&str, &Tensor> = b.tensors().iter().map(|t| (&t.name[..], t)).collect();
    let mut counts = BTreeMap::<_, u64>::new();
    for t in a.tensors() {
        if let Some(other) = of_b.get(&t.name[..]).filter(|other| other.kind != t.kind) {
            *counts.entry((t.kind, other.kind)).or_default() += 1;
        }
    }
    let words: Vec<String> =
        counts.iter().map(|((from, to), n)| format!("{n} from {} to {}", from.name(), to.name())).collect();
    if !words.is_empty() {
        writeln!(out, "\ntypes: {}", words.join(", "))?;
    }
    Ok(())
}

fn keys(a: &File, b: &File) -> Vec<Difference> {
    let all = |file: &File| -> BTreeMap<String, Value> { file.keys().iter().cloned().collect() };
    // By the bytes of a file: a NaN is the same as itself, and a number of another kind is another.
    differences(all(a), all(b), |x, y| x.to_bytes() == y.to_bytes(), |v| v.to_string())
}

fn tensors(a: &File, b: &File, with_data: bool) -> Vec<Difference> {
    type Found<'a> = (&'a File, &'a Tensor);
    fn all(file: &File) -> BTreeMap<String, Found<'_>> {
        file.tensors().iter().map(|t| (t.name.clone(), (file, t))).collect()
    }
    let (of_a, of_b) = (all(a), all(b));
    let differs = |(name, (file, t)): (&String, &Found)| {
        let (other_file, other) = of_b.get(name)?;
        let is_like = t.kind == other.kind && t.shape == other.shape;
        (is_like && with_data && file.stored(t) != other_file.stored(other)).then(|| name.clone())
    };
    let other_data: std::collections::BTreeSet<String> = of_a.par_iter().filter_map(differs).collect();
    let is_same = |x: &Found, y: &Found| {
        x.1.kind == y.1.kind && x.1.shape == y.1.shape && !other_data.contains(&x.1.name)
    };
    let shown = |(_, t): &Found| match other_data.contains(&t.name) {
        true => format!("{} {}, other data", t.kind.name(), shape(t)),
        false => format!("{} {}", t.kind.name(), shape(t)),
    };
    differences(of_a.clone(), of_b.clone(), is_same, shown)
}

/// What is not the same in two maps, by name.
fn differences<T>(
    a: BTreeMap<String, T>,
    mut b: BTreeMap<String, T>,
    is_same: impl Fn(&T, &T) -> bool,
    shown: impl Fn(&T) -> String,
) -> Vec<Difference> {
    let mut found = Vec::new();
    for (name, x) in a {
        match b.remove(&name) {
            Some(y) if is_same(&x, &y) => {}
            y => found.push(Difference { name, a: Some(shown(&x)), b: y.as_ref().map(&shown) }),
        }
    }
    found.extend(b.into_iter().map(|(name, y)| Difference { name, a: None, b: Some(shown(&y)) }));
    found.sort_by(|x, y| x.name.cmp(&y.name));
    found
}
