//! A folder that is a release: the list of what is in it, whether that is so, and its way to the hub.

use super::error::Error;
use crate::atomic_file::AtomicFile;
use crate::job::{self, FileDigest};
use crate::llama::{self, passed_on};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

/// The list of all other files with their sha256, as sha256sum reads it.
pub const SUMS: &str = "SHA256SUMS";

/// The hub's command line.
const HF: &str = "hf";

/// The list of files, by name.
pub fn sums(files: &mut [FileDigest]) -> String {
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files.iter().map(|file| format!("{}  {}\n", file.sha256, file.name)).collect()
}

/// Copies a file; the copy appears under its name when it is complete.
pub fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Io { path, source }
    };
    let mut file = std::fs::File::open(from).map_err(io(from))?;
    let mut out = AtomicFile::create(to).map_err(io(to))?;
    std::io::copy(&mut file, &mut out).map_err(io(to))?;
    out.persist().map(drop).map_err(io(to))
}

/// Refuses a folder that has not all files of its list, with the bytes that it says, or that has others. `reading` hears of every
/// file that is read.
pub fn check(folder: &Path, reading: &dyn Fn(&Path)) -> Result<(), Error> {
    let list = folder.join(SUMS);
    let text = match std::fs::read_to_string(&list) {
        Ok(text) => text,
        Err(e) if e.kind() == ErrorKind::NotFound => return Err(Error::NoRelease(folder.to_owned())),
        Err(source) => return Err(Error::Io { path: list, source }),
    };
    let wrong = |path: &Path, why: &str| Err(Error::NotWhole { path: path.to_owned(), why: why.to_owned() });
    let mut known = BTreeSet::from([SUMS.to_owned()]);
    for line in text.lines() {
        let Some((sha256, name)) = line.split_once("  ") else {
            return wrong(&list, "is no list of sha256 and names; make the release again (--force)");
        };
        let path = folder.join(name);
        if Path::new(name).file_name().is_none_or(|last| last != name) {
            return wrong(&path, "is not in the folder that lists it; make the release again (--force)");
        }
        if !path.is_file() {
            return wrong(&path, "is in SHA256SUMS and is not there; make the release again (--force)");
        }
        reading(&path);
        if job::digest(&path)?.sha256 != sha256 {
            return wrong(&path, "has another sha256 than SHA256SUMS says; make the release again (--force)");
        }
        known.insert(name.to_owned());
    }
    let io = |source| Error::Io { path: folder.to_owned(), source };
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        if !known.contains(&*entry.file_name().to_string_lossy()) {
            return wrong(&entry.path(), "is no part of the release and would be uploaded; take it away");
        }
    }
    Ok(())
}

/// What `hf` is given to upload a folder.
pub fn upload_words(folder: &Path, repo: &str, is_private: bool) -> Vec<std::ffi::OsString> {
    let mut words: Vec<std::ffi::OsString> = vec!["upload".into(), repo.into(), folder.into(), ".".into()];
    words.extend(["--repo-type", "model"].map(Into::into));
    words.extend(is_private.then(|| "--private".into()));
    words
}

/// Hands a folder to the hub's command line, which prints where this program prints.
pub fn upload(folder: &Path, repo: &str, is_private: bool) -> Result<(), Error> {
    let mut command = Command::new(HF);
    command.args(upload_words(folder, repo, is_private));
    let failed = |why: String| Error::Upload { why, folder: folder.to_owned(), repo: repo.to_owned() };
    match passed_on(&mut command) {
        Ok(finished) if finished.status.success() => Ok(()),
        Ok(finished) => Err(failed(format!("failed ({})", finished.status))),
        Err(llama::Error::Start { source, .. }) if source.kind() == ErrorKind::NotFound => Err(Error::NoHf),
        Err(e) => Err(failed(format!("failed: {e}"))),
    }
}
