//! The kernels for 64-bit ARM, cross-compiled and run under qemu: every level against the definition, bit by bit, and
//! two blocks of a real model through a cross-compiled llama.cpp. `scripts/test.sh aarch64` installs what they need.

use super::fixtures::*;
use super::place::{Lock, Place, ROOT, TARGET, THREADS, script};
use super::programs::PROMPT;
use super::quantized_folder::Method;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

const TRIPLE: &str = "aarch64-unknown-linux-gnu";
/// Where Debian's cross compiler has the libraries for that machine.
const SYSROOT: &str = "/usr/aarch64-linux-gnu";
/// The emulated processor without dot products of bytes.
const WITHOUT_DOTPROD: &str = "cortex-a72";
/// Tokens that the model adds: enough to read every tensor, in prompt and generation.
const TOKENS: &str = "3";
/// What the tests say about levels that the processor lacks.
const MISSING: &str = "NOT TESTED HERE: kernels for";

/// Folder of llama-simple for 64-bit ARM.
static LLAMA_SIMPLE: LazyLock<std::path::PathBuf> = LazyLock::new(|| {
    script("build_llama.sh", &[], &[("TRIPLE", TRIPLE.as_ref()), ("LLAMA_TARGETS", "llama-simple".as_ref())])
});

/// cargo for 64-bit ARM, with the lean library only.
fn cargo(command: &str) -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([command, "--quiet", "--profile", "quick", "--target", TRIPLE, "--no-default-features"]);
    cargo
        .arg("--manifest-path")
        .arg(Path::new(ROOT).join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&*TARGET)
        .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "aarch64-linux-gnu-gcc");
    let runner = format!("qemu-aarch64 -L {SYSROOT}");
    cargo.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER", runner);
    cargo
}

/// Runs cargo in the repository, one at a time.
fn run_cargo(place: &Place, command: &mut Command) -> String {
    let _building = Lock::exclusive("building");
    place.run("cargo", command)
}

/// Runs tests under qemu. Those that pass are counted by program.
fn emulated(arguments: &str, environment: &[(&str, &str)]) -> String {
    let place = Place::new();
    let mut command = cargo("test");
    command.args(arguments.split(' ')).envs(environment.iter().copied());
    let printed = run_cargo(&place, &mut command);
    let passed: Vec<_> = printed.lines().filter_map(|line| line.strip_prefix("test result: ok. ")).collect();
    let programs = arguments.split(' ').filter(|argument| ["--test", "--lib"].contains(argument)).count();
    assert!(
        passed.len() == programs && passed.iter().all(|line| !line.starts_with("0 ")),
        "tests are missing:\n{printed}"
    );
    note(passed.join("\n"));
    printed
}

#[test]
fn lints() {
    run_cargo(&Place::new(), cargo("clippy").args(["--lib", "--", "-D", "warnings"]));
}

/// The encoder has no code of its own for ARM, so that what measures it is left out.
#[test]
fn kernels_of_every_level() {
    let printed = emulated(
        "--test kernels --test golden --test codes4 --test direct --test format_document -- --skip errors_are_as_stated",
        &[],
    );
    assert!(!printed.contains(MISSING), "qemu-aarch64 should have every level:\n{printed}");
}

#[test]
fn levels_rotation_and_scales() {
    emulated("--lib -- isa:: trellis::rotation trellis::scale", &[]);
}

/// Kernels alone: what no level does in its own way [`kernels_of_every_level`] tests.
#[test]
fn a_processor_without_dotprod() {
    let printed =
        emulated("--test kernels --test codes4 --test direct -- agree", &[("QEMU_CPU", WITHOUT_DOTPROD)]);
    let expected = format!("{MISSING} dotprod");
    assert!(
        printed.contains(&expected),
        "a {WITHOUT_DOTPROD} was taken for a processor with dotprod:\n{printed}"
    );
}

/// llama.cpp continues the prompt in the same way at these levels and at scalar.
fn continues(model: &Path, levels: &[&str]) {
    let place = Place::new();
    let continued = |level: &str| {
        let mut command = Command::new("qemu-aarch64");
        command.args(["-L", SYSROOT]).arg(LLAMA_SIMPLE.join("llama-simple")).arg("-m").arg(model);
        command
            .args(["-n", TOKENS, PROMPT])
            .env("TENPAK_ISA", level)
            .env("OMP_THREAD_LIMIT", THREADS.to_string());
        let printed = place.run(level, &mut command);
        let sentence = printed.lines().find_map(|line| line.find(PROMPT).map(|at| line[at..].to_owned()));
        let sentence = sentence.unwrap_or_else(|| panic!("no sentence in {}", place.log(level).display()));
        // The sentence ends without a new line, and how long it took follows.
        let sentence = sentence.split("main: decoded").next().unwrap_or_default().to_owned();
        assert!(sentence.len() > PROMPT.len() + 1, "nothing was added to {sentence:?}");
        sentence
    };
    let scalar = continued("scalar");
    for level in levels {
        assert_eq!(continued(level), scalar, "TENPAK_ISA={level} continues otherwise than scalar");
    }
    note(format!("{scalar}: the same with TENPAK_ISA=scalar {}", levels.join(" ")));
}

#[test]
fn a_model_in_the_default_types() {
    continues(&short(&out(), FEW_BLOCKS), &["neon", "dotprod"]);
}

#[test]
fn a_model_in_g4_128() {
    continues(&short(&kept(Method::Gptq), FEW_BLOCKS), &["dotprod"]);
}

#[test]
fn a_model_in_nf4_64() {
    continues(&short(&kept(Method::Nf4), FEW_BLOCKS), &["dotprod"]);
}
