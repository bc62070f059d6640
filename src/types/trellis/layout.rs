//! Where the symbols of a block lie.
//!
//! Symbol `i = STEPS * j + t` belongs to lane `j` and step `t`: all lanes take step 0, then all
//! take step 1, so the symbol before another is in the same lane of the vector one step earlier, and
//! only at step 0 in the neighbour lane.
//!
//! The bytes of a block are a scale, a history byte and *planes*. A plane has 8, 4 or 2 bits for
//! each lane and holds the symbols of some steps, newest lowest, as in a window. The
//! history byte has the form of the first plane: it is that plane's lane -1. A kernel gets
//! the plane moved up by one lane, history included, from a load one byte lower.

use super::a8::{Activation, BlockA8};
use super::code::{Code, T2, T3, T4, T5, T25, T35};
use bytemuck::{Pod, Zeroable};

/// A block of `N` = 2 + planes bytes; any bytes are a valid block.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
pub struct Block<const PLANES: usize> {
    /// Scale, see [`super::scale`].
    pub d: u8,
    /// The symbols before the first, newest lowest.
    pub history: u8,
    /// The planes.
    pub qs: [u8; PLANES],
}

// SAFETY: bytes only, no padding, no invalid values.
unsafe impl<const PLANES: usize> Zeroable for Block<PLANES> {}
// SAFETY: as above; `repr(C)` of byte fields has alignment 1 and no padding.
unsafe impl<const PLANES: usize> Pod for Block<PLANES> {}

/// 256 weights of 2 bits: 66 bytes, 2.0625 bits per weight.
pub type BlockT2 = Block<64>;
/// 256 weights of 2 and 3 bits in turn: 82 bytes, 2.5625 bits per weight.
pub type BlockT25 = Block<80>;
/// 256 weights of 3 bits: 98 bytes, 3.0625 bits per weight.
pub type BlockT3 = Block<96>;
/// 256 weights of 4 and 3 bits in turn: 114 bytes, 3.5625 bits per weight.
pub type BlockT35 = Block<112>;
/// 256 weights of 4 bits: 130 bytes, 4.0625 bits per weight.
pub type BlockT4 = Block<128>;
/// 256 weights of 5 bits: 162 bytes, 5.0625 bits per weight.
pub type BlockT5 = Block<160>;
/// 64 weights of 2 bits: 18 bytes, 2.25 bits per weight.
pub type BlockT2_64 = Block<16>;
/// 64 weights of 2 and 3 bits in turn: 22 bytes, 2.75 bits per weight.
pub type BlockT25_64 = Block<20>;
/// 64 weights of 3 bits: 26 bytes, 3.25 bits per weight.
pub type BlockT3_64 = Block<24>;
/// 64 weights of 4 and 3 bits in turn: 30 bytes, 3.75 bits per weight.
pub type BlockT35_64 = Block<28>;
/// 64 weights of 4 bits: 34 bytes, 4.25 bits per weight.
pub type BlockT4_64 = Block<32>;
/// 64 weights of 5 bits: 42 bytes, 5.25 bits per weight.
pub type BlockT5_64 = Block<40>;

const _: () = assert!(size_of::<BlockT2>() == 66 && size_of::<BlockT2_64>() == 18);
const _: () = assert!(size_of::<BlockT3>() == 98 && size_of::<BlockT3_64>() == 26);
const _: () = assert!(size_of::<BlockT25>() == 82 && size_of::<BlockT25_64>() == 22);
const _: () = assert!(size_of::<BlockT35>() == 114 && size_of::<BlockT35_64>() == 30);
const _: () = assert!(size_of::<BlockT4>() == 130 && size_of::<BlockT4_64>() == 34);
const _: () = assert!(size_of::<BlockT5>() == 162 && size_of::<BlockT5_64>() == 42);

/// Weights of the longest block.
pub const MAX_LEN: usize = 256;

/// A run of bits of one symbol within a plane: `(step, first bit of the symbol, bits)`.
type Field = (u8, u8, u8);

/// Some bits of every lane.
#[derive(Clone, Copy, Debug)]
pub struct Plane {
    /// Offset in `qs`.
    pub offset: usize,
    /// Bits per lane: 8, 4 or 2; see [`Plane::place`].
    pub width: usize,
    /// The fields, lowest bits first.
    pub fields: &'static [Field],
}

