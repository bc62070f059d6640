//! Files that are read as a whole: all but weights.

use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result};
use std::path::Path;

/// The largest such file. Those of the largest vocabularies take a tenth of it.
pub const MAX_SMALL_FILE: u64 = 256 << 20;

/// The bytes of a file. A device, a FIFO, or a file that is longer than [`MAX_SMALL_FILE`] is refused.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let bytes = read_start(path, MAX_SMALL_FILE + 1)?;
    match bytes.len() as u64 > MAX_SMALL_FILE {
        true => Err(Error::new(
            ErrorKind::FileTooLarge,
            format!("has more than {} MiB, which no such file has; it is damaged", MAX_SMALL_FILE >> 20),
        )),
        false => Ok(bytes),
    }
}

/// The first bytes of a file, as many as there are.
pub fn read_start(path: &Path, bytes: u64) -> Result<Vec<u8>> {
    let about = std::fs::metadata(path)?;
    // Opening a FIFO would wait for somebody to write into it.
    if !about.is_file() && !about.is_dir() {
        return Err(Error::new(ErrorKind::InvalidInput, "is a device, a FIFO or the like, and no file"));
    }
    let mut start = Vec::new();
    File::open(path)?.take(bytes).read_to_end(&mut start)?;
    Ok(start)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_large_or_no_file_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(MAX_SMALL_FILE + 1).unwrap();
        assert!(read(file.path()).unwrap_err().to_string().contains("256 MiB"));
        assert_eq!(read_start(file.path(), 3).unwrap(), [0; 3]);
        assert!(read(Path::new("/dev/zero")).unwrap_err().to_string().contains("no file"));
    }
}
