//! llama.cpp's converter of folders, and the Python that it and the verification run in.

use super::part::Part;
use super::programs;
use crate::llama::converter::{self, CONVERTER};
use crate::llama::{python, run};
use std::path::Path;
use std::process::Command;

/// The part of Python itself.
pub const PYTHON: &str = "Python";

/// Packages that the verification needs, of those that the converter needs; beside them it needs sentencepiece for a vocabulary that
/// is a tokenizer.model alone.
pub const VERIFIES: [&str; 3] = ["safetensors", "torch", "transformers"];

/// Prints the version of Python, and of each package that is named or an empty line. Nothing is imported but the standard library.
const VERSIONS: &str = "import sys
from importlib import metadata
print('.'.join(map(str, sys.version_info[:3])))
for name in sys.argv[1:]:
    try:
        print(metadata.version(name))
    except metadata.PackageNotFoundError:
        print()
";

/// The converter, Python and its packages. The converter may lie beside the collector.
pub fn parts(
    converter: Option<&Path>,
    given: Option<&Path>,
    collector: Option<&Path>,
    environment: &Path,
) -> Vec<Part> {
    let script = CONVERTER.find(converter, &collector.map_or_else(Vec::new, converter::folders_of));
    let python = python::find(given);
    let line = converter::line_to_paste(script.as_deref().ok(), &python, environment);
    let mut parts = vec![Part {
        name: CONVERTER.name.into(),
        found: script.as_ref().ok().map(|path| path.display().to_string()),
        problem: script.as_ref().err().map(programs::why),
        works: script.is_ok(),
        remedy: script.is_err().then(|| programs::REMEDY.into()),
    }];
    let wanted: Vec<(&str, &str)> =
        converter::packages().map(|p| p.split_once("==").unwrap_or((p, ""))).collect();
    let versions = match versions(&python, wanted.iter().map(|(name, _)| *name)) {
        Ok(versions) => versions,
        Err(why) => {
            parts.push(Part {
                name: PYTHON.into(),
                found: None,
                problem: Some(why),
                works: false,
                remedy: Some(format!("export {}=PATH   # Python 3.11 or later", python::VARIABLE)),
            });
            return parts;
        }
    };
    let version = versions.first().map_or("", String::as_str);
    parts.push(Part {
        name: PYTHON.into(),
        found: Some(format!("{} ({version})", python.display())),
        problem: None,
        works: true,
        remedy: None,
    });
    for (i, (name, tried)) in wanted.into_iter().enumerate() {
        let found = versions.get(i + 1).filter(|version| !version.is_empty()).cloned();
        let problem = match &found {
            None => Some(format!("{} lacks it", python.display())),
            Some(found) if found.split('+').next() != Some(tried) => {
                Some(format!("{tried} is the version that was tried"))
            }
            Some(_) => None,
        };
        let (works, remedy) = (found.is_some(), found.is_none().then(|| line.clone()));
        parts.push(Part { name: name.into(), found, problem, works, remedy });
    }
    parts
}

/// The name of a package, of `NAME==VERSION`.
pub fn name_of(package: &str) -> &str {
    package.split("==").next().unwrap_or(package)
}

/// The version of Python and of each package, or nothing for one that is not there.
fn versions<'a>(python: &Path, packages: impl Iterator<Item = &'a str>) -> Result<Vec<String>, String> {
    let work = tempfile::Builder::new().prefix("tenpak-doctor-").tempdir().map_err(|e| e.to_string())?;
    let mut command = Command::new(python);
    command.args(["-c", VERSIONS]).args(packages);
    let said = run::logged(&mut command, &work.path().join("log")).map_err(|e| e.without_log())?;
    Ok(said.text.lines().map(str::to_owned).collect())
}