impl Plane {
    const fn bytes(offset: usize, fields: &'static [Field]) -> Plane {
        Plane { offset, width: 8, fields }
    }

    /// The byte of the plane that a lane's bits are in, and the lowest of its bits that is one of them. Lanes that take the
    /// same bits of neighbouring bytes are 16 or 4 neighbours, except in planes of 4 bits with 16 lanes.
    pub const fn place(&self, lane: usize, lanes: usize) -> (usize, usize) {
        match (self.width, lanes) {
            (8, _) => (lane, 0),
            (4, 32) => (lane % 16, lane / 16 * 4),
            (4, 16) => (lane / 2, lane % 2 * 4),
            (2, 16) => (lane % 4, lane / 4 * 2),
            _ => panic!("no plane of a type has such a form"),
        }
    }

    /// Step and symbol bit that plane bit `bit` holds.
    pub const fn source(&self, bit: usize) -> Option<(u8, u8)> {
        let mut first = 0;
        let mut i = 0;
        while i < self.fields.len() {
            let (step, from, bits) = self.fields[i];
            if bit < first + bits as usize {
                return Some((step, from + (bit - first) as u8));
            }
            first += bits as usize;
            i += 1;
        }
        None
    }
}

/// A trellis tensor type: a code and the places of its symbols.
pub trait Trellis: Pod + Send + Sync {
    /// The code.
    const CODE: Code;
    /// Weights per block.
    const LEN: usize;
    /// Symbols per lane.
    const STEPS: usize;
    /// Lanes.
    const LANES: usize = Self::LEN / Self::STEPS;
    /// The planes, in the order of their bytes.
    const PLANES: &'static [Plane];
    /// What it is multiplied with.
    type Activation: Activation;

    /// Scale byte.
    fn d(&self) -> u8;

    /// History byte.
    fn history(&self) -> u8;

    /// Plane bytes.
    fn qs(&self) -> &[u8];

    /// A block with the given scale and history whose symbols, in order, are `symbols`.
    fn pack(d: u8, history: u8, symbols: &[u8]) -> Self {
        let mut block = Self::zeroed();
        let bytes = bytemuck::bytes_of_mut(&mut block);
        bytes[0] = d;
        bytes[1] = history;
        Self::for_each_bit(|byte, shift, index, bit| {
            bytes[2 + byte] |= (symbols[index] >> bit & 1) << shift;
        });
        block
    }

    /// Writes the symbols, in order, to `symbols`.
    fn unpack(&self, symbols: &mut [u8]) {
        symbols.fill(0);
        Self::for_each_bit(|byte, shift, index, bit| {
            symbols[index] |= (self.qs()[byte] >> shift & 1) << bit;
        });
    }

    /// Calls `f(byte in qs, bit of that byte, symbol index, bit of that symbol)` for every bit.
    fn for_each_bit(mut f: impl FnMut(usize, usize, usize, u8)) {
        for plane in Self::PLANES {
            for (bit, source) in (0..plane.width).map(|b| (b, plane.source(b))) {
                let Some((step, symbol_bit)) = source else { continue };
                for lane in 0..Self::LANES {
                    let (byte, first) = plane.place(lane, Self::LANES);
                    let index = Self::STEPS * lane + step as usize;
                    f(plane.offset + byte, first + bit, index, symbol_bit);
                }
            }
        }
    }
}

macro_rules! trellis {
    ($block:ty, $code:expr, $len:literal, $steps:literal, $planes:expr) => {
        impl Trellis for $block {
            const CODE: Code = $code;
            const LEN: usize = $len;
            const STEPS: usize = $steps;
            const PLANES: &'static [Plane] = &$planes;
            type Activation = BlockA8<$len>;

            #[inline(always)]
            fn d(&self) -> u8 {
                self.d
            }

            #[inline(always)]
            fn history(&self) -> u8 {
                self.history
            }

            #[inline(always)]
            fn qs(&self) -> &[u8] {
                &self.qs
            }
        }
    };
}

