//! The scale of G4_128: an IEEE binary16 whose exponent 31 is one more exponent, so that every scale is finite.

/// The value of 16 bits. Where binary16 has infinities and NaN it is 65536 to 131008.
#[inline(always)]
pub const fn decode(bits: u16) -> f32 {
    let magnitude = f32::from_bits((bits as u32 & 0x7fff) << 13) * f32::from_bits(REBIAS);
    f32::from_bits(magnitude.to_bits() | (bits as u32 & 0x8000) << 16)
}

/// The bits of the nearest value, ties to even; the largest for all that is larger, and zero for NaN.
pub fn encode(x: f32) -> u16 {
    let sign = (x.to_bits() >> 16) as u16 & 0x8000;
    if x.is_nan() {
        return 0;
    }
    let small = (x.abs() * f32::from_bits(UNBIAS)).to_bits();
    let rounded = (small + 0xfff + (small >> 13 & 1)) >> 13;
    sign | rounded.min(0x7fff) as u16
}

/// 2^112: the difference of the exponent biases.
const REBIAS: u32 = (127 + 112) << 23;
/// 2^-112
const UNBIAS: u32 = (127 - 112) << 23;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_goes_both_ways() {
        for bits in 0..=u16::MAX {
            let value = decode(bits);
            assert!(value.is_finite());
            assert_eq!(encode(value), bits, "{value}");
        }
        let known = [(0x0001, 5.9604645e-8), (0x03ff, 6.097555e-5), (0x0400, 6.1035156e-5), (0x3c00, 1.0)];
        for (bits, value) in known.into_iter().chain([(0xc000, -2.0), (0x7bff, 65504.0), (0x7c00, 65536.0)]) {
            assert_eq!(decode(bits), value);
        }
    }

    #[test]
    fn values_between_are_rounded() {
        // 2049 is between 2048 and 2050: to even. 2051 is between 2050 and 2052.
        assert_eq!([encode(2049.0), encode(2051.0)], [encode(2048.0), encode(2052.0)]);
        assert_eq!([encode(f32::INFINITY), encode(1e9), encode(f32::NAN)], [0x7fff, 0x7fff, 0]);
    }
}
