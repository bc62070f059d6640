//! Receipts of some of the texts each become one of all of them: each text can be judged on a machine of its own.

use super::error::EvalError;
use super::receipt::{Figures, Receipt};
use std::path::{Path, PathBuf};

impl Receipt {
    /// The receipt of all texts and tasks of several receipts, in their order. Base, files and programs have to be the same.
    /// Speeds of several machines are none of the whole, and are left out.
    pub fn merged(parts: Vec<(PathBuf, Receipt)>) -> Result<Receipt, EvalError> {
        let mut parts = parts.into_iter();
        let Some((first, mut all)) = parts.next() else { return Err(EvalError::NothingToMerge) };
        for (path, part) in parts {
            all.add(part).map_err(|what| EvalError::NotOfOne { path, first: first.clone(), what })?;
        }
        all.speed = false;
        for judged in &mut all.models {
            judged.speed = None;
            judged.all = Figures::together(&judged.domains);
        }
        Ok(all)
    }

    /// Reads receipts and merges them.
    pub fn read_merged(paths: &[PathBuf]) -> Result<Receipt, EvalError> {
        let read = |path: &PathBuf| Ok((path.clone(), Receipt::read(Path::new(path))?));
        Receipt::merged(paths.iter().map(read).collect::<Result<_, EvalError>>()?)
    }

    /// Takes the texts and tasks of another receipt; an error names what differs.
    fn add(&mut self, part: Receipt) -> Result<(), String> {
        if part.base.files != self.base.files {
            return Err("another base than".into());
        }
        if part.program.sha256 != self.program.sha256 {
            return Err("another llama-perplexity than".into());
        }
        let files =
            |receipt: &Receipt| receipt.models.iter().map(|m| m.model.files.clone()).collect::<Vec<_>>();
        if files(&part) != files(self) {
            return Err("other files than".into());
        }
        if let Some(twice) = part.domains.iter().find(|d| self.domains.iter().any(|own| own.name == d.name)) {
            return Err(format!("the text `{}` as well as", twice.name));
        }
        if let Some(twice) = part.tasks.iter().find(|t| self.tasks.iter().any(|own| own.kind == t.kind)) {
            return Err(format!("tasks of the kind {} as well as", twice.kind));
        }
        if part.program.level != self.program.level {
            self.program.level = format!("{}, {}", self.program.level, part.program.level);
        }
        self.domains.extend(part.domains);
        self.tasks.extend(part.tasks);
        for (own, other) in self.models.iter_mut().zip(part.models) {
            own.domains.extend(other.domains);
            own.tasks.extend(other.tasks);
        }
        Ok(())
    }
}
