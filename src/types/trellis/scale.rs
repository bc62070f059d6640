//! The block scale: an unsigned 8-bit float with 5 exponent and 3 mantissa bits.
//!
//! ```text
//! code 0          0
//! code 8e + m     (1 + m/8) * 2^(e - 26)          2^-26 (times 9/8 for code 1) to 1.875 * 2^5
//! ```
//!
//! Every code is finite. Four significant bits make `d * integer` exact in f32 for the integers
//! that the inverse rotation yields, so dequantization has no rounding at all.

/// Exponent of codes 0 to 7.
const MIN_EXPONENT: i32 = -26;

/// Where the bits of a code lie in those of an f32: its three mantissa bits are the highest of 23.
pub const CODE_SHIFT: u32 = 20;

/// What makes a code, shifted by [`CODE_SHIFT`], the bits of its value. Code 0 is the exception.
pub const EXPONENT_BITS: i32 = (127 + MIN_EXPONENT) << 23;

/// Value of a scale code.
#[inline(always)]
pub const fn decode(code: u8) -> f32 {
    let bits = ((code as u32) << CODE_SHIFT) + EXPONENT_BITS as u32;
    if code == 0 { 0.0 } else { f32::from_bits(bits) }
}

/// The two codes around `d`: largest value not above and smallest not below, as far as the range goes.
pub fn neighbours(d: f32) -> [u8; 2] {
    let codes = d.to_bits() as i64 - EXPONENT_BITS as i64;
    let below = (codes >> CODE_SHIFT).clamp(0, 255) as u8;
    [below, below.saturating_add((decode(below) < d) as u8)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_increasing_and_finite() {
        for code in 0..255 {
            assert!(decode(code) < decode(code + 1));
        }
        assert_eq!(decode(0), 0.0);
        assert_eq!(decode(255), 60.0);
    }

    #[test]
    fn neighbours_enclose() {
        for code in 1..255u8 {
            let d = decode(code);
            assert_eq!(neighbours(d), [code; 2]);
            assert_eq!(neighbours(d * 1.01), [code, code + 1]);
        }
        assert_eq!(neighbours(1e9), [255, 255]);
        assert_eq!(neighbours(1e-12), [0, 1]);
        assert_eq!(neighbours(0.0), [0, 0]);
    }
}
