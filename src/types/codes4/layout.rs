//! The blocks. Code i of a block of N is the low nibble of byte i for i < N / 2, and the high nibble of byte i - N / 2
//! from there on.

use super::float16;
use super::q8::BlockQ8;
use bytemuck::{Pod, Zeroable};

/// A scale and `BYTES` bytes of codes.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Block<S, const BYTES: usize> {
    /// Scale.
    pub scale: S,
    /// Codes.
    pub qs: [u8; BYTES],
}

/// Scale and zero point of G4.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct ScaleG4 {
    /// Binary16.
    pub d: [u8; 2],
    /// Zero point.
    pub zero: u8,
}

/// Scale of NF4.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct ScaleNf4 {
    /// The largest magnitude, f32. What is not finite counts as zero.
    pub d: [u8; 4],
}

/// 4.1875 bits per weight.
///
/// | byte | |
/// |---|---|
/// | 0 | `d`, binary16 |
/// | 2 | `zero` |
/// | 3 .. 66 | codes |
pub type BlockG4 = Block<ScaleG4, 64>;

/// 4.5 bits per weight.
///
/// | byte | |
/// |---|---|
/// | 0 | `d`, f32 |
/// | 4 .. 35 | codes |
pub type BlockNf4 = Block<ScaleNf4, 32>;

// SAFETY: bytes only; any are valid.
unsafe impl Zeroable for BlockG4 {}
// SAFETY: as above; no padding.
unsafe impl Pod for BlockG4 {}
// SAFETY: bytes only; any are valid.
unsafe impl Zeroable for BlockNf4 {}
// SAFETY: as above; no padding.
unsafe impl Pod for BlockNf4 {}

const _: () = assert!(size_of::<BlockG4>() == 67 && size_of::<BlockNf4>() == 36);

/// Values of the codes of NF4: quantiles of the normal distribution (Dettmers et al., QLoRA, 2023, appendix E), as
/// bitsandbytes has them in f32.
#[allow(clippy::excessive_precision)]
pub const NF4: [f32; 16] = [
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
];

/// [`NF4`] times [`NF4_UNIT`], rounded, plus [`NF4_ZERO`]: 14 bits, of which two halves of 7 fit the products of AVX2.
pub const NF4_INTEGERS: [u16; 16] =
    [1, 2489, 3891, 4957, 5862, 6679, 7446, 8192, 8844, 9510, 10208, 10960, 11802, 12800, 14114, 16383];
/// What 1 is as an integer.
pub const NF4_UNIT: f32 = 8191.0;
/// What 0 is as an integer.
pub const NF4_ZERO: i32 = 8192;

/// A block of one of the types.
pub trait Codes4: Pod + Send + Sync {
    /// Weights in a block.
    const LEN: usize;
    /// Blocks of activations to a block of weights.
    const PARTS: usize = Self::LEN / super::q8::LEN;
    /// The integer of each code, plus [`Codes4::zero`].
    const INTEGERS: [u16; 16];
    /// Whether those need more than 7 bits.
    const WIDE: bool;
    /// `PARTS` blocks of activations: those of a block of weights.
    type Activations: Pod + Send + Sync + AsRef<[BlockQ8]>;

    /// The value of an integer of 1.
    fn unit(&self) -> f32;

    /// What integers are too large by.
    fn zero(&self) -> i32;

    /// Codes, two a byte.
    fn qs(&self) -> &[u8];

    /// As [`Codes4::qs`], to be written.
    fn qs_mut(&mut self) -> &mut [u8];

    /// The weight of a code.
    fn weight(&self, code: u8) -> f32;

    /// A block without codes whose scale suits some weights.
    fn fit(x: &[f32]) -> Self;

    /// The code of the nearest weight.
    fn nearest(&self, x: f32) -> u8;

    /// Code `i`.
    #[inline(always)]
    fn code(&self, i: usize) -> u8 {
        let half = Self::LEN / 2;
        if i < half { self.qs()[i] & 15 } else { self.qs()[i - half] >> 4 }
    }

