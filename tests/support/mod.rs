//! What several test files share. Each uses its part of it, so unused items are no sign of anything.

#![allow(dead_code)]

#[cfg(feature = "converter")]
pub mod guide;
#[cfg(feature = "converter")]
pub mod quantized_case;
pub mod random;
#[cfg(feature = "converter")]
pub mod reference_case;
#[cfg(feature = "converter")]
pub mod tiny_calibration;
#[cfg(feature = "converter")]
pub mod tiny_gguf;
#[cfg(feature = "converter")]
pub mod tiny_llama;
#[cfg(feature = "converter")]
pub mod torch_file;

use std::io::Write;
use std::sync::Once;
#[cfg(feature = "converter")]
use tenpak_gguf::checkpoint::Model;
use tenpak_gguf::isa::Isa;
#[cfg(feature = "converter")]
use tenpak_gguf::plan::{Family, Plan, Recipe};

/// Arguments with which nothing is measured: a conversion that does not say where its statistics come from has none.
pub fn uncalibrated<S: AsRef<std::ffi::OsStr>>(args: &[S]) -> Vec<std::ffi::OsString> {
    const SAYING: [&str; 9] = [
        "--calibration",
        "--calibration-text",
        "--no-calibration",
        "--target",
        "--bpw",
        "--size",
        "--calibration-tokens",
        "--budget",
        "--save-recipe",
    ];
    let mut all: Vec<_> = args.iter().map(|arg| arg.as_ref().to_owned()).collect();
    let says = all.iter().any(|arg| SAYING.iter().any(|option| arg == option));
    if !says && all.first().is_some_and(|command| command == "convert") {
        all.push("--no-calibration".into());
    }
    all
}

/// The levels of this processor. Those that it lacks, and that are therefore not tested, are named on
/// standard error, past the capture of the test harness.
pub fn levels() -> Vec<Isa> {
    static SAY: Once = Once::new();
    SAY.call_once(|| {
        let missing = Isa::ALL.iter().filter(|isa| !isa.is_available());
        let missing: Vec<_> = missing.map(|isa| isa.name()).collect();
        if !missing.is_empty() {
            let line = format!("\nNOT TESTED HERE: kernels for {}\n", missing.join(", "));
            std::io::stderr().write_all(line.as_bytes()).expect("standard error is there");
        }
    });
    Isa::available().collect()
}

/// Asserts that a message names what is wrong and what helps.
#[track_caller]
pub fn assert_says(message: impl std::fmt::Display, words: &[&str]) {
    let message = message.to_string();
    for word in words {
        assert!(message.contains(word), "{message:?} does not say {word:?}");
    }
}

/// The error of a result whose value cannot be printed.
#[track_caller]
pub fn error<T, E>(result: Result<T, E>) -> E {
    match result {
        Ok(_) => panic!("this should have been an error"),
        Err(e) => e,
    }
}

/// The plan of a recipe that fits the model.
#[cfg(feature = "converter")]
#[track_caller]
pub fn plan(model: &Model, recipe: impl std::borrow::Borrow<Recipe>) -> Plan {
    Plan::new(model, recipe.borrow()).unwrap_or_else(|e| panic!("{e}"))
}

/// The family of types of this name.
#[cfg(feature = "converter")]
#[track_caller]
pub fn family(name: &str) -> Family {
    Family::named(name).expect("a family")
}

/// Names of the files in a folder.
pub fn files_in(folder: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let names = entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}
