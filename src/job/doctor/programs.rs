//! llama.cpp's programs: where they are, whether they have our types, and what devices they find.

use super::part::Part;
use crate::gguf::{GgmlType, TensorHeader, Value, Writer};
use crate::llama::find::{NotFound, Wanted, file_name};
use crate::llama::{pin, run};
use crate::types::{REGISTRY, Role};
use std::path::{Path, PathBuf};
use std::process::Command;

pub(super) use crate::job::collector::COLLECTOR;
pub(super) use crate::job::judge::JUDGE;

/// Talks in a terminal.
pub const CLI: &str = "llama-cli";
/// Answers programs.
pub const SERVER: &str = "llama-server";
/// Measures tokens a second.
pub const BENCH: &str = "llama-bench";
/// Makes files of other types, and says what types it finds.
const QUANTIZE: &str = "llama-quantize";
/// Others that people use.
const OTHERS: [&str; 4] = [CLI, SERVER, BENCH, QUANTIZE];

/// What gets all of them, and the tree that they are built of.
pub const REMEDY: &str = "export TENPAK_COLLECTOR=$(scripts/build_llama.sh)   # in the sources of tenpak-gguf; C++ and Python 3 are needed";

/// What was found of them.
pub struct Programs {
    pub parts: Vec<Part>,
    /// The collector, if it was found.
    pub collector: Option<PathBuf>,
    pub devices: Option<Vec<String>>,
}

impl Programs {
    /// Looks for them as jobs do: `given`, a program or their folder, comes from the option.
    pub fn look(given: Option<&Path>) -> Programs {
        let work = tempfile::Builder::new().prefix("tenpak-doctor-").tempdir();
        let work = work.as_ref().map(tempfile::TempDir::path).ok();
        let collector = COLLECTOR.find(given, &[]);
        // What is given may be the collector; others lie beside it.
        let folder = |path: &Path| path.parent().map(Path::to_owned);
        let named = given.map(|path| if path.is_file() { path.parent().unwrap_or(path) } else { path });
        let judge = match &collector {
            Ok(path) => beside(folder(path).as_deref(), JUDGE),
            Err(_) => JUDGE.find(named, &[]),
        };
        let mut parts = vec![examined(COLLECTOR, &collector, work), examined(JUDGE, &judge, work)];
        let asked = collector.as_ref().or(judge.as_ref()).ok();
        let all = asked.and_then(|path| folder(path));
        for name in OTHERS {
            let found = beside(all.as_deref(), Wanted { name, ..JUDGE });
            parts.push(part(name, &found));
        }
        let devices = asked.zip(work).and_then(|(program, work)| devices(program, work));
        Programs { parts, devices, collector: collector.ok() }
    }
}

/// A program in a folder, or where programs are looked for.
fn beside(folder: Option<&Path>, wanted: Wanted) -> Result<PathBuf, NotFound> {
    let there = folder.map(|folder| folder.join(file_name(wanted.name))).filter(|path| path.is_file());
    there.map_or_else(|| wanted.find(None, &[]), Ok)
}

fn part(name: &str, found: &Result<PathBuf, NotFound>) -> Part {
    Part {
        name: name.to_owned(),
        found: found.as_ref().ok().map(|path| path.display().to_string()),
        problem: found.as_ref().err().map(why),
        works: found.is_ok(),
        remedy: found.is_err().then(|| REMEDY.to_owned()),
    }
}

/// Why a program was not found. What helps is said elsewhere.
pub fn why(not_found: &NotFound) -> String {
    match not_found {
        NotFound::Nowhere(wanted) => {
            format!("not found ({}, ${}, beside this program, $PATH)", wanted.option, wanted.variable)
        }
        NotFound::NoSuchFile { .. } => not_found.to_string(),
    }
}

