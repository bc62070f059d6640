//! Repeating the evaluation of a receipt: its files are found by their names and told by their digests.

use super::digest::{file_name, of_file};
use super::error::EvalError;
use super::receipt::{FileDigest, Receipt, VERSION};
use crate::llama::TaskKind;
use crate::small_file;
use std::path::{Path, PathBuf};

/// The files of a receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What was compared; of split files the first parts.
    pub files: Vec<PathBuf>,
    /// What it was compared with.
    pub base: PathBuf,
    /// Texts with their names, without those that the base wrote.
    pub texts: Vec<(String, PathBuf)>,
    /// Files of tasks.
    pub tasks: Vec<(TaskKind, PathBuf)>,
}

impl Receipt {
    /// Reads a receipt.
    pub fn read(path: &Path) -> Result<Receipt, EvalError> {
        let io = |source| EvalError::Io { path: path.to_owned(), source };
        let wrong = |why: String| EvalError::NoReceipt { path: path.to_owned(), why };
        let text = small_file::read(path).map_err(io)?;
        let value: serde_json::Value = serde_json::from_slice(&text).map_err(|e| wrong(e.to_string()))?;
        match value["receipt"].as_u64() {
            Some(version) if version == u64::from(VERSION) => {}
            Some(version) => return Err(wrong(format!("version {version}, this program reads {VERSION}"))),
            None => return Err(wrong("no version".into())),
        }
        let receipt: Receipt = serde_json::from_value(value).map_err(|e| wrong(e.to_string()))?;
        if receipt.models.is_empty() || receipt.models.iter().any(|judged| judged.model.files.is_empty()) {
            return Err(wrong("no files in it".into()));
        }
        Ok(receipt)
    }

    /// Finds the files: among those that are given, in the folder of the receipt and in the current one. `reading` hears of
    /// every file that is read.
    pub fn find(&self, at: &Path, given: &[PathBuf], reading: &dyn Fn(&Path)) -> Result<Found, EvalError> {
        let beside = at.parent().unwrap_or(Path::new("")).to_owned();
        let find = |wanted: &FileDigest| {
            // A name with a folder would lead elsewhere.
            let name = file_name(Path::new(&wanted.name));
            let named = [beside.join(&name), PathBuf::from(&name)];
            let mut others = Vec::new();
            for path in given.iter().chain(&named).filter(|path| path.is_file()) {
                let is_long = std::fs::metadata(path).is_ok_and(|about| about.len() == wanted.bytes);
                if is_long {
                    reading(path);
                    if of_file(path)?.sha256 == wanted.sha256 {
                        return Ok(path.clone());
                    }
                }
                if file_name(path) == name && !others.contains(path) {
                    others.push(path.clone());
                }
            }
            Err(EvalError::Missing { name: wanted.name.clone(), sha256: wanted.sha256.clone(), others })
        };
        // Of a split file the other parts are found by the name of the first, and compared after the run.
        let models = self.models.iter().map(|judged| &judged.model).chain([&self.base]);
        let mut files = models.map(|model| find(&model.files[0])).collect::<Result<Vec<_>, _>>()?;
        let base = files.pop().expect("the base is the last");
        let texts = self.domains.iter().filter(|domain| !domain.by_base);
        let texts = texts.map(|domain| Ok((domain.name.clone(), find(&domain.file)?)));
        let texts = texts.collect::<Result<Vec<_>, EvalError>>()?;
        let tasks = self.tasks.iter().filter_map(|tasks| Some((TaskKind::named(&tasks.kind)?, tasks)));
        let tasks = tasks.map(|(kind, tasks)| Ok((kind, find(&tasks.file)?)));
        Ok(Found { files, base, texts, tasks: tasks.collect::<Result<_, EvalError>>()? })
    }
}
