//! What guides a quantization: statistics of the model's inputs.

use crate::calibration::Calibration;
use crate::quantize::Effort;

/// Statistics of a model's inputs and how to use them.
#[derive(Clone, Copy)]
pub struct Guide<'a> {
    /// The statistics.
    pub calibration: &'a Calibration,
    /// How long to search.
    pub effort: Effort,
}
