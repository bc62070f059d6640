//! Golden bytes: rows of every weight type as they were once written, in tests/golden/NAME.bin.
//!
//! ```text
//! 4 weight blocks       quantized from `Random(id)`
//! activation blocks     quantized from the values that follow
//! f32 x 4 * LEN         the weight blocks, dequantized
//! f32                   dot product of the two rows
//! ```
//!
//! Decoders must give these bits for ever, at every level. The search may find other bytes after a change to
//! `trellis/search`; then, and only then, write them anew:
//!
//! ```text
//! TENPAK_WRITE_GOLDEN=1 cargo test --release --test golden; cargo test --release --test golden
//! ```
//!
//! The first of the two commands fails whatever it writes, so no run both writes and passes. For a new type it writes
//! the file that is not there yet.

mod support;

use bytemuck::{bytes_of, cast_slice};
use std::path::PathBuf;
use std::process::Command;
use support::levels;
use support::random::Random;
use tenpak_gguf::types::{REGISTRY, Role, TensorType};

const BLOCKS: usize = 4;

const REMEDY: &str = "\
    If `trellis/search` was changed on purpose and its quality bars hold, write the golden files anew:\n    \
    TENPAK_WRITE_GOLDEN=1 cargo test --release --test golden\n\
    If only decoders were changed, they are wrong: files that people have would read differently.";

fn path(t: &TensorType) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "golden", &format!("{}.bin", t.name)].iter().collect()
}

/// The two rows that a golden file is made from, of the size that weights and activations have in models.
fn source(t: &TensorType) -> (Vec<f32>, Vec<f32>) {
    /// The types whose files were written from weights of one size; those of other types grow from block to block.
    const OF_ONE_SIZE: [&str; 2] = ["g4_128", "nf4_64"];
    let mut random = Random(t.id as u64);
    let mut weights = random.gaussians(BLOCKS * t.block_len);
    for (b, block) in weights.chunks_exact_mut(t.block_len).enumerate() {
        let size = if OF_ONE_SIZE.contains(&t.name) { 1 } else { 1 + b };
        block.iter_mut().for_each(|v| *v *= 0.03125 * size as f32);
    }
    (weights, random.gaussians(BLOCKS * t.block_len))
}

/// The parts of a golden file, with what makes them at the current level.
fn parts(t: &TensorType, weights: &[u8]) -> [(&'static str, Vec<u8>); 4] {
    let Role::Weight { activation, kernels, .. } = t.role else { panic!("{} is a weight type", t.name) };
    let Role::Activation { quantize } = activation.role else { panic!("{} is none", activation.name) };
    let (x, y) = source(t);
    let mut encoded = vec![0xa5; weights.len()];
    t.quantizer().expect("a weight type").quantize(&x, &mut encoded);
    // As u32, for the alignment of activation blocks.
    let mut a = vec![0u32; activation.row_bytes(y.len()).expect("whole blocks") / 4];
    quantize(&y, bytemuck::cast_slice_mut(&mut a));
    let mut values = vec![f32::NAN; x.len()];
    (kernels.dequantize)(weights, &mut values);
    let mut product = f32::NAN;
    (kernels.dot_rows)(weights, cast_slice(&a), std::slice::from_mut(&mut product));
    [
        ("quantizer", encoded),
        ("activations", cast_slice(&a).to_vec()),
        ("weights", cast_slice(&values).to_vec()),
        ("dot product", bytes_of(&product).to_vec()),
    ]
}

fn check(t: &TensorType) {
    let path = path(t);
    let len = BLOCKS * t.block_bytes;
    if std::env::var("TENPAK_WRITE_GOLDEN").is_ok_and(|v| v == "1") {
        let [(_, weights), ..] = parts(t, &vec![0; len]);
        let bytes = parts(t, &weights).map(|(_, bytes)| bytes).concat();
        return std::fs::write(path, bytes).expect("tests/golden can be written");
    }
    let golden = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}; {REMEDY}", path.display()));
    let mut rest = &golden[..];
    for (part, got) in
        parts(t, golden.get(..len).unwrap_or_else(|| panic!("{} is too short", path.display())))
    {
        let (expected, after) = rest.split_at_checked(got.len()).unwrap_or((rest, &[]));
        let place = got.iter().zip(expected).position(|(got, expected)| got != expected);
        assert_eq!(place, None, "{}, {part}, byte. {REMEDY}", t.name);
        assert_eq!(got.len(), expected.len(), "{}, {part}, length. {REMEDY}", t.name);
        rest = after;
    }
    assert!(rest.is_empty(), "{} goes on after its parts", path.display());
}

/// Of this level only: [`golden_bytes_at_every_level`] runs it at each.
#[test]
fn golden_bytes() {
    let weights = || REGISTRY.iter().filter(|t| matches!(t.role, Role::Weight { .. }));
    weights().for_each(|t| check(t));
    let written = std::env::var("TENPAK_WRITE_GOLDEN").is_ok_and(|v| v == "1");
    assert!(!written, "all files were written, so this run fails; look at the difference and run again");
    println!("{} types at {}", weights().count(), tenpak_gguf::isa::Isa::current().name());
}

/// Starts this program again for each level: a program runs at one.
#[test]
fn golden_bytes_at_every_level() {
    let program = std::env::current_exe().expect("this program");
    // What cargo starts programs for another architecture with, as scripts/test_aarch64.sh sets it.
    let runner = match cfg!(target_arch = "aarch64") {
        true => std::env::var("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER").unwrap_or_default(),
        false => String::new(),
    };
    for isa in levels() {
        let mut words = runner.split_whitespace().map(PathBuf::from).chain([program.clone()]);
        let run = Command::new(words.next().expect("the program at least"))
            .args(words)
            .args(["--exact", "golden_bytes", "--nocapture"])
            .env("TENPAK_ISA", isa.name())
            .env_remove("TENPAK_WRITE_GOLDEN")
            .output()
            .expect("the program starts");
        let said = [run.stdout, run.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(run.status.success(), "{}: {said}", isa.name());
        assert!(said.contains(&format!("types at {}", isa.name())), "{}: {said}", isa.name());
    }
}
