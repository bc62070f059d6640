//! What is installed, what it runs on, which jobs that is enough for, and how to get what is missing.

mod part;
mod programs;
mod python;

pub use part::Part;

use super::Cache;
use super::cache::Cached;
use super::foreign::{environment, free_bytes};
use crate::isa::Isa;
use crate::llama::pin;
use programs::Programs;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Where to look, if not in the usual places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Doctor {
    /// A program of llama.cpp's, or their folder.
    pub programs: Option<PathBuf>,
    /// llama.cpp's convert_hf_to_gguf.py, or its folder.
    pub converter: Option<PathBuf>,
    /// The Python that the converter and the verification get.
    pub python: Option<PathBuf>,
    /// The cache; `None` where there is no folder for one.
    pub cache: Option<Cache>,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnosis {
    /// Version of this program.
    pub version: &'static str,
    /// The llama.cpp that it is made for.
    pub made_for: Pin,
    /// Levels of instructions.
    pub levels: Levels,
    /// Threads that jobs use unless told otherwise.
    pub threads: usize,
    /// Bytes of memory, if the system tells.
    pub memory: Option<Room>,
    /// Devices beside the processor that llama.cpp's programs find, in their words; `None` if there is nobody to ask.
    pub devices: Option<Vec<String>>,
    /// The cache.
    pub cache: Option<Stored>,
    /// Programs and packages.
    pub parts: Vec<Part>,
    /// What can be done with them.
    pub jobs: Vec<Ability>,
}

/// A version of llama.cpp.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Pin {
    /// Its number.
    pub llama_cpp: &'static str,
    /// That of ggml in it.
    pub ggml: &'static str,
    /// The package that holds its sources.
    pub package: &'static str,
}

impl Pin {
    /// The one that the patches are made for.
    pub fn of_patches() -> Pin {
        Pin { llama_cpp: pin::LLAMA, ggml: pin::GGML, package: pin::package() }
    }
}

/// Levels of instructions.
#[derive(Clone, Debug, Serialize)]
pub struct Levels {
    /// The one that kernels run at.
    pub used: &'static str,
    /// Those of this processor, lowest first.
    pub here: Vec<&'static str>,
    /// Those that this processor lacks.
    pub lacking: Vec<&'static str>,
    /// What is to be said about `$TENPAK_ISA`.
    pub asked: Option<String>,
}

/// Bytes of something.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Room {
    /// All.
    pub all: u64,
    /// Those that are free.
    pub free: u64,
}

/// A cache.
#[derive(Clone, Debug, Serialize)]
pub struct Stored {
    /// Its folder, which need not be there.
    pub folder: PathBuf,
    /// Files in it.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes that are free on its disk, if the system tells.
    pub free: Option<u64>,
    /// Why nothing can be kept in it.
    pub problem: Option<String>,
}

/// Whether a job can be done here.
#[derive(Clone, Debug, Serialize)]
pub struct Ability {
    /// The job, as a command or in words.
    pub job: &'static str,
    /// Whether it can.
    pub can: bool,
    /// The parts that keep it from it.
    pub lacks: Vec<String>,
}

/// What `convert` without options needs, for [`Diagnosis::can_convert`].
const CONVERT: &str = "convert";

/// The part of the cache's folder.
const CACHE: &str = "folder for the cache";

impl Diagnosis {
    /// Whether `convert` runs without options.
    pub fn can_convert(&self) -> bool {
        self.jobs.iter().any(|job| job.job == CONVERT && job.can)
    }
}

impl Doctor {
    /// Looks. Nothing is written but temporary files.
    pub fn examine(&self) -> Diagnosis {
        let programs = Programs::look(self.programs.as_deref());
        let cache = self.cache.as_ref().map(stored);
        let mut parts = programs.parts;
        parts.extend(python::parts(
            self.converter.as_deref(),
            self.python.as_deref(),
            programs.collector.as_deref(),
            &environment(),
        ));
        let problem = match &cache {
            None => Some("there is none".to_owned()),
            Some(stored) => stored.problem.clone(),
        };
        parts.push(Part {
            name: CACHE.into(),
            found: cache.as_ref().map(|stored| stored.folder.display().to_string()),
            works: problem.is_none(),
            remedy: problem.as_ref().map(|_| "export TENPAK_CACHE=FOLDER".into()),
            problem,
        });
        Diagnosis {
            version: env!("CARGO_PKG_VERSION"),
            made_for: Pin::of_patches(),
            levels: levels(std::env::var("TENPAK_ISA").ok().as_deref()),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            memory: memory(),
            devices: programs.devices,
            cache,
            jobs: abilities(&parts),
            parts,
        }
    }
}

