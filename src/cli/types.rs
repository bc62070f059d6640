//! `tenpak-gguf types`

use super::table;
use std::io::Write;
use tenpak_gguf::types::{REGISTRY, Role};

/// Say what each tensor type is
#[derive(clap::Args)]
pub struct Args {}

pub fn run(_: Args) -> anyhow::Result<()> {
    let mut table = table(["type", "id", "block", "bytes", "bpw", "x FP32", ""], &[1, 2, 3, 4, 5]);
    for t in REGISTRY {
        let about = match &t.role {
            Role::Weight { about, .. } => (*about).to_owned(),
            Role::Activation { .. } => "Activations, int8; never in files".to_owned(),
        };
        table.add_row([
            t.name.to_owned(),
            t.id.to_string(),
            t.block_len.to_string(),
            t.block_bytes.to_string(),
            format!("{:.4}", t.bpw()),
            format!("{:.2}", 32.0 / t.bpw()),
            about,
        ]);
    }
    writeln!(std::io::stdout(), "{table}")?;
    Ok(())
}
