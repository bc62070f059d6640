//! docs/guide/: commands that need this program only are run, page by page; `tests/llama/guide.rs` runs the others.
#![cfg(unix)]

use crate::support::guide::{Runner, blocks, pages, path_of, run};

#[test]
fn commands_that_need_this_program_only() {
    let pages = pages();
    std::thread::scope(|scope| {
        for (page, text) in &pages {
            scope.spawn(move || run(page, text, None, None));
        }
    });
}

/// Every job has a page, which the index names, and every page has commands that a test runs.
#[test]
fn pages_are_whole() {
    let pages = pages();
    let of = |name: &str| pages.iter().find(|(page, _)| page == name).map(|(_, text)| text.as_str());
    let index = of("README").expect("an index");
    for (page, text) in pages.iter().filter(|(page, _)| page != "README") {
        assert!(
            index.contains(&format!("({page}.md)")),
            "the index does not name {}",
            path_of(page).display()
        );
        let run = blocks(page, text).iter().filter(|block| block.runner != Runner::Nobody).count();
        assert!(run > 0, "no commands of {} are run", path_of(page).display());
    }
    let all: String = pages.iter().map(|(_, text)| text.as_str()).collect();
    for command in [
        "convert",
        "plan",
        "recipes",
        "types",
        "calibrate",
        "eval",
        "inspect",
        "export",
        "release",
        "cache",
        "doctor",
        "completions",
        "man",
    ] {
        assert!(all.contains(&format!("tenpak-gguf {command}")), "no page has {command}");
    }
}
