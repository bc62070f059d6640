//! The tensor types: what a block of each is, and its kernels.
//!
//! A folder holds a kind of types: blocks, kernels, quantizers and, in its `types.rs`, a [`TensorType`] for each.
//! [`REGISTRY`] is the one list of them all. Everything that needs all types (the C header, the converter,
//! `tenpak-gguf types`, tests) reads it from there. docs/adding-a-type.md tells how to add one.

pub mod codes4;
pub mod direct;
#[cfg(feature = "converter")]
pub mod feedback;
mod registry;
pub mod trellis;

pub use crate::products::Kernels;
#[cfg(feature = "converter")]
use feedback::Calibrated;
pub use registry::REGISTRY;
pub(crate) use registry::for_each_type;

/// A ggml tensor type of ours.
#[derive(Debug)]
pub struct TensorType {
    /// ggml type id, as in files.
    pub id: u32,
    /// Name in ggml and on the command line.
    pub name: &'static str,
    /// Weights per block; a row is a whole number of blocks.
    pub block_len: usize,
    /// Bytes per block.
    pub block_bytes: usize,
    /// What it is for.
    pub role: Role,
}

/// What a tensor type is for.
#[derive(Debug)]
pub enum Role {
    /// Stored in files.
    Weight {
        /// The type that its rows are multiplied with.
        activation: &'static TensorType,
        /// One line for people.
        about: &'static str,
        /// What runs a model.
        kernels: Kernels,
        /// Makes a quantizer of rows without calibration.
        quantizer: fn() -> Box<dyn RowQuantizer>,
        /// What the calibrated quantizer needs.
        #[cfg(feature = "converter")]
        calibrated: Calibrated,
    },
    /// Made while a model runs, from rows of f32.
    Activation {
        /// Quantizes a row.
        quantize: fn(&[f32], &mut [u8]),
    },
}

/// Quantizes rows of whole blocks; owns scratch memory.
pub trait RowQuantizer: Send {
    /// Quantizes `x`; values that are not finite count as zero.
    ///
    /// # Panics
    /// If `out` is not as long as the blocks of `x`.
    fn quantize(&mut self, x: &[f32], out: &mut [u8]);
}

impl TensorType {
    /// Bits per weight.
    pub fn bpw(&self) -> f64 {
        self.block_bytes as f64 * 8.0 / self.block_len as f64
    }

    /// Bytes of `n` weights, if they are whole blocks.
    pub fn row_bytes(&self, n: usize) -> Option<usize> {
        n.is_multiple_of(self.block_len).then(|| n / self.block_len * self.block_bytes)
    }

    /// The kernels, of a weight type.
    pub fn kernels(&self) -> Option<Kernels> {
        match self.role {
            Role::Weight { kernels, .. } => Some(kernels),
            Role::Activation { .. } => None,
        }
    }

    /// A quantizer of rows without calibration, of a weight type.
    pub fn quantizer(&self) -> Option<Box<dyn RowQuantizer>> {
        match self.role {
            Role::Weight { quantizer, .. } => Some(quantizer()),
            Role::Activation { .. } => None,
        }
    }

    /// What the calibrated quantizer needs, of a weight type.
    #[cfg(feature = "converter")]
    pub fn calibrated(&self) -> Option<Calibrated> {
        match self.role {
            Role::Weight { calibrated, .. } => Some(calibrated),
            Role::Activation { .. } => None,
        }
    }
}

/// The type with the given id.
pub fn by_id(id: u32) -> Option<&'static TensorType> {
    REGISTRY.iter().copied().find(|t| t.id == id)
}

/// The type with the given name.
pub fn by_name(name: &str) -> Option<&'static TensorType> {
    REGISTRY.iter().copied().find(|t| t.name == name)
}
