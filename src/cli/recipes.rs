//! `tenpak-gguf recipes`

use super::{print_json, table};
use serde_json::json;
use std::io::Write;
use tenpak_gguf::plan::{BUILT_IN, BuiltIn, OF_TENPAK};

/// List the built-in recipes, or print one as a file for `convert --recipe`
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tenpak-gguf recipes                       a line for each
  tenpak-gguf recipes default > my.toml     the rules that `convert` follows without options, to be changed
  tenpak-gguf convert ./SmolLM2-135M-Instruct -o smol.gguf --recipe my.toml

A recipe is a list of rules, of which the first that matches a tensor says its type. docs/recipes.md tells all that a
rule can say; `convert --dry-run` shows which rule decided about how many tensors.")]
pub struct Args {
    /// Name of a built-in recipe
    name: Option<String>,
    /// The list as JSON
    #[arg(long, conflicts_with = "name")]
    json: bool,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let out = &mut std::io::stdout();
    if let Some(name) = args.name {
        out.write_all(BuiltIn::named(&name)?.text.as_bytes())?;
        return Ok(());
    }
    if args.json {
        let recipes = BUILT_IN.iter().chain(OF_TENPAK).map(|built_in| {
            let about = built_in.recipe(&[])?.about().to_owned();
            Ok(json!({ "name": built_in.name, "about": about, "text": built_in.text }))
        });
        return print_json(&recipes.collect::<anyhow::Result<_>>()?);
    }
    let tenpak = "Of TenPak's experiments, as near as the types are (docs/recipes-of-tenpak.md):";
    writeln!(out, "{}\n\n{tenpak}\n\n{}", lines(BUILT_IN)?, lines(OF_TENPAK)?)?;
    Ok(())
}

/// A line for each of some recipes.
fn lines(recipes: &[BuiltIn]) -> anyhow::Result<impl std::fmt::Display> {
    let mut table = table(["recipe", ""], &[]);
    for built_in in recipes {
        table.add_row([built_in.name, built_in.recipe(&[])?.about()]);
    }
    Ok(table)
}
