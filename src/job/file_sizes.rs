//! How large a file is, as whole and without what is no linear layer.

use crate::gguf::File;
use crate::names;

/// Bytes and weights of a GGUF file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSizes {
    /// Bytes of the file, or of all its parts.
    pub bytes: u64,
    /// Weights of all its tensors.
    pub weights: u64,
    /// Bytes of the linear layers: what is multiplied in every block, without embeddings, head and norms.
    pub linear_bytes: u64,
    /// Weights of the linear layers.
    pub linear_weights: u64,
}

impl FileSizes {
    /// The sizes of a file, by its header.
    pub fn of(file: &File) -> FileSizes {
        let linear = file.tensors().iter().filter(|t| names::block(&t.name).is_some() && t.shape.len() > 1);
        let (linear_bytes, linear_weights) =
            linear.fold((0, 0), |(b, w), t| (b + t.bytes(), w + t.elements()));
        let weights = file.tensors().iter().map(|t| t.elements()).sum();
        FileSizes { bytes: file.bytes(), weights, linear_bytes, linear_weights }
    }

    /// Bits per weight of the whole file.
    pub fn bpw(&self) -> f64 {
        bits_per_weight(self.bytes, self.weights)
    }

    /// Bits per weight of the linear layers.
    pub fn linear_bpw(&self) -> f64 {
        bits_per_weight(self.linear_bytes, self.linear_weights)
    }

    /// How many times smaller the file is than its weights in FP32.
    pub fn times_smaller(&self) -> f64 {
        32.0 / self.bpw()
    }
}

/// Bits per weight; of no weights as if there were one.
pub fn bits_per_weight(bytes: u64, weights: u64) -> f64 {
    bytes as f64 * 8.0 / weights.max(1) as f64
}

/// `12.3 MB`, in powers of ten as file managers and model hubs count.
pub fn human_bytes(n: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let mut x = n as f64;
    let mut unit = 0;
    while x >= 1000.0 && unit + 1 < units.len() {
        x /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{n} B") } else { format!("{x:.1} {}", units[unit]) }
}
