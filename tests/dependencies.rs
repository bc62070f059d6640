//! Dependencies between the files of src/ point one way: from a room to those before it in [`ROOMS`], and never around in a
//! circle of files. What a file depends on is read from the paths in its code: `use` lines, and names that begin with
//! `crate`, `super`, `self` or the name of a child.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The rooms of src/, lowest first: a room uses those before it and itself.
const ROOMS: &[&str] = &[
    "isa",
    "products",
    "simd",
    "types",
    "printable",
    "guarded",
    "small_file",
    "mapped",
    "interrupt",
    "atomic_file",
    "python_json",
    "lfs",
    "chart",
    "gguf",
    "names",
    "arch",
    "checkpoint",
    "llama",
    "calibration",
    "quantize",
    "plan",
    "job",
    "release",
    "export",
    "report",
    "ffi",
    "render",
    "cli",
];

/// Modules whose children use what they define, and which use their children. Everywhere else a child knows nothing of its
/// parent.
const FAMILIES: &[&str] = &["calibration", "cli", "job", "plan", "products", "release", "types"];

/// Files that declare the rooms and belong to none.
const ROOTS: [&str; 2] = ["lib", "main"];

/// A module: `["checkpoint", "quantized", "awq"]`.
type Module = Vec<String>;

/// The modules of src/ with their code, without comments and unit tests.
fn modules() -> BTreeMap<Module, String> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    add_files(&src, &mut files);
    let module = |path: &PathBuf| {
        let relative = path.strip_prefix(&src).expect("a file of src").with_extension("");
        let mut parts: Module = relative.iter().map(|p| p.to_string_lossy().into_owned()).collect();
        if parts.last().is_some_and(|last| last == "mod") {
            parts.pop();
        }
        (parts, code(&std::fs::read_to_string(path).expect("a file")))
    };
    let is_tests = |path: &PathBuf| path.file_stem().is_some_and(|stem| stem == "tests");
    files.iter().filter(|path| !is_tests(path)).map(module).collect()
}

fn add_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            add_files(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}

