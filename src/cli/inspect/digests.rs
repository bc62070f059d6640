//! sha256 of what is in a file.

use rayon::prelude::*;
use sha2::{Digest, Sha256};
use std::io::Write;
use tenpak_gguf::gguf::File;
use tenpak_gguf::printable;

/// Of the data of each tensor, in the order of the file; of types that nobody knows too.
pub fn of(file: &File) -> Vec<String> {
    let digest = |t| format!("{:x}", Sha256::digest(file.stored(t)));
    file.tensors().par_iter().map(digest).collect()
}

/// One digest of all data, whatever the order of the tensors and the parts: of lines `NAME DIGEST`, sorted by name.
pub fn of_all(file: &File, digests: &[String]) -> String {
    let mut lines: Vec<String> =
        file.tensors().iter().zip(digests).map(|(t, digest)| format!("{} {digest}\n", t.name)).collect();
    lines.sort();
    format!("{:x}", Sha256::digest(lines.concat()))
}

/// `key NAME SHA256 VALUE` and `tensor NAME SHA256 TYPE SHAPE`, by name; values are cut as in tables.
pub fn print(file: &File, out: &mut impl Write) -> anyhow::Result<()> {
    let mut lines = Vec::new();
    for (name, value) in file.keys() {
        let shown = printable::line(&value.to_string());
        let digest = Sha256::digest(value.to_bytes());
        lines.push(format!("key {} {digest:x} {shown}", printable::line(name)));
    }
    for (t, digest) in file.tensors().iter().zip(of(file)) {
        file.data(t)?;
        let shape: Vec<String> = t.shape.iter().map(u64::to_string).collect();
        let name = printable::line(&t.name);
        lines.push(format!("tensor {name} {digest} {} {}", t.kind.name(), shape.join("x")));
    }
    lines.sort();
    for line in lines {
        writeln!(out, "{line}")?;
    }
    Ok(())
}
