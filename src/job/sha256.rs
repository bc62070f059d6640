//! sha256 of whole files, of any size.

use crate::mapped;
use sha2::{Digest, Sha256};
use std::path::Path;

/// Bytes that are hashed at a time: their memory is given back then.
const PIECE: usize = 64 << 20;

/// Bytes and digest of a file.
pub fn of_file(path: &Path) -> std::io::Result<(u64, String)> {
    let bytes = std::fs::metadata(path)?.len();
    let mut hash = Sha256::new();
    // A map of no bytes is an error on some systems.
    if bytes > 0 {
        let map = mapped::map(path)?;
        for piece in map.chunks(PIECE) {
            mapped::prefetch(&map, piece);
            hash.update(piece);
            mapped::release(&map);
        }
    }
    Ok((bytes, format!("{:x}", hash.finalize())))
}
