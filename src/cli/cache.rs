//! `tenpak-gguf cache`

use super::{human_bytes, print_json, table};
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;
use tenpak_gguf::job::{Cache, Cached};

/// Show what conversions keep to use again, or delete it
///
/// Plain models, text that models write, and calibrations: with them, another size of the same model takes less time.
#[derive(clap::Args)]
pub struct Args {
    /// The folder [default: $TENPAK_CACHE, or tenpak-gguf in the folder of your caches]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Delete all of it
    #[arg(long)]
    clear: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let cache = args.cache.map(Cache::new).or_else(Cache::of_user);
    let cache = cache.ok_or_else(|| anyhow::anyhow!("there is no folder for caches; give --cache DIR"))?;
    let files = if args.clear { cache.clear()? } else { cache.files()? };
    if args.json {
        return print_json(&json_of(&cache, &files, args.clear));
    }
    let all = human_bytes(files.iter().map(|file| file.bytes).sum());
    if args.clear {
        report!("{}: {} files deleted, {all}", cache.folder().display(), files.len());
        return Ok(());
    }
    let mut rows = table(["file", "size", "age"], &[1, 2]);
    for file in &files {
        let name = file.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let age = file.modified.elapsed().unwrap_or_default().as_secs() / 3600;
        rows.add_row([name, human_bytes(file.bytes), format!("{} d {} h", age / 24, age % 24)]);
    }
    writeln!(std::io::stdout(), "{rows}\n\n{}: {} files, {all}", cache.folder().display(), files.len())?;
    Ok(())
}

fn json_of(cache: &Cache, files: &[Cached], is_deleted: bool) -> serde_json::Value {
    let file = |file: &Cached| {
        json!({
            "path": file.path.display().to_string(),
            "bytes": file.bytes,
            "age_seconds": file.modified.elapsed().unwrap_or_default().as_secs(),
        })
    };
    json!({
        "folder": cache.folder().display().to_string(),
        "bytes": files.iter().map(|file| file.bytes).sum::<u64>(),
        "deleted": is_deleted,
        "files": files.iter().map(file).collect::<Vec<_>>(),
    })
}