    /// Writes code `i` over a zero.
    #[inline(always)]
    fn set_code(&mut self, i: usize, code: u8) {
        let half = Self::LEN / 2;
        if i < half { self.qs_mut()[i] |= code } else { self.qs_mut()[i - half] |= code << 4 }
    }
}

impl BlockG4 {
    /// A block without codes.
    pub fn new(scale: f32, zero: u8) -> BlockG4 {
        Block { scale: ScaleG4 { d: float16::encode(scale).to_le_bytes(), zero }, qs: [0; 64] }
    }

    #[inline(always)]
    fn scale(&self) -> f32 {
        float16::decode(u16::from_le_bytes(self.scale.d))
    }
}

impl Codes4 for BlockG4 {
    const LEN: usize = 128;
    const INTEGERS: [u16; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
    const WIDE: bool = false;
    type Activations = [BlockQ8; 2];

    #[inline(always)]
    fn unit(&self) -> f32 {
        self.scale()
    }

    #[inline(always)]
    fn zero(&self) -> i32 {
        self.scale.zero as i32
    }

    #[inline(always)]
    fn qs(&self) -> &[u8] {
        &self.qs
    }

    #[inline(always)]
    fn qs_mut(&mut self) -> &mut [u8] {
        &mut self.qs
    }

    #[inline(always)]
    fn weight(&self, code: u8) -> f32 {
        (code as i32 - self.scale.zero as i32) as f32 * self.scale()
    }

    fn fit(x: &[f32]) -> Self {
        // Zero is always among the weights.
        let low = x.iter().fold(0f32, |m, v| m.min(*v));
        let high = x.iter().fold(0f32, |m, v| m.max(*v));
        let scale = float16::decode(float16::encode((high - low) / 15.0));
        let zero = if scale > 0.0 { (-low / scale).round().clamp(0.0, 15.0) } else { 0.0 };
        BlockG4::new(scale, zero as u8)
    }

    fn nearest(&self, x: f32) -> u8 {
        let scale = self.scale();
        let steps = if scale > 0.0 { (x / scale).round() } else { 0.0 };
        (steps + self.scale.zero as f32).clamp(0.0, 15.0) as u8
    }
}

impl BlockNf4 {
    /// A block without codes.
    pub fn new(scale: f32) -> BlockNf4 {
        Block { scale: ScaleNf4 { d: scale.to_le_bytes() }, qs: [0; 32] }
    }

    #[inline(always)]
    fn scale(&self) -> f32 {
        let d = f32::from_le_bytes(self.scale.d);
        if d.is_finite() { d } else { 0.0 }
    }
}

impl Codes4 for BlockNf4 {
    const LEN: usize = 64;
    const INTEGERS: [u16; 16] = NF4_INTEGERS;
    const WIDE: bool = true;
    type Activations = [BlockQ8; 1];

    #[inline(always)]
    fn unit(&self) -> f32 {
        self.scale() * (1.0 / NF4_UNIT)
    }

    #[inline(always)]
    fn zero(&self) -> i32 {
        NF4_ZERO
    }

    #[inline(always)]
    fn qs(&self) -> &[u8] {
        &self.qs
    }

    #[inline(always)]
    fn qs_mut(&mut self) -> &mut [u8] {
        &mut self.qs
    }

    #[inline(always)]
    fn weight(&self, code: u8) -> f32 {
        NF4[code as usize & 15] * self.scale()
    }

    fn fit(x: &[f32]) -> Self {
        BlockNf4::new(x.iter().fold(0f32, |m, v| m.max(v.abs())))
    }

    fn nearest(&self, x: f32) -> u8 {
        let scale = self.scale();
        let x = if scale > 0.0 { x / scale } else { 0.0 };
        // Values rise with the code.
        (0..15).take_while(|&code| x > (NF4[code] + NF4[code + 1]) / 2.0).count() as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_the_values_rounded() {
        for (value, integer) in NF4.iter().zip(NF4_INTEGERS) {
            assert_eq!((*value as f64 * NF4_UNIT as f64).round() as i32 + NF4_ZERO, integer as i32);
        }
    }
}
