//! The blocks: a scale, slots for outliers, and the codes of 64 groups of four weights.
//!
//! Weight `i = 4 * j + t` is that of lane `j` and step `t`, and group j is lane j. A kernel has the 64 lanes of one step in
//! its vectors, so that what a group says of its four weights is a vector for each of the four steps.

use super::levels;
use crate::types::codes4::float16;
use bytemuck::{Pod, Zeroable};

/// Weights in a block.
pub const LEN: usize = 256;
/// Weights in a group.
pub const STEPS: usize = 4;
/// Groups in a block.
pub const LANES: usize = LEN / STEPS;
/// What kernels add to levels, to have unsigned bytes of 7 bits.
pub const ZERO_POINT: i32 = 64;

/// A block; any bytes are a valid one.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
pub struct Block<C, const SLOTS: usize> {
    /// Scale, as that of a trellis type.
    pub d: u8,
    /// Values that are added to some weights.
    pub slots: [Slot; SLOTS],
    /// Codes.
    pub codes: C,
}

/// A value that is added to one weight of the block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Slot {
    /// Which weight.
    pub index: u8,
    /// The value, a binary16 whose exponent 31 is one like the others.
    pub value: [u8; 2],
}

impl Slot {
    /// A slot whose value is the nearest to `value` that it can hold.
    pub fn new(index: u8, value: f32) -> Slot {
        Slot { index, value: float16::encode(value).to_le_bytes() }
    }

    /// The value.
    #[inline(always)]
    pub fn value(self) -> f32 {
        float16::decode(u16::from_le_bytes(self.value))
    }

    /// Where the quant is that the value is multiplied with.
    #[inline(always)]
    pub fn place(self) -> usize {
        LANES * (self.index as usize % STEPS) + self.index as usize / STEPS
    }
}

/// The codes of a group of four weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Which of [`Codes::PATTERNS`] says what weights are kept.
    pub pattern: u8,
    /// The codes of those, in order.
    pub codes: [u8; STEPS],
}

/// Bits of every lane, one part of the codes after the other.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// First byte.
    pub at: usize,
    /// Bits of a lane: 8, 4, 2 or 1. Lane j is in byte j modulo `8 * width`, the lanes that share it from its lowest bits on.
    pub width: usize,
    /// What the bits are, lowest first.
    pub fields: &'static [Field],
}

/// Some bits of one number of a group: which, the lowest of them, and how many. Numbers 0 to 3 are the codes, in order.
pub type Field = (usize, usize, usize);

/// The number of a group that is its pattern.
pub const PATTERN: usize = STEPS;

impl Part {
    /// The byte of a lane, and the lowest of its bits.
    #[inline(always)]
    const fn place(&self, lane: usize) -> (usize, usize) {
        let bytes = LANES * self.width / 8;
        (self.at + lane % bytes, lane / bytes * self.width)
    }
}

/// The codes of a block.
pub trait Codes: Pod + Send + Sync + std::fmt::Debug {
    /// What the codes stand for, rising, in units of the scale.
    const LEVELS: &'static [i8];
    /// Standard deviation of Gaussian weights that the levels fit best, in units of the scale.
    const SIGMA: f32;
    /// How many weights of a group are kept. The others are zero.
    const KEPT: usize;
    /// The sets of weights that may be kept: bit t for weight t of the group. The bits of a pattern can name more than there
    /// are; those are as the first.
    const PATTERNS: &'static [u8];
    /// Where the bits lie.
    const PARTS: &'static [Part];

    /// Group `lane`.
    #[inline(always)]
    fn group(&self, lane: usize) -> Group {
        let bytes = bytemuck::bytes_of(self);
        let mut numbers = [0; STEPS + 1];
        for part in Self::PARTS {
            let (byte, bit) = part.place(lane);
            let mut lane = bytes[byte] >> bit;
            for &(which, first, bits) in part.fields {
                numbers[which] |= (lane & ((1 << bits) - 1)) << first;
                lane >>= bits;
            }
        }
        let [a, b, c, d, pattern] = numbers;
        Group { pattern, codes: [a, b, c, d] }
    }

    /// Writes group `lane` over zeros.
    #[inline(always)]
    fn set_group(&mut self, lane: usize, Group { pattern, codes: [a, b, c, d] }: Group) {
        let bytes = bytemuck::bytes_of_mut(self);
        let numbers = [a, b, c, d, pattern];
        for part in Self::PARTS {
            let (byte, mut bit) = part.place(lane);
            for &(which, first, bits) in part.fields {
                bytes[byte] |= (numbers[which] >> first & ((1 << bits) - 1)) << bit;
                bit += bits;
            }
        }
    }

    /// The levels of the four weights of group `lane`.
    #[inline(always)]
    fn levels(&self, lane: usize) -> [i8; STEPS] {
        let group = self.group(lane);
        let kept = *Self::PATTERNS.get(group.pattern as usize).unwrap_or(&Self::PATTERNS[0]);
        let mut codes = group.codes.iter();
        let mut level = |t: usize| match kept >> t & 1 {
            1 => codes.next().map_or(0, |&code| Self::LEVELS[code as usize]),
            _ => 0,
        };
        [level(0), level(1), level(2), level(3)]
    }
}

