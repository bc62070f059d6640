//! The AVX2 decoders of the types: symbols out of planes, and their hashes.

use super::*;

/// A block as bytes: scale, history, planes.
#[inline(always)]
fn bytes<T: Trellis>(block: &T) -> &[u8] {
    bytemuck::bytes_of(block)
}

/// Offset of the first plane moved up by one lane, and of the first plane.
const HISTORY: usize = 1;
const QS: usize = 2;

impl Avx2Block for BlockT2 {
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn decode(&self) -> [__m256i; 8] {
        let tables = &TABLES_T2;
        let (p0, p1) = (table(&tables.p0), table(&tables.p1[0]));
        let history = self.history;
        let block = bytes(self);
        let (late, early) = (load(block, QS), load(block, QS + 32));
        let before = load(block, HISTORY);
        let join = |new: __m256i, old: __m256i| {
            let old = _mm256_and_si256(_mm256_slli_epi16(old, 2), _mm256_set1_epi8(12));
            _mm256_or_si256(bits::<6>(new, 3), old)
        };
        // pair[2 + t] = symbols of steps t and t - 1
        let pair = [
            bits::<2>(before, 15),
            bits::<0>(before, 15),
            join(early, before),
            bits::<4>(early, 15),
            bits::<2>(early, 15),
            bits::<0>(early, 15),
            join(late, early),
            bits::<4>(late, 15),
            bits::<2>(late, 15),
            bits::<0>(late, 15),
        ];
        let mut u = [_mm256_setzero_si256(); 8];
        for t in 0..8 {
            u[t] = xor(look_up(p0, pair[2 + t]), look_up(p1, pair[t]));
        }
        let mut r = [_mm256_setzero_si256(); 8];
        for t in 0..8 {
            let back = if t < 4 { lane_up(u[4 + t], tables, 3 - t, history) } else { u[t - 4] };
            r[t] = value(&Self::CODE, xor_doubled(u[t], back));
        }
        r
    }
}

impl Avx2Block for BlockT3 {
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn decode(&self) -> [__m256i; 8] {
        let history = self.history;
        let block = bytes(self);
        let (c, a, b) = (load(block, QS), load(block, QS + 32), load(block, QS + 64));
        let before = load(block, HISTORY);
        // Index bits 2 and 3: the high bits of the symbols of steps 4 and 5.
        let high = bits::<4>(b, 12);
        // s[2 + t] = symbol of step t
        let s = [
            bits::<3>(before, 7),
            bits::<0>(before, 7),
            bits::<3>(a, 7),
            bits::<0>(a, 7),
            bits::<3>(b, 7),
            bits::<0>(b, 7),
            _mm256_or_si256(bits::<6>(a, 3), high),
            _mm256_or_si256(bits::<6>(c, 3), high),
            bits::<3>(c, 7),
            bits::<0>(c, 7),
        ];
        let part = |[at_bit_2, at_bit_3]: &[[u8; 16]; 2], t: usize| {
            look_up(table(if t == 2 + 5 { at_bit_3 } else { at_bit_2 }), s[t])
        };
        let mut u = [_mm256_setzero_si256(); 8];
        let mut older = [_mm256_setzero_si256(); 8];
        for t in 0..8 {
            u[t] = xor(part(&T3_PARTS[0], t + 2), part(&T3_PARTS[1], t + 1));
            older[t] = xor(u[t], part(&T3_PARTS[2], t));
        }
        let mut r = [_mm256_setzero_si256(); 8];
        for t in 0..8 {
            let back = if t < 2 { lane_up(older[6 + t], &TABLES_T3, 1 - t, history) } else { older[t - 2] };
            r[t] = value(&Self::CODE, xor_doubled(u[t], back));
        }
        r
    }
}

