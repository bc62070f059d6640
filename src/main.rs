//! The command line.

mod cli;

use clap::Parser;
use std::io::Write;
use std::process::ExitCode;
use tenpak_gguf::interrupt;
use tenpak_gguf::printable;

fn main() -> ExitCode {
    // A closed pipe (`tenpak-gguf inspect | head`) ends the program quietly.
    let done = interrupt::handle_signals().map_err(anyhow::Error::from).and_then(|()| cli::run(parsed()?));
    // What is printed may still be on its way to a disk that is full.
    match done.and_then(|code| std::io::stdout().flush().map(|()| code).map_err(anyhow::Error::from)) {
        Ok(code) => code,
        Err(e) if is_broken_pipe(&e) => ExitCode::SUCCESS,
        Err(e) => {
            // Messages name tensors and keys of files, whose names may be anything.
            eprintln!("error: {}", printable::lines(&format!("{e:#}")));
            ExitCode::FAILURE
        }
    }
}

/// The options. What `--help` and `--version` print is printed here, so that a disk that does not take it is an error.
fn parsed() -> anyhow::Result<cli::Cli> {
    cli::Cli::try_parse().or_else(|e| {
        if !e.use_stderr() {
            e.print()?;
            std::io::stdout().flush()?;
        }
        if e.use_stderr() { e.exit() } else { std::process::exit(0) }
    })
}

fn is_broken_pipe(e: &anyhow::Error) -> bool {
    e.chain()
        .filter_map(|e| e.downcast_ref::<std::io::Error>())
        .any(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}
