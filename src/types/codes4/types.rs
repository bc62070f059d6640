//! The tensor types with codes of 4 bits, and their activations.

#![allow(missing_docs, reason = "every weight type has a line about itself")]

use super::layout::{BlockG4, BlockNf4, Codes4};
use super::q8::{self, BlockQ8};
use super::{nearest, quantize_activations};
use crate::products;
use crate::types::{Role, TensorType};

pub static G4_128: TensorType =
    weights::<BlockG4>(520, "g4_128", "4 bits as GPTQ, AWQ and compressed-tensors have them, blocks of 128");
pub static NF4_64: TensorType =
    weights::<BlockNf4>(521, "nf4_64", "4 bits as bitsandbytes has them, blocks of 64");
pub static Q8_64: TensorType = TensorType {
    id: 522,
    name: "q8_64",
    block_len: q8::LEN,
    block_bytes: size_of::<BlockQ8>(),
    role: Role::Activation { quantize: quantize_activations },
};

const fn weights<T: Codes4 + products::AtEveryLevel>(
    id: u32,
    name: &'static str,
    about: &'static str,
) -> TensorType {
    TensorType {
        id,
        name,
        block_len: T::LEN,
        block_bytes: size_of::<T>(),
        role: Role::Weight {
            activation: &Q8_64,
            about,
            kernels: products::kernels::<T>(),
            quantizer: nearest::quantizer::<T>,
            #[cfg(feature = "converter")]
            calibrated: super::calibrated::calibrated::<T>(),
        },
    }
}
