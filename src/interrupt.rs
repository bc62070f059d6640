//! What ends with the program when a signal ends it: programs that it runs, and files that nobody can go on with.

use std::collections::BTreeMap;
use std::io::Result;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long programs that were asked to end may take.
#[cfg(unix)]
const GRACE: Duration = Duration::from_secs(5);
/// How often they are looked at meanwhile.
#[cfg(unix)]
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// What does not outlive the program.
#[derive(Clone, Debug)]
enum Thing {
    /// A file, or a folder with all that is in it.
    Temporary(PathBuf),
    /// A program that runs, by its number.
    Program(u32),
}

/// Everything that is there now, and the number of the next.
static THINGS: Mutex<(u64, BTreeMap<u64, Thing>)> = Mutex::new((0, BTreeMap::new()));

fn things() -> MutexGuard<'static, (u64, BTreeMap<u64, Thing>)> {
    THINGS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Stands for a thing as long as it is there.
#[derive(Debug)]
pub struct Watched(u64);

impl Drop for Watched {
    // A signal that is being handled keeps the lock to the end: whoever lost a program to it goes no further.
    fn drop(&mut self) {
        things().1.remove(&self.0);
    }
}

/// Makes a thing; no signal comes in between.
fn watched<T>(make: impl FnOnce() -> Result<T>, thing: impl FnOnce(&T) -> Thing) -> Result<(T, Watched)> {
    let mut things = things();
    let made = make()?;
    let number = things.0;
    things.0 += 1;
    things.1.insert(number, thing(&made));
    Ok((made, Watched(number)))
}

/// Makes a file or a folder that is deleted if a signal ends the program while the second value is there.
pub fn temporary<T>(
    make: impl FnOnce() -> Result<T>,
    path: impl FnOnce(&T) -> PathBuf,
) -> Result<(T, Watched)> {
    watched(make, |made| Thing::Temporary(path(made)))
}

/// Starts a program that a signal to this one ends too, while the second value is there. On Linux it also ends if this program
/// is killed.
pub fn spawn(command: &mut Command) -> Result<(Child, Watched)> {
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::process::CommandExt;
        let ends_with_parent = || {
            // SAFETY: the call has integers alone, and may be made between fork and exec.
            match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) } {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        };
        // SAFETY: the function makes one system call and allocates nothing.
        unsafe { command.pre_exec(ends_with_parent) };
    }
    watched(|| command.spawn(), |child| Thing::Program(child.id()))
}

/// Has SIGINT, SIGTERM and SIGHUP end the programs that this one runs and delete its temporary files before they end it. What
/// `--resume` needs stays. A file that becomes larger than the system allows (SIGXFSZ) is an error of writing. For programs
/// that are nothing but this one: the command line calls it first.
#[cfg(unix)]
pub fn handle_signals() -> Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    // SAFETY: signals are ignored, which has no handler that could do harm.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    // What the caller has this program ignore, as nohup does, stays ignored.
    let signals = [SIGHUP, SIGINT, SIGTERM].into_iter().filter(|signal| !is_ignored(*signal));
    let mut signals = signal_hook::iterator::Signals::new(signals)?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        if let Some(signal) = signals.forever().next() {
            let things = things();
            end(things.1.values());
            let _ = signal_hook::low_level::emulate_default_handler(signal);
        }
    })?;
    Ok(())
}

/// Has signals end what belongs to the program. Nothing on systems without signals.
#[cfg(not(unix))]
pub fn handle_signals() -> Result<()> {
    Ok(())
}

#[cfg(unix)]
fn is_ignored(signal: i32) -> bool {
    let mut now = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: no action is given, and the place for the present one is of this function and is writable.
    let asked = unsafe { libc::sigaction(signal, std::ptr::null(), now.as_mut_ptr()) };
    // SAFETY: all bytes were zero, which is a valid `sigaction`, before the call wrote it.
    asked == 0 && unsafe { now.assume_init() }.sa_sigaction == libc::SIG_IGN
}

/// Ends programs, and deletes files and folders.
#[cfg(unix)]
fn end<'a>(things: impl Iterator<Item = &'a Thing> + Clone) {
    let programs: Vec<i32> = things
        .clone()
        .filter_map(|thing| match thing {
            Thing::Program(number) => i32::try_from(*number).ok(),
            Thing::Temporary(_) => None,
        })
        .collect();
    // SAFETY: the call has integers alone. The programs are children whose `Watched` is there, so that nobody else has
    // their numbers.
    let send = |program: i32, signal| unsafe { libc::kill(program, signal) } == 0;
    for program in &programs {
        send(*program, libc::SIGTERM);
    }
    let start = std::time::Instant::now();
    // Another thread waits for each of them, after which there is none of its number.
    while start.elapsed() < GRACE && programs.iter().any(|program| send(*program, 0)) {
        std::thread::sleep(BETWEEN_LOOKS);
    }
    for program in &programs {
        send(*program, libc::SIGKILL);
    }
    for thing in things {
        if let Thing::Temporary(path) = thing {
            // There is nobody left to hear of an error.
            let _ = std::fs::remove_file(path).or_else(|_| std::fs::remove_dir_all(path));
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn programs_end_and_temporary_files_go() {
        let folder = tempfile::tempdir().unwrap();
        let (file, inside) = (folder.path().join("file"), folder.path().join("inside"));
        std::fs::write(&file, "1").unwrap();
        std::fs::create_dir(&inside).unwrap();
        std::fs::write(inside.join("more"), "2").unwrap();
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let number = child.id();
        let waiting = std::thread::spawn(move || child.wait().unwrap());
        end([Thing::Temporary(file), Thing::Program(number), Thing::Temporary(inside)].iter());
        assert!(!waiting.join().unwrap().success());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
