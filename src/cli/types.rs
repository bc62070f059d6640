//! `tenpak-gguf types`

use super::{print_json, table};
use serde_json::json;
use std::io::Write;
use tenpak_gguf::types::{REGISTRY, Role, TensorType};

/// Say what each tensor type is
#[derive(clap::Args)]
pub struct Args {
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    if args.json {
        return print_json(&REGISTRY.iter().map(|t| json_of(t)).collect());
    }
    let mut table = table(["type", "id", "block", "bytes", "bpw", "x FP32", ""], &[1, 2, 3, 4, 5]);
    for t in REGISTRY {
        table.add_row([
            t.name.to_owned(),
            t.id.to_string(),
            t.block_len.to_string(),
            t.block_bytes.to_string(),
            format!("{:.4}", t.bpw()),
            format!("{:.2}", 32.0 / t.bpw()),
            about(t).to_owned(),
        ]);
    }
    writeln!(std::io::stdout(), "{table}")?;
    Ok(())
}

fn about(t: &TensorType) -> &'static str {
    match t.role {
        Role::Weight { about, .. } => about,
        Role::Activation { .. } => "Activations, int8; never in files",
    }
}

fn json_of(t: &TensorType) -> serde_json::Value {
    json!({
        "name": t.name,
        "id": t.id,
        "block": t.block_len,
        "bytes": t.block_bytes,
        "bpw": t.bpw(),
        "times_smaller_than_fp32": 32.0 / t.bpw(),
        "is_in_files": matches!(t.role, Role::Weight { .. }),
        "about": about(t),
    })
}
