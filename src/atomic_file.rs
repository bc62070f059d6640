//! Files that appear under their name only when they are complete.

use std::io::{BufWriter, Result, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// A file written beside its final name and renamed at the end; one that is dropped earlier leaves
/// nothing behind.
pub struct AtomicFile {
    path: PathBuf,
    out: BufWriter<NamedTempFile>,
}

impl AtomicFile {
    /// Starts a file that will be `path`.
    pub fn create(path: &Path) -> Result<AtomicFile> {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
        let mut builder = tempfile::Builder::new();
        builder.prefix(".tenpak-").suffix(".part");
        // Temporary files are private by default; a model is as readable as any new file.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let file = builder.tempfile_in(folder.unwrap_or(Path::new(".")))?;
        Ok(AtomicFile { path: path.to_owned(), out: BufWriter::with_capacity(1 << 20, file) })
    }

    /// Puts the file under its name; returns its size.
    pub fn persist(self) -> Result<u64> {
        let file = self.out.into_inner().map_err(|e| e.into_error())?;
        let bytes = file.as_file().metadata()?.len();
        file.persist(&self.path).map_err(|e| e.error)?;
        Ok(bytes)
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> Result<()> {
        self.out.flush()
    }
}
