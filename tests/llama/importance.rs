//! Importance matrices by llama-imatrix, in both of its formats, as calibrations of a model with experts.

use super::fixtures::*;
use super::place::Place;

/// Bytes that differ between conversions with the two formats, of 10.6 million: the older format holds other multiples of the
/// sums, whose rounding turns some choices of the search (2331 seen). Rounding differs in the last bits of 24, on any
/// processor.
const MAX_BYTES: usize = 20_000;

#[test]
fn both_formats_convert_to_nearly_the_same_file() {
    let place = Place::new();
    let converted = ["gguf", "dat"].map(|format| {
        let (matrix, out) =
            (place.path(&format!("experts.{format}")), place.path(&format!("of-{format}.gguf")));
        place
            .run(&format!("imatrix-{format}"), &mut imatrix(&experts(), &matrix, format, CALIBRATION_CHUNKS));
        let printed = place.run(&format!("convert-{format}"), &mut convert_experts(&matrix, "t3", &out));
        let line = printed.lines().find(|line| line.starts_with("calibration: ")).unwrap_or_default();
        assert!(
            line.starts_with("calibration: importance matrix of 16 weights, 2048 tokens"),
            "{format}: {line}"
        );
        out
    });
    assert_ne!(differences(&converted[0], &experts_in("t3")), 0, "Gram matrices should give another file");
    let differ = differences(&converted[0], &converted[1]);
    note(format!("{differ} bytes differ between the formats"));
    assert!(differ <= MAX_BYTES, "at most {MAX_BYTES} should");
}
