//! What codes stand for: the levels of least squared error for Gaussian weights, in units of the scale
//! (docs/lab/2026-11-27-outliers-and-sparsity.md tells how they compare with evenly spaced ones).
//!
//! A type that keeps the larger weights of each four has levels for those, which are rarely near zero.

/// Codes of 4 bits.
pub const DENSE_4: [i8; 16] = [-61, -46, -36, -28, -21, -15, -9, -3, 3, 9, 15, 21, 28, 36, 46, 61];
/// Deviation of the weights that [`DENSE_4`] is for.
pub const DENSE_4_SIGMA: f32 = 21.98;

/// Codes of 3 bits.
pub const DENSE_3: [i8; 8] = [-62, -39, -22, -7, 7, 22, 39, 62];
/// Deviation of the weights that [`DENSE_3`] is for.
pub const DENSE_3_SIGMA: f32 = 28.74;

/// Codes of 4 bits for the largest three of four weights.
pub const THREE_OF_FOUR: [i8; 16] = [-63, -49, -39, -31, -24, -18, -12, -6, 6, 12, 18, 24, 31, 39, 49, 63];
/// Deviation of the weights that [`THREE_OF_FOUR`] is for, of all four.
pub const THREE_OF_FOUR_SIGMA: f32 = 22.39;

/// Codes of 4 bits for the largest two of four weights.
pub const TWO_OF_FOUR: [i8; 16] = [-51, -40, -33, -27, -22, -17, -12, -7, 7, 12, 17, 22, 27, 33, 40, 51];
/// Deviation of the weights that [`TWO_OF_FOUR`] is for, of all four.
pub const TWO_OF_FOUR_SIGMA: f32 = 17.79;
