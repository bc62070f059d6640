//! SentencePiece's library and transformers, asked through a Python.

use crate::llama::{python, run};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The program that Python runs.
const SCRIPT: &str = include_str!("forward_pass.py");

/// A Python with these packages.
pub(super) struct Packages<'a> {
    pub python: PathBuf,
    /// The model.
    pub folder: &'a Path,
    /// Where files of the way are.
    pub work: &'a Path,
    pub threads: usize,
}

/// What the program says in its report.
#[derive(Deserialize)]
struct Report {
    /// The package that is not installed.
    missing: Option<String>,
    /// Why it was not done.
    refused: Option<String>,
    /// What did it.
    versions: Option<String>,
}

impl Packages<'_> {
    /// The ids of texts by tokenizer.model. The error says why there are none, and what helps.
    pub fn ids(&self, texts: &Path) -> Result<PathBuf, String> {
        self.ask("ids", texts).map(|(out, _)| out)
    }

    /// What the model computes of ids, and the versions that did it.
    pub fn forward(&self, ids: &Path) -> Result<(PathBuf, String), String> {
        self.ask("forward", ids)
    }

    fn ask(&self, task: &str, given: &Path) -> Result<(PathBuf, String), String> {
        let at = |name: &str| self.work.join(format!("{task}.{name}"));
        let (out, report, log) = (at("out"), at("report"), at("log"));
        let mut command = Command::new(&self.python);
        command.arg("-c").arg(SCRIPT).arg(task).arg(self.folder).arg(given).args([&out, &report]);
        command.arg(self.threads.to_string());
        match run::logged(&mut command, &log) {
            Ok(_) => {}
            Err(run::Error::Start { .. }) => return Err(self.without("it is not there")),
            Err(run::Error::Failed { status, tail, .. }) => {
                let last = tail.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
                let memory = "if memory ran out: it needs four bytes a weight";
                return Err(format!("{} ended with {status} ({memory}): {last}", self.python.display()));
            }
            Err(e) => return Err(e.to_string()),
        }
        let text = std::fs::read(&report).map_err(|e| format!("{}: {e}", report.display()))?;
        let said: Report = serde_json::from_slice(&text).map_err(|e| format!("{}: {e}", report.display()))?;
        let versions = said.versions.unwrap_or_default();
        match (said.missing, said.refused) {
            (Some(package), _) => Err(self.without(&format!("it has no {package}"))),
            (_, Some(why)) => Err(format!("{versions} does not read the folder: {why}")),
            _ => Ok((out, versions)),
        }
    }

    /// What to do where a package is not there.
    fn without(&self, why: &str) -> String {
        let python = self.python.display();
        format!(
            "{python}: {why}; install it with `{python} -m pip install torch transformers sentencepiece`, or name another Python with {} or ${}",
            python::OPTION,
            python::VARIABLE
        )
    }
}
