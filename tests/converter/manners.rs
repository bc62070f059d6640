//! What all commands share: versions, completions, man pages, quietness, JSON, colors and bars.

use crate::support::tiny_llama::{Folder, TinyLlama};
use crate::support::{assert_says, files_in, tiny_calibration, tiny_gguf, uncalibrated};
use serde_json::Value as Json;
use std::path::Path;
use std::process::Command;
use tenpak_gguf::llama::pin;
use tenpak_gguf::plan::BUILT_IN;
use tenpak_gguf::types::REGISTRY;

const TENPAK: &str = env!("CARGO_BIN_EXE_tenpak-gguf");

/// Standard output and error of a command that succeeds.
#[track_caller]
fn printed(args: &[&str]) -> (String, String) {
    printed_by(Command::new(TENPAK).args(uncalibrated(args)))
}

#[track_caller]
fn printed_by(command: &mut Command) -> (String, String) {
    let output = command.output().expect("it starts");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{out}{err}");
    (out, err)
}

/// What a command prints as JSON.
#[track_caller]
fn json(args: &[&str]) -> Json {
    let (out, _) = printed(args);
    serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}"))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}

fn tiny() -> Folder {
    TinyLlama::of_one_block().write()
}

#[test]
fn versions() {
    let short = printed(&["-V"]).0;
    assert_eq!(short, format!("tenpak-gguf {}\n", env!("CARGO_PKG_VERSION")));
    let (long, _) = printed_by(Command::new(TENPAK).arg("--version").env("TENPAK_ISA", "scalar"));
    let words =
        [env!("CARGO_PKG_VERSION"), pin::LLAMA, pin::GGML, pin::package(), "instructions: scalar (this"];
    assert_says(long, &words);
}

/// bash itself finds commands, options and values in them.
#[cfg(unix)]
#[test]
fn bash_completes() {
    let script = r#"source <("$0" completions bash)
function=$(complete -p tenpak-gguf | sed 's/.*-F \([^ ]*\).*/\1/')
complete_words() {
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
    "$function" tenpak-gguf "${@: -1}" "${@: -2:1}"
    echo "${COMPREPLY[@]}"
}
complete_words tenpak-gguf con
complete_words tenpak-gguf convert --no-c
complete_words tenpak-gguf convert --outtype b
complete_words tenpak-gguf inspect d"#;
    let (out, _) = printed_by(Command::new("bash").args(["-euc", script, TENPAK]));
    let lines: Vec<&str> = out.lines().map(str::trim).collect();
    assert_eq!(lines[..3], ["convert", "--no-calibration", "bf16"], "{out}");
    assert!(lines[3].split(' ').any(|word| word == "diff"), "{out}");
}

#[test]
fn every_shell_has_completions() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let (script, _) = printed(&["completions", shell]);
        assert_says(script, &["tenpak-gguf", "calibration-text", "inspect"]);
    }
}

/// Commands of the help, but for those below others.
fn commands() -> Vec<String> {
    let (help, _) = printed(&["--help"]);
    let lines =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // Lines that are indented further go on with what a command does.
    let names =
        lines.filter(|line| !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next());
    names.map(str::to_owned).collect()
}

#[test]
fn every_command_has_a_man_page() {
    let folder = tempfile::tempdir().expect("a folder");
    let pages = folder.path().join("man1");
    printed(&["man", text(&pages)]);
    let mut expected: Vec<String> =
        commands().iter().filter(|c| *c != "help").map(|c| format!("tenpak-gguf-{c}.1")).collect();
    expected.extend(["tenpak-gguf.1".into(), "tenpak-gguf-inspect-diff.1".into()]);
    expected.sort();
    assert_eq!(files_in(&pages), expected);
    let page = std::fs::read_to_string(pages.join("tenpak-gguf-convert.1")).expect("a page");
    // Lines of examples stay lines.
    let examples = page.split(".SH EXAMPLES\n.nf\n").nth(1).and_then(|rest| rest.split(".fi").next());
    let examples = examples.unwrap_or_else(|| panic!("{page}"));
    assert!(examples.lines().count() > 10, "{examples}");
    assert!(examples.lines().all(|line| line.starts_with("tenpak\\-gguf convert ")), "{examples}");
    assert_says(&page, &[".SH OPTIONS", "\\-\\-calibration\\-text", ".SH NOTES"]);
    let main = std::fs::read_to_string(pages.join("tenpak-gguf.1")).expect("a page");
    assert_says(&main, &[".SH ENVIRONMENT", "TENPAK_COLLECTOR", "NO_COLOR", "tenpak\\-gguf\\-convert(1)"]);
}

