//! The calibrated quantizer: matrices with error feedback. docs/quantizer.md tells the method.
//!
//! ```text
//! H = R (Gram matrix) R^T, damped, = U D U^T                       factor, cholesky
//! for each block b of columns, 32 rows at a time:
//!     targets = W[b] + E[before b] U[before b, b]                  here
//!     quantize each row's block with error feedback inside         the tensor type
//!     E[b] = W[b] - Q[b]
//! ```

pub mod cholesky;
mod factor;

pub use factor::{Factor, LEAST_DAMPING, damping};

use crate::types::TensorType;
use crate::types::feedback::{Breadth, FeedbackQuantizer};
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

/// Rows that a thread works on together: enough for the matrix products, few enough to fit its cache.
pub const BAND: usize = 32;

/// How long to search.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Effort {
    /// A narrow beam.
    Fast,
    /// What pays.
    #[default]
    Normal,
    /// As good as it gets.
    Best,
}

impl Effort {
    /// What the search of a block looks at.
    pub fn breadth(self) -> Breadth {
        match self {
            Effort::Fast => Breadth { paths: 24, scales: 1 },
            Effort::Normal => Breadth { paths: 96, scales: 1 },
            Effort::Best => Breadth { paths: 512, scales: 2 },
        }
    }
}

/// Quantizes bands of rows; owns scratch memory.
pub struct BandQuantizer {
    t: &'static TensorType,
    blocks: Box<dyn FeedbackQuantizer>,
    errors: Vec<f32>,
    targets: Vec<f32>,
}

impl BandQuantizer {
    /// For type `t`, which must be a weight type.
    pub fn new(t: &'static TensorType, breadth: Breadth) -> Self {
        let blocks = (t.kernels().expect("a weight type").feedback_quantizer)(breadth);
        BandQuantizer { t, blocks, errors: Vec::new(), targets: Vec::new() }
    }

    /// Quantizes rows; `weights` is left rotated. Returns the sum of the losses.
    pub fn quantize(&mut self, factor: &Factor, weights: &mut [f32], out: &mut [u8]) -> f64 {
        let (n, len) = (factor.n, self.t.block_len);
        let (rows, row_bytes) = (weights.len() / n, self.t.row_bytes(n).expect("whole blocks"));
        assert_eq!(out.len(), rows * row_bytes);
        self.errors.clear();
        self.errors.resize(rows * n, 0.0);
        self.targets.resize(rows * len, 0.0);
        self.blocks.rotate(weights);
        let mut loss = 0.0;
        for (b, first) in (0..n).step_by(len).enumerate() {
            for (target, w) in self.targets.chunks_exact_mut(len).zip(weights.chunks_exact(n)) {
                target.copy_from_slice(&w[first..][..len]);
            }
            if let Some(u) = factor.coupling() {
                matmul(
                    MatMut::from_row_major_slice_mut(&mut self.targets[..rows * len], rows, len),
                    Accum::Add,
                    MatRef::from_row_major_slice(&self.errors, rows, n).subcols(0, first),
                    MatRef::from_row_major_slice(u, n, n).submatrix(0, first, first, len),
                    1.0,
                    Par::Seq,
                );
            }
            for r in 0..rows {
                loss += self.blocks.quantize(
                    &weights[r * n + first..][..len],
                    &self.targets[r * len..][..len],
                    factor.feedback(first),
                    &mut out[r * row_bytes + b * self.t.block_bytes..][..self.t.block_bytes],
                    &mut self.errors[r * n + first..][..len],
                ) as f64;
            }
        }
        loss
    }
}
