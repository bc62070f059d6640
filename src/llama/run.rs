//! Running a program, and what the run took.

use crate::interrupt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Lines of a log that an error shows.
const SHOWN_LINES: usize = 20;

/// Time between two looks at a log that grows.
const BETWEEN_LOOKS: Duration = Duration::from_millis(300);

/// How often GNU's OpenMP looks whether the other threads have come before a thread sleeps, and the variable that says it.
/// Where other programs want the cores too, threads that wait without end for threads that do not run make llama.cpp half as
/// fast; where none do, nothing is lost (docs/lab/2026-11-27-busy-machines.md).
const SPINS: (&str, &str) = ("GOMP_SPINCOUNT", "20000");

/// Users decide about waiting with these.
const WAITING: [&str; 2] = [SPINS.0, "OMP_WAIT_POLICY"];

/// What the run of a program took.
#[derive(Clone, Copy, Debug)]
pub struct Measures {
    /// Seconds from its start to its end.
    pub seconds: f64,
    /// Seconds of all cores together. `None` where the system does not tell.
    pub cpu_seconds: Option<f64>,
    /// Kilobytes of memory that were resident at the peak, in the largest of its processes. `None` where the system does
    /// not tell. Linux counts what the process was before it became the program, so that this is at least the
    /// memory of the calling process.
    pub peak_kilobytes: Option<u64>,
}

/// A program that ended, well or not.
#[derive(Clone, Copy, Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// What it took.
    pub measures: Measures,
}

/// A program that ended well.
#[derive(Clone, Debug)]
pub struct Logged {
    /// All that it printed.
    pub text: String,
    /// What it took.
    pub measures: Measures,
}

/// Why a program did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program does not start.
    #[error("{}: cannot be started: {source}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The program ended with an error.
    #[error("{} failed ({status}): see {}\n{tail}", program.display(), log.display())]
    Failed {
        /// The program.
        program: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// The file with all that it printed.
        log: PathBuf,
        /// The last lines of that file.
        tail: String,
    },
    /// The program ended well and did not print what it should.
    #[error("{}: there is no {what} in it", log.display())]
    NotPrinted {
        /// The file with all that the program printed.
        log: PathBuf,
        /// What is not there.
        what: &'static str,
    },
    /// The log cannot be written or read.
    #[error("{}: {source}", log.display())]
    Log {
        /// The log.
        log: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl Error {
    /// The message for a log that nobody can read any more.
    pub fn without_log(&self) -> String {
        match self {
            Error::Failed { program, status, tail, .. } => {
                format!("{} failed ({status}):\n{tail}", program.display())
            }
            error => error.to_string(),
        }
    }
}

/// Runs a program that gets no input and prints where this program prints.
pub fn passed_on(command: &mut Command) -> Result<Finished, Error> {
    if WAITING.iter().all(|name| std::env::var_os(name).is_none()) {
        command.env(SPINS.0, SPINS.1);
    }
    let start = Instant::now();
    let started = interrupt::spawn(command.stdin(Stdio::null()));
    let finished = started.and_then(|(child, _watched)| wait(child, start));
    finished.map_err(|source| Error::Start { program: command.get_program().into(), source })
}

/// Runs a program that gets no input, with all that it prints in the file `log`. It has to end well.
pub fn logged(command: &mut Command, log: &Path) -> Result<Logged, Error> {
    let of_log = |source| Error::Log { log: log.to_owned(), source };
    let file = File::create(log).map_err(of_log)?;
    command.stdout(file.try_clone().map_err(of_log)?).stderr(file);
    let Finished { status, measures } = passed_on(command)?;
    let bytes = std::fs::read(log).map_err(of_log)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    if !status.success() {
        let program = command.get_program().into();
        return Err(Error::Failed { program, status, log: log.to_owned(), tail: last_lines(&text) });
    }
    Ok(Logged { text, measures })
}

/// The same, with a function that is given what the program has printed so far, now and then.
pub fn watched(command: &mut Command, log: &Path, watch: &(dyn Fn(&str) + Sync)) -> Result<Logged, Error> {
    std::thread::scope(|scope| {
        let (running, ended) = mpsc::channel::<()>();
        scope.spawn(move || {
            while ended.recv_timeout(BETWEEN_LOOKS) == Err(mpsc::RecvTimeoutError::Timeout) {
                if let Ok(bytes) = std::fs::read(log) {
                    watch(&String::from_utf8_lossy(&bytes));
                }
            }
        });
        let run = logged(command, log);
        drop(running);
        run
    })
}

/// The end of a log, as errors show it.
pub fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
}

