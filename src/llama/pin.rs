//! The llama.cpp that ggml-patches is made for.

/// The pin, which scripts read too.
const BASE: &str = include_str!("../../ggml-patches/BASE");

/// Version of llama.cpp, as its programs call it without the suffix of a build.
pub const LLAMA: &str = "0.5.0";

/// Version of ggml in it.
pub const GGML: &str = "0.25.3";

/// The package that holds its sources: `llama-cpp-python==0.3.36`.
pub fn package() -> &'static str {
    BASE.lines().find_map(|line| line.strip_prefix("package=")).unwrap_or_default()
}

/// The version in what `--version` of a program of llama.cpp's prints: `0.5.0-dev` of `version: 0.5.0-dev (build 0, commit unknown)`.
pub fn version(printed: &str) -> Option<&str> {
    printed.lines().find_map(|line| line.strip_prefix("version: "))?.split_whitespace().next()
}

/// Whether a version of llama.cpp is that of the pin.
pub fn is_pinned(version: &str) -> bool {
    version.split('-').next() == Some(LLAMA)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_those_of_the_pin() {
        assert!(BASE.contains(&format!("(ggml {GGML})")));
        assert!(package().contains("=="));
    }

    #[test]
    fn versions_that_programs_print() {
        let printed =
            "version: 0.5.0-dev (build 0, commit unknown)\nbuilt with GNU 12.2.0 for Linux x86_64\n";
        assert_eq!(version(printed), Some("0.5.0-dev"));
        assert!(is_pinned("0.5.0-dev") && is_pinned("0.5.0") && !is_pinned("0.5.1-dev"));
        assert_eq!(version("usage: ..."), None);
    }
}
