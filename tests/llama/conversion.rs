//! Plain and quantized conversions of SmolLM2.

use super::fixtures::*;
use super::place::{Place, ROOT};
use std::path::Path;

/// CPU seconds of the uncalibrated conversion to the default types, as a multiple of what llama-quantize takes for IQ3_S in the same
/// run. A slower search shows on every processor: both programs search codes in vector code (6.4 times seen on a Zen 5, whose
/// vector units are the widest; half of their width doubles our time).
const MAX_TIMES_IQ3_S: f64 = 25.0;

/// Kilobytes that the conversion may take at its peak with two threads: the model's largest tensor in F32, 113 MB, its file, of
/// which pages may count, 85 MB, and the tables and bands of rows of two searches (69 MB in all seen). All of these are the same
/// on every processor.
const MAX_KILOBYTES: u64 = 300_000;

/// The keys that a model needs to run, and every tensor's type, shape and bytes.
#[test]
fn f16_file_is_that_of_llama_cpps_converter() {
    let place = Place::new();
    let expected = std::fs::read_to_string(Path::new(ROOT).join("tests/golden/smollm2-f16.digest")).unwrap();
    let expected: Vec<String> = expected.lines().map(str::to_owned).collect();
    assert_same_lines(&digest(&place, &f16()), &expected);
}

#[test]
fn takes_no_more_time_than_a_few_quantizations_by_llama_quantize() {
    let place = Place::new();
    let (seconds, ours, _) = measures_of_uncalibrated();
    let mut quantize = llama("llama-quantize");
    quantize.args(["--token-embedding-type", "iq4_nl"]).arg(short(&f16(), SOME_BLOCKS));
    quantize.arg(place.path("iq3_s.gguf")).args(["IQ3_S", "2"]);
    let (_, theirs) = place.measured("quantize", &mut quantize);
    let times = ours / theirs.cpu_seconds.expect("the system tells CPU time");
    note(format!("{seconds:.1} s, {ours:.1} CPU seconds, {times:.2} times those of IQ3_S"));
    assert!(times <= MAX_TIMES_IQ3_S, "{ours:.1} CPU seconds are {times:.2} times those of IQ3_S");
}

#[test]
fn takes_no_more_memory_than_it_may() {
    let (_, _, kilobytes) = measures_of_uncalibrated();
    note(format!("peak {kilobytes} kB"));
    assert!(kilobytes <= MAX_KILOBYTES, "{kilobytes} kB are more than {MAX_KILOBYTES}");
}

#[test]
fn summary_of_the_file() {
    let place = Place::new();
    let summary = place.run("summary", &mut tenpak(["inspect", arg(&out()), "--summary"]));
    let linear =
        summary.lines().find(|line| line.starts_with("linear layers: ")).expect("a line for linear layers");
    assert!(linear.contains(" bpw"), "{linear}");
}
