//! Columns that are scaled by their inputs, and norms by the inverse: in llama.cpp the model is what it was.

use super::fixtures::*;
use super::place::Place;
use std::path::Path;
use tenpak_gguf::gguf::File;

/// Chunks to calibrate and to judge on, blocks of the model.
const CALIBRATION: &str = "1";
const CHUNKS: usize = 1;
const BLOCKS: usize = 4;

/// Mean divergence of two files of floats that compute the same: llama.cpp's products round their inputs. 2e-6 seen.
const MAX_KLD: f64 = 1e-4;
/// The median with experts: where two of them are about as good for a token, rounding decides, and that token's predictions may be
/// others (5.6 nats seen, 99 % of the tokens below 4e-4).
const MAX_MEDIAN_OF_EXPERTS: f64 = 1e-3;

/// A dense model, and one of experts, whose router has the norm's result too.
#[test]
fn scaled_models_predict_the_same() {
    let place = Place::new();
    let recipe = place.path("scaled.toml");
    std::fs::write(&recipe, "activation_scaling = 0.5\n[[rule]]\ntypes = ['f32']\n").expect("a file");
    let compare = |name: &str, model: &Path| {
        let path = |what: &str| place.path(&format!("{name}.{what}"));
        let (matrix, scaled, logits) = (path("imatrix"), path("scaled.gguf"), path("logits"));
        place.run(&format!("{name}-imatrix"), &mut imatrix(model, &matrix, "gguf", CALIBRATION));
        let mut convert = tenpak(["convert", arg(model), "-o", arg(&scaled), "--calibration", arg(&matrix)]);
        let printed = place.run(&format!("{name}-convert"), convert.arg("--recipe").arg(&recipe));
        assert!(!printed.contains("activation_scaling"), "{name}: something is not scaled: {printed}");
        let file = File::open(&scaled).expect("a file");
        assert!(file.key("tenpak.activation_scaling").is_some(), "{name}: nothing is scaled");
        let evaluation = evaluation(CHUNKS);
        place.write_logits(&format!("{name}-logits"), &evaluation, model, &logits);
        let found = place.divergence(&format!("{name}-divergence"), &evaluation, &scaled, &logits);
        note(format!("{name}: divergence of a scaled model {:e}, median {:e}", found.mean, found.median));
        found
    };
    let dense = compare("dense", &short(&f16(), BLOCKS));
    assert!(dense.mean.abs() < MAX_KLD, "{dense:?}");
    let experts = compare("experts", &experts());
    assert!(experts.median.abs() < MAX_MEDIAN_OF_EXPERTS, "{experts:?}");
}
