//! A model with experts in our types, in llama.cpp.

use super::fixtures::*;
use super::place::Place;
use std::path::Path;
use tenpak_gguf::llama::Perplexity;

/// Kernels against plain weights, nats, the median: a token that gets other experts, because rounding turned their order, is as
/// far as it likes from its like (.0017 seen; the mean .07). Activations are rounded to 8 bits on every processor alike.
const MAX_KLD: f64 = 0.01;

/// How much further our perplexities may differ than those of the same weights as floats, where the floats' differ at all.
const MAX_TIMES_PLAIN: f64 = 10.0;

#[test]
fn one_thread_and_two_threads_convert_to_the_same_file() {
    let place = Place::new();
    let again = place.path("again.gguf");
    place.run("convert", convert_experts(&experts_gram(), "t3", &again).args(["--threads", "2"]));
    assert_same_bytes(&experts_in("t3"), &again);
}

#[test]
fn kernels_compute_what_the_exported_weights_do() {
    let place = Place::new();
    let logits = place.path("exported.logits");
    place.write_logits("logits", &evaluation(2), &experts_exported("t3"), &logits);
    let median = place.divergence("kld", &evaluation(2), &experts_in("t3"), &logits).median;
    note(format!("median divergence of the kernels from the exported weights: {median}"));
    assert!(median <= MAX_KLD, "{median} is more than {MAX_KLD}");
}

/// Asserts that perplexities are the same in two ways of computing them. ggml's own operations may round otherwise in another
/// way on some processor: then the same weights as floats differ too, and ours may by as much.
#[track_caller]
fn assert_same(ours: [Perplexity; 2], plain: [Perplexity; 2]) {
    let limit = MAX_TIMES_PLAIN * relative_difference(&plain[0], &plain[1]);
    assert!(relative_difference(&ours[0], &ours[1]) <= limit, "{ours:?} differ by more than {limit}");
    note(format!("perplexity {} in both ways", ours[0].estimate));
}

/// These are more columns than ggml-patches multiplies in one call, of matrices and of experts.
#[test]
fn columns_at_a_time_make_no_difference() {
    let place = Place::new();
    let with = |name: &str, model: &Path, columns: &str| {
        let evaluation = evaluation_with(2, ["-c", "1024", "-b", "1024", "-ub", columns]);
        place.perplexity(&format!("{name}-{columns}"), &evaluation, model)
    };
    let both =
        |name: &str, model: std::path::PathBuf| ["512", "1024"].map(|columns| with(name, &model, columns));
    assert_same(both("ours", experts_in("t3")), both("plain", experts_exported("t3")));
}

/// Of so many threads the rows of an expert are shared out before each has some.
#[test]
fn threads_make_no_difference() {
    let place = Place::new();
    let with = |name: &str, model: &Path, threads: &str| {
        place.perplexity(&format!("{name}-{threads}"), &evaluation_with(1, ["-t", threads]), model)
    };
    let both = |name: &str, model: &Path| ["2", "30"].map(|threads| with(name, model, threads));
    assert_same(both("ours", &experts_in("t3")), both("plain", &experts_exported("t3")));
}

fn checked_kernels_compute_the_same(kind: &str) {
    let place = Place::new();
    let model = experts_in(kind);
    let plain = place.perplexity("plain", &evaluation(1), &model);
    let by_scalar = place.perplexity("checked", &evaluation_in(1, &[checked()]), &model);
    assert_same_perplexity(&by_scalar, &plain, "computed by scalar");
    note(format!("perplexity with every call computed again by scalar: {}", plain.estimate));
}

#[test]
fn checked_kernels_of_t3_compute_the_same() {
    checked_kernels_compute_the_same("t3");
}

#[test]
fn checked_kernels_of_t2_compute_the_same() {
    checked_kernels_compute_the_same("t2");
}
