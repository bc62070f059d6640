//! The tensor types of the trellis: twelve for weights, and their activations.

#![allow(missing_docs, reason = "every weight type has a line about itself")]

use super::a8::BlockA8;
use super::layout::*;
use super::{Decode, quantize_activations, search};
use crate::products;
use crate::types::{Role, TensorType};

pub static T2: TensorType = weights::<BlockT2>(512, "t2", &A8, "Trellis, 2 bits, blocks of 256");
pub static T3: TensorType = weights::<BlockT3>(513, "t3", &A8, "Trellis, 3 bits, blocks of 256");
pub static T4: TensorType = weights::<BlockT4>(514, "t4", &A8, "Trellis, 4 bits, blocks of 256");
pub static T2_64: TensorType = weights::<BlockT2_64>(
    515,
    "t2_64",
    &A8_64,
    "Trellis, 2 bits, blocks of 64 for rows that 256 does not divide",
);
pub static T3_64: TensorType = weights::<BlockT3_64>(
    516,
    "t3_64",
    &A8_64,
    "Trellis, 3 bits, blocks of 64 for rows that 256 does not divide",
);
pub static T4_64: TensorType = weights::<BlockT4_64>(
    517,
    "t4_64",
    &A8_64,
    "Trellis, 4 bits, blocks of 64 for rows that 256 does not divide",
);
pub static A8: TensorType = activations::<BlockT3, 256>(518, "a8");
pub static A8_64: TensorType = activations::<BlockT3_64, 64>(519, "a8_64");

pub static T25: TensorType = weights::<BlockT25>(523, "t25", &A8, "Trellis, 2.5 bits, blocks of 256");
pub static T35: TensorType = weights::<BlockT35>(524, "t35", &A8, "Trellis, 3.5 bits, blocks of 256");
pub static T25_64: TensorType = weights::<BlockT25_64>(
    525,
    "t25_64",
    &A8_64,
    "Trellis, 2.5 bits, blocks of 64 for rows that 256 does not divide",
);
pub static T35_64: TensorType = weights::<BlockT35_64>(
    526,
    "t35_64",
    &A8_64,
    "Trellis, 3.5 bits, blocks of 64 for rows that 256 does not divide",
);

pub static T5: TensorType = weights::<BlockT5>(534, "t5", &A8, "Trellis, 5 bits, blocks of 256");
pub static T5_64: TensorType = weights::<BlockT5_64>(
    535,
    "t5_64",
    &A8_64,
    "Trellis, 5 bits, blocks of 64 for rows that 256 does not divide",
);

const fn weights<T: Decode>(
    id: u32,
    name: &'static str,
    activation: &'static TensorType,
    about: &'static str,
) -> TensorType {
    TensorType {
        id,
        name,
        block_len: T::LEN,
        block_bytes: size_of::<T>(),
        role: Role::Weight {
            activation,
            about,
            kernels: products::kernels::<T>(),
            quantizer: search::quantize::quantizer::<T>,
            #[cfg(feature = "converter")]
            calibrated: search::calibrated::calibrated::<T>(),
        },
    }
}

/// Activations for all weights whose lanes are those of `T`.
const fn activations<T: Decode<Activation = BlockA8<N>>, const N: usize>(
    id: u32,
    name: &'static str,
) -> TensorType {
    TensorType {
        id,
        name,
        block_len: T::LEN,
        block_bytes: size_of::<T::Activation>(),
        role: Role::Activation { quantize: quantize_activations::<T> },
    }
}