impl Avx2Block for BlockT25 {
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn decode(&self) -> [__m256i; 8] {
        let tables = &TABLES_T25;
        let (p0, p1) = (table(&tables.p0), tables.p1.each_ref().map(|p| table(p)));
        let history = self.history;
        let block = bytes(self);
        let (c, b, before) = (load(block, QS), load(block, QS + 32), load(block, HISTORY));
        let n = nibble_halves(block, QS + 64);
        // s[3 + t] = symbol of step t
        let s = [
            bits::<5>(before, 7),
            bits::<3>(before, 3),
            bits::<0>(before, 7),
            bits::<2>(n, 3),
            bits::<5>(b, 7),
            bits::<0>(n, 3),
            bits::<2>(b, 7),
            bits::<0>(b, 3),
            bits::<5>(c, 7),
            bits::<3>(c, 3),
            bits::<0>(c, 7),
        ];
        // u[2 + t] and g[t] of step t
        let mut u = [_mm256_setzero_si256(); 10];
        for t in 0..10 {
            u[t] = xor(look_up(p0, s[t + 1]), look_up(p1[t % 2], s[t]));
        }
        let mut g = [_mm256_setzero_si256(); 8];
        for t in 0..8 {
            g[t] = xor_doubled(u[2 + t], u[t]);
        }
        let mut r = [_mm256_setzero_si256(); 8];
        for t in 0..8 {
            let back = if t < 2 { lane_up(g[6 + t], tables, 1 - t, history) } else { g[t - 2] };
            r[t] = value(&Self::CODE, xor_doubled(u[2 + t], back));
        }
        r
    }
}

impl Avx2Block for BlockT35 {
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn decode(&self) -> [__m256i; 8] {
        let tables = &TABLES_T35;
        let (p0, p1) = (table(&tables.p0), tables.p1.each_ref().map(|p| table(p)));
        let oldest = table(&T35_OLDEST);
        let history = self.history;
        let block = bytes(self);
        let (c, b, a) = (load(block, QS), load(block, QS + 32), load(block, QS + 64));
        let (n, before) = (nibble_halves(block, QS + 96), load(block, HISTORY));
        // s[2 + t] = symbol of step t
        let s = [
            bits::<3>(before, 15),
            bits::<0>(before, 7),
            bits::<4>(a, 15),
            bits::<0>(n, 7),
            bits::<0>(a, 15),
            _mm256_or_si256(bits::<6>(b, 3), bits::<1>(n, 4)),
            bits::<0>(b, 15),
            _mm256_or_si256(bits::<7>(c, 1), bits::<3>(b, 6)),
            bits::<3>(c, 15),
            bits::<0>(c, 7),
        ];
        let mut u = [_mm256_setzero_si256(); 8];
        let mut older = [_mm256_setzero_si256(); 8];
        for t in 0..8 {
            u[t] = xor(look_up(p0, s[2 + t]), look_up(p1[t % 2], s[1 + t]));
            older[t] = xor(u[t], look_up(oldest, s[t]));
        }
        let mut r = [_mm256_setzero_si256(); 8];
        for t in 0..8 {
            let back = if t < 2 { lane_up(older[6 + t], tables, 1 - t, history) } else { older[t - 2] };
            r[t] = value(&Self::CODE, xor_doubled(u[t], back));
        }
        r
    }
}

/// `2 P0` of T35 for the lowest two bits of a symbol, which are all that is left of the oldest.
static T35_OLDEST: [u8; 16] = {
    let c = BlockT35::CODE.columns();
    nibble_table([c[7], c[8], 0, 0])
};

/// The 32 nibbles at `bytes[at..at + 16]`, a byte each (high bits not cleared): those of the lower lanes come first.
#[inline]
#[target_feature(enable = "avx2")]
fn nibble_halves(bytes: &[u8], at: usize) -> __m256i {
    _mm256_srlv_epi64(load_twice(bytes, at), _mm256_setr_epi64x(0, 0, 4, 4))
}

/// `P0`, `P1` and `2 P0` of T3, each with the high bit of the symbol at bit 2 and at bit 3 of the
/// index; the other of these bits has no say. A lookup of `2 P0` costs what doubling costs, and
/// the compiler does not spread it.
static T3_PARTS: [[[u8; 16]; 2]; 3] = {
    let c = BlockT3::CODE.columns();
    let mut parts = [[[0; 16]; 2]; 3];
    let mut i = 0;
    while i < 3 {
        parts[i][0] = nibble_table([c[3 * i], c[3 * i + 1], c[3 * i + 2], 0]);
        parts[i][1] = nibble_table([c[3 * i], c[3 * i + 1], 0, c[3 * i + 2]]);
        i += 1;
    }
    parts
};

