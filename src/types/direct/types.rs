//! The tensor types with codes of their own for weights, and their activations.

#![allow(missing_docs, reason = "every weight type has a line about itself")]

use super::layout::*;
use super::{draft, quantize_activations};
use crate::products;
use crate::types::trellis::a8::BlockA8;
use crate::types::{Role, TensorType};

pub static O4: TensorType = weights::<Dense4, 1>(527, "o4", "4 bits and an outlier, blocks of 256");
pub static O4X2: TensorType = weights::<Dense4, 2>(528, "o4x2", "4 bits and two outliers, blocks of 256");
pub static Q8: TensorType = TensorType {
    id: 529,
    name: "q8",
    block_len: LEN,
    block_bytes: size_of::<BlockA8<LEN>>(),
    role: Role::Activation { quantize: quantize_activations },
};
pub static O3: TensorType = weights::<Dense3, 1>(530, "o3", "3 bits and an outlier, blocks of 256");
pub static O3X2: TensorType = weights::<Dense3, 2>(531, "o3x2", "3 bits and two outliers, blocks of 256");
pub static S34: TensorType =
    weights::<ThreeOfFour, 0>(532, "s34", "4 bits for three of every four weights, blocks of 256");
pub static S24: TensorType =
    weights::<TwoOfFour, 0>(533, "s24", "4 bits for two of every four weights, blocks of 256");

const fn weights<C: Codes, const SLOTS: usize>(id: u32, name: &'static str, about: &'static str) -> TensorType
where
    Block<C, SLOTS>: products::AtEveryLevel,
{
    TensorType {
        id,
        name,
        block_len: LEN,
        block_bytes: bytes_of_block::<C, SLOTS>(),
        role: Role::Weight {
            activation: &Q8,
            about,
            kernels: products::kernels::<Block<C, SLOTS>>(),
            quantizer: draft::quantizer::<C, SLOTS>,
            #[cfg(feature = "converter")]
            calibrated: crate::types::feedback::Calibrated {
                makers: Some(super::shared::makers::<C, SLOTS>()),
                ..super::calibrated::calibrated::<C, SLOTS>()
            },
        },
    }
}
