//! AVX2. Same results as `scalar`.
//!
//! One vector is one step of 32 lanes (or two steps of 16). With columns that repeat doubled, the
//! hash needs lookups for one period of symbols only:
//!
//! ```text
//! u_i = P0[s_i] ^ P1[s_i-1]                     two byte shuffles
//! T4: h_i = u_i ^ 2 u_i-2                       window 4, period 2
//! T3: h_i = u_i ^ 2 (u_i-2 ^ 2 P0[s_i-4])       window 5, period 2
//! T2: u_i = P0[pair_i] ^ P1[pair_i-2], h_i = u_i ^ 2 u_i-4     window 8, period 4
//! ```
//!
//! The terms of steps before 0 are those of the last steps one lane up; what lane 0 needs is a
//! function of the history byte, from a table. `decode` reads that byte first: taken out of a vector
//! it would come late, and the loads of the carries with it.

use super::a8::Activation;
use super::code::Code;
use super::layout::*;
use super::scale;
use super::x86::*;
use crate::isa::Avx2;
use crate::products::prompts;
use crate::products::{Columns, GROUP, Matrix, Results};
use crate::simd::x86::*;
use std::arch::x86_64::*;

/// A trellis type with an AVX2 decoder.
pub trait Avx2Block: Trellis {
    /// Reconstructions plus the zero point in lane order, 32 to a vector; `LEN / 32` vectors.
    ///
    /// # Safety
    /// - The processor has AVX2.
    unsafe fn decode(&self) -> [__m256i; 8];
}

impl<const PLANES: usize> X86Level<Block<PLANES>> for Avx2
where
    Block<PLANES>: Avx2Block,
{
    type Decoded = [__m256i; 8];
    type Lanes = __m256i;

    #[inline(always)]
    fn decode(self, w: &Block<PLANES>) -> [__m256i; 8] {
        // SAFETY: the token proves the level.
        unsafe { w.decode() }
    }

    #[inline(always)]
    fn product(self, r: &[__m256i; 8], a: &<Block<PLANES> as Trellis>::Activation) -> __m256i {
        // SAFETY: the token proves the level.
        unsafe { product::<Block<PLANES>>(r, a) }
    }

    #[inline(always)]
    fn decode_product(self, w: &Block<PLANES>, a: &<Block<PLANES> as Trellis>::Activation) -> __m256i {
        // SAFETY: the token proves the level.
        unsafe { decode_product(w, a) }
    }

    #[inline(always)]
    fn sum(self, lanes: __m256i) -> i32 {
        // SAFETY: the token proves the level.
        unsafe { sum_lanes(lanes) }
    }

    #[inline(always)]
    fn sum_group(self, lanes: [__m256i; GROUP]) -> __m128i {
        // SAFETY: the token proves the level.
        unsafe { sum_lanes_group(lanes) }
    }

    #[inline(always)]
    fn multiply_many(self, rows: Matrix, columns: Columns, out: &mut Results) {
        prompts::multiply::<Avx2, Block<PLANES>, 16, 4>(self, rows, columns, out);
    }

    #[inline(always)]
    fn dequantize(self, w: &[Block<PLANES>], out: &mut [f32]) {
        // SAFETY: the token proves the level.
        unsafe { dequantize(w, out) }
    }
}

/// Lanes whose sum is the sum of `r * q`, without the zero point, of a decoded block.
#[inline]
#[target_feature(enable = "avx2")]
fn product<T: Trellis>(r: &[__m256i; 8], a: &T::Activation) -> __m256i {
    let quants = bytemuck::cast_slice(a.qs());
    let mut product = _mm256_setzero_si256();
    for (t, &r) in r[..T::LEN / 32].iter().enumerate() {
        product = multiply_add(product, r, load(quants, 32 * t));
    }
    product
}

/// The product of a block that is decoded for it.
#[inline]
#[target_feature(enable = "avx2")]
fn decode_product<T: Avx2Block>(w: &T, a: &T::Activation) -> __m256i {
    // SAFETY: this function requires AVX2.
    product::<T>(&unsafe { w.decode() }, a)
}

/// Same result as `scalar::dequantize`.
#[target_feature(enable = "avx2,fma,bmi1,bmi2,popcnt")]
fn dequantize<T: Avx2Block>(w: &[T], out: &mut [f32]) {
    for (w, out) in w.iter().zip(out.chunks_exact_mut(T::LEN)) {
        // SAFETY: this function requires AVX2.
        let r = bytemuck::cast(unsafe { w.decode() });
        unrotate_lanes::<T>(&r, scale::decode(w.d()), out);
    }
}

/// The lookup tables of a code.
struct Tables {
    p0: [u8; 16],
    p1: [u8; 16],
    /// For every history byte, what step `-1 - age` carries into lane 0, at
    /// `carries[age][LAST_OF_16 + history]`: a load at `history` has it where a shift by one lane
    /// looks for it.
    carries: [[u8; LAST_OF_16 + 256 + 16]; 4],
}

const LAST_OF_16: usize = 15;