impl Avx2Block for BlockT4 {
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn decode(&self) -> [__m256i; 8] {
        let tables = &TABLES_T4;
        let (p0, p1) = (table(&tables.p0), table(&tables.p1[0]));
        let history = self.history;
        let block = bytes(self);
        // Symbols of steps 0 and 1, 2 and 3, 4 and 5, 6 and 7.
        let symbols = |plane: usize| {
            let v = load(block, QS + plane);
            [bits::<4>(v, 15), bits::<0>(v, 15)]
        };
        let ([s0, s1], [s2, s3], [s4, s5], [s6, s7]) = (symbols(32), symbols(64), symbols(96), symbols(0));
        let u = |s: __m256i, before: __m256i| xor(look_up(p0, s), look_up(p1, before));
        let mut r = [_mm256_setzero_si256(); 8];
        // In the order in which few are alive at a time.
        let (u6, u7) = (u(s6, s5), u(s7, s6));
        let (u0, u1) = (u(s0, bits::<0>(load(block, HISTORY), 15)), u(s1, s0));
        r[0] = value(&Self::CODE, xor_doubled(u0, lane_up(u6, tables, 1, history)));
        r[1] = value(&Self::CODE, xor_doubled(u1, lane_up(u7, tables, 0, history)));
        let (u2, u3) = (u(s2, s1), u(s3, s2));
        r[2] = value(&Self::CODE, xor_doubled(u2, u0));
        r[3] = value(&Self::CODE, xor_doubled(u3, u1));
        let (u4, u5) = (u(s4, s3), u(s5, s4));
        r[4] = value(&Self::CODE, xor_doubled(u4, u2));
        r[5] = value(&Self::CODE, xor_doubled(u5, u3));
        r[6] = value(&Self::CODE, xor_doubled(u6, u4));
        r[7] = value(&Self::CODE, xor_doubled(u7, u5));
        r
    }
}

impl Avx2Block for BlockT5 {
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn decode(&self) -> [__m256i; 8] {
        let tables = &TABLES_T5;
        let history = self.history;
        let block = bytes(self);
        let nibbles = |at: usize| {
            let v = load(block, at);
            [bits::<0>(v, 15), bits::<4>(v, 15)]
        };
        let (s_before, s7, fifth) = (nibbles(HISTORY), nibbles(QS), nibbles(QS + 128));
        let ([s5, s4], [s3, s2], [s1, s0]) = (nibbles(QS + 32), nibbles(QS + 64), nibbles(QS + 96));
        let low = table(&tables.p0);
        let u = |s: __m256i, bit: usize, with: __m256i| {
            xor(look_up(low, s), look_up(table(&T5_FIFTH[bit]), with))
        };
        let (u_before, u7) = (u(s_before[0], 0, s_before[1]), u(s7[0], 0, s7[1]));
        let u6 = xor(look_up(table(&T5_SPLIT[0]), s7[1]), look_up(table(&T5_SPLIT[1]), fifth[0]));
        let (u5, u4) = (u(s5, 2, fifth[0]), u(s4, 3, fifth[0]));
        let (u3, u2) = (u(s3, 0, fifth[1]), u(s2, 1, fifth[1]));
        let (u1, u0) = (u(s1, 2, fifth[1]), u(s0, 3, fifth[1]));
        let u = [u_before, u0, u1, u2, u3, u4, u5, u6, u7];
        let mut back = lane_up(xor_doubled(u7, u6), tables, 0, history);
        let mut r = [_mm256_setzero_si256(); 8];
        for t in 0..8 {
            r[t] = value(&Self::CODE, xor_doubled(u[1 + t], back));
            back = xor_doubled(u[1 + t], u[t]);
        }
        r
    }
}

/// `P0` of the fifth bit of a symbol of T5, for every place of that bit in an index.
static T5_FIFTH: [[u8; 16]; 4] = {
    let fifth = BlockT5::CODE.base[4];
    [
        nibble_table([fifth, 0, 0, 0]),
        nibble_table([0, fifth, 0, 0]),
        nibble_table([0, 0, fifth, 0]),
        nibble_table([0, 0, 0, fifth]),
    ]
};

/// `P0` of the symbol that two planes of T5 share: of its lowest three bits, from bit 1 of an index on, and of the others.
static T5_SPLIT: [[u8; 16]; 2] = {
    let c = BlockT5::CODE.base;
    [nibble_table([0, c[0], c[1], c[2]]), nibble_table([c[3], c[4], 0, 0])]
};

