//! The hash as bit matrices, for processors that multiply bytes by 8x8 matrices over GF(2).
//!
//! A hash is linear in the bits of the window, and every window bit sits in some plane byte of the
//! same lane or of a lane below. So the hash of a step is a XOR of matrix products, one for each plane
//! (moved up by 0, 1 or 2 lanes) that holds any of its window, and unpacking costs nothing.

use super::layout::Trellis;

/// The matrix, in the order of `gf2p8affineqb`, that takes a byte of plane `plane` of the lane
/// `up` below to its share of the hash of step `step`. Zero if it has none.
const fn matrix<T: Trellis>(plane: usize, up: usize, step: usize) -> u64 {
    let columns = T::CODE.columns();
    let mut matrix = 0u64;
    let mut bit = 0;
    while bit < 8 {
        if let Some((at, symbol_bit)) = T::PLANES[plane].source(bit) {
            let age = step as i32 + (up * T::STEPS) as i32 - at as i32;
            let place = if age < 0 { 16 } else { T::CODE.place(step, age as usize) + symbol_bit as usize };
            if place < 16 {
                // Columns beyond the window are zero.
                let column = columns[place];
                let mut row = 0;
                while row < 8 {
                    if column >> row & 1 == 1 {
                        matrix |= 1 << (8 * (7 - row) + bit);
                    }
                    row += 1;
                }
            }
        }
        bit += 1;
    }
    matrix
}

/// One term of the hash of vector `VECTOR`: plane `PLANE` of the lane `UP` below. A vector is
/// `8 * WORDS` bytes of consecutive steps.
pub struct Term<T, const PLANE: usize, const UP: usize, const VECTOR: usize, const WORDS: usize>(
    std::marker::PhantomData<T>,
);

impl<T: Trellis, const PLANE: usize, const UP: usize, const VECTOR: usize, const WORDS: usize>
    Term<T, PLANE, UP, VECTOR, WORDS>
{
    /// One matrix for every 8 bytes of the vector.
    pub const MATRICES: [u64; WORDS] = {
        let mut matrices = [0; WORDS];
        let mut word = 0;
        while word < WORDS && PLANE < T::PLANES.len() {
            let step = (VECTOR * WORDS + word) * 8 / T::LANES;
            if step < T::STEPS {
                let matrix = matrix::<T>(PLANE, UP, step);
                // In planes of 4 bits with 32 lanes, the upper lanes have the upper bits.
                let in_halves = T::PLANES[PLANE].width == 4 && T::LANES == 32;
                assert!(!in_halves || UP == 0 || matrix == 0, "such planes cannot be moved up");
                let is_upper = in_halves && word * 8 % T::LANES >= 16;
                matrices[word] = if is_upper { matrix << 4 } else { matrix };
            }
            word += 1;
        }
        matrices
    };

    /// The bytes of the vector whose lane has a lane `UP` below it; the first plane has a lane -1.
    pub const LANES: u64 = {
        let first = if PLANE == 0 && UP > 0 { UP - 1 } else { UP };
        let mut lanes = 0;
        let mut byte = 0;
        while byte < 8 * WORDS {
            lanes |= ((byte % T::LANES >= first) as u64) << byte;
            byte += 1;
        }
        lanes
    };

    /// How many words there are up to the last whose matrix is not zero.
    pub const NEEDED_WORDS: usize = {
        let mut words = WORDS;
        while words > 0 && Self::MATRICES[words - 1] == 0 {
            words -= 1;
        }
        words
    };
}

/// XOR of every term of vector `$vector` of a block.
macro_rules! hash {
    ($term:ident, $t:ty, $vector:expr, $block:expr, $zero:expr) => {{
        let mut h = $zero;
        hash!(@plane h, $term, $t, 0, $vector, $block);
        hash!(@plane h, $term, $t, 1, $vector, $block);
        hash!(@plane h, $term, $t, 2, $vector, $block);
        hash!(@plane h, $term, $t, 3, $vector, $block);
        hash!(@plane h, $term, $t, 4, $vector, $block);
        h
    }};
    (@plane $h:ident, $term:ident, $t:ty, $p:literal, $vector:expr, $block:expr) => {
        $h = $term::<$t, $p, 0, $vector>($h, $block);
        $h = $term::<$t, $p, 1, $vector>($h, $block);
        $h = $term::<$t, $p, 2, $vector>($h, $block);
    };
}
pub(super) use hash;