/// What each job needs of the parts.
fn abilities(parts: &[Part]) -> Vec<Ability> {
    let packages = || crate::llama::converter::packages().map(python::name_of);
    let needs: [(&'static str, Vec<&str>); 7] = [
        (CONVERT, vec![programs::COLLECTOR.name, CACHE]),
        ("convert --no-calibration, inspect, export", vec![]),
        ("eval, and what a file costs after convert", vec![programs::JUDGE.name, CACHE]),
        ("eval --speed", vec![programs::JUDGE.name, programs::BENCH]),
        (
            "convert --verify",
            [programs::COLLECTOR.name, python::PYTHON]
                .into_iter()
                .chain(packages().filter(|name| python::VERIFIES.contains(name)))
                .collect(),
        ),
        (
            "convert, of classes that llama.cpp's converter reads",
            [crate::llama::converter::CONVERTER.name, python::PYTHON].into_iter().chain(packages()).collect(),
        ),
        ("run files in a terminal and as a server", vec![programs::CLI, programs::SERVER]),
    ];
    let lacks = |names: Vec<&str>| {
        let missing = |name: &&str| parts.iter().any(|part| part.name == **name && !part.works);
        names.into_iter().filter(missing).map(str::to_owned).collect::<Vec<_>>()
    };
    let ability = |(job, names)| {
        let lacks = lacks(names);
        Ability { job, can: lacks.is_empty(), lacks }
    };
    needs.into_iter().map(ability).collect()
}

/// Levels of this processor, where `TENPAK_ISA` says `asked`.
fn levels(asked: Option<&str>) -> Levels {
    let (here, lacking): (Vec<Isa>, Vec<Isa>) = Isa::ALL.iter().partition(|isa| isa.is_available());
    let names = |levels: Vec<Isa>| levels.into_iter().map(Isa::name).collect::<Vec<_>>();
    let asked = asked.filter(|name| !name.is_empty()).map(|name| {
        match Isa::ALL.iter().find(|isa| isa.name() == name) {
            None => format!("TENPAK_ISA={name} is ignored: there is no such level"),
            Some(isa) if !isa.is_available() => {
                format!("TENPAK_ISA={name} is refused: this processor lacks it")
            }
            Some(_) => format!("TENPAK_ISA={name} holds"),
        }
    });
    Levels { used: Isa::current().name(), here: names(here), lacking: names(lacking), asked }
}

fn stored(cache: &Cache) -> Stored {
    let folder = cache.folder().to_owned();
    let listed = cache.files();
    let files: &[Cached] = listed.as_deref().unwrap_or_default();
    Stored {
        files: files.len(),
        bytes: files.iter().map(|file| file.bytes).sum(),
        free: free_bytes(&folder),
        problem: listed.as_ref().err().map(ToString::to_string).or_else(|| not_writable(&folder)),
        folder,
    }
}

/// Why no files can be made in a folder or, if it is not there, the folder cannot.
#[cfg(unix)]
fn not_writable(folder: &Path) -> Option<String> {
    use rustix::fs::{Access, access};
    let existing = folder.ancestors().find(|folder| folder.exists())?;
    let error = match existing.is_dir() {
        true => access(existing, Access::WRITE_OK | Access::EXEC_OK).err()?.to_string(),
        false => "it is no folder".into(),
    };
    Some(format!("{}: {error}", existing.display()))
}

/// Why no files can be made in a folder.
#[cfg(not(unix))]
fn not_writable(_folder: &Path) -> Option<String> {
    None
}

/// Memory, as Linux tells it.
fn memory() -> Option<Room> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let bytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(1024 * line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?)
    };
    Some(Room { all: bytes("MemTotal")?, free: bytes("MemAvailable")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_that_are_asked_for() {
        let levels_of = |name| levels(Some(name)).asked;
        assert!(levels_of("sse").unwrap().contains("ignored"));
        assert!(levels_of("scalar").unwrap().contains("holds"));
        assert_eq!(levels_of(""), None);
        for isa in Isa::ALL.iter().filter(|isa| !isa.is_available()) {
            assert!(levels_of(isa.name()).unwrap().contains("refused"));
        }
        let Levels { here, lacking, used, .. } = levels(None);
        assert_eq!(here.len() + lacking.len(), Isa::ALL.len());
        assert!(here.contains(&used));
    }

    #[test]
    fn a_job_needs_parts_that_work() {
        let part =
            |name: &str, works| Part { name: name.into(), found: None, problem: None, works, remedy: None };
        let parts =
            [part(programs::COLLECTOR.name, false), part(CACHE, true), part(programs::JUDGE.name, true)];
        let jobs = abilities(&parts);
        let of = |name| jobs.iter().find(|job| job.job == name).unwrap();
        assert_eq!(of(CONVERT).lacks, [programs::COLLECTOR.name]);
        assert!(!of(CONVERT).can && of("eval, and what a file costs after convert").can);
    }
}
