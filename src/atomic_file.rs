//! Files that appear under their name only when they are complete.

use crate::interrupt::{self, Watched};
use sha2::{Digest, Sha256};
use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufWriter, Error, ErrorKind, Read, Result, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use tempfile::{NamedTempFile, TempPath};

/// Bytes that are gathered: headers and padding. What is longer is written as it comes.
const BUFFER: usize = 1 << 16;
/// Bytes of a name on the usual file systems.
const MAX_NAME: usize = 255;
/// What the name of a file ends with that is not complete.
const PART: &str = ".part";
/// What the name of a file begins with that nobody can go on with.
pub const TEMPORARY: &str = ".tenpak-";
/// Digits of an `id`, for which room is left in names.
const ID: usize = 16;
/// How often the file that is not complete may be another when it is locked.
const ATTEMPTS: usize = 100;

/// A file written beside its final name and renamed at the end; one that is dropped earlier leaves
/// nothing behind. Only a process that is killed leaves one.
pub struct AtomicFile {
    path: PathBuf,
    out: BufWriter<NamedTempFile>,
    /// See [`AtomicFile::keep_existing`].
    keeps_existing: bool,
    /// Of a file that nobody can go on with. After the file, so that it is deleted first.
    watched: Option<Watched>,
}

impl AtomicFile {
    /// Starts a file that will be `path`.
    pub fn create(path: &Path) -> Result<AtomicFile> {
        let (file, watched) = temporary(folder_of(path))?;
        Ok(AtomicFile::of(path, file, Some(watched)))
    }

    /// Starts a file that will be `path`, or goes on with one that was left: its name until it is complete says `id`.
    /// Returns how many bytes are there; none if `resume` is not set.
    ///
    /// Fails if another process is writing it.
    pub fn create_or_resume(path: &Path, id: &str, resume: bool) -> Result<(AtomicFile, u64)> {
        let part = part_path(path, id);
        let file = open_part(&part, resume)?;
        let there = file.metadata()?.len();
        let file = NamedTempFile::from_parts(file, TempPath::try_from_path(part)?);
        Ok((AtomicFile::of(path, file, None), there))
    }

    fn of(path: &Path, file: NamedTempFile, watched: Option<Watched>) -> AtomicFile {
        let out = BufWriter::with_capacity(BUFFER, file);
        AtomicFile { path: path.to_owned(), out, keeps_existing: false, watched }
    }

    /// Has [`AtomicFile::persist`] fail if there is a file of its name by then.
    pub fn keep_existing(&mut self) {
        self.keeps_existing = true;
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

    /// Puts the file under its name, all of it on the disk before and the name after; returns its size.
    pub fn persist(self) -> Result<u64> {
        let file = self.out.into_inner().map_err(|e| with_remedy(e.into_error()))?;
        let bytes = file.as_file().metadata()?.len();
        file.as_file().sync_all().map_err(with_remedy)?;
        let renamed = match self.keeps_existing {
            true => rename_to_free(file, &self.path, self.watched.is_none()),
            false => file.persist(&self.path).map(drop).map_err(|e| with_remedy(e.error)),
        };
        renamed?;
        sync_folder(folder_of(&self.path));
        Ok(bytes)
    }
}

/// Renames a file unless there is one of the name. Work that can be gone on with stays beside it then.
fn rename_to_free(file: NamedTempFile, path: &Path, can_go_on: bool) -> Result<()> {
    let Err(e) = file.persist_noclobber(path) else { return Ok(()) };
    let is_there = std::fs::symlink_metadata(path).is_ok();
    match (is_there, can_go_on) {
        // A file system that cannot rename in this way.
        (false, _) => e.file.persist(path).map(drop).map_err(|e| with_remedy(e.error)),
        (true, true) => {
            let (_, part) = e.file.keep().map_err(|e| e.error)?;
            let what = format!(
                "a file of this name came while this one was written, and it stays; the new one is whole too: rename {}, or run \
                 the command again with --resume --force",
                part.display()
            );
            Err(Error::new(ErrorKind::AlreadyExists, what))
        }
        (true, false) => Err(Error::new(
            ErrorKind::AlreadyExists,
            "a file of this name came while this one was written, and it stays; choose another output or give --force",
        )),
    }
}

/// Has the disk keep the names in a folder. The file is whole without, so that a system that cannot do it is no error.
fn sync_folder(folder: &Path) {
    if cfg!(unix) {
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
    }
}

/// Opens a file that is not complete, for this process alone: a new one, or with `resume` one that was left. What is there under
/// its name and is not a file of that one name, such as a link to another, is never written into.
fn open_part(part: &Path, resume: bool) -> Result<File> {
    for _ in 0..ATTEMPTS {
        let (file, is_new) = match options().create_new(true).open(part) {
            Ok(file) => (file, true),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => match options().open(part) {
                Ok(file) => (file, false),
                Err(e) if e.kind() == ErrorKind::NotFound => continue,
                Err(_) if !is_regular(part) => return Err(not_regular(part)),
                Err(e) => return Err(with_remedy(e)),
            },
            Err(e) => return Err(with_remedy(e)),
        };
        if !file.metadata()?.is_file() {
            return Err(not_regular(part));
        }
        file.try_lock().map_err(|e| match e {
            TryLockError::WouldBlock => {
                Error::new(ErrorKind::ResourceBusy, "another process is writing it; wait for that, or end it")
            }
            TryLockError::Error(e) => e,
        })?;
        // Whoever held it may have renamed or deleted it meanwhile.
        if !is_alone_at(&file, part) {
            continue;
        }
        if is_new || resume {
            return Ok(file);
        }
        if cfg!(not(unix)) {
            file.set_len(0)?;
            return Ok(file);
        }
        std::fs::remove_file(part)?;
    }
    Err(Error::new(ErrorKind::ResourceBusy, "other processes write it again and again; end them"))
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NOFOLLOW | libc::O_NONBLOCK);
    options
}

