//! What the levels of x86 share.

use super::layout::Import;
use std::arch::x86_64::*;

/// Columns whose sums are in registers.
pub const GROUP: usize = 4;

/// The low and the high seven bits of the integers of a type.
pub const fn halves<T: Import>() -> ([u8; 16], [u8; 16]) {
    let (mut low, mut high) = ([0; 16], [0; 16]);
    let mut code = 0;
    while code < 16 {
        low[code] = (T::INTEGERS[code] & 127) as u8;
        high[code] = (T::INTEGERS[code] >> 7) as u8;
        code += 1;
    }
    (low, high)
}

/// A table of 16 bytes for the shuffles of 32.
#[inline]
#[target_feature(enable = "avx2")]
pub fn table(bytes: [u8; 16]) -> __m256i {
    _mm256_broadcastsi128_si256(bytemuck::cast(bytes))
}

#[inline]
#[target_feature(enable = "avx2")]
pub fn load<E: bytemuck::NoUninit>(values: &[E], at: usize) -> __m256i {
    let bytes: &[u8] = bytemuck::cast_slice(values);
    let bytes: &[u8; 32] = bytes[at..].first_chunk().expect("32 bytes");
    // SAFETY: 32 readable bytes; no alignment asked for.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

/// The first vector of sums: minus the zero point, in lane 0.
#[inline]
#[target_feature(enable = "avx2")]
pub fn start(zero: i32, sum: i32) -> __m256i {
    _mm256_zextsi128_si256(_mm_cvtsi32_si128(-zero * sum))
}

/// `((a + e) + (c + g)) + ((b + f) + (d + h))` of the lanes a to h.
#[inline]
#[target_feature(enable = "avx2")]
pub fn sum_lanes(totals: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(totals), _mm256_extractf128_ps::<1>(totals));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
}

/// Writes `dots` over a level's `codes`, which unpacks the codes of a block, 64 at a time, and `sums`, which multiplies
/// 64 of them. `$features` are those of the level.
macro_rules! dots {
    ($features:literal) => {
        /// Same results as `scalar::dot`: a block is unpacked once for a group of columns.
        #[target_feature(enable = $features)]
        pub fn dots<T: Import>(w: &[T], columns: &[&[BlockQ8]], out: &mut [f32]) {
            for (columns, out) in columns.chunks(GROUP).zip(out.chunks_mut(GROUP)) {
                match (columns.try_into(), out.first_chunk_mut()) {
                    (Ok(columns), Some(out)) => tile::<T, GROUP>(w, columns, out),
                    _ => {
                        for (a, out) in columns.iter().zip(out.chunks_exact_mut(1)) {
                            tile::<T, 1>(w, &[*a], out.first_chunk_mut().expect("one"));
                        }
                    }
                }
            }
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn tile<T: Import, const N: usize>(w: &[T], columns: &[&[BlockQ8]; N], out: &mut [f32; N]) {
            let mut totals = [_mm256_setzero_ps(); N];
            for (b, w) in w.iter().enumerate() {
                let (codes, zero, unit) = (codes(w), w.zero(), w.unit());
                for (total, a) in totals.iter_mut().zip(columns) {
                    for (part, a) in a[b * T::PARTS..][..T::PARTS].iter().enumerate() {
                        let sums = sums::<T>(codes[part], a, start(zero, a.sum));
                        let scale = _mm256_set1_ps(unit * a.d);
                        *total = _mm256_add_ps(*total, _mm256_mul_ps(scale, _mm256_cvtepi32_ps(sums)));
                    }
                }
            }
            *out = totals.map(|t| sum_lanes(t));
        }
    };
}
pub(super) use dots;
