//! What decoding needs of a level: 64 bytes, one for each lane of a block, in as many vectors as that takes.

use crate::products::GROUP;
use crate::products::prompts::Words;
use bytemuck::Pod;

/// A level with vectors.
pub trait Lanes: Words {
    /// A byte for each of 64 lanes.
    type Bytes: Pod;

    /// 64 bytes as they are.
    fn load(self, bytes: &[u8; 64]) -> Self::Bytes;

    /// The low halves of 32 bytes, and then their high halves.
    fn halves(self, bytes: &[u8; 32]) -> Self::Bytes;

    /// Bits 0 and 1 of 16 bytes, then bits 2 and 3 of all, and so on; the upper bits are not cleared.
    fn quarters(self, bytes: &[u8; 16]) -> Self::Bytes;

    /// Bit 0 of 8 bytes, then bit 1 of all, and so on; the upper bits are not cleared.
    fn eighths(self, bytes: &[u8; 8]) -> Self::Bytes;

    /// `v >> SHIFT & mask`; no bits of a neighbour byte may be left by the mask.
    fn bits<const SHIFT: i32>(self, v: Self::Bytes, mask: u8) -> Self::Bytes;

    /// `v << SHIFT & mask`, likewise.
    fn bits_up<const SHIFT: i32>(self, v: Self::Bytes, mask: u8) -> Self::Bytes;

    /// `a & b`
    fn and(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;

    /// `a | b`
    fn or(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;

    /// `table[v]`, of values below 16.
    fn look_up(self, table: &[u8; 16], v: Self::Bytes) -> Self::Bytes;

    /// `v + byte`
    fn add_byte(self, v: Self::Bytes, byte: u8) -> Self::Bytes;

    /// Adds to `sums` the products of 64 bytes of at most 127 with 64 quants.
    fn multiply(self, sums: Self::Vector, r: Self::Bytes, quants: &[i8; 64]) -> Self::Vector;

    /// The sum of all words.
    fn sum(self, sums: Self::Vector) -> i32;

    /// The sums of all words of each.
    fn sum_group(self, sums: [Self::Vector; GROUP]) -> [i32; GROUP];
}