fn is_regular(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| found.is_file())
}

fn not_regular(part: &Path) -> Error {
    let name = part.file_name().unwrap_or_default();
    let what =
        format!("{name:?} beside it is a link or the like where the unfinished file has to be: take it away");
    Error::new(ErrorKind::AlreadyExists, what)
}

/// Whether an open file is the one at a path, and has no other names. One that has is taken out of the way.
#[cfg(unix)]
fn is_alone_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let (Ok(open), Ok(there)) = (file.metadata(), std::fs::symlink_metadata(path)) else { return false };
    if (open.dev(), open.ino()) != (there.dev(), there.ino()) {
        return false;
    }
    // Its other names keep what they have.
    there.nlink() == 1 || (std::fs::remove_file(path), false).1
}

#[cfg(not(unix))]
fn is_alone_at(_file: &File, _path: &Path) -> bool {
    true
}

/// An empty file in a folder that is deleted when it is dropped, or when a signal ends the program. A program that is killed
/// leaves it.
pub fn temporary(folder: &Path) -> Result<(NamedTempFile, Watched)> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY).suffix(PART);
    // Temporary files are private by default; a model is as readable as any new file.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    interrupt::temporary(|| builder.tempfile_in(folder), |file| file.path().to_owned()).map_err(with_remedy)
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

/// What the names of files begin with that are not complete and will be `path`. Of a long name it has a digest.
fn part_start(path: &Path) -> OsString {
    let name = path.file_name().unwrap_or_default();
    let mut start = OsString::from(".");
    if name.len() + ID + PART.len() + 2 > MAX_NAME {
        let digest = format!("{:x}", Sha256::digest(name.as_encoded_bytes()));
        start.push(format!("tenpak-{}", &digest[..ID]));
    } else {
        start.push(name);
    }
    start.push(".");
    start
}

/// The name of a file that is not complete.
fn part_path(path: &Path, id: &str) -> PathBuf {
    let mut name = part_start(path);
    name.push(id);
    name.push(PART);
    path.with_file_name(name)
}

/// Files that were left when others than `id` were ended in the middle, by their names. Those that a process writes are not
/// among them.
pub fn other_parts(path: &Path, id: &str) -> Vec<OsString> {
    let ours = part_path(path, id);
    let start = part_start(path);
    let names = std::fs::read_dir(folder_of(path)).into_iter().flatten().flatten().map(|e| e.file_name());
    let is_other = |name: &OsString| {
        let bytes = name.as_encoded_bytes();
        bytes.starts_with(start.as_encoded_bytes())
            && bytes.ends_with(PART.as_bytes())
            && ours.file_name() != Some(name)
    };
    names.filter(|name| is_other(name) && is_left(&path.with_file_name(name))).collect()
}

