//! Tensors as files hold them: names, types, shapes, and bytes of files that are mapped into memory.

use super::dtype::Dtype;
use super::error::Error;
use crate::lfs;
use crate::mapped::{self, Map};
use std::path::{Path, PathBuf};

/// Files that are mapped into memory.
#[derive(Default)]
pub struct Files {
    paths: Vec<PathBuf>,
    maps: Vec<Map>,
}

/// Bytes of one of the files.
#[derive(Clone, Copy, Debug, Default)]
pub struct Span {
    file: usize,
    start: usize,
    len: usize,
}

/// A stored tensor.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Element type, or the name of one that cannot be converted.
    pub dtype: Result<Dtype, String>,
    /// Extents, outermost first.
    pub shape: Vec<u64>,
    /// The file.
    pub path: PathBuf,
    /// Its bytes.
    pub span: Span,
}

/// A tensor within the bytes of a file.
pub struct StoredTensor {
    pub name: String,
    pub dtype: Result<Dtype, String>,
    pub shape: Vec<u64>,
    pub start: usize,
    pub len: usize,
}

impl Files {
    /// Maps a file and lists the tensors that `find` sees in its bytes.
    pub fn add(
        &mut self,
        path: &Path,
        find: impl Fn(&[u8]) -> Result<Vec<StoredTensor>, String>,
    ) -> Result<Vec<(String, Entry)>, Error> {
        let map = mapped::map(path).map_err(Error::read(path))?;
        if lfs::is_pointer(&map) {
            return Err(Error::unsupported(path, lfs::PROBLEM));
        }
        let found = find(&map).map_err(|problem| Error::damaged(path, problem))?;
        let entry = |t: StoredTensor| {
            let span = Span { file: self.maps.len(), start: t.start, len: t.len };
            (t.name, Entry { dtype: t.dtype, shape: t.shape, path: path.to_owned(), span })
        };
        let entries = found.into_iter().map(entry).collect();
        self.paths.push(path.to_owned());
        self.maps.push(map);
        Ok(entries)
    }

    /// The bytes of a span of these files.
    pub fn bytes(&self, span: Span) -> &[u8] {
        &self.maps[span.file][span.start..][..span.len]
    }

    /// Where the files are.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// The files.
    pub fn maps(&self) -> &[Map] {
        &self.maps
    }
}
