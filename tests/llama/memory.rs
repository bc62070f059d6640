//! Peak memory of plain conversions of checkpoints with the shapes of Llama 3 70B and Mixtral 8x22B: 141 and 281 GB in sparse
//! files, which take no room.
//!
//! A conversion keeps nothing from tensor to tensor, so that the peak of the whole is that of the worst part. Of Llama, the 1st
//! of 64 has the embeddings, 2.1 GB in one tensor; the last one the head; those between attention, whose rows change order, and
//! the rest. Of Mixtral, the 2nd of 128 has experts of eight tensors stacked to one of 1.6 GB. `PARTS=all` in the environment
//! measures all parts, which takes hours.

use super::fixtures::{arg, note, tenpak};
use super::place::{Place, ROOT};
use std::path::Path;
use std::process::Command;

/// 1 GiB. The band of rows that is converted at a time is within that too, for each of two threads; nothing of it depends on
/// the processor.
const MAX_KILOBYTES: u64 = 1 << 20;
const THREADS: &str = "2";

/// Converts parts of a checkpoint. Each is deleted when it is measured.
fn takes_no_more_than_it_may(shape: &str, parts: &[u32], of: u32, kind: &str) {
    let place = Place::new();
    let (checkpoint, out) = (place.path(shape), place.path("out.gguf"));
    let mut make = Command::new("python3");
    make.arg(Path::new(ROOT).join("scripts/make_llama.py")).args([arg(&checkpoint), shape, "sparse"]);
    let bytes = place.run("make_llama", &mut make);
    note(format!("{shape}: {} bytes of weights", bytes.trim()));
    let all: Vec<u32> = (1..=of).collect();
    let parts = if std::env::var_os("PARTS").is_some_and(|parts| parts == "all") { &all } else { parts };
    for part in parts {
        let mut convert = tenpak([
            "convert",
            arg(&checkpoint),
            "-o",
            arg(&out),
            "--no-calibration",
            "--no-tokenizer",
            "--threads",
            THREADS,
        ]);
        convert.args(["--outtype", kind, "--shard", &format!("{part}/{of}")]);
        let (_, measures) = place.with_memory(&format!("convert-{part}"), &mut convert);
        let kilobytes = measures.peak_kilobytes.expect("the system tells the peak of memory");
        note(format!("{part}/{of} {kind}: peak {kilobytes} kB, {:.1} s", measures.seconds));
        assert!(kilobytes <= MAX_KILOBYTES, "part {part}/{of} as {kind} took more than {MAX_KILOBYTES} kB");
        std::fs::remove_file(place.path(&format!("out-{part:05}-of-{of:05}.gguf"))).expect("a part");
    }
}

#[test]
fn llama_70b_to_bf16() {
    takes_no_more_than_it_may("70b", &[1, 2, 33, 64], 64, "bf16");
}

#[test]
fn llama_70b_to_f16() {
    takes_no_more_than_it_may("70b", &[1, 2, 33, 64], 64, "f16");
}

#[test]
fn mixtral_8x22b_to_f16() {
    takes_no_more_than_it_may("8x22b", &[2], 128, "f16");
}