trellis!(
    BlockT2,
    T2,
    256,
    8,
    [
        Plane::bytes(0, &[(7, 0, 2), (6, 0, 2), (5, 0, 2), (4, 0, 2)]),
        Plane::bytes(32, &[(3, 0, 2), (2, 0, 2), (1, 0, 2), (0, 0, 2)]),
    ]
);
trellis!(
    BlockT25,
    T25,
    256,
    8,
    [
        Plane::bytes(0, &[(7, 0, 3), (6, 0, 2), (5, 0, 3)]),
        Plane::bytes(32, &[(4, 0, 2), (3, 0, 3), (1, 0, 3)]),
        Plane { offset: 64, width: 4, fields: &[(2, 0, 2), (0, 0, 2)] },
    ]
);
trellis!(
    BlockT3,
    T3,
    256,
    8,
    [
        Plane::bytes(0, &[(7, 0, 3), (6, 0, 3), (5, 0, 2)]),
        Plane::bytes(32, &[(1, 0, 3), (0, 0, 3), (4, 0, 2)]),
        Plane::bytes(64, &[(3, 0, 3), (2, 0, 3), (4, 2, 1), (5, 2, 1)]),
    ]
);
trellis!(
    BlockT35,
    T35,
    256,
    8,
    [
        Plane::bytes(0, &[(7, 0, 3), (6, 0, 4), (5, 0, 1)]),
        Plane::bytes(32, &[(4, 0, 4), (5, 1, 2), (3, 0, 2)]),
        Plane::bytes(64, &[(2, 0, 4), (0, 0, 4)]),
        Plane { offset: 96, width: 4, fields: &[(1, 0, 3), (3, 2, 1)] },
    ]
);
trellis!(
    BlockT4,
    T4,
    256,
    8,
    [
        Plane::bytes(0, &[(7, 0, 4), (6, 0, 4)]),
        Plane::bytes(32, &[(1, 0, 4), (0, 0, 4)]),
        Plane::bytes(64, &[(3, 0, 4), (2, 0, 4)]),
        Plane::bytes(96, &[(5, 0, 4), (4, 0, 4)]),
    ]
);
trellis!(
    BlockT5,
    T5,
    256,
    8,
    [
        Plane::bytes(0, &[(7, 0, 5), (6, 0, 3)]),
        Plane::bytes(32, &[(5, 0, 4), (4, 0, 4)]),
        Plane::bytes(64, &[(3, 0, 4), (2, 0, 4)]),
        Plane::bytes(96, &[(1, 0, 4), (0, 0, 4)]),
        Plane::bytes(128, &[(6, 3, 2), (5, 4, 1), (4, 4, 1), (3, 4, 1), (2, 4, 1), (1, 4, 1), (0, 4, 1)]),
    ]
);
trellis!(BlockT2_64, T2, 64, 4, [Plane::bytes(0, &[(3, 0, 2), (2, 0, 2), (1, 0, 2), (0, 0, 2)]),]);
trellis!(
    BlockT25_64,
    T25,
    64,
    4,
    [
        Plane::bytes(0, &[(3, 0, 3), (2, 0, 2), (1, 0, 3)]),
        Plane { offset: 16, width: 2, fields: &[(0, 0, 2)] },
    ]
);
trellis!(
    BlockT3_64,
    T3,
    64,
    4,
    [
        Plane::bytes(0, &[(3, 0, 3), (2, 0, 3), (1, 0, 2)]),
        Plane { offset: 16, width: 4, fields: &[(0, 0, 3), (1, 2, 1)] },
    ]
);
trellis!(
    BlockT35_64,
    T35,
    64,
    4,
    [
        Plane::bytes(0, &[(3, 0, 3), (2, 0, 4), (1, 0, 1)]),
        Plane { offset: 16, width: 4, fields: &[(0, 0, 4)] },
        Plane { offset: 24, width: 2, fields: &[(1, 1, 2)] },
    ]
);
trellis!(
    BlockT4_64,
    T4,
    64,
    4,
    [Plane::bytes(0, &[(3, 0, 4), (2, 0, 4)]), Plane::bytes(16, &[(1, 0, 4), (0, 0, 4)]),]
);
trellis!(
    BlockT5_64,
    T5,
    64,
    4,
    [
        Plane::bytes(0, &[(3, 0, 5), (2, 0, 3)]),
        Plane::bytes(16, &[(1, 0, 4), (0, 0, 4)]),
        Plane { offset: 32, width: 4, fields: &[(2, 3, 2), (1, 4, 1), (0, 4, 1)] },
    ]
);
