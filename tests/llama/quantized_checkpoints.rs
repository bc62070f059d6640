//! Quantized checkpoints of a real model, kept as they are, in llama.cpp: what the kernels of g4_128 and nf4_64 compute
//! against what the same weights as floats do.

use super::fixtures::*;
use super::place::Place;
use super::quantized_folder::Method;
use std::path::PathBuf;

/// Chunks of 512 tokens for divergences, and for kernels that check themselves.
const CHUNKS: usize = 4;
const CHECKED_CHUNKS: usize = 2;

/// Divergence of the kernels from the same weights as floats: activations are rounded to 8 bits on every processor alike
/// (.0010 and .0043 nats seen).
const MAX_KLD: f64 = 0.008;

/// What a checkpoint of each method becomes: so many tensors, kept as that type.
fn is_kept(method: Method, tensors: usize, kind: &str) {
    let printed = log_of(&kept(method), "convert");
    let told = printed.lines().filter(|line| line.starts_with("quantized already: "));
    let told: Vec<&str> = told.inspect(|line| note(line)).collect();
    let is_of_all = |line: &&str| {
        line.starts_with(&format!("quantized already: {tensors} tensors "))
            && line.contains(&format!(", kept without loss as {kind}"))
    };
    assert!(told.iter().any(is_of_all), "{tensors} tensors should have been kept as {kind}: {told:?}");
}

/// In the first of 30 layers, the rows of a second matrix are no whole groups.
#[test]
fn gptq_is_kept_as_g4_128() {
    is_kept(Method::Gptq, 30, "g4_128");
    let printed = log_of(&kept(Method::Gptq), "convert");
    let is_anew = |line: &str| {
        line.starts_with("quantized already: 1 tensors ") && line.contains(", quantized anew to t4_64")
    };
    assert!(printed.lines().any(is_anew), "a matrix should have been quantized anew: {printed}");
}

#[test]
fn nf4_is_kept_as_nf4_64() {
    is_kept(Method::Nf4, 210, "nf4_64");
}

fn kernels_compute_what_the_exported_weights_do(method: Method) {
    let place = Place::new();
    let (model, plain, logits) = (kept(method), place.path("exported.gguf"), place.path("exported.logits"));
    place.run("export", &mut tenpak(["export", arg(&model), "-o", arg(&plain)]));
    place.write_logits("logits", &evaluation(CHUNKS), &plain, &logits);
    let mean = place.divergence("kld", &evaluation(CHUNKS), &model, &logits).mean;
    note(format!("divergence from the exported weights: {mean}"));
    assert!(mean <= MAX_KLD, "{mean} is more than {MAX_KLD}");
}

#[test]
fn kernels_of_g4_128_compute_what_the_exported_weights_do() {
    kernels_compute_what_the_exported_weights_do(Method::Gptq);
}

#[test]
fn kernels_of_nf4_64_compute_what_the_exported_weights_do() {
    kernels_compute_what_the_exported_weights_do(Method::Nf4);
}

/// Of the first blocks: scalar kernels take long, and all blocks have the same shapes.
fn checked_kernels_compute_the_same(model: PathBuf) {
    let (place, model) = (Place::new(), short(&model, SOME_BLOCKS));
    let plain = place.perplexity("plain", &evaluation(CHECKED_CHUNKS), &model);
    let by_scalar = place.perplexity("checked", &evaluation_in(CHECKED_CHUNKS, &[checked()]), &model);
    assert_same_perplexity(&by_scalar, &plain, "computed by scalar");
    note(format!("perplexity with every call computed again by scalar: {}", plain.estimate));
}

#[test]
fn checked_kernels_of_g4_128_compute_the_same() {
    checked_kernels_compute_the_same(kept(Method::Gptq));
}

#[test]
fn checked_kernels_of_nf4_64_compute_the_same() {
    checked_kernels_compute_the_same(kept(Method::Nf4));
}
