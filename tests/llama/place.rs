//! What every test needs: a folder of its own, programs that leave logs there, and the rule that nothing else runs
//! while a program is measured.

use super::fixtures::note;
use std::cell::RefCell;
use std::ffi::OsStr;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::rc::{Rc, Weak};
use std::sync::LazyLock;
use std::time::Instant;
use tenpak_gguf::llama::run::{Error, last_lines};
use tenpak_gguf::llama::{Divergence, Evaluation, Measures, Perplexity, logged};

/// The folder of the repository.
pub const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Files that are larger than this many bytes go when the test that made them has passed.
const KEPT_BYTES: u64 = 1 << 20;

/// Tests that take as many seconds say so.
const LONG_SECONDS: u64 = 20;

/// The target folder, in which the scripts keep what they build.
pub static TARGET: LazyLock<PathBuf> = LazyLock::new(|| {
    let given = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = given.unwrap_or_else(|| Path::new(ROOT).join("target"));
    std::path::absolute(target).expect("an absolute path")
});

/// The folder of these tests in the target folder.
pub static HOME: LazyLock<PathBuf> = LazyLock::new(|| {
    let home = TARGET.join("llama_tests");
    std::fs::create_dir_all(&home).expect("the target folder is writable");
    home
});

/// Threads for each program, so that all tests that run at a time keep the cores busy and no more: a thread of ggml's
/// spins while it waits for its like, and would take the time of others.
pub static THREADS: LazyLock<usize> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let tests = std::env::var("RUST_TEST_THREADS").ok().and_then(|n| n.parse().ok()).unwrap_or(cores);
    (cores / tests.max(1)).max(1)
});

/// The folder of one test, or of a file that several tests use.
pub struct Place {
    folder: PathBuf,
    is_kept: bool,
    made: Instant,
}

impl Place {
    /// An empty folder for the test that calls this.
    pub fn new() -> Place {
        let thread = std::thread::current();
        let test =
            thread.name().filter(|name| name.contains("::")).expect("the thread has the name of its test");
        Place::empty(HOME.join("work").join(test.replace("::", "/")), false)
    }

    /// An empty folder whose files stay.
    pub fn kept(folder: PathBuf) -> Place {
        Place::empty(folder, true)
    }

