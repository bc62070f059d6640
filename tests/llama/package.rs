//! What is installed without building anything: the layout of a release, with the programs that these tests have.
//!
//! `PACKAGE=FOLDER` names the folder in which `scripts/package.sh` left archive and wheel, and these are tested too.

use super::fixtures::*;
use super::place::{Place, ROOT, script};
use super::support::guide;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

static LAYOUT: LazyLock<PathBuf> = LazyLock::new(|| {
    let built = [("PROGRAMS", LLAMA.as_os_str()), ("TENPAK", TENPAK.as_ref())];
    script("package.sh", &["layout"], &built)
});

/// Ends of `check_package.sh` where no root can be made.
const NO_ROOT: i32 = 77;

fn check(place: &Place, log: &str, release: &Path) {
    let model = guide::place(None);
    let folder = model.parent.path();
    let mut check = Command::new(Path::new(ROOT).join("scripts/check_package.sh"));
    check.arg(release).arg(folder.join("Model")).arg(folder.join("text.txt"));
    let done = check.output().expect("a script");
    let said = [done.stdout, done.stderr].concat();
    std::fs::write(place.log(log), &said).expect("a log");
    let said = String::from_utf8_lossy(&said);
    assert!(done.status.success() || done.status.code() == Some(NO_ROOT), "{}: {said}", release.display());
    note(said.trim());
}

#[test]
fn a_release_runs_where_nothing_else_is() {
    let place = Place::new();
    check(&place, "layout", &LAYOUT);
    let Some(folder) = std::env::var_os("PACKAGE") else { return };
    let files = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let is_release = |path: &PathBuf| {
        let name = path.file_name().expect("a name").to_string_lossy();
        name.ends_with(".whl") || name.starts_with("tenpak-gguf-") && name.ends_with(".tar.gz")
    };
    let releases: Vec<PathBuf> = files.filter(is_release).collect();
    assert!(releases.len() >= 2, "an archive and a wheel");
    for release in releases {
        check(&place, &release.file_name().expect("a name").to_string_lossy(), &release);
    }
}

#[test]
fn a_release_is_installed_and_removed() {
    let place = Place::new();
    let prefix = place.path("prefix");
    let install = |log: &str, args: &[&str]| {
        let mut install = Command::new(LAYOUT.join("install.sh"));
        place.run(log, install.args(args).arg(&prefix))
    };
    // Twice: what is there is replaced.
    install("install", &[]);
    let other = prefix.join("bin/other");
    std::os::unix::fs::symlink("elsewhere", &other).expect("a link");
    install("again", &[]);
    let said = place.run("version", Command::new(prefix.join("bin/tenpak-gguf")).arg("--version"));
    assert!(said.starts_with("tenpak-gguf "), "{said}");
    let doctor = place.run("doctor", Command::new(prefix.join("bin/tenpak-gguf")).args(["doctor", "--json"]));
    assert!(doctor.contains("lib/tenpak-gguf/share/tenpak-gguf/llama.cpp/convert_hf_to_gguf.py"), "{doctor}");
    assert!(prefix.join("share/man/man1/tenpak-gguf.1").is_file());
    install("remove", &["--remove"]);
    let left: Vec<_> = std::fs::read_dir(prefix.join("bin")).expect("a folder").flatten().collect();
    assert!(left.len() == 1 && left[0].path() == other, "{left:?}");
    assert!(!prefix.join("lib/tenpak-gguf").exists());
    std::fs::write(prefix.join("lib/tenpak-gguf"), "mine").expect("a file");
    let refused = place.fails("refused", Command::new(LAYOUT.join("install.sh")).arg(&prefix));
    assert!(refused.contains("is something else"), "{refused}");
}
