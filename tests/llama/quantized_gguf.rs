//! GGUF files of ggml's quantized types as input.

use super::fixtures::*;
use super::place::{Place, THREADS};

/// The weights of a file of llama-quantize are those that llama-quantize itself finds in it.
fn weights_are_those_of_llama_quantize(kind: &str) {
    let place = Place::new();
    let (model, ours, theirs) = (quantized(kind), place.path("ours.gguf"), place.path("theirs.gguf"));
    let mut dequantize = llama("llama-quantize");
    dequantize.arg("--allow-requantize").arg(&model).arg(&theirs).args(["F32", &THREADS.to_string()]);
    place.run("dequantize", &mut dequantize);
    let printed =
        place.run("convert", &mut tenpak(["convert", arg(&model), "-o", arg(&ours), "--outtype", "f32"]));
    assert_same_lines(&tensors(&place, &ours), &tensors(&place, &theirs));
    assert!(printed.lines().any(|line| line.starts_with("quantized already")), "no note of it: {printed}");
}

#[test]
fn weights_of_q4_k_m_are_those_of_llama_quantize() {
    weights_are_those_of_llama_quantize("Q4_K_M");
}

#[test]
fn weights_of_iq4_xs_are_those_of_llama_quantize() {
    weights_are_those_of_llama_quantize("IQ4_XS");
}

/// Embeddings stay as llama.cpp quantized them.
#[test]
fn a_second_quantization_is_noted_and_runs() {
    let place = Place::new();
    let model = short(&quantized("Q4_K_M"), FEW_BLOCKS);
    let (gram, again) = (place.path("gram.gguf"), place.path("again.gguf"));
    place.run("calibrate", &mut calibrate(&model, &gram, ["--tokens", "1024"]));
    let mut convert =
        tenpak(["convert", arg(&model), "-o", arg(&again), "--type", "t4", "--keep-embeddings"]);
    let printed = place.run("convert", convert.args(["--calibration", arg(&gram), "--effort", "fast"]));
    assert!(printed.contains("quantized a second time"), "no note of it: {printed}");
    super::programs::completes(&place, "completion", &again, &["--check-tensors"], &[]);
}
