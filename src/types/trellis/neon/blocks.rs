//! What the NEON decoders take out of the planes of each type.

use super::*;

/// Four bits of every byte, from `SHIFT` on.
#[inline]
#[target_feature(enable = "neon")]
fn nibble<const SHIFT: i32>(v: uint8x16_t) -> uint8x16_t {
    low(vshrq_n_u8::<SHIFT>(v))
}

/// Three bits of every byte, from `SHIFT` on.
#[inline]
#[target_feature(enable = "neon")]
fn three<const SHIFT: i32>(v: uint8x16_t) -> uint8x16_t {
    vandq_u8(if SHIFT == 0 { v } else { vshlq_u8(v, vdupq_n_s8(-SHIFT as i8)) }, vdupq_n_u8(7))
}

/// Two bits of every byte, from `SHIFT` on.
#[inline]
#[target_feature(enable = "neon")]
fn two<const SHIFT: i32>(v: uint8x16_t) -> uint8x16_t {
    vandq_u8(if SHIFT == 0 { v } else { vshlq_u8(v, vdupq_n_s8(-SHIFT as i8)) }, vdupq_n_u8(3))
}

/// Five bits of every byte, from the lowest on.
#[inline]
#[target_feature(enable = "neon")]
fn five(v: uint8x16_t) -> uint8x16_t {
    vandq_u8(v, vdupq_n_u8(31))
}

/// Twice the two bits of every byte from `SHIFT` on.
#[inline]
#[target_feature(enable = "neon")]
fn two_doubled<const SHIFT: i32>(v: uint8x16_t) -> uint8x16_t {
    vandq_u8(vshlq_u8(v, vdupq_n_s8(1 - SHIFT as i8)), vdupq_n_u8(6))
}

/// 16 lanes of a plane of 4 bits with 32 lanes, from byte `at` of the planes on and from lane 0 or 16 on. High bits are not
/// cleared.
#[inline]
#[target_feature(enable = "neon")]
fn nibbles_of_half<T: Trellis>(block: &T, at: usize, lane: usize) -> uint8x16_t {
    let v = plane(block, at);
    if lane == 0 { v } else { high(v) }
}

/// The lanes of a plane of 2 bits, which is the last four of these bytes. High bits are not cleared.
#[inline]
#[target_feature(enable = "neon")]
fn quarters(last: uint8x16_t) -> uint8x16_t {
    let bytes = vreinterpretq_u8_u32(vdupq_laneq_u32::<3>(vreinterpretq_u32_u8(last)));
    vshlq_u8(bytes, load_quants(&[0, 0, 0, 0, -2, -2, -2, -2, -4, -4, -4, -4, -6, -6, -6, -6], 0))
}

/// 16 bytes of the planes, from byte `at` of them on.
#[inline]
#[target_feature(enable = "neon")]
fn plane<T: Trellis>(block: &T, at: usize) -> uint8x16_t {
    load(bytemuck::bytes_of(block), 2 + at)
}

/// 16 lanes of the first plane from `lane - 1` on; lane -1 is the history.
#[inline]
#[target_feature(enable = "neon")]
fn plane_below<T: Trellis>(block: &T, lane: usize) -> uint8x16_t {
    load(bytemuck::bytes_of(block), 1 + lane)
}

/// The pair of the oldest symbol of `new` and the newest of `old`, of planes of 2 bits.
#[inline]
#[target_feature(enable = "neon")]
fn join(new: uint8x16_t, old: uint8x16_t) -> uint8x16_t {
    low(vsliq_n_u8::<2>(vshrq_n_u8::<6>(new), old))
}

impl NeonBlock for BlockT2 {
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn indices(&self, lane: usize) -> [uint8x16_t; 11] {
        let (late, early) = (plane(self, lane), plane(self, 32 + lane));
        let before = plane_below(self, lane);
        [
            vdupq_n_u8(0),
            nibble::<2>(before),
            low(before),
            join(early, before),
            high(early),
            nibble::<2>(early),
            low(early),
            join(late, early),
            high(late),
            nibble::<2>(late),
            low(late),
        ]
    }
}