/// Blocks of 64 have two vectors: steps 0 and 1, steps 2 and 3.
#[inline]
#[target_feature(enable = "avx2")]
fn two(code: &Code, h: [__m256i; 2]) -> [__m256i; 8] {
    let mut r = [_mm256_setzero_si256(); 8];
    r[0] = value(code, h[0]);
    r[1] = value(code, h[1]);
    r
}

impl Avx2Block for BlockT2_64 {
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn decode(&self) -> [__m256i; 8] {
        let tables = &TABLES_T2;
        let (p0, p1) = (table(&tables.p0), table(&tables.p1[0]));
        let history = self.history;
        let block = bytes(self);
        let (q, before) = (load_twice(block, QS), load_twice(block, HISTORY));
        // Pairs of steps (-2, -1), (0, 1), (2, 3); the pair of step 0 crosses lanes.
        let pairs_before = halves::<2, 0>(before, 15, 15);
        let crossing = _mm256_and_si256(_mm256_slli_epi16(before, 2), half_masks(12, 0));
        let pairs_0 = _mm256_or_si256(halves::<6, 4>(q, 3, 15), crossing);
        let pairs_2 = halves::<2, 0>(q, 15, 15);
        let u0 = xor(look_up(p0, pairs_0), look_up(p1, pairs_before));
        let u2 = xor(look_up(p0, pairs_2), look_up(p1, pairs_0));
        let h0 = xor_doubled(u0, lane_up_16(u0, tables, [3, 2], history));
        let h2 = xor_doubled(u2, lane_up_16(u2, tables, [1, 0], history));
        two(&Self::CODE, [h0, h2])
    }
}

impl Avx2Block for BlockT25_64 {
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn decode(&self) -> [__m256i; 8] {
        let tables = &TABLES_T25;
        let (p0, p1) = (table(&tables.p0), tables_of_steps(&tables.p1));
        let history = self.history;
        let block = bytes(self);
        let (c, before) = (load_twice(block, QS), load_twice(block, HISTORY));
        let (s_older, s_before) = (halves::<5, 3>(before, 7, 3), halves::<3, 0>(before, 3, 7));
        let (s0, s2) =
            (halves::<0, 5>(low_high(quarters_twice(block, QS + 16), c), 3, 7), halves::<3, 0>(c, 3, 7));
        let u_before = xor(look_up(p0, s_before), look_up(p1, s_older));
        let u0 = xor(look_up(p0, s0), look_up(p1, step_before(s_before, s0)));
        let u2 = xor(look_up(p0, s2), look_up(p1, step_before(s0, s2)));
        let back0 = lane_up_16(xor_doubled(u2, u0), tables, [1, 0], history);
        let back2 = xor_doubled(u0, u_before);
        two(&Self::CODE, [xor_doubled(u0, back0), xor_doubled(u2, back2)])
    }
}

impl Avx2Block for BlockT3_64 {
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn decode(&self) -> [__m256i; 8] {
        let tables = &TABLES_T3;
        let (p0, p1) = (table(&tables.p0), table(&tables.p1[0]));
        let history = self.history;
        let block = bytes(self);
        let (c, before) = (load_twice(block, QS), load_twice(block, HISTORY));
        let n = nibbles_twice(block, QS + 16);
        let s_before = halves::<3, 0>(before, 7, 7);
        let low = _mm256_and_si256(_mm256_srli_epi16(c, 6), half_masks(0, 3));
        let s0 = _mm256_or_si256(halves::<0, 1>(n, 7, 4), low);
        let s2 = halves::<3, 0>(c, 7, 7);
        let (q_before, q0, q2) = (look_up(p0, s_before), look_up(p0, s0), look_up(p0, s2));
        let u0 = xor(q0, look_up(p1, step_before(s_before, s0)));
        let u2 = xor(q2, look_up(p1, step_before(s0, s2)));
        let back0 = lane_up_16(xor_doubled(u2, q0), tables, [1, 0], history);
        let back2 = xor_doubled(u0, q_before);
        two(&Self::CODE, [xor_doubled(u0, back0), xor_doubled(u2, back2)])
    }
}