/// Every weight has a code of 4 bits.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(transparent)]
pub struct Dense4(pub [u8; 128]);

/// Every weight has a code of 3 bits.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(transparent)]
pub struct Dense3(pub [u8; 96]);

/// Three of four weights have a code of 4 bits.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(transparent)]
pub struct ThreeOfFour(pub [u8; 112]);

/// Two of four weights have a code of 4 bits.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(transparent)]
pub struct TwoOfFour(pub [u8; 88]);

macro_rules! bytes {
    ($($codes:ident),*) => { $(
        // SAFETY: transparent over bytes, any of which are valid.
        unsafe impl Zeroable for $codes {}
        // SAFETY: as above.
        unsafe impl Pod for $codes {}
    )* };
}
bytes!(Dense4, Dense3, ThreeOfFour, TwoOfFour);

// SAFETY: bytes only; any are valid.
unsafe impl Zeroable for Slot {}
// SAFETY: as above; `repr(C)` of byte fields has alignment 1 and no padding.
unsafe impl Pod for Slot {}
// SAFETY: any scale and slots are valid, and so are any codes.
unsafe impl<C: Codes, const SLOTS: usize> Zeroable for Block<C, SLOTS> {}
// SAFETY: as above. The codes are bytes, of alignment 1, as the assertion in `bytes_of_block` says of each type that is
// used, so that there is no padding.
unsafe impl<C: Codes, const SLOTS: usize> Pod for Block<C, SLOTS> {}

/// Bytes of a block.
pub const fn bytes_of_block<C: Codes, const SLOTS: usize>() -> usize {
    assert!(align_of::<C>() == 1 && size_of::<Block<C, SLOTS>>() == 1 + 3 * SLOTS + size_of::<C>());
    size_of::<Block<C, SLOTS>>()
}

/// 4.125 bits per weight: codes of 4 bits and an outlier.
pub type BlockO4 = Block<Dense4, 1>;
/// 4.21875 bits per weight: codes of 4 bits and two outliers.
pub type BlockO4x2 = Block<Dense4, 2>;
/// 3.125 bits per weight: codes of 3 bits and an outlier.
pub type BlockO3 = Block<Dense3, 1>;
/// 3.21875 bits per weight: codes of 3 bits and two outliers.
pub type BlockO3x2 = Block<Dense3, 2>;
/// 3.53125 bits per weight: codes of 4 bits for three of four weights.
pub type BlockS34 = Block<ThreeOfFour, 0>;
/// 2.78125 bits per weight: codes of 4 bits for two of four weights.
pub type BlockS24 = Block<TwoOfFour, 0>;

/// Two codes of 4 bits: one byte of every lane.
const fn pair(at: usize, fields: &'static [Field; 2]) -> Part {
    Part { at, width: 8, fields }
}

impl Codes for Dense4 {
    const LEVELS: &'static [i8] = &levels::DENSE_4;
    const SIGMA: f32 = levels::DENSE_4_SIGMA;
    const KEPT: usize = 4;
    const PATTERNS: &'static [u8] = &[0b1111];
    const PARTS: &'static [Part] = &[pair(0, &[(0, 0, 4), (1, 0, 4)]), pair(64, &[(2, 0, 4), (3, 0, 4)])];
}

impl Codes for Dense3 {
    const LEVELS: &'static [i8] = &levels::DENSE_3;
    const SIGMA: f32 = levels::DENSE_3_SIGMA;
    const KEPT: usize = 4;
    const PATTERNS: &'static [u8] = &[0b1111];
    const PARTS: &'static [Part] = &[
        Part { at: 0, width: 8, fields: &[(0, 0, 2), (1, 0, 2), (2, 0, 2), (3, 0, 2)] },
        Part { at: 64, width: 4, fields: &[(0, 2, 1), (1, 2, 1), (2, 2, 1), (3, 2, 1)] },
    ];
}

impl Codes for ThreeOfFour {
    const LEVELS: &'static [i8] = &levels::THREE_OF_FOUR;
    const SIGMA: f32 = levels::THREE_OF_FOUR_SIGMA;
    const KEPT: usize = 3;
    const PATTERNS: &'static [u8] = &[0b1110, 0b1101, 0b1011, 0b0111];
    const PARTS: &'static [Part] = &[
        pair(0, &[(0, 0, 4), (1, 0, 4)]),
        Part { at: 64, width: 4, fields: &[(2, 0, 4)] },
        Part { at: 96, width: 2, fields: &[(PATTERN, 0, 2)] },
    ];
}

impl Codes for TwoOfFour {
    const LEVELS: &'static [i8] = &levels::TWO_OF_FOUR;
    const SIGMA: f32 = levels::TWO_OF_FOUR_SIGMA;
    const KEPT: usize = 2;
    const PATTERNS: &'static [u8] = &[0b0011, 0b0101, 0b1001, 0b0110, 0b1010, 0b1100];
    const PARTS: &'static [Part] = &[
        pair(0, &[(0, 0, 4), (1, 0, 4)]),
        Part { at: 64, width: 2, fields: &[(PATTERN, 0, 2)] },
        Part { at: 80, width: 1, fields: &[(PATTERN, 2, 1)] },
    ];
}