impl NeonBlock for BlockT3 {
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn indices(&self, lane: usize) -> [uint8x16_t; 11] {
        let (c, a, b) = (plane(self, lane), plane(self, 32 + lane), plane(self, 64 + lane));
        let before = plane_below(self, lane);
        [
            vdupq_n_u8(0),
            nibble::<3>(before),
            low(before),
            nibble::<3>(a),
            low(a),
            nibble::<3>(b),
            low(b),
            // Two bits of one plane below the third bit in another.
            vsriq_n_u8::<6>(high(b), a),
            vsriq_n_u8::<6>(vshrq_n_u8::<5>(b), c),
            nibble::<3>(c),
            low(c),
        ]
    }
}

impl NeonBlock for BlockT4 {
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn indices(&self, lane: usize) -> [uint8x16_t; 11] {
        let before = plane_below(self, lane);
        let (s01, s23) = (plane(self, 32 + lane), plane(self, 64 + lane));
        let (s45, s67) = (plane(self, 96 + lane), plane(self, lane));
        [
            vdupq_n_u8(0),
            high(before),
            low(before),
            high(s01),
            low(s01),
            high(s23),
            low(s23),
            high(s45),
            low(s45),
            high(s67),
            low(s67),
        ]
    }
}

impl NeonBlock for BlockT25 {
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn indices(&self, lane: usize) -> [uint8x16_t; 11] {
        let (c, b) = (plane(self, lane), plane(self, 32 + lane));
        let before = plane_below(self, lane);
        let n = nibbles_of_half(self, 64, lane);
        [
            vshrq_n_u8::<5>(before),
            two::<3>(before),
            low(before),
            two::<2>(n),
            vshrq_n_u8::<5>(b),
            two::<0>(n),
            nibble::<2>(b),
            two::<0>(b),
            vshrq_n_u8::<5>(c),
            two::<3>(c),
            low(c),
        ]
    }
}

impl NeonBlock for BlockT35 {
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn indices(&self, lane: usize) -> [uint8x16_t; 11] {
        let (c, b, a) = (plane(self, lane), plane(self, 32 + lane), plane(self, 64 + lane));
        let before = plane_below(self, lane);
        let n = nibbles_of_half(self, 96, lane);
        [
            vdupq_n_u8(0),
            nibble::<3>(before),
            three::<0>(before),
            high(a),
            three::<0>(n),
            low(a),
            // The upper two bits of one plane below the third bit in another, and the other way round.
            three::<0>(vsriq_n_u8::<6>(vshrq_n_u8::<1>(n), b)),
            low(b),
            vsriq_n_u8::<7>(two_doubled::<4>(b), c),
            nibble::<3>(c),
            three::<0>(c),
        ]
    }
}

impl NeonBlock for BlockT5 {
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn indices(&self, lane: usize) -> [uint8x16_t; 11] {
        let before = plane_below(self, lane);
        let (c, s45) = (plane(self, lane), plane(self, 32 + lane));
        let (s23, s01) = (plane(self, 64 + lane), plane(self, 96 + lane));
        let fifth = plane(self, 128 + lane);
        [
            vdupq_n_u8(0),
            vdupq_n_u8(0),
            five(before),
            vsliq_n_u8::<4>(high(s01), vshrq_n_u8::<7>(fifth)),
            five(vsliq_n_u8::<4>(s01, vshrq_n_u8::<6>(fifth))),
            five(vsliq_n_u8::<4>(high(s23), vshrq_n_u8::<5>(fifth))),
            five(vsliq_n_u8::<4>(s23, vshrq_n_u8::<4>(fifth))),
            five(vsliq_n_u8::<4>(high(s45), vshrq_n_u8::<3>(fifth))),
            five(vsliq_n_u8::<4>(s45, vshrq_n_u8::<2>(fifth))),
            five(vsliq_n_u8::<3>(vshrq_n_u8::<5>(c), fifth)),
            five(c),
        ]
    }
}