/// Every command teaches by examples or, where there is only one way to call it, has a line about itself.
#[test]
fn help_teaches() {
    for command in commands().iter().filter(|c| *c != "help") {
        let (help, _) = printed(&[command, "--help"]);
        let has_examples = help.contains("Examples:\n");
        assert!(has_examples || ["types", "cache"].contains(&&command[..]), "{command} has no examples");
        assert!(help.contains("--quiet"), "{command}");
    }
}

#[test]
fn quiet_jobs_print_nothing_but_warnings() {
    let folder = tiny();
    let (out, plain) = (folder.beside("out.gguf"), folder.beside("plain.gguf"));
    let nothing = (String::new(), String::new());
    assert_eq!(printed(&["convert", text(&folder.path), "-o", text(&out), "--quiet"]), nothing);
    assert_eq!(printed(&["-q", "export", text(&out), "-o", text(&plain)]), nothing);
    // What is asked for is printed, and warnings are.
    assert!(!printed(&["types", "-q"]).0.is_empty());
    let mut narrow = TinyLlama::of_one_block();
    narrow.config["intermediate_size"] = 40.into();
    for name in ["gate_proj", "up_proj", "down_proj"] {
        let name = format!("model.layers.0.mlp.{name}.weight");
        let shape = if name.contains("down") { [256, 40] } else { [40, 256] };
        let values = vec![0.5; 40 * 256];
        let stored = crate::support::tiny_llama::Stored::new(safetensors::Dtype::F32, &shape, &values);
        narrow.tensors.insert(name, stored);
    }
    let folder = narrow.write();
    let out = folder.beside("out.gguf");
    let (said, warned) = printed(&["convert", text(&folder.path), "-o", text(&out), "-q"]);
    assert!(said.is_empty() && warned.lines().all(|line| line.starts_with("warning: ")), "{said}{warned}");
    assert_says(warned, &["ffn_down", "not a multiple of"]);
}

/// A collector that is a script says what goes wrong, and nothing else.
#[cfg(unix)]
#[test]
fn quiet_programs_are_heard_if_they_fail() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("base.gguf"), tiny_gguf::ordinary()).expect("a file");
    std::fs::write(at("text.txt"), "words").expect("a file");
    tiny_calibration::gram().write(&at("made"));
    let script = "#!/bin/sh\necho loud; echo louder >&2\n[ -e fails ] && { echo 'no memory is left' >&2; exit 7; }\ncp made out.gguf\n";
    std::fs::write(at("collector"), script).expect("a file");
    std::fs::set_permissions(at("collector"), PermissionsExt::from_mode(0o755)).expect("permissions");
    let calibrate = |quiet: &[&str]| {
        let mut command = Command::new(TENPAK);
        command.current_dir(folder.path()).args([
            "calibrate",
            "base.gguf",
            "-f",
            "text.txt",
            "-o",
            "out.gguf",
        ]);
        command.args(["--collector", "./collector", "--force"]).args(quiet);
        command
    };
    assert_says(printed_by(&mut calibrate(&[])).1, &["louder"]);
    assert_eq!(printed_by(&mut calibrate(&["-q"])), (String::new(), String::new()));
    std::fs::write(at("fails"), "").expect("a file");
    let failed = calibrate(&["--quiet"]).output().expect("it starts");
    assert_eq!((failed.status.code(), &failed.stdout[..]), (Some(1), &b""[..]));
    assert_says(String::from_utf8_lossy(&failed.stderr), &["stopped with code 7", "no memory is left"]);
}

