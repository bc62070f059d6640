//! `calibrate` on a model with experts.

use super::diagonals;
use super::fixtures::*;
use super::place::Place;

/// Memory that takes several passes for the sums of the experts, also for those of one input.
const FEW_MEGABYTES: &str = "18M";
/// The same for chunks of 1024 tokens, whose inputs take more.
const FEW_MEGABYTES_LONG: &str = "32M";

#[test]
fn diagonals_are_those_of_llama_imatrix() {
    let place = Place::new();
    let by_imatrix = place.path("experts.imatrix");
    place.run("imatrix", &mut imatrix(&experts(), &by_imatrix, "gguf", CALIBRATION_CHUNKS));
    diagonals::compare(&experts(), &experts_gram(), &by_imatrix).expect("the diagonals agree");
}

#[test]
fn one_pass_and_several_passes_give_the_same_file() {
    let place = Place::new();
    let out = place.path("passes.gguf");
    let options = ["--tokens", CALIBRATION_TOKENS, "--memory", FEW_MEGABYTES];
    let printed = place.run("passes", &mut calibrate(&experts(), &out, options));
    let planned = tenpak_gguf::llama::Collection::read(&printed).expect("a plan");
    assert!(planned.passes_left > 1, "{FEW_MEGABYTES} should not be enough for one pass");
    assert_same_bytes(&experts_gram(), &out);
}

#[test]
fn one_thread_and_three_threads_give_the_same_file() {
    let place = Place::new();
    for threads in ["1", "3"] {
        let out = place.path(&format!("{threads}.gguf"));
        let options = ["--tokens", CALIBRATION_TOKENS, "--threads", threads];
        place.run(threads, &mut calibrate(&experts(), &out, options));
        assert_same_bytes(&experts_gram(), &out);
    }
}

/// llama.cpp cuts chunks of 1024 tokens.
#[test]
fn chunks_that_llama_cpp_cuts_give_the_same_file_in_several_passes() {
    let place = Place::new();
    let (one_pass, passes) = (place.path("long.gguf"), place.path("long-passes.gguf"));
    let options = ["--tokens", CALIBRATION_TOKENS, "--context", "1024", "--memory", FEW_MEGABYTES_LONG];
    place.run("long", calibrate(&experts(), &one_pass, []).args(&options[..4]));
    place.run("long-passes", &mut calibrate(&experts(), &passes, options));
    assert_same_bytes(&one_pass, &passes);
}