/// Whether no process holds a file.
fn is_left(part: &Path) -> bool {
    is_regular(part) && options().open(part).is_ok_and(|file| file.try_lock().is_ok())
}

/// Whether a name is one of a file that is not complete.
pub fn is_part(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.starts_with(b".") && name.ends_with(PART.as_bytes())
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.out.write(bytes).map_err(with_remedy)
    }

    fn flush(&mut self) -> Result<()> {
        self.out.flush().map_err(with_remedy)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    const ID_OF_TESTS: &str = "0123456789abcdef";

    fn start(path: &Path, resume: bool) -> Result<(AtomicFile, u64)> {
        AtomicFile::create_or_resume(path, ID_OF_TESTS, resume)
    }

    #[test]
    fn links_in_the_place_of_the_part_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, victim) = (folder.path().join("out"), folder.path().join("victim"));
        std::fs::write(&victim, "precious").unwrap();
        for resume in [false, true] {
            std::os::unix::fs::symlink(&victim, part_path(&path, ID_OF_TESTS)).unwrap();
            let Err(e) = start(&path, resume) else { panic!("the link was opened") };
            assert!(e.to_string().contains("take it away"), "{e}");
            std::fs::remove_file(part_path(&path, ID_OF_TESTS)).unwrap();
            std::fs::hard_link(&victim, part_path(&path, ID_OF_TESTS)).unwrap();
            let (mut out, there) = start(&path, resume).unwrap();
            assert_eq!(there, 0);
            out.write_all(b"new").unwrap();
            out.persist().unwrap();
            assert_eq!(std::fs::read(&victim).unwrap(), b"precious");
        }
    }

    #[test]
    fn the_file_that_was_renamed_meanwhile_is_not_written_into() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let part = part_path(&path, ID_OF_TESTS);
        let (mut first, _) = start(&path, false).unwrap();
        assert_eq!(start(&path, false).err().map(|e| e.kind()), Some(ErrorKind::ResourceBusy));
        first.write_all(b"whole").unwrap();
        // What another process has open when the first renames it, and locks then.
        let late = options().open(&part).unwrap();
        first.persist().unwrap();
        late.try_lock().unwrap();
        assert!(!is_alone_at(&late, &part));
        let (mut second, there) = start(&path, true).unwrap();
        assert_eq!(there, 0);
        second.write_all(b"half").unwrap();
        second.flush().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
    }

    #[test]
    fn what_came_meanwhile_stays_unless_it_may_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let write = |keep: bool| {
            let (mut out, _) = start(&path, true).unwrap();
            out.go_on_at(0).unwrap();
            out.write_all(b"mine").unwrap();
            std::fs::write(&path, "theirs").unwrap();
            if keep {
                out.keep_existing();
            }
            out.persist()
        };
        let e = write(true).unwrap_err();
        assert!(e.kind() == ErrorKind::AlreadyExists && e.to_string().contains("--resume --force"), "{e}");
        assert_eq!(std::fs::read(&path).unwrap(), b"theirs");
        // The work is not lost.
        assert_eq!(std::fs::read(part_path(&path, ID_OF_TESTS)).unwrap(), b"mine");
        write(false).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    }

    #[test]
    fn names_of_any_bytes_and_of_255() {
        let folder = tempfile::tempdir().unwrap();
        let long = vec![b'n'; MAX_NAME];
        let more = [long[1..].to_vec(), b"a\xff\nb".to_vec()];
        for name in [long].into_iter().chain(more) {
            let path = folder.path().join(OsStr::from_bytes(&name));
            let (mut out, _) = start(&path, false).unwrap();
            out.write_all(b"1").unwrap();
            out.persist().unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), b"1");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
        // Long names are told apart.
        let [a, b] = [b'a', b'b'].map(|last| {
            let mut name = vec![b'n'; MAX_NAME - 1];
            name.push(last);
            part_start(&folder.path().join(OsStr::from_bytes(&name)))
        });
        assert_ne!(a, b);
    }

    #[test]
    fn files_that_somebody_writes_are_not_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let (out, _) = start(&path, false).unwrap();
        assert!(other_parts(&path, "another").is_empty());
        let (_, part) = out.out.into_inner().unwrap().keep().unwrap();
        assert_eq!(other_parts(&path, "another"), [part.file_name().unwrap()]);
    }
}