/// A program that was found or not, with what it says of itself and of a file in our types.
fn examined(wanted: Wanted, found: &Result<PathBuf, NotFound>, work: Option<&Path>) -> Part {
    let mut part = part(wanted.name, found);
    let (Ok(program), Some(work)) = (found, work) else { return part };
    let version = match run::logged(Command::new(program).arg("--version"), &work.join("version.log")) {
        Ok(said) => pin::version(&said.text).map(str::to_owned),
        Err(e) => {
            part.problem = Some(format!("it does not run: {}", e.without_log()));
            (part.works, part.remedy) = (false, Some(REMEDY.into()));
            return part;
        }
    };
    if let Some(why) = refusal(program, work) {
        part.problem = Some(why);
        (part.works, part.remedy) = (false, Some(REMEDY.into()));
    } else if let Some(other) = version.filter(|version| !pin::is_pinned(version)) {
        part.problem = Some(format!("its version is {other}, and the patches are made for {}", pin::LLAMA));
    }
    part
}

/// What is said of a file with a tensor of each of our types, if they are not all known. The file is no model, so that programs with
/// our types refuse it too, with another message. llama-quantize beside the program is asked, since it prints at once; others
/// may end before their messages are written.
fn refusal(program: &Path, work: &Path) -> Option<String> {
    let path = work.join("types.gguf");
    if !path.exists() {
        write_types(&path).ok()?;
    }
    let quantize = program.with_file_name(file_name(QUANTIZE));
    let mut command = Command::new(if quantize.is_file() { &quantize } else { program });
    if quantize.is_file() {
        command.arg("--dry-run").arg(&path).arg("COPY");
    } else if program.file_stem().is_some_and(|stem| stem == COLLECTOR.name) {
        command.arg("-m").arg(&path).arg("--tokenize").arg(&path).arg("-o").arg(work.join("ids"));
    } else {
        command.arg("-m").arg(&path).args(["-p", "x"]);
    }
    let printed = match run::logged(&mut command, &work.join("types.log")) {
        Ok(said) => said.text,
        Err(e) => e.without_log(),
    };
    let line = printed.lines().find(|line| line.contains("invalid ggml type"));
    let line = line.or_else(|| printed.lines().find(|line| line.contains("failed to read tensor info")));
    line.map(|line| match unknown(line) {
        Some(name) => {
            format!("it does not know the type {name}: it is a llama.cpp without patches or with older ones")
        }
        None => "it does not know our types: it is a llama.cpp without patches or with older ones".into(),
    })
}

/// The type of which a line says that its id is none.
fn unknown(line: &str) -> Option<&'static str> {
    let id = line.split("invalid ggml type ").nth(1)?.split(|c: char| !c.is_ascii_digit()).next()?;
    Some(crate::types::by_id(id.parse().ok()?)?.name)
}

/// A block of each type of weights.
fn write_types(path: &Path) -> Result<(), crate::gguf::Error> {
    let weights = || REGISTRY.iter().filter(|t| matches!(t.role, Role::Weight { .. }));
    let headers = weights().map(|t| TensorHeader {
        name: t.name.into(),
        shape: vec![t.block_len as u64],
        kind: GgmlType(t.id),
        bytes: t.block_bytes as u64,
    });
    let keys = [("general.architecture".to_owned(), Value::String("none".into()))];
    let mut writer = Writer::create(path, &keys, headers.collect())?;
    weights().try_for_each(|t| writer.write(&vec![0; t.block_bytes]))?;
    writer.finish().map(drop)
}

/// The lines that a program prints about devices.
fn devices(program: &Path, work: &Path) -> Option<Vec<String>> {
    let said = run::logged(Command::new(program).arg("--list-devices"), &work.join("devices.log")).ok()?;
    let lines = said.text.lines().skip_while(|line| !line.starts_with("Available devices")).skip(1);
    let named = lines.map(str::trim).filter(|line| !line.is_empty() && *line != "(none)");
    Some(named.map(str::to_owned).collect())
}
