//! Parts of a file, by one process and by three, which llama.cpp reads and merges.

use super::fixtures::*;
use super::place::Place;
use super::programs::completes;

/// llama.cpp continues from the first of three parts, and merges them to the tensors of the whole.
fn are_read_and_merged(place: &Place, name: &str) {
    let part = |number| place.path(&format!("{name}-0000{number}-of-00003.gguf"));
    assert!((1..=3).all(|number| part(number).exists()), "there should be three parts");
    completes(place, "completion", &part(1), &[], &[]);
    let merged = place.path("merged.gguf");
    place.run("merge", llama("llama-gguf-split").arg("--merge").arg(part(1)).arg(&merged));
    assert_same_lines(&tensors(place, &merged), &tensors(place, &f16()));
}

#[test]
fn parts_of_one_process() {
    let place = Place::new();
    let out = place.path("part.gguf");
    let mut convert =
        tenpak(["convert", arg(&MODEL), "-o", arg(&out), "--outtype", "f16", "--split-max-size", "100M"]);
    place.run("convert", &mut convert);
    are_read_and_merged(&place, "part");
}

#[test]
fn parts_of_three_processes() {
    let place = Place::new();
    let out = place.path("shard.gguf");
    for shard in [2, 1, 3] {
        let (name, shard) = (format!("convert-{shard}"), format!("{shard}/3"));
        let mut convert =
            tenpak(["convert", arg(&MODEL), "-o", arg(&out), "--outtype", "f16", "--shard", &shard]);
        place.run(&name, &mut convert);
    }
    are_read_and_merged(&place, "shard");
}
