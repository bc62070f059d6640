//! ggml-patches/README.md explains the hunks of every patch, and no others.

use std::collections::BTreeSet;
use std::path::Path;

/// Lines that a hunk of `0001-tensor-types.patch` may add: hooks, of which the enum in `ggml.h` is the longest.
const MAX_HOOK_LINES: usize = 5;

const PATCHES: [&str; 11] = [
    "0001-tensor-types.patch",
    "0002-calibrate-tool.patch",
    "0003-amx.patch",
    "0004-cuda.patch",
    "0005-vulkan.patch",
    "0006-perplexity.patch",
    "0007-file-type.patch",
    "0008-space-prefix.patch",
    "0009-log.patch",
    "0010-float-products.patch",
    "tests/0001-test-tensor-types.patch",
];

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("ggml-patches").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The files in the first column of the table below the line `NAME.patch`.
fn explained<'a>(readme: &'a str, patch: &str) -> BTreeSet<&'a str> {
    let heading = format!("\n`{patch}`:\n");
    let (_, table) = readme.split_once(&heading).unwrap_or_else(|| panic!("no table of {patch}"));
    let rows = table.trim_start().lines().take_while(|line| line.starts_with('|'));
    rows.filter_map(|row| row.strip_prefix("| `")?.split_once('`')).map(|(file, _)| file).collect()
}

#[test]
fn every_hunk_is_explained() {
    let readme = read("README.md");
    for patch in PATCHES {
        let text = read(patch);
        let touched: BTreeSet<&str> = text.lines().filter_map(|line| line.strip_prefix("+++ b/")).collect();
        assert_eq!(explained(&readme, patch), touched, "{patch}");
    }
}

#[test]
fn every_patch_is_known() {
    for (folder, prefix) in [("", ""), ("tests", "tests/")] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("ggml-patches").join(folder);
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
            let name = format!("{prefix}{name}");
            assert!(!name.ends_with(".patch") || PATCHES.contains(&&name[..]), "{name}");
        }
    }
}

#[test]
fn hunks_of_the_types_are_hooks() {
    let text = read("0001-tensor-types.patch");
    for hunk in text.split("\n@@ ").skip(1) {
        let added = hunk.lines().filter(|line| line.starts_with('+') && !line.starts_with("+++")).count();
        assert!(added <= MAX_HOOK_LINES, "this belongs into ggml-patches/overlay:\n{hunk}");
    }
}