impl Avx2Block for BlockT35_64 {
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn decode(&self) -> [__m256i; 8] {
        let tables = &TABLES_T35;
        let (p0, p1, oldest) = (table(&tables.p0), tables_of_steps(&tables.p1), table(&T35_OLDEST));
        let history = self.history;
        let block = bytes(self);
        let (c, before) = (load_twice(block, QS), load_twice(block, HISTORY));
        let (n, q) = (nibbles_twice(block, QS + 16), quarters_twice(block, QS + 24));
        let s_before = halves::<3, 0>(before, 15, 7);
        // Bit 0 of step 1 is the first plane's, its others those of the last.
        let high = _mm256_and_si256(_mm256_add_epi8(q, q), half_masks(0, 6));
        let s0 = _mm256_or_si256(halves::<0, 7>(low_high(n, c), 15, 1), high);
        let s2 = halves::<3, 0>(c, 15, 7);
        let u0 = xor(look_up(p0, s0), look_up(p1, step_before(s_before, s0)));
        let u2 = xor(look_up(p0, s2), look_up(p1, step_before(s0, s2)));
        let back0 = lane_up_16(xor(u2, look_up(oldest, s0)), tables, [1, 0], history);
        let back2 = xor(u0, look_up(oldest, s_before));
        two(&Self::CODE, [xor_doubled(u0, back0), xor_doubled(u2, back2)])
    }
}

/// A table for even steps in the low half and one for odd steps in the high half.
#[inline]
#[target_feature(enable = "avx2")]
fn tables_of_steps(tables: &[[u8; 16]; 2]) -> __m256i {
    bytemuck::cast(*tables)
}

/// Low half of `a`, high half of `b`.
#[inline]
#[target_feature(enable = "avx2")]
fn low_high(a: __m256i, b: __m256i) -> __m256i {
    _mm256_blend_epi32(a, b, 0b1111_0000)
}

impl Avx2Block for BlockT4_64 {
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn decode(&self) -> [__m256i; 8] {
        let tables = &TABLES_T4;
        let (p0, p1) = (table(&tables.p0), table(&tables.p1[0]));
        let history = self.history;
        let block = bytes(self);
        let s_before = halves::<4, 0>(load_twice(block, HISTORY), 15, 15);
        let s0 = halves::<4, 0>(load_twice(block, QS + 16), 15, 15);
        let s2 = halves::<4, 0>(load_twice(block, QS), 15, 15);
        let u0 = xor(look_up(p0, s0), look_up(p1, step_before(s_before, s0)));
        let u2 = xor(look_up(p0, s2), look_up(p1, step_before(s0, s2)));
        let back0 = lane_up_16(u2, tables, [1, 0], history);
        two(&Self::CODE, [xor_doubled(u0, back0), xor_doubled(u2, u0)])
    }
}

impl Avx2Block for BlockT5_64 {
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn decode(&self) -> [__m256i; 8] {
        let tables = &TABLES_T5;
        let low = table(&tables.p0);
        let history = self.history;
        let block = bytes(self);
        let (c, before) = (load_twice(block, QS), load_twice(block, HISTORY));
        let fifth = nibbles_twice(block, QS + 32);
        let s0 = halves::<4, 0>(load_twice(block, QS + 16), 15, 15);
        // The high half counts.
        let u_before =
            xor(look_up(low, bits::<0>(before, 15)), look_up(table(&T5_FIFTH[0]), bits::<4>(before, 15)));
        let fifth_of = |tables: [[u8; 16]; 2], index: __m256i| {
            look_up(tables_of_steps(&tables), _mm256_and_si256(index, _mm256_set1_epi8(15)))
        };
        let u0 = xor(look_up(low, s0), fifth_of([T5_FIFTH[3], T5_FIFTH[2]], fifth));
        let s2 = halves::<4, 0>(c, 15, 15);
        let with = low_high(fifth, _mm256_srli_epi16(c, 4));
        let u2 = xor(
            look_up(tables_of_steps(&[T5_SPLIT[0], tables.p0]), s2),
            fifth_of([T5_SPLIT[1], T5_FIFTH[0]], with),
        );
        let g0 = xor_doubled(u0, step_before(u_before, u0));
        let g2 = xor_doubled(u2, step_before(u0, u2));
        let back0 = step_before(lane_up_16(g2, tables, [0, 0], history), g0);
        let back2 = step_before(g0, g2);
        two(&Self::CODE, [xor_doubled(u0, back0), xor_doubled(u2, back2)])
    }
}
