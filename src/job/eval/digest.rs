//! sha256 of files, and of llama.cpp's programs.

use super::error::EvalError;
use super::receipt::FileDigest;
use crate::job::sha256;
use sha2::{Digest, Sha256};
use std::path::Path;

/// The digest of a file.
pub fn of_file(path: &Path) -> Result<FileDigest, EvalError> {
    let io = |source| EvalError::Io { path: path.to_owned(), source };
    let (bytes, sha256) = sha256::of_file(path).map_err(io)?;
    Ok(FileDigest { name: file_name(path), bytes, sha256 })
}

/// The name of a file without its folder.
pub fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Of lines `SHA256  NAME` of a program and of llama.cpp's libraries beside it, by name.
pub fn of_program(program: &Path) -> Result<String, EvalError> {
    let folder = program.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let io = |source| EvalError::Io { path: folder.to_owned(), source };
    let mut files = vec![program.to_owned()];
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let name = file_name(&path);
        let is_library = ["libllama", "libggml", "llama", "ggml"].iter().any(|start| name.starts_with(start))
            && [".so", ".dylib", ".dll"].iter().any(|end| name.ends_with(end));
        if is_library && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    let mut hash = Sha256::new();
    for path in &files {
        let FileDigest { name, sha256, .. } = of_file(path)?;
        hash.update(format!("{sha256}  {name}\n"));
    }
    Ok(format!("{:x}", hash.finalize()))
}
