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
//! The half rates have a period of one symbol of either size, so that P1 is another for even and for odd steps:
//!
//! ```text
//! u_i = P0[s_i] ^ P1[i % 2][s_i-1]
//! T25: h_i = u_i ^ 2 (u_i-2 ^ 2 u_i-4)          three periods
//! T35: h_i = u_i ^ 2 (u_i-2 ^ 2 P0[s_i-4 & 3])  two periods and two bits
//! ```
//!
//! T5 has a period of one symbol, whose fifth bit is looked up apart, with those of other steps in its index:
//!
//! ```text
//! u_i = P0[s_i & 15] ^ P0'[fifth bits]
//! T5: h_i = u_i ^ 2 (u_i-1 ^ 2 u_i-2)           three periods
//! ```
//!
//! The terms of steps before 0 are those of the last steps one lane up; what lane 0 needs is a
//! function of the history byte, from a table. `decode` reads that byte first: taken out of a vector
//! it would come late, and the loads of the carries with it. `blocks` has the decoders of the types.

mod blocks;

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
    /// For even and for odd steps; the first is for all steps if all symbols have the same bits.
    p1: [[u8; 16]; 2],
    /// For every history byte, what step `-1 - age` carries into lane 0, at
    /// `carries[age][LAST_OF_16 + history]`: a load at `history` has it where a shift by one lane
    /// looks for it.
    carries: [[u8; LAST_OF_16 + 256 + 16]; 4],
}

const LAST_OF_16: usize = 15;

impl Tables {
    const fn new(code: &Code) -> Tables {
        let [p0, even, odd] = code.index_columns();
        let mut carries = [[0; LAST_OF_16 + 256 + 16]; 4];
        let mut age = 0;
        while age < 4 {
            let mut history = 0;
            while history < 256 {
                carries[age][LAST_OF_16 + history] = code.carry(age, history as u8);
                history += 1;
            }
            age += 1;
        }
        Tables { p0: nibble_table(p0), p1: [nibble_table(even), nibble_table(odd)], carries }
    }
}

static TABLES_T2: Tables = Tables::new(&super::code::T2);
static TABLES_T25: Tables = Tables::new(&super::code::T25);
static TABLES_T35: Tables = Tables::new(&super::code::T35);
static TABLES_T3: Tables = Tables::new(&super::code::T3);
static TABLES_T4: Tables = Tables::new(&super::code::T4);
static TABLES_T5: Tables = Tables::new(&super::code::T5);

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
