//! `tenpak-gguf doctor`

use super::human_bytes;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use tenpak_gguf::job::{Ability, Cache, Diagnosis, Doctor, Part, Pin};
use tenpak_gguf::printable;

/// Show what is installed, which instructions and devices will be used, what is missing and how to get it
///
/// Ends with 1 if `convert` cannot run without options.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tenpak-gguf doctor
  tenpak-gguf doctor --collector ~/llama.cpp/build/bin --python ~/env/bin/python     with these
  TENPAK_ISA=avx2 tenpak-gguf doctor        whether a lower level of instructions holds
  tenpak-gguf doctor --json | jq '.jobs[] | select(.can | not)'
  tenpak-gguf doctor --quiet && tenpak-gguf convert ./Mistral-7B -o mistral.gguf     only if it can

Programs are tried: whether they start, their version, and whether they know the tensor types of this program. Nothing is
changed, and nothing is fetched.")]
pub struct Args {
    /// llama.cpp's programs: one of them, or their folder [default: $TENPAK_COLLECTOR, beside this program, $PATH]
    #[arg(long, value_name = "PATH")]
    collector: Option<PathBuf>,
    /// llama.cpp's convert_hf_to_gguf.py, or its folder [default: $TENPAK_CONVERTER, in the tree of the collector]
    #[arg(long, value_name = "PATH")]
    converter: Option<PathBuf>,
    /// Python with the packages of llama.cpp's converter [default: $TENPAK_PYTHON, or python3]
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    /// Folder of what is kept [default: $TENPAK_CACHE, or tenpak-gguf in the folder of your caches]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let found = Doctor {
        programs: args.collector,
        converter: args.converter,
        python: args.python,
        cache: args.cache.map(Cache::new).or_else(Cache::of_user),
    }
    .examine();
    let out = &mut std::io::stdout();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&found)?)?;
    } else if !super::is_quiet() {
        // Paths and versions may be anything.
        write!(out, "{}", printable::lines(&text(&found)))?;
    }
    Ok(if found.can_convert() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn text(found: &Diagnosis) -> String {
    let Pin { llama_cpp, ggml, package } = found.made_for;
    let mut text = format!(
        "tenpak-gguf {}, made for llama.cpp {llama_cpp} (ggml {ggml}, {package})\n\nmachine\n",
        found.version
    );
    let levels = &found.levels;
    let lacking = match levels.lacking[..] {
        [] => String::new(),
        ref lacking => format!(", and lacks {}", lacking.join(", ")),
    };
    let mut line = |name: &str, what: String| text += &format!("  {name:<24} {what}\n");
    line("instructions", format!("{}; this processor has {}{lacking}", levels.used, levels.here.join(", ")));
    if let Some(asked) = &levels.asked {
        line("", asked.clone());
    }
    line("threads", found.threads.to_string());
    if let Some(memory) = found.memory {
        line("memory", format!("{} of {} are free", human_bytes(memory.free), human_bytes(memory.all)));
    }
    match &found.devices {
        Some(devices) if devices.is_empty() => line("other devices", "none that llama.cpp finds".into()),
        Some(devices) => devices.iter().for_each(|device| line("device", device.clone())),
        None => line("other devices", "not known: there is no program of llama.cpp to ask".into()),
    }
    if let Some(cache) = &found.cache {
        let free = cache.free.map_or(String::new(), |free| format!(", {} are free", human_bytes(free)));
        line(
            "cache",
            format!("{}: {} files, {}{free}", cache.folder.display(), cache.files, human_bytes(cache.bytes)),
        );
    }
    text += "\nprograms and packages\n";
    found.parts.iter().for_each(|part| text += &line_of_part(part));
    text += "\nwhat can be done\n";
    found.jobs.iter().for_each(|job| text += &line_of_job(job));
    // One line gets several parts.
    let mut remedies: Vec<(&str, Vec<&str>)> = Vec::new();
    for part in &found.parts {
        let Some(remedy) = &part.remedy else { continue };
        match remedies.iter_mut().find(|(known, _)| known == remedy) {
            Some((_, names)) => names.push(&part.name),
            None => remedies.push((remedy, vec![&part.name])),
        }
    }
    if !remedies.is_empty() {
        text += "\nhow to get what is missing\n";
    }
    for (remedy, names) in remedies {
        text += &format!("  {}:\n    {remedy}\n", names.join(", "));
    }
    text
}

fn line_of_part(part: &Part) -> String {
    let there = match (&part.found, part.works) {
        (Some(found), true) => found.clone(),
        (Some(found), false) => format!("{found}, USELESS"),
        (None, _) => "MISSING".into(),
    };
    let problem = part.problem.as_ref().map_or(String::new(), |problem| format!(": {problem}"));
    format!("  {:<24} {there}{problem}\n", part.name)
}

fn line_of_job(Ability { job, can, lacks }: &Ability) -> String {
    match can {
        true => format!("  yes  {job}\n"),
        false => format!("  no   {job}: {}\n", lacks.join(", ")),
    }
}
