//! Files mapped into memory to be read, and whether they stay as they are.
//!
//! A file that another process cuts short while it is mapped would end this one by a signal (SIGBUS) at the next byte that is
//! gone. A handler puts zeros there instead and remembers the file; whoever has used the bytes asks [`Map::check`]
//! before anything that was made of them gets a name.

use memmap2::Mmap;
use std::fs::Metadata;
use std::io::{Error, ErrorKind, Result};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// How large a file is and when it was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    bytes: u64,
    modified: Option<SystemTime>,
}

impl Stamp {
    /// That of a file now; `None` where there is none.
    pub fn of(path: &Path) -> Option<Stamp> {
        std::fs::metadata(path).ok().map(|found| Stamp::from(&found))
    }

    /// Fails if the file at a path is not as it was. One that lost its name while it was open stays as it was.
    pub fn check(self, path: &Path) -> std::result::Result<(), Changed> {
        let is_same = match std::fs::metadata(path) {
            Ok(found) => Stamp::from(&found) == self,
            Err(e) => e.kind() == ErrorKind::NotFound,
        };
        if is_same { Ok(()) } else { Err(Changed { path: path.to_owned() }) }
    }
}

impl From<&Metadata> for Stamp {
    fn from(found: &Metadata) -> Stamp {
        Stamp { bytes: found.len(), modified: found.modified().ok() }
    }
}

/// A file in memory, to be read.
pub struct Map {
    // Before the map: its place is given up while the bytes are still there.
    #[cfg(unix)]
    guarded: guard::Guarded,
    map: Mmap,
    path: PathBuf,
    stamp: Stamp,
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}

impl Map {
    /// Fails if the file was changed or cut short since it was mapped.
    pub fn check(&self) -> std::result::Result<(), Changed> {
        self.check_cut()?;
        self.stamp.check(&self.path)
    }

    /// Fails if bytes that were asked for are gone. It costs nothing.
    pub fn check_cut(&self) -> std::result::Result<(), Changed> {
        #[cfg(unix)]
        if self.guarded.is_cut() {
            return Err(Changed { path: self.path.clone() });
        }
        Ok(())
    }
}

/// An input was changed or cut short while it was read.
#[derive(Debug, thiserror::Error)]
#[error(
    "{}: was changed or cut short while it was read; wait until nothing writes it any more, and run the command again",
    path.display()
)]
pub struct Changed {
    /// The file.
    pub path: PathBuf,
}

/// Maps a file.
pub fn map(path: &Path) -> Result<Map> {
    let about = std::fs::metadata(path).map_err(with_remedy)?;
    // Opening a FIFO would wait for somebody to write into it.
    if !about.is_file() && !about.is_dir() {
        return Err(Error::new(ErrorKind::InvalidInput, "is a device, a FIFO or the like, and no file"));
    }
    let file = std::fs::File::open(path).map_err(with_remedy)?;
    let stamp = Stamp::from(&file.metadata()?);
    // SAFETY: the map is read-only. Should another process change the file meanwhile, what was read of it is not used
    // (`Map::check`); should it cut the file short, there are zeros (`guard`).
    let map = unsafe { Mmap::map(&file) }?;
    Ok(Map {
        #[cfg(unix)]
        guarded: guard::Guarded::new(&map),
        map,
        path: path.to_owned(),
        stamp,
    })
}

fn with_remedy(e: Error) -> Error {
    match e.kind() {
        ErrorKind::PermissionDenied => Error::new(e.kind(), format!("{e}; let yourself read it (chmod u+r)")),
        _ => e,
    }
}