/// Waits for the end of a child that was started at `start`.
#[cfg(unix)]
fn wait(child: Child, start: Instant) -> io::Result<Finished> {
    use std::os::unix::process::ExitStatusExt;
    let process = child.id().try_into().map_err(io::Error::other)?;
    let mut status = 0;
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both pointers are of this function and are writable; the child has not been waited for, since `Child` is
    // moved into this function, so that the id is still that of the child.
    while unsafe { libc::wait4(process, &mut status, 0, usage.as_mut_ptr()) } < 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    // SAFETY: all bytes were zero, which is a valid `rusage`, before wait4 wrote it.
    let usage = unsafe { usage.assume_init() };
    let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
    let resident = usage.ru_maxrss.try_into().unwrap_or(0u64);
    let measures = Measures {
        seconds: start.elapsed().as_secs_f64(),
        cpu_seconds: Some(seconds(usage.ru_utime) + seconds(usage.ru_stime)),
        // Apple's systems count bytes.
        peak_kilobytes: Some(if cfg!(target_vendor = "apple") { resident / 1024 } else { resident }),
    };
    Ok(Finished { status: ExitStatus::from_raw(status), measures })
}

/// Waits for the end of a child that was started at `start`.
#[cfg(not(unix))]
fn wait(mut child: Child, start: Instant) -> io::Result<Finished> {
    let status = child.wait()?;
    let seconds = start.elapsed().as_secs_f64();
    Ok(Finished { status, measures: Measures { seconds, cpu_seconds: None, peak_kilobytes: None } })
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_log_has_both_streams() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let logged = logged(&mut shell("echo out; echo err >&2; cat"), &log).unwrap();
        assert_eq!(logged.text, "out\nerr\n");
        assert_eq!(std::fs::read_to_string(&log).unwrap(), logged.text);
    }

    #[test]
    fn threads_of_programs_do_not_wait_without_end() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let printed = logged(&mut shell("echo $GOMP_SPINCOUNT $OMP_WAIT_POLICY"), &log).unwrap().text;
        assert!(!printed.trim().is_empty());
    }

    #[test]
    fn a_failure_names_the_log_and_shows_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let error = logged(&mut shell("seq 100; exit 3"), &log).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("sh failed (exit status: 3): see {}\n81\n", log.display())),
            "{error}"
        );
        assert!(error.ends_with("\n100"), "{error}");
        let error = logged(&mut shell("kill -9 $$"), &log).unwrap_err().to_string();
        assert!(error.contains("signal: 9"), "{error}");
        let error = logged(&mut Command::new("/no/such"), &log).unwrap_err().to_string();
        assert!(error.starts_with("/no/such: cannot be started: "), "{error}");
    }

    #[test]
    fn what_is_printed_is_seen_while_the_program_runs() {
        let folder = tempfile::tempdir().unwrap();
        let go = folder.path().join("go");
        let seen = std::sync::Mutex::new(String::new());
        let script = format!("echo first; while [ ! -e '{}' ]; do sleep 0.05; done; echo last", go.display());
        let watch = |text: &str| {
            *seen.lock().unwrap() = text.to_owned();
            std::fs::write(&go, "").unwrap();
        };
        let run = watched(&mut shell(&script), &folder.path().join("log"), &watch).unwrap();
        assert!(seen.lock().unwrap().starts_with("first\n"));
        assert_eq!(run.text, "first\nlast\n");
    }

    /// Bytes that the program fills: more than this process has, which Linux counts too.
    const FILLED: u64 = 600_000_000;

    #[test]
    fn measures_are_those_of_the_program() {
        let finished = passed_on(&mut shell("sleep 0.2; exit 5")).unwrap();
        assert_eq!(finished.status.code(), Some(5));
        let small = finished.measures;
        assert!(small.seconds >= 0.2 && small.cpu_seconds.unwrap() < small.seconds, "{small:?}");
        let filled = passed_on(&mut shell(&format!(
            "head -c {FILLED} /dev/zero | tail -c {FILLED} | wc -c >/dev/null"
        )))
        .unwrap();
        let peak = filled.measures.peak_kilobytes.unwrap();
        assert!((FILLED / 1024..2 * FILLED / 1024).contains(&peak), "{peak} kB");
        assert!(small.peak_kilobytes.unwrap() < peak, "{small:?}");
    }
}