    fn empty(folder: PathBuf, is_kept: bool) -> Place {
        if folder.exists() {
            std::fs::remove_dir_all(&folder).expect("the folder of an earlier run can go");
        }
        std::fs::create_dir_all(&folder).expect("the target folder is writable");
        Place { folder, is_kept, made: Instant::now() }
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Runs a program in the folder and returns what it printed, which is in NAME.log too. The test fails if the program
    /// does.
    #[track_caller]
    pub fn run(&self, name: &str, command: &mut Command) -> String {
        let _shared = shared();
        self.checked(logged(command.current_dir(&self.folder), &self.log(name))).text
    }

    /// Runs a program that has to fail, and returns what it printed.
    #[track_caller]
    pub fn fails(&self, name: &str, command: &mut Command) -> String {
        let (status, printed) = self.failure(name, command);
        assert!(status.code().is_some(), "{name} was ended by a signal: see {}", self.log(name).display());
        printed
    }

    /// Runs a program that has to end as ggml ends programs that cannot go on, by aborting, and returns what it printed.
    #[track_caller]
    pub fn aborts(&self, name: &str, command: &mut Command) -> String {
        let (status, printed) = self.failure(name, command.env("GGML_NO_BACKTRACE", "1"));
        assert!(status.code().is_none(), "{name} ended by itself: see {}", self.log(name).display());
        printed
    }

    #[track_caller]
    fn failure(&self, name: &str, command: &mut Command) -> (ExitStatus, String) {
        let _shared = shared();
        match logged(command.current_dir(&self.folder), &self.log(name)) {
            Err(Error::Failed { log, status, .. }) => {
                (status, std::fs::read_to_string(&log).expect("a log of text"))
            }
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("{name} should have failed: see {}", self.log(name).display()),
        }
    }

    /// Runs a program while no other runs, and returns what it printed and what it took.
    #[track_caller]
    pub fn measured(&self, name: &str, command: &mut Command) -> (String, Measures) {
        let _alone = alone();
        self.taken(name, command)
    }

    /// Runs a program, and returns what it printed and what it took, of which memory alone means something: others run meanwhile.
    #[track_caller]
    pub fn with_memory(&self, name: &str, command: &mut Command) -> (String, Measures) {
        let _shared = shared();
        self.taken(name, command)
    }

    #[track_caller]
    fn taken(&self, name: &str, command: &mut Command) -> (String, Measures) {
        forget_peak();
        let run = self.checked(logged(command.current_dir(&self.folder), &self.log(name)));
        (run.text, run.measures)
    }

    /// Starts a program whose output goes to NAME.log.
    pub fn start(&self, name: &str, command: &mut Command) -> Started {
        let shared = shared();
        let log = self.log(name);
        let file = File::create(&log).expect("a log");
        command.current_dir(&self.folder).stdin(Stdio::null());
        command.stdout(file.try_clone().expect("a second handle")).stderr(file);
        let child = command.spawn().unwrap_or_else(|error| panic!("{:?}: {error}", command.get_program()));
        Started { child, log, _shared: shared }
    }

    /// Perplexity of a model; the log is NAME.log.
    #[track_caller]
    pub fn perplexity(&self, name: &str, evaluation: &Evaluation, model: &Path) -> Perplexity {
        let _shared = shared();
        self.checked(evaluation.perplexity(model, &self.log(name)))
    }

    /// Divergence of a model from the model of which `logits` are; the log is NAME.log.
    #[track_caller]
    pub fn divergence(&self, name: &str, evaluation: &Evaluation, model: &Path, logits: &Path) -> Divergence {
        let _shared = shared();
        self.checked(evaluation.divergence(model, logits, &self.log(name)))
    }

    /// Writes the logits of a model; the log is NAME.log.
    #[track_caller]
    pub fn write_logits(&self, name: &str, evaluation: &Evaluation, model: &Path, logits: &Path) {
        let _shared = shared();
        self.checked(evaluation.write_logits(model, logits, &self.log(name)));
    }

    /// The log of what was run under this name.
    pub fn log(&self, name: &str) -> PathBuf {
        self.path(&format!("{name}.log"))
    }

    #[track_caller]
    fn checked<T>(&self, result: Result<T, Error>) -> T {
        result.unwrap_or_else(|error| match error {
            Error::NotPrinted { ref log, .. } => {
                let text = std::fs::read_to_string(log).unwrap_or_default();
                panic!("{error}\n{}", last_lines(&text))
            }
            error => panic!("{error}"),
        })
    }
}

impl Drop for Place {
    /// What a failed test made stays for a look at it; of a test that passed the logs stay. Says what took long.
    fn drop(&mut self) {
        let seconds = self.made.elapsed().as_secs();
        if seconds >= LONG_SECONDS {
            note(format!(
                "{seconds} s in {}",
                self.folder.strip_prefix(&*HOME).unwrap_or(&self.folder).display()
            ));
        }
        if std::thread::panicking() {
            eprintln!("the files of this test are in {}", self.folder.display());
            return;
        }
        if self.is_kept {
            return;
        }
        for entry in std::fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let Ok(kind) = entry.metadata() else { continue };
            if kind.is_dir() {
                _ = std::fs::remove_dir_all(entry.path());
            } else if kind.len() > KEPT_BYTES {
                _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

/// A program that runs until it is dropped.
pub struct Started {
    child: Child,
    log: PathBuf,
    _shared: Rc<Lock>,
}

impl Started {
    /// What the program printed so far. The test fails if the program has ended.
    #[track_caller]
    pub fn so_far(&mut self) -> String {
        let ended = self.child.try_wait().expect("a child");
        let text = std::fs::read(&self.log).expect("a log");
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(
            ended.is_none(),
            "the program ended early: see {}\n{}",
            self.log.display(),
            last_lines(&text)
        );
        text
    }
}

impl Drop for Started {
    /// Kills the program.
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// A port of this machine on which nobody listens.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// A lock that holds between threads and processes.
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Waits until nobody else has the lock of this name.
    pub fn exclusive(name: &str) -> Lock {
        let file = Lock::file(name);
        file.lock().expect("files can be locked");
        Lock { _file: file }
    }

    /// Waits until nobody has the lock of this name for himself.
    fn shared(name: &str) -> Lock {
        let file = Lock::file(name);
        file.lock_shared().expect("files can be locked");
        Lock { _file: file }
    }

    fn file(name: &str) -> File {
        let path = HOME.join(format!("{name}.lock"));
        File::options().create(true).append(true).open(path).expect("the target folder is writable")
    }
}

/// Held while a program runs that is not measured. Who waits to measure holds `turn`, so that no further program starts, but for
/// those of a test that has one running: they share its lock, or the two would wait for each other.
fn shared() -> Rc<Lock> {
    thread_local! {
        static HELD: RefCell<Weak<Lock>> = const { RefCell::new(Weak::new()) };
    }
    HELD.with_borrow_mut(|held| {
        held.upgrade().unwrap_or_else(|| {
            let _turn = Lock::exclusive("turn");
            let lock = Rc::new(Lock::shared("running"));
            *held = Rc::downgrade(&lock);
            lock
        })
    })
}

/// Held while a program is measured.
fn alone() -> Lock {
    let _turn = Lock::exclusive("turn");
    Lock::exclusive("running")
}

/// Linux counts the peak of memory of the calling process as one of the program that the process starts: the peak is set back
/// to what the process has now. Where that is not allowed, measured peaks are at least that of this process.
fn forget_peak() {
    _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Runs a script of the repository in its folder and returns what it printed last, a path.
#[track_caller]
pub fn script(name: &str, arguments: &[&str], environment: &[(&str, &OsStr)]) -> PathBuf {
    let _building = Lock::exclusive("building");
    let log = HOME.join(format!("{}.log", [&[name][..], arguments].concat().join("-")));
    let mut command = Command::new(Path::new(ROOT).join("scripts").join(name));
    command.args(arguments).env("LLAMA_QUICK", "1").envs(environment.iter().copied()).current_dir(ROOT);
    let run = logged(&mut command, &log).unwrap_or_else(|error| panic!("{error}"));
    PathBuf::from(run.text.lines().last().unwrap_or_default())
}