/// Reads those of `bytes` that are in a map.
pub fn prefetch(map: &Map, bytes: &[u8]) {
    #[cfg(target_os = "linux")]
    if let Some(start) = (bytes.as_ptr() as usize).checked_sub(map.as_ptr() as usize)
        && start < map.len()
    {
        // Only time is saved, so that an error is none: before Linux 5.14 it is one.
        let _ =
            map.map.advise_range(memmap2::Advice::PopulateRead, start, bytes.len().min(map.len() - start));
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (map, bytes);
}

/// Lets go of the memory of a map's pages, which counts as the program's until then.
pub fn release(map: &Map) {
    #[cfg(unix)]
    // SAFETY: the map is read-only and of a file, from which its pages come again unchanged. It is only memory that is
    // saved, so that an error is none.
    let _ = unsafe { map.map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
    #[cfg(not(unix))]
    let _ = map;
}

/// Zeros in place of bytes of a mapped file that are gone.
#[cfg(unix)]
mod guard {
    use libc::{c_int, c_void, sigaction, siginfo_t};
    use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
    use std::sync::{Mutex, Once, OnceLock, PoisonError};

    /// Where a map is, for the handler, which may take no lock. Places are never freed, and are used again.
    struct Place {
        start: AtomicUsize,
        end: AtomicUsize,
        is_cut: AtomicBool,
        next: AtomicPtr<Place>,
    }

    /// All places.
    static FIRST: AtomicPtr<Place> = AtomicPtr::new(std::ptr::null_mut());
    /// Places that no map has.
    static FREE: Mutex<Vec<&'static Place>> = Mutex::new(Vec::new());
    static PAGE: AtomicUsize = AtomicUsize::new(4096);
    /// What handled the signal before.
    static BEFORE: OnceLock<sigaction> = OnceLock::new();

    /// A map that the handler knows.
    pub struct Guarded(&'static Place);

    impl Guarded {
        pub fn new(bytes: &[u8]) -> Guarded {
            install();
            let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
            let place = free.pop().unwrap_or_else(|| {
                let place = Box::leak(Box::new(Place {
                    start: AtomicUsize::new(0),
                    end: AtomicUsize::new(0),
                    is_cut: AtomicBool::new(false),
                    next: AtomicPtr::new(FIRST.load(Ordering::Acquire)),
                }));
                // The lock is held: nobody else adds one.
                FIRST.store(place, Ordering::Release);
                place
            });
            let start = bytes.as_ptr() as usize;
            place.is_cut.store(false, Ordering::Release);
            place.end.store(start + bytes.len(), Ordering::Release);
            place.start.store(start, Ordering::Release);
            Guarded(place)
        }

        pub fn is_cut(&self) -> bool {
            self.0.is_cut.load(Ordering::Acquire)
        }
    }

    impl Drop for Guarded {
        fn drop(&mut self) {
            self.0.end.store(0, Ordering::Release);
            self.0.start.store(0, Ordering::Release);
            FREE.lock().unwrap_or_else(PoisonError::into_inner).push(self.0);
        }
    }

    fn install() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            // SAFETY: the call has an integer alone.
            let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
            PAGE.store(usize::try_from(page).unwrap_or(4096), Ordering::Release);
            let mut before = std::mem::MaybeUninit::<sigaction>::zeroed();
            // SAFETY: all bytes zero are a valid `sigaction`.
            let mut ours = unsafe { std::mem::zeroed::<sigaction>() };
            ours.sa_sigaction = handle as *const () as usize;
            ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            // SAFETY: the place for what is there is of this function; it is kept before ours can be called.
            if unsafe { libc::sigaction(libc::SIGBUS, std::ptr::null(), before.as_mut_ptr()) } == 0 {
                // SAFETY: all bytes were zero, which is a valid `sigaction`, before the call wrote it.
                let _ = BEFORE.set(unsafe { before.assume_init() });
                // SAFETY: `handle` does only what a handler may do.
                unsafe { libc::sigaction(libc::SIGBUS, &ours, std::ptr::null_mut()) };
            }
        });
    }

    /// Puts zeros in place of what is gone of a map. Any other cause is left to whoever handled it before.
    extern "C" fn handle(_signal: c_int, info: *mut siginfo_t, _context: *mut c_void) {
        // SAFETY: the system gives the handler of a SIGBUS a whole `siginfo_t` with an address.
        let address = unsafe { (*info).si_addr() } as usize;
        let page = address & !(PAGE.load(Ordering::Acquire) - 1);
        let mut place = FIRST.load(Ordering::Acquire);
        // SAFETY: places are never freed.
        while let Some(here) = unsafe { place.as_ref() } {
            let (start, end) = (here.start.load(Ordering::Acquire), here.end.load(Ordering::Acquire));
            if start != 0 && (start..end).contains(&address) {
                // SAFETY: the pages are those of a map that is there, from the first that is gone to its last, and are read
                // only. The call is one of the system's, and keeps to that range.
                let zeros = unsafe {
                    libc::mmap(
                        page as *mut c_void,
                        end - page,
                        libc::PROT_READ,
                        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
                        -1,
                        0,
                    )
                };
                if zeros != libc::MAP_FAILED {
                    here.is_cut.store(true, Ordering::Release);
                    return;
                }
            }
            place = here.next.load(Ordering::Acquire);
        }
        if let Some(before) = BEFORE.get() {
            // SAFETY: what was there before is put back; the access is tried again, and that handles it.
            unsafe { libc::sigaction(libc::SIGBUS, before, std::ptr::null_mut()) };
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_file_that_is_cut_short_has_zeros_and_says_so() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&vec![7; 1 << 20]).unwrap();
        let (cut, whole) = (map(file.path()).unwrap(), map(Path::new("Cargo.toml")).unwrap());
        assert!(cut.check().is_ok());
        file.as_file().set_len(100_000).unwrap();
        assert_eq!((cut[0], cut[cut.len() - 1], cut[600_000]), (7, 0, 0));
        assert!(cut.check().unwrap_err().to_string().contains("cut short"));
        // It was so once, whatever becomes of it.
        assert!(cut.check_cut().is_err() && whole.check().is_ok());
        drop(cut);
        assert!(map(file.path()).unwrap().check().is_ok());
    }

    #[test]
    fn a_file_that_is_changed_says_so() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"bytes").unwrap();
        let map = map(file.path()).unwrap();
        let later = SystemTime::now() + std::time::Duration::from_secs(5);
        file.as_file().set_modified(later).unwrap();
        assert!(map.check().is_err());
    }

    #[test]
    fn what_has_lost_its_name_is_unchanged() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"bytes").unwrap();
        let map = map(file.path()).unwrap();
        drop(file);
        assert!(map.check().is_ok() && &map[..] == b"bytes");
    }

    #[test]
    fn what_is_no_file_is_refused() {
        assert!(map(Path::new("/dev/zero")).err().unwrap().to_string().contains("no file"));
    }
}
