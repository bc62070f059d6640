//! Files mapped into memory to be read.

use memmap2::Mmap;
use std::io::{Error, ErrorKind};
use std::path::Path;

/// Maps a file.
pub fn map(path: &Path) -> std::io::Result<Mmap> {
    let file = std::fs::File::open(path).map_err(|e| match e.kind() {
        ErrorKind::PermissionDenied => Error::new(e.kind(), format!("{e}; let yourself read it (chmod u+r)")),
        _ => e,
    })?;
    // SAFETY: the map is read-only. Should another process cut the file short meanwhile, the kernel ends this one;
    // nothing here can prevent that.
    unsafe { Mmap::map(&file) }
}

/// Reads those of `bytes` that are in a map.
pub fn prefetch(map: &Mmap, bytes: &[u8]) {
    #[cfg(target_os = "linux")]
    if let Some(start) = (bytes.as_ptr() as usize).checked_sub(map.as_ptr() as usize)
        && start < map.len()
    {
        // Only time is saved, so that an error is none: before Linux 5.14 it is one.
        let _ = map.advise_range(memmap2::Advice::PopulateRead, start, bytes.len().min(map.len() - start));
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (map, bytes);
}

/// Lets go of the memory of a map's pages, which counts as the program's until then.
pub fn release(map: &Mmap) {
    #[cfg(unix)]
    // SAFETY: the map is read-only and of a file, from which its pages come again unchanged. It is only memory that is
    // saved, so that an error is none.
    let _ = unsafe { map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
    #[cfg(not(unix))]
    let _ = map;
}