/// A file without comments and without the unit tests at its end.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().expect("a part");
    let lines = text.lines().map(|line| line.split("//").next().expect("a part"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The paths in the code of a file, as it writes them: `crate::gguf::Value`. Braces are resolved.
fn paths(code: &str) -> BTreeSet<Vec<String>> {
    let mut found = BTreeSet::new();
    // The paths before the braces that are open; empty for braces of code.
    let mut open: Vec<Vec<String>> = Vec::new();
    let mut path: Vec<String> = Vec::new();
    let mut goes_on = true;
    for word in words(code) {
        let is_name = word.starts_with(|c: char| c.is_alphabetic() || c == '_');
        let was_going_on = std::mem::replace(&mut goes_on, !is_name);
        if word == "::" || is_name && was_going_on {
            path.extend((word != "::").then_some(word));
            continue;
        }
        let within = if was_going_on && word == "{" { path.clone() } else { Vec::new() };
        found.insert(std::mem::take(&mut path));
        match word.as_str() {
            "{" => open.push(within),
            "}" => drop(open.pop()),
            _ => {}
        }
        path = open.last().cloned().unwrap_or_default();
        path.extend(is_name.then_some(word));
    }
    found
}

/// Names, `::`, and single other characters.
fn words(code: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        let len = match first {
            ':' if rest.starts_with("::") => 2,
            c if is_name(c) => rest.find(|c| !is_name(c)).unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        let (word, after) = rest.split_at(len);
        if !first.is_whitespace() {
            words.push(word.to_owned());
        }
        rest = after;
    }
    words
}

/// The module that a path in `module` leads to, or into which it leads.
fn target(module: &Module, path: &[String], modules: &BTreeMap<Module, String>) -> Option<Module> {
    // `pub(super)` and variables are no paths.
    if path.len() < 2 {
        return None;
    }
    let mut rest = path;
    let mut at: Module = match path.first().map(String::as_str) {
        Some("crate" | "tenpak_gguf") => {
            rest = &rest[1..];
            Vec::new()
        }
        Some("self") => {
            rest = &rest[1..];
            module.clone()
        }
        Some("super") => module.clone(),
        Some(child) if modules.contains_key(&[&module[..], &[child.into()]].concat()) => module.clone(),
        _ => return None,
    };
    while rest.first().is_some_and(|part| part == "super") {
        at.pop()?;
        rest = &rest[1..];
    }
    for part in rest {
        let child = [&at[..], std::slice::from_ref(part)].concat();
        if !modules.contains_key(&child) && !modules.keys().any(|m| m.starts_with(&child)) {
            break;
        }
        at = child;
    }
    Some(at).filter(|at| modules.contains_key(at) && at != module)
}

/// For every module those that it depends on.
fn dependencies() -> BTreeMap<Module, BTreeSet<Module>> {
    let modules = modules();
    let of = |(module, code): (&Module, &String)| {
        let targets = paths(code).iter().filter_map(|path| target(module, path, &modules)).collect();
        (module.clone(), targets)
    };
    modules.iter().map(of).collect()
}

fn room(module: &Module) -> &str {
    &module[0]
}

fn name(module: &Module) -> String {
    module.join("/")
}

#[test]
fn rooms_use_those_before_them() {
    let place = |module: &Module| ROOMS.iter().position(|known| *known == room(module));
    let mut wrong = Vec::new();
    for (module, targets) in dependencies() {
        let known = ROOTS.contains(&room(&module)) || place(&module).is_some();
        assert!(known, "{} is in no room: give it a place in ROOMS", name(&module));
        for target in targets {
            if let (Some(from), Some(to)) = (place(&module), place(&target))
                && from < to
            {
                wrong.push(format!("{} uses {}", name(&module), name(&target)));
            }
        }
    }
    assert!(wrong.is_empty(), "these go up, against the order of ROOMS: {wrong:#?}");
}

/// The modules that can be reached from one, itself only if there is a circle.
fn reached(from: &Module, all: &BTreeMap<Module, BTreeSet<Module>>) -> BTreeSet<Module> {
    let mut seen = BTreeSet::new();
    let mut next: Vec<&Module> = vec![from];
    while let Some(module) = next.pop() {
        for target in all.get(module).into_iter().flatten() {
            if seen.insert(target.clone()) {
                next.push(target);
            }
        }
    }
    seen
}

#[test]
fn no_files_depend_on_each_other_in_a_circle() {
    let mut all = dependencies();
    all.retain(|module, _| !ROOTS.contains(&room(module)));
    for (module, targets) in &mut all {
        let is_family =
            |target: &Module| module.starts_with(target) && FAMILIES.contains(&name(target).as_str());
        targets.retain(|target| !is_family(target));
    }
    let reached: BTreeMap<_, _> = all.keys().map(|module| (module, reached(module, &all))).collect();
    let mut circles = BTreeSet::new();
    for (module, others) in reached.iter().filter(|(module, others)| others.contains(**module)) {
        let circle: Vec<_> = others.iter().filter(|o| reached[o].contains(*module)).map(name).collect();
        circles.insert(circle);
    }
    assert!(circles.is_empty(), "each of these lists of files depends on itself: {circles:#?}");
}

/// The reader of paths finds what a file uses, however it is written.
#[test]
fn paths_are_read() {
    let found =
        paths("use super::{a::{B, c}, d};\nuse crate::e::f;\nfn g() { let x = h::i(self::j::K { l: 1 }); }");
    let joined: BTreeSet<String> = found.iter().map(|path| path.join("::")).collect();
    for path in ["super::a::B", "super::a::c", "super::d", "crate::e::f", "h::i", "self::j::K"] {
        assert!(joined.contains(path), "{path} is not in {joined:?}");
    }
    let all = dependencies();
    let module = |name: &str| name.split('/').map(str::to_owned).collect::<Module>();
    for (from, to) in
        [("export/folder", "export/rows"), ("checkpoint/quantized", "checkpoint/quantized/packed")]
    {
        assert!(all[&module(from)].contains(&module(to)), "{from} uses {to}");
    }
}
