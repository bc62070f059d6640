//! Sixteen floats at a time, on each level. All levels round alike: the beam is the same on each.

use crate::isa::{self, Scalar};
use crate::types::feedback::CHUNK;

/// Sixteen floats in one cache line: what a path has of a chunk of weights, or the costs of sixteen candidates. Of a
/// chunk of weights a path has the errors of those that it has decided and the targets of the others.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(64))]
pub struct Chunk(pub [f32; CHUNK]);

/// A chunk of zeros.
pub const ZEROS: Chunk = Chunk([0.0; CHUNK]);

/// Most survivors whose candidates share a vector.
pub const MAX_GROUP: usize = 4;

/// The hashes of the survivors that share a vector, as indices of the values of the symbols that follow.
pub type Hashes = [u8; MAX_GROUP];

/// A level, and the vectors that it uses.
pub trait Level {
    /// The token of the level of these vectors.
    type Lanes: Lanes;

    /// That token.
    fn lanes(self) -> Self::Lanes;
}

macro_rules! lanes_of {
    ($($level:ident: $lanes:ident = $get:expr;)*) => {$(
        impl Level for isa::$level {
            type Lanes = isa::$lanes;

            #[inline(always)]
            fn lanes(self) -> isa::$lanes {
                $get(self)
            }
        }
    )*};
}
lanes_of! { Scalar: Scalar = |level| level; }
#[cfg(target_arch = "x86_64")]
lanes_of! {
    Avx2: Avx2 = |level| level;
    AvxVnni: Avx2 = isa::Avx2::from;
    Avx512: Avx512 = |level| level;
}
#[cfg(target_arch = "aarch64")]
lanes_of! {
    Neon: Scalar = |_| Scalar;
    DotProd: Scalar = |_| Scalar;
}

/// Operations on vectors of 16 floats, at a level that the token `self` proves.
pub trait Lanes: Copy {
    /// A vector.
    type Vector: Copy;

    fn load(self, from: &[f32; CHUNK]) -> Self::Vector;
    fn store(self, v: Self::Vector, to: &mut [f32; CHUNK]);
    fn splat(self, x: f32) -> Self::Vector;
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a * b + c`, rounded once.
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// Bitwise.
    fn and(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a` where it is less than `b`, else `b`; so `b` where `a` is NaN.
    fn min(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// Bit l is set if `a[l] <= b[l]`.
    fn at_most(self, a: Self::Vector, b: Self::Vector) -> u16;
    /// Each of the first 16 / N numbers, N times.
    fn spread<const N: usize>(self, x: [f32; MAX_GROUP]) -> Self::Vector;
    /// The arrays that the first 16 / N indices name, one after the other; if they have more than 16 numbers, those from
    /// `16 * part` on of the first.
    ///
    /// # Panics
    /// If the array has no such part.
    fn gather<const N: usize>(self, from: &[[f32; N]], at: Hashes, part: usize) -> Self::Vector;

    /// Loads a chunk.
    #[inline(always)]
    fn chunk(self, chunk: &Chunk) -> Self::Vector {
        self.load(&chunk.0)
    }
}

impl Lanes for Scalar {
    type Vector = [f32; CHUNK];

    fn load(self, from: &[f32; CHUNK]) -> [f32; CHUNK] {
        *from
    }

    fn store(self, v: [f32; CHUNK], to: &mut [f32; CHUNK]) {
        *to = v;
    }

    fn splat(self, x: f32) -> [f32; CHUNK] {
        [x; CHUNK]
    }

    fn sub(self, a: [f32; CHUNK], b: [f32; CHUNK]) -> [f32; CHUNK] {
        std::array::from_fn(|l| a[l] - b[l])
    }

    fn mul(self, a: [f32; CHUNK], b: [f32; CHUNK]) -> [f32; CHUNK] {
        std::array::from_fn(|l| a[l] * b[l])
    }

    fn mul_add(self, a: [f32; CHUNK], b: [f32; CHUNK], c: [f32; CHUNK]) -> [f32; CHUNK] {
        std::array::from_fn(|l| a[l].mul_add(b[l], c[l]))
    }

    fn and(self, a: [f32; CHUNK], b: [f32; CHUNK]) -> [f32; CHUNK] {
        std::array::from_fn(|l| f32::from_bits(a[l].to_bits() & b[l].to_bits()))
    }

    fn min(self, a: [f32; CHUNK], b: [f32; CHUNK]) -> [f32; CHUNK] {
        std::array::from_fn(|l| if a[l] < b[l] { a[l] } else { b[l] })
    }

    fn at_most(self, a: [f32; CHUNK], b: [f32; CHUNK]) -> u16 {
        (0..CHUNK).fold(0, |mask, l| mask | ((a[l] <= b[l]) as u16) << l)
    }

    fn spread<const N: usize>(self, x: [f32; MAX_GROUP]) -> [f32; CHUNK] {
        std::array::from_fn(|l| x[l / N])
    }

    fn gather<const N: usize>(self, from: &[[f32; N]], at: Hashes, part: usize) -> [f32; CHUNK] {
        std::array::from_fn(|l| from[at[l / N] as usize][CHUNK * part + l % N])
    }
}