impl NeonBlock for BlockT2_64 {
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn indices(&self, lane: usize) -> [uint8x16_t; 11] {
        let (q, before) = (plane(self, lane), plane_below(self, lane));
        let [r0, r1] = [nibble::<2>(before), low(before)];
        steps_of_4([vdupq_n_u8(0), r0, r1, join(q, before), high(q), nibble::<2>(q), low(q)])
    }
}

impl NeonBlock for BlockT25_64 {
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn indices(&self, lane: usize) -> [uint8x16_t; 11] {
        let (c, before) = (plane(self, lane), plane_below(self, lane));
        steps_of_4([
            vshrq_n_u8::<5>(before),
            two::<3>(before),
            low(before),
            two::<0>(quarters(plane(self, 4))),
            vshrq_n_u8::<5>(c),
            two::<3>(c),
            low(c),
        ])
    }
}

impl NeonBlock for BlockT3_64 {
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn indices(&self, lane: usize) -> [uint8x16_t; 11] {
        let (c, before) = (plane(self, lane), plane_below(self, lane));
        // Bytes 16 to 23 as nibbles: the last vector of the block has them in its upper half.
        let bytes = plane(self, 8);
        let n = low(vzip2q_u8(bytes, high(bytes)));
        let s1 = vsriq_n_u8::<6>(vshrq_n_u8::<1>(n), c);
        steps_of_4([vdupq_n_u8(0), nibble::<3>(before), low(before), n, s1, nibble::<3>(c), low(c)])
    }
}

impl NeonBlock for BlockT35_64 {
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn indices(&self, lane: usize) -> [uint8x16_t; 11] {
        let (c, before) = (plane(self, lane), plane_below(self, lane));
        // The last 16 bytes: nibbles in 8 of them, pairs of bits in the last 4.
        let last = plane(self, 12);
        let nibbles = vextq_u8::<4>(last, last);
        let nibbles = low(vzip1q_u8(nibbles, high(nibbles)));
        // Bit 0 of step 1 is the first plane's.
        let s1 = vsriq_n_u8::<7>(two_doubled::<0>(quarters(last)), c);
        steps_of_4([
            vdupq_n_u8(0),
            nibble::<3>(before),
            three::<0>(before),
            nibbles,
            s1,
            nibble::<3>(c),
            three::<0>(c),
        ])
    }
}

impl NeonBlock for BlockT4_64 {
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn indices(&self, lane: usize) -> [uint8x16_t; 11] {
        let (s23, s01) = (plane(self, lane), plane(self, 16 + lane));
        let before = plane_below(self, lane);
        steps_of_4([vdupq_n_u8(0), high(before), low(before), high(s01), low(s01), high(s23), low(s23)])
    }
}

impl NeonBlock for BlockT5_64 {
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn indices(&self, lane: usize) -> [uint8x16_t; 11] {
        let before = plane_below(self, lane);
        let (c, s01) = (plane(self, lane), plane(self, 16 + lane));
        // The last 16 bytes: nibbles in the upper half.
        let bytes = plane(self, 24);
        let n = low(vzip2q_u8(bytes, high(bytes)));
        steps_of_4([
            vdupq_n_u8(0),
            vdupq_n_u8(0),
            five(before),
            vsliq_n_u8::<4>(high(s01), vshrq_n_u8::<3>(n)),
            five(vsliq_n_u8::<4>(s01, vshrq_n_u8::<2>(n))),
            five(vsliq_n_u8::<3>(vshrq_n_u8::<5>(c), n)),
            five(c),
        ])
    }
}

/// The indices of a type with four steps, from step -3 on.
#[inline]
#[target_feature(enable = "neon")]
fn steps_of_4(index: [uint8x16_t; 7]) -> [uint8x16_t; 11] {
    let mut all = [vdupq_n_u8(0); 11];
    all[..7].copy_from_slice(&index);
    all
}
