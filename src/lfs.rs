//! Pointers of git-lfs: what a clone without it has in place of large files.

/// What is wrong with such a file, and what helps.
pub const PROBLEM: &str =
    "this is a pointer of git-lfs, not the file: install git-lfs and run `git lfs pull` in the folder";

/// Whether the bytes of a file are such a pointer.
pub fn is_pointer(bytes: &[u8]) -> bool {
    bytes.starts_with(b"version https://git-lfs.github.com/spec/")
}
