//! SmolLM2 in our types in llama.cpp: kernels against plain weights, levels against each other, and kernels that check
//! themselves.

use super::fixtures::*;
use super::place::Place;
use std::path::Path;

/// Chunks of 512 tokens for the comparison of perplexities.
const CHUNKS: usize = 8;

/// Kernels against plain weights, percent of the perplexity: activations are rounded to 8 bits on every processor alike, and
/// what processors round otherwise in plain weights is a hundredth of that.
const MAX_PERCENT: f64 = 0.3;

#[test]
fn perplexity_is_that_of_the_exported_weights() {
    let place = Place::new();
    let ours = place.perplexity("ours", &evaluation(CHUNKS), &out()).estimate;
    let plain = place.perplexity("exported", &evaluation(CHUNKS), &exported()).estimate;
    let percent = (ours / plain - 1.0) * 100.0;
    note(format!("perplexity {ours}, of the exported weights {plain}: {percent:.3} %"));
    assert!(percent.abs() <= MAX_PERCENT, "they differ by more than {MAX_PERCENT} %");
}

/// Levels are lowered to what the processor has.
#[test]
fn every_level_gives_the_same_perplexity() {
    let place = Place::new();
    let at = |level: &str| {
        let evaluation = evaluation_in(2, &[("TENPAK_ISA", Path::new(level))]);
        place.perplexity(level, &evaluation, &out())
    };
    let highest = at("avx512");
    for level in ["avxvnni", "avx2"] {
        assert_same_perplexity(&at(level), &highest, level);
    }
    note(format!("perplexity {} with TENPAK_ISA=avx512, avxvnni and avx2", highest.estimate));
}

/// Of the first blocks: scalar kernels take long, and all blocks have the same shapes.
fn checked_kernels_compute_the_same(level: &str) {
    let (place, model) = (Place::new(), short(&out(), SOME_BLOCKS));
    let plain = place.perplexity("plain", &evaluation(2), &model);
    let evaluation = evaluation_in(2, &[("TENPAK_ISA", Path::new(level)), checked()]);
    let by_scalar = place.perplexity("checked", &evaluation, &model);
    assert_same_perplexity(&by_scalar, &plain, "computed by scalar");
    note(format!("perplexity with every call computed again by scalar: {}", plain.estimate));
}

#[test]
fn checked_kernels_of_avx512_compute_the_same() {
    checked_kernels_compute_the_same("avx512");
}

#[test]
fn checked_kernels_of_avx2_compute_the_same() {
    checked_kernels_compute_the_same("avx2");
}
