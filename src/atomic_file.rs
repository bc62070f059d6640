//! Files that appear under their name only when they are complete.

use std::fs::{OpenOptions, TryLockError};
use std::io::{BufWriter, Error, ErrorKind, Read, Result, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use tempfile::{NamedTempFile, TempPath};

/// Bytes that are gathered: headers and padding. What is longer is written as it comes.
const BUFFER: usize = 1 << 16;

/// A file written beside its final name and renamed at the end; one that is dropped earlier leaves
/// nothing behind. Only a process that is killed leaves one.
pub struct AtomicFile {
    path: PathBuf,
    out: BufWriter<NamedTempFile>,
}

impl AtomicFile {
    /// Starts a file that will be `path`.
    pub fn create(path: &Path) -> Result<AtomicFile> {
        let file = temporary(folder_of(path))?;
        Ok(AtomicFile { path: path.to_owned(), out: BufWriter::with_capacity(BUFFER, file) })
    }

    /// Starts a file that will be `path`, or goes on with one that was left: its name until it is complete says `id`.
    /// Returns how many bytes are there; none if `resume` is not set.
    ///
    /// Fails if another process is writing it.
    pub fn create_or_resume(path: &Path, id: &str, resume: bool) -> Result<(AtomicFile, u64)> {
        let part = part_path(path, id);
        let mut options = OpenOptions::new();
        let file =
            options.read(true).write(true).create(true).truncate(false).open(&part).map_err(with_remedy)?;
        file.try_lock().map_err(|e| match e {
            TryLockError::WouldBlock => {
                Error::new(ErrorKind::ResourceBusy, "another process is writing it; wait for that, or end it")
            }
            TryLockError::Error(e) => e,
        })?;
        if !resume {
            file.set_len(0)?;
        }
        let there = file.metadata()?.len();
        let file = NamedTempFile::from_parts(file, TempPath::try_from_path(part)?);
        Ok((AtomicFile { path: path.to_owned(), out: BufWriter::with_capacity(BUFFER, file) }, there))
    }

    /// Reads the first bytes of a file that is resumed.
    pub fn read_start(&mut self, bytes: &mut [u8]) -> Result<()> {
        let file = self.out.get_mut().as_file_mut();
        file.seek(SeekFrom::Start(0))?;
        file.read_exact(bytes)
    }

    /// Forgets what is there after the first `bytes` bytes, and goes on there.
    pub fn go_on_at(&mut self, bytes: u64) -> Result<()> {
        let file = self.out.get_mut().as_file_mut();
        file.set_len(bytes)?;
        file.seek(SeekFrom::Start(bytes)).map(drop)
    }

    /// Puts the file under its name; returns its size.
    pub fn persist(self) -> Result<u64> {
        let file = self.out.into_inner().map_err(|e| with_remedy(e.into_error()))?;
        let bytes = file.as_file().metadata()?.len();
        file.persist(&self.path).map_err(|e| with_remedy(e.error))?;
        Ok(bytes)
    }
}

/// An empty file in a folder that is deleted when it is dropped. A program that is killed leaves it.
pub fn temporary(folder: &Path) -> Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".tenpak-").suffix(".part");
    // Temporary files are private by default; a model is as readable as any new file.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder).map_err(with_remedy)
}

/// The folder of a file.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The same error, with what helps against it.
fn with_remedy(e: Error) -> Error {
    let remedy = match e.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "choose a folder where you may make files"
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "free some space, or choose another folder",
        ErrorKind::FileTooLarge => {
            "choose a folder that takes larger files, or write parts (--split-max-size)"
        }
        _ => return e,
    };
    Error::new(e.kind(), format!("{e}; {remedy}"))
}

/// The name of a file that is not complete.
fn part_path(path: &Path, id: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{id}.part"))
}

/// Files that were left when others than `id` were ended in the middle, by their names.
pub fn other_parts(path: &Path, id: &str) -> Vec<String> {
    let ours = part_path(path, id);
    let folder = folder_of(path);
    let start = format!(".{}.", path.file_name().unwrap_or_default().to_string_lossy());
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = names.map(|e| e.file_name().to_string_lossy().into_owned());
    let is_other = |name: &String| {
        name.starts_with(&start) && name.ends_with(".part") && ours.file_name() != Some(name.as_ref())
    };
    names.filter(is_other).collect()
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.out.write(bytes).map_err(with_remedy)
    }

    fn flush(&mut self) -> Result<()> {
        self.out.flush().map_err(with_remedy)
    }
}