impl Tables {
    const fn new(code: &Code) -> Tables {
        let c = code.columns();
        // Table index: one symbol, or for T2 a pair of symbols. Bit 3 of a T3 index has no say.
        let (p0, p1) = match code.bits {
            3 => ([c[0], c[1], c[2], 0], [c[3], c[4], c[5], 0]),
            _ => ([c[0], c[1], c[2], c[3]], [c[4], c[5], c[6], c[7]]),
        };
        // The carry of a step is its hash less the last period of the window, halved window.
        let kept = code.window_bits() - code.bits * code.period;
        let mut carries = [[0; LAST_OF_16 + 256 + 16]; 4];
        let mut age = 0;
        while age < 4 {
            let mut history = 0;
            while history < 256 {
                let window = history as u32 >> (age as u32 * code.bits) & ((1 << kept) - 1);
                carries[age][LAST_OF_16 + history] = code.hash(window);
                history += 1;
            }
            age += 1;
        }
        Tables { p0: nibble_table(p0), p1: nibble_table(p1), carries }
    }
}

static TABLES_T2: Tables = Tables::new(&super::code::T2);
static TABLES_T3: Tables = Tables::new(&super::code::T3);
static TABLES_T4: Tables = Tables::new(&super::code::T4);

#[inline]
#[target_feature(enable = "avx2")]
fn look_up(table: __m256i, index: __m256i) -> __m256i {
    _mm256_shuffle_epi8(table, index)
}

#[inline]
#[target_feature(enable = "avx2")]
fn xor(a: __m256i, b: __m256i) -> __m256i {
    _mm256_xor_si256(a, b)
}

/// `u ^ 2 carry`
#[inline]
#[target_feature(enable = "avx2")]
fn xor_doubled(u: __m256i, carry: __m256i) -> __m256i {
    xor(u, _mm256_add_epi8(carry, carry))
}

/// Bits `shift..` of every byte, under `mask`.
#[inline]
#[target_feature(enable = "avx2")]
fn bits<const SHIFT: i32>(v: __m256i, mask: i8) -> __m256i {
    _mm256_and_si256(_mm256_srli_epi16(v, SHIFT), _mm256_set1_epi8(mask))
}

/// The value of every hash: `v0[h & 15] + v1[h >> 4]`.
#[inline]
#[target_feature(enable = "avx2")]
fn value(code: &Code, h: __m256i) -> __m256i {
    let low = _mm256_and_si256(h, _mm256_set1_epi8(15));
    _mm256_add_epi8(look_up(table(&code.v0), low), look_up(table(&code.v1), bits::<4>(h, 15)))
}

/// Every byte moved up by one of 32 lanes; what step `-1 - age` carries enters at lane 0.
#[inline]
#[target_feature(enable = "avx2")]
fn lane_up(v: __m256i, tables: &Tables, age: usize, history: u8) -> __m256i {
    let carry = load(&tables.carries[age], history as usize);
    _mm256_alignr_epi8(v, _mm256_permute2x128_si256(v, carry, 0x02), 15)
}

/// Every byte moved up by one of 16 lanes in both halves; what steps `-1 - ages` carry enters at
/// lane 0 of each.
#[inline]
#[target_feature(enable = "avx2")]
fn lane_up_16(v: __m256i, tables: &Tables, ages: [usize; 2], history: u8) -> __m256i {
    let [low, high] = ages.map(|age| load_128(&tables.carries[age], history as usize));
    _mm256_alignr_epi8(v, _mm256_set_m128i(high, low), 15)
}

/// High half of `a`, low half of `b`: the step before each of the two steps of `b`.
#[inline]
#[target_feature(enable = "avx2")]
fn step_before(a: __m256i, b: __m256i) -> __m256i {
    _mm256_permute2x128_si256(a, b, 0x21)
}

/// Shifts the low half right by `low` bits and the high half by `high`, under a mask for each.
#[inline]
#[target_feature(enable = "avx2")]
fn halves<const LOW: i64, const HIGH: i64>(v: __m256i, low: i8, high: i8) -> __m256i {
    let shifted = _mm256_srlv_epi64(v, _mm256_setr_epi64x(LOW, LOW, HIGH, HIGH));
    _mm256_and_si256(shifted, half_masks(low, high))
}

#[inline]
#[target_feature(enable = "avx2")]
fn half_masks(low: i8, high: i8) -> __m256i {
    _mm256_set_m128i(_mm_set1_epi8(high), _mm_set1_epi8(low))
}

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
        let (p0, p1) = (table(&tables.p0), table(&tables.p1));
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

/// `P0`, `P1` and `2 P0` of T3, each with the high bit of the symbol at bit 2 and at bit 3 of the
/// index; the other of these bits has no say. A lookup of `2 P0` costs what doubling costs, and
/// the compiler does not spread it.
static T3_PARTS: [[[u8; 16]; 2]; 3] = {
    let c = super::code::T3.columns();
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
        let (p0, p1) = (table(&tables.p0), table(&tables.p1));
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
        let (p0, p1) = (table(&tables.p0), table(&tables.p1));
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

impl Avx2Block for BlockT3_64 {
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn decode(&self) -> [__m256i; 8] {
        let tables = &TABLES_T3;
        let (p0, p1) = (table(&tables.p0), table(&tables.p1));
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

impl Avx2Block for BlockT4_64 {
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn decode(&self) -> [__m256i; 8] {
        let tables = &TABLES_T4;
        let (p0, p1) = (table(&tables.p0), table(&tables.p1));
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
