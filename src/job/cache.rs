//! What conversions make on the way and can use again: plain models, text that models write, calibrations. Names are made of
//! what decides the content, so that a file is right whenever it is there.

use super::Error;
use crate::atomic_file::{TEMPORARY, is_part};
use crate::checkpoint::Model;
use crate::plan::Plan;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// Digits of a digest in a name.
const DIGITS: usize = 16;

/// A folder of such files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    folder: PathBuf,
}

/// A file of a cache.
#[derive(Clone, Debug)]
pub struct Cached {
    /// The file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// When it was last written.
    pub modified: std::time::SystemTime,
}

impl Cache {
    /// The cache in a folder, which need not exist.
    pub fn new(folder: impl Into<PathBuf>) -> Cache {
        Cache { folder: folder.into() }
    }

    /// The user's cache: of `$TENPAK_CACHE`, or `tenpak-gguf` in the system's folder for caches. `None` where there is no
    /// such folder.
    pub fn of_user() -> Option<Cache> {
        let variable = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let system = || {
            let home = || variable("HOME").map(|home| home.join(".cache"));
            let caches = variable("XDG_CACHE_HOME").or_else(|| variable("LOCALAPPDATA")).or_else(home);
            Some(caches?.join("tenpak-gguf"))
        };
        variable("TENPAK_CACHE").or_else(system).map(Cache::new)
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes the folder if it is not there.
    pub fn create(&self) -> Result<(), Error> {
        let made = std::fs::create_dir_all(&self.folder);
        made.map_err(|source| Error::Io { path: self.folder.clone(), source })
    }

    /// The place of a file: `KEY.NAME`.
    pub fn place(&self, key: &str, name: &str) -> PathBuf {
        self.folder.join(format!("{key}.{name}"))
    }

    /// Its files, those of a model together.
    pub fn files(&self) -> Result<Vec<Cached>, Error> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Io { path, source }
        };
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(Error::Io { path: self.folder.clone(), source }),
        };
        let mut files = Vec::new();
        for entry in entries {
            let path = entry.map_err(io(&self.folder))?.path();
            let metadata = std::fs::metadata(&path).map_err(io(&path))?;
            if is_ours(&path) && metadata.is_file() {
                let modified = metadata.modified().map_err(io(&path))?;
                files.push(Cached { path, bytes: metadata.len(), modified });
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// Deletes its files, and nothing else.
    pub fn clear(&self) -> Result<Vec<Cached>, Error> {
        let files = self.files()?;
        for file in &files {
            let removed = std::fs::remove_file(&file.path);
            removed.map_err(|source| Error::Io { path: file.path.clone(), source })?;
        }
        Ok(files)
    }
}

/// Whether a name is one that [`Cache::place`] makes, or of such a file that is not complete.
fn is_ours(path: &Path) -> bool {
    let Some(name) = path.file_name() else { return false };
    let is_part = is_part(name);
    let name = name.to_str();
    if is_part && name.is_some_and(|name| name.starts_with(TEMPORARY)) {
        return true;
    }
    let name = name.map(|name| if is_part { &name[1..] } else { name });
    let key = name.and_then(|name| name.split_once('.')).map(|(key, _)| key);
    key.is_some_and(|key| key.len() == DIGITS && key.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// The key of a plain model: a digest of its keys, and of name, shape, type and three rows of every tensor.
pub(super) fn key_of_model(model: &Model, plain: &Plan) -> Result<String, Error> {
    let mut hash = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    add(env!("CARGO_PKG_VERSION").as_bytes());
    for (key, value) in &plain.keys {
        add(key.as_bytes());
        add(&value.to_bytes());
    }
    for planned in &plain.tensors {
        let t = &planned.source;
        add(format!("{} {:?} {}", t.name, t.shape, planned.header.kind.0).as_bytes());
        let mut row = vec![0.0f32; t.columns()];
        let rows = t.rows();
        for at in [0, rows / 2, rows.saturating_sub(1)] {
            if at < rows {
                model.read_rows(t, at, &mut row)?;
                row.iter().for_each(|v| add(&v.to_le_bytes()));
            }
        }
    }
    Ok(digits(hash))
}

/// The key of what is made of other things.
pub(super) fn key_of(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    digits(hash)
}

fn digits(hash: Sha256) -> String {
    let text = format!("{:x}", hash.finalize());
    text[..DIGITS].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_files_are_listed_and_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().join("cache"));
        assert!(cache.files().unwrap().is_empty());
        cache.create().unwrap();
        let place = cache.place(&key_of(&["a"]), "base.gguf");
        std::fs::write(&place, "12345").unwrap();
        for part in [".0123456789abcdef.base.gguf.0123456789abcdef.part", ".tenpak-aBcDeF.part"] {
            std::fs::write(cache.folder().join(part), "1").unwrap();
        }
        let other = cache.folder().join("notes.txt");
        std::fs::write(&other, "mine").unwrap();
        let files = cache.files().unwrap();
        assert_eq!((files.len(), files[2].bytes, &files[2].path), (3, 5, &place));
        cache.clear().unwrap();
        assert!(!place.exists() && other.exists());
    }

    #[test]
    fn keys_tell_parts_apart() {
        assert_ne!(key_of(&["ab", "c"]), key_of(&["a", "bc"]));
        assert_eq!(key_of(&["a"]).len(), DIGITS);
    }
}
