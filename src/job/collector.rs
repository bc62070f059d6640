//! The collector of ggml-patches: finding and running it.

use crate::atomic_file;
use crate::checkpoint::Dtype;
use crate::interrupt;
use crate::llama::find::{NotFound, Wanted};
use crate::llama::run;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The collector.
pub(super) const COLLECTOR: Wanted = Wanted {
    name: "llama-tenpak-calibrate",
    is_script: false,
    option: "--collector",
    variable: "TENPAK_COLLECTOR",
};

/// Why the collector collected nothing.
#[derive(Debug, thiserror::Error)]
pub enum CollectorError {
    /// There is no collector.
    #[error("the collector {0}")]
    NotFound(NotFound),
    /// A path that was given is no program.
    #[error(transparent)]
    NoSuchFile(NotFound),
    /// It does not start.
    #[error(transparent)]
    Start(run::Error),
    /// It reported an error.
    #[error("the collector stopped with code {0}; its message is above")]
    Failed(i32),
    /// It reported an error, and printed where nobody looks.
    #[error("the collector stopped with code {code}:\n{said}")]
    Said {
        /// The code.
        code: i32,
        /// What it printed last.
        said: String,
    },
    /// It was ended by a signal.
    #[error(
        "the collector was ended by a signal ({0}); run the same command again to go on. If memory ran out, give a smaller --memory"
    )]
    Killed(String),
    /// What it prints cannot be kept.
    #[error("{}: {source}", std::env::temp_dir().display(), source = .0)]
    Log(std::io::Error),
    /// It ended well and wrote nothing.
    #[error("{}: the collector {} ended well and did not write it; build it again with scripts/build_llama.sh", .0.display(), COLLECTOR.name)]
    NoOutput(PathBuf),
}

/// The collector: as given, of the environment, beside this program, of the search path.
pub(super) fn find_collector(given: Option<&Path>) -> Result<PathBuf, CollectorError> {
    COLLECTOR.find(given, &[]).map_err(|error| match error {
        NotFound::Nowhere(_) => CollectorError::NotFound(error),
        NotFound::NoSuchFile { .. } => CollectorError::NoSuchFile(error),
    })
}

/// How many operations this machine does in a second.
pub(super) struct Speed {
    /// Products of a matrix with 512 tokens.
    pub many: f64,
    /// Products of a matrix with 16 tokens.
    pub few: f64,
    /// The sums of x x^T.
    pub sums: f64,
}

/// Has the collector measure this machine's speed, for weights of a float type. `None` if it does not tell.
pub(super) fn measure_speed(collector: Option<&Path>, dtype: Dtype, threads: Option<usize>) -> Option<Speed> {
    let mut command = Command::new(find_collector(collector).ok()?);
    command.args(["--speed", &dtype.ggml().name()]);
    add_options(&mut command, [("-t", threads.map(|n| n.to_string()))]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let (child, _watched) = interrupt::spawn(&mut command).ok()?;
    let output = child.wait_with_output().ok()?;
    let printed = String::from_utf8(output.stdout).ok()?;
    let line = printed.lines().find_map(|line| line.strip_prefix("speed "))?;
    let mut values = line.split(' ').map(|v| v.parse().ok().filter(|v: &f64| v.is_finite() && *v > 0.0));
    Some(Speed { many: values.next()??, few: values.next()??, sums: values.next()?? })
}

/// Gives a command the options that have a value.
pub(super) fn add_options<const N: usize>(command: &mut Command, options: [(&str, Option<String>); N]) {
    for (name, value) in options {
        if let Some(value) = value {
            command.args([name, &value]);
        }
    }
}

/// Runs the collector, which is to write files. What it prints is shown, or only if it fails.
pub(super) fn run_collector(
    command: &mut Command,
    outputs: &[&Path],
    quiet: bool,
) -> Result<(), CollectorError> {
    let temporary = || atomic_file::temporary(&std::env::temp_dir());
    let log = quiet.then(temporary).transpose().map_err(CollectorError::Log)?;
    if let Some((log, _)) = &log {
        let file = || log.as_file().try_clone().map_err(CollectorError::Log);
        command.stdout(file()?).stderr(file()?);
    }
    let status = run::passed_on(command).map_err(CollectorError::Start)?.status;
    match (status.code(), log) {
        (Some(0), _) => match outputs.iter().find(|output| !output.exists()) {
            Some(missing) => Err(CollectorError::NoOutput(missing.to_path_buf())),
            None => Ok(()),
        },
        (Some(code), None) => Err(CollectorError::Failed(code)),
        (Some(code), Some((log, _watched))) => {
            let text = std::fs::read(log.path()).map_err(CollectorError::Log)?;
            let said = run::last_lines(&String::from_utf8_lossy(&text));
            Err(CollectorError::Said { code, said })
        }
        (None, _) => Err(CollectorError::Killed(status.to_string())),
    }
}
