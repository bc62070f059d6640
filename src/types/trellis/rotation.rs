//! The block rotation: a fixed ±1 pattern, then the orthonormal Walsh-Hadamard transform.
//!
//! The transform of N values is `H x / sqrt(N)` with `H[i][j] = (-1)^popcount(i & j)`; it is its own inverse.
//! sqrt(N) is 8 or 16, so the division is exact.

/// Signs of elements 0 to 255: bit `i % 64` of word `i / 64` set means minus. Blocks of 64 use
/// the first word. The words are the first four outputs of splitmix64 seeded with "tenpak" (0x74656e70616b).
pub const SIGNS: [u64; 4] =
    [0x34b3_3c87_808e_b7b0, 0x8f00_7a6b_78ee_cf27, 0x7fe5_85d0_c206_316c, 0x2372_c299_0f3d_44d9];

/// `1 / sqrt(n)` for the block lengths.
pub const fn unit(n: usize) -> f32 {
    match n {
        64 => 0.125,
        256 => 0.0625,
        _ => panic!("blocks have 64 or 256 weights"),
    }
}

/// Whether element `i` changes sign.
#[inline(always)]
pub const fn is_minus(i: usize) -> bool {
    SIGNS[i / 64] >> (i % 64) & 1 == 1
}

/// ±1.0 for every element.
pub const PATTERN: [f32; 256] = {
    let mut pattern = [1.0; 256];
    let mut i = 0;
    while i < 256 {
        if is_minus(i) {
            pattern[i] = -1.0;
        }
        i += 1;
    }
    pattern
};

/// Unnormalized fast transform in place. Every output is a fixed tree of additions, so all
/// compilers and instruction sets give the same bits.
#[inline(always)]
pub fn hadamard<T, const N: usize>(x: &mut [T; N])
where
    T: Copy + std::ops::Add<Output = T> + std::ops::Sub<Output = T>,
{
    let mut half = 1;
    while half < N {
        for pair in x.chunks_exact_mut(2 * half) {
            let (low, high) = pair.split_at_mut(half);
            for (a, b) in low.iter_mut().zip(high) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half *= 2;
    }
}

/// Rotates a block: signs, transform, `1 / sqrt(N)`.
#[inline(always)]
pub fn rotate<const N: usize>(x: &[f32]) -> [f32; N] {
    let mut y: [f32; N] = std::array::from_fn(|i| x[i] * PATTERN[i] * unit(N));
    hadamard(&mut y);
    y
}

/// Rotates a block of 64 or 256 values where it stands.
pub fn rotate_in_place(block: &mut [f32]) {
    match block.len() {
        64 => block.copy_from_slice(&rotate::<64>(block)),
        _ => block.copy_from_slice(&rotate::<256>(block)),
    }
}

/// `out = scale * inverse rotation of y`, for integer `y` within ±64: exact when `scale` has four
/// significant bits.
#[inline(always)]
pub fn unrotate<const N: usize>(mut y: [i16; N], scale: f32, out: &mut [f32]) {
    hadamard(&mut y);
    let scale = scale * unit(N);
    for (i, out) in out[..N].iter_mut().enumerate() {
        *out = y[i] as f32 * (PATTERN[i] * scale);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transform_is_the_matrix() {
        for i in 0..64 {
            let mut x = [0i16; 64];
            x[i] = 1;
            hadamard(&mut x);
            for (j, &v) in x.iter().enumerate() {
                assert_eq!(v, if (i & j).count_ones() % 2 == 0 { 1 } else { -1 });
            }
        }
    }

    #[test]
    fn unrotate_inverts() {
        let x: [f32; 256] = std::array::from_fn(|i| (i as f32 * 0.7).sin());
        let y: [f32; 256] = rotate(&x);
        let q = y.map(|v| (v * 40.0).round() as i16);
        let mut back = [0.0; 256];
        unrotate(q, 1.0 / 32.0, &mut back);
        for (a, b) in x.iter().zip(back) {
            // Rounding errors of at most half a unit, spread by an orthonormal map.
            assert!((a * 40.0 / 32.0 - b).abs() < 0.1, "{a} {b}");
        }
    }
}
