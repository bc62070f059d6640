//! Quantization with error feedback: the side of the tensor types.
//!
//! With the Gram matrix of a layer's inputs factored as `H = U D U^T` (U unit upper triangular), the loss of the
//! errors e of a row is
//!
//! ```text
//! e^T H e = sum over i of D[i] * (t[i] - q[i])^2        t[i] = w[i] + sum over j < i of U[j][i] * e[j]
//! ```
//!
//! (LDLQ: Chee et al., QuIP, 2023, section 3; the same as GPTQ's updates.) A type quantizes one block
//! after the other; what earlier blocks add to its targets is the caller's work.

use super::RowQuantizer;

/// Weights whose feedback is handed over together. The length of every block is a multiple.
pub const CHUNK: usize = 16;

/// What an error costs, and what it does to the later targets of its block: D and U of the block.
#[derive(Clone, Copy, Debug)]
pub struct Feedback<'a> {
    /// `D[i]`, positive.
    pub weights: &'a [f32],
    /// `U[j][i]` is `rows[j * stride + i]`; only j < i counts.
    pub rows: &'a [f32],
    /// Floats from a row of U to the next.
    pub stride: usize,
}

impl Feedback<'_> {
    /// `U[j][16 chunk ..]`.
    #[inline(always)]
    pub fn row(&self, j: usize, chunk: usize) -> &[f32; CHUNK] {
        self.rows[j * self.stride + chunk * CHUNK..].first_chunk().expect("a block is whole chunks")
    }
}

/// How much a search looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breadth {
    /// Paths that it keeps, of types that have paths.
    pub paths: usize,
    /// Scales tried for a block.
    pub scales: u8,
}

/// What a weight type gives the calibrated quantizer.
#[derive(Clone, Copy, Debug)]
pub struct Calibrated {
    /// Brings a row of whole blocks into the space in which the type's errors are counted: weights before they
    /// are quantized, and both sides of a Gram matrix.
    pub rotate: fn(row: &mut [f32]),
    /// Makes a quantizer of blocks.
    pub quantizer: fn(Breadth) -> Box<dyn FeedbackQuantizer>,
    /// Makes blocks as a [`Making`] says, if that means something to the type.
    pub makers: Option<Makers>,
}

/// How blocks with a scale and slots are made, where that is not left to the search.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Making {
    /// Weights that share a scale, one row after the other: a multiple of the length of a block.
    pub group: Option<usize>,
    /// Slots of a block that are used, at most; the others are empty.
    pub outliers: Option<usize>,
}

impl Making {
    /// Whether everything is left to the search.
    pub fn is_free(self) -> bool {
        self == Making::default()
    }

    /// The number of rows, of so many columns, after which groups begin with a row again.
    pub fn period(self, columns: usize) -> usize {
        let gcd = |mut a: usize, mut b: usize| {
            while b > 0 {
                (a, b) = (b, a % b);
            }
            a
        };
        self.group.map_or(1, |group| group / gcd(group, columns).max(1))
    }
}

/// What makes blocks as a [`Making`] says.
#[derive(Clone, Copy, Debug)]
pub struct Makers {
    /// Slots that a block has.
    pub slots: usize,
    /// The scale code that suits the weights of some blocks best, with so many slots in use.
    pub scale: fn(weights: &[f32], slots: usize) -> u8,
    /// Makes a quantizer of whole groups without calibration.
    pub rows: fn(Making) -> Box<dyn RowQuantizer>,
    /// Makes a quantizer of blocks that uses so many slots.
    pub quantizer: fn(Breadth, slots: usize) -> Box<dyn FeedbackQuantizer>,
}

/// Quantizes blocks with error feedback; owns scratch memory.
pub trait FeedbackQuantizer: Send {
    /// Has the next blocks take the scale of this code. Types with [`Makers`] have it.
    fn fix_scale(&mut self, _code: u8) {
        unreachable!("a type whose blocks share no scales")
    }

    /// Quantizes one rotated block. `targets` are the weights plus the feedback of earlier blocks. Writes the
    /// bytes of the block and the errors `w - q` in rotated space; returns the loss.
    fn quantize(
        &mut self,
        weights: &[f32],
        targets: &[f32],
        feedback: Feedback,
        out: &mut [u8],
        errors: &mut [f32],
    ) -> f32;
}
