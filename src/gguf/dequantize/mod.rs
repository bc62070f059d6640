//! Weights of ggml's own quantized types, to the bit as its `to_float` gives them.
//!
//! A file a family: the layouts of its blocks, fields of bytes in the order of ggml-common.h, and what the weights of a
//! block are. Any bytes decode; scales that are not finite give weights that are not.

mod four_bit_floats;
mod grid;
mod grids;
mod k_quants;
mod linear;
mod ternary;

pub use four_bit_floats::*;
pub use grid::*;
pub use k_quants::*;
pub use linear::*;
pub use ternary::*;

/// Weights of whole blocks.
pub type Dequantize = fn(&[u8], &mut [f32]);

/// A block of a type.
pub trait Block: bytemuck::Pod {
    /// Its weights.
    const LEN: usize;

    /// Writes its weights to `out`, of [`Block::LEN`].
    fn dequantize(&self, out: &mut [f32]);
}

/// Weights of blocks that follow each other.
///
/// # Panics
/// If `bytes` are not whole blocks or `out` is not as long as their weights.
pub fn dequantize<B: Block>(bytes: &[u8], out: &mut [f32]) {
    let blocks: &[B] = bytemuck::cast_slice(bytes);
    assert_eq!(blocks.len() * B::LEN, out.len());
    for (block, out) in blocks.iter().zip(out.chunks_exact_mut(B::LEN)) {
        block.dequantize(out);
    }
}

/// Blocks of `LEN` weights in so many bytes: their fields are bytes, so that blocks may lie anywhere.
macro_rules! blocks {
    ($($(#[$doc:meta])* $name:ident: $len:literal weights in $bytes:literal { $($field:ident: $n:literal),* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy)]
        #[repr(C)]
        pub struct $name {
            $($field: [u8; $n],)*
        }

        const _: () = assert!(size_of::<$name>() == $bytes);

        // SAFETY: bytes only; any are valid.
        unsafe impl bytemuck::Zeroable for $name {}
        // SAFETY: as above; arrays of bytes have no padding.
        unsafe impl bytemuck::Pod for $name {}

        impl $crate::gguf::dequantize::Block for $name {
            const LEN: usize = $len;

            fn dequantize(&self, out: &mut [f32]) {
                self.weights(out);
            }
        }
    )*};
}
use blocks;

/// binary16
fn half(bytes: [u8; 2]) -> f32 {
    half::f16::from_le_bytes(bytes).to_f32()
}

/// Number `i` of 16 bits.
fn u16_at(bytes: &[u8], i: usize) -> u16 {
    u16::from_le_bytes([bytes[2 * i], bytes[2 * i + 1]])
}

/// Number `i` of 32 bits.
fn u32_at(bytes: &[u8], i: usize) -> u32 {
    u32::from(u16_at(bytes, 2 * i)) | u32::from(u16_at(bytes, 2 * i + 1)) << 16
}

/// Two codes a byte: the low halves of all bytes are the first half of `out`, the high ones the second.
fn nibbles(bytes: &[u8], out: &mut [f32], weight: impl Fn(usize, u8) -> f32) {
    let (low, high) = out.split_at_mut(bytes.len());
    for (i, (byte, (low, high))) in bytes.iter().zip(low.iter_mut().zip(high)).enumerate() {
        *low = weight(i, byte & 15);
        *high = weight(bytes.len() + i, byte >> 4);
    }
}