#[test]
fn lists_are_json_too() {
    let types = json(&["types", "--json"]);
    assert_eq!(types.as_array().expect("a list").len(), REGISTRY.len());
    assert_eq!((&types[0]["name"], &types[0]["id"]), (&REGISTRY[0].name.into(), &REGISTRY[0].id.into()));
    let recipes = json(&["recipes", "--json"]);
    assert_eq!(recipes[0]["name"], BUILT_IN[0].name);
    assert_eq!(recipes[0]["text"], BUILT_IN[0].text);
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("0123456789abcdef.base.gguf"), [0; 1234]).expect("a file");
    let cache = ["cache", "--cache", text(folder.path()), "--json"];
    let shown = json(&cache);
    assert_eq!((&shown["bytes"], &shown["deleted"]), (&1234.into(), &false.into()));
    assert_eq!(json(&[&cache[..], &["--clear"]].concat())["files"].as_array().map(Vec::len), Some(1));
    assert_eq!(json(&cache)["files"], Json::Array(vec![]));
}

/// A dry run, the conversion and `inspect` have the same figures under the same names.
#[test]
fn conversions_are_json_too() {
    let folder = tiny();
    let out = folder.beside("out.gguf");
    let plan = json(&["convert", text(&folder.path), "--dry-run", "--json"]);
    let made = json(&["convert", text(&folder.path), "-o", text(&out), "--json"]);
    let shown = json(&["inspect", text(&out), "--json"]);
    let file = &made["files"][0];
    assert_eq!(file["path"], text(&out));
    assert!(made["seconds"].as_f64().is_some_and(|s| s > 0.0), "{made}");
    for key in ["bytes", "weights", "bpw"] {
        assert_eq!((&plan[key], &file[key]), (&shown[key], &shown[key]), "{key}");
    }
    assert_eq!(plan["types"], shown["types"]);
    let names = |value: &Json| -> Vec<Json> {
        value["tensors"].as_array().expect("tensors").iter().map(|t| t["name"].clone()).collect()
    };
    assert_eq!(names(&plan), names(&shown));
    assert_eq!(plan["steps"], Json::Array(vec![]));
    let measured = json(&["convert", text(&folder.path), "--dry-run", "--json", "--target", "9x"]);
    assert!(measured["steps"].as_array().is_some_and(|steps| steps.len() > 3), "{measured}");
}

/// A terminal by util-linux's `script`: its lines end with carriage returns, which bars have alone.
#[cfg(target_os = "linux")]
#[track_caller]
fn on_a_terminal(args: &[&str], environment: &[(&str, &str)]) -> String {
    let words: Vec<String> =
        std::iter::once(TENPAK).chain(args.iter().copied()).map(|w| format!("'{w}'")).collect();
    let mut command = Command::new("script");
    command.args(["-qec", &words.join(" "), "/dev/null"]).env_remove("NO_COLOR").env("TERM", "xterm");
    let (out, err) = printed_by(command.envs(environment.iter().copied()));
    assert!(err.is_empty(), "{err}");
    out.replace("\r\n", "\n")
}

#[cfg(target_os = "linux")]
#[test]
fn colors_and_bars_are_for_terminals() {
    let folder = tiny();
    let out = folder.beside("out.gguf");
    assert!(on_a_terminal(&["--help"], &[]).contains("\x1b["));
    assert!(!on_a_terminal(&["--help"], &[("NO_COLOR", "1")]).contains('\x1b'));
    assert!(!printed(&["--help"]).0.contains('\x1b'));

    let convert = ["convert", text(&folder.path), "-o", text(&out), "--no-calibration", "--force"];
    let is_bar = |shown: &str| shown.contains('\r');
    let shown = on_a_terminal(&convert, &[]);
    assert!(is_bar(&shown) && shown.contains("12 tensors"), "{shown:?}");
    assert!(!is_bar(&on_a_terminal(&convert, &[("TERM", "dumb")])));
    assert_eq!(on_a_terminal(&[&convert[..], &["-q"]].concat(), &[]), "");
    let (said, heard) = printed(&convert);
    assert!(!is_bar(&said) && !is_bar(&heard), "{said}{heard}");
}
