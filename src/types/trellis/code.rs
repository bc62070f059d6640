//! The trellis codes: what a window of symbols reconstructs to.
//!
//! A window holds the newest symbol in its low k bits, the one before it in the next k bits and
//! so on. Each window bit owns one byte of the code, its *column*; the hash of a window is the XOR of
//! the columns of its set bits, and the value of a hash is the sum of two table entries:
//!
//! ```text
//! h = XOR over set bits b of the window of column[b]
//! r = v0[h & 15] + v1[h >> 4]                          0..=127, zero point 64
//! ```
//!
//! Columns repeat shifted: `column[b + period] = column[b] << 1`. A kernel without bit-matrix
//! instructions then needs table lookups for one period only and adds the rest by doubling.

/// Number of hash values.
pub const HASHES: usize = 256;

/// What is subtracted from a table sum: reconstructions are `-64..=63`.
pub const ZERO_POINT: i32 = 64;

/// The constants of one trellis code.
#[derive(Clone, Debug)]
pub struct Code {
    /// Bits of the symbols of even and of odd weights of a block.
    pub bits: [u32; 2],
    /// Bits in the window, L.
    pub window: u32,
    /// Window bits after which the columns repeat, doubled.
    pub period: u32,
    /// Columns of the first `period` bits of the window; the others follow by doubling.
    pub base: [u8; 8],
    /// Value of the low hash nibble.
    pub v0: [u8; 16],
    /// Value of the high hash nibble.
    pub v1: [u8; 16],
    /// Standard deviation of the reconstruction when symbols are uniform.
    pub sigma: f32,
}

impl Code {
    /// The column of every window bit; entries past the window are zero.
    pub const fn columns(&self) -> [u8; 16] {
        let mut columns = [0; 16];
        let mut b = 0;
        while b < self.window as usize {
            let period = self.period as usize;
            columns[b] = if b < period { self.base[b] } else { columns[b - period] << 1 };
            b += 1;
        }
        columns
    }

    /// Hash of a window, newest symbol in the low bits.
    pub const fn hash(&self, window: u32) -> u8 {
        hash(&self.columns(), window)
    }

    /// The columns of the bits of a table index, for kernels that look hashes up: an index is a symbol, or a pair of them
    /// where each has 2 bits, or the lowest four bits of one that has 5. First those of the newest index, then those of the one before it, for even and for odd
    /// weights. They are zero for bits that an index lacks, which then have no say.
    pub const fn index_columns(&self) -> [[u8; 4]; 3] {
        let columns = self.columns();
        let [even, odd] = if self.bits[0] + self.bits[1] == 4 { [4, 4] } else { self.bits };
        let mut index = [[0; 4]; 3];
        let mut b = 0;
        while b < 4 {
            if b < even || b < odd {
                index[0][b as usize] = columns[b as usize];
            }
            if b < odd {
                index[1][b as usize] = columns[(even + b) as usize];
            }
            if b < even {
                index[2][b as usize] = columns[(odd + b) as usize];
            }
            b += 1;
        }
        index
    }

    /// What the weight `age` before the last of a lane carries on, if `history` ends with that last: its hash less the last
    /// period of the window.
    pub const fn carry(&self, age: usize, history: u8) -> u8 {
        // The last weight of a lane is odd.
        let window = history as u32 >> self.place(1, age);
        self.hash(window & ((1 << (self.window - self.period)) - 1))
    }

    /// The window after `window` with the symbol of weight `i` of a block.
    pub const fn next_window(&self, window: u32, i: usize, symbol: u8) -> u32 {
        (window << self.bits[i % 2] | symbol as u32) & ((1 << self.window) - 1)
    }

    /// Where in the window of weight `i` the symbol begins that is `age` symbols older than its own.
    pub const fn place(&self, i: usize, age: usize) -> usize {
        let [even, odd] = self.bits;
        let newest = if i.is_multiple_of(2) { even } else { odd };
        (age / 2) * (even + odd) as usize + (age % 2) * newest as usize
    }

    /// Reconstruction of a hash before scale and rotation.
    pub const fn value(&self, hash: u8) -> i8 {
        ((self.v0[(hash & 15) as usize] + self.v1[(hash >> 4) as usize]) as i32 - ZERO_POINT) as i8
    }

    /// Reconstruction of every hash, as the search wants it.
    pub fn values(&self) -> [f32; HASHES] {
        std::array::from_fn(|h| self.value(h as u8) as f32)
    }
}

/// Hash of a window, by the columns of a code.
pub const fn hash(columns: &[u8; 16], window: u32) -> u8 {
    let mut h = 0;
    let mut b = 0;
    while b < 16 {
        // All ones where the bit is set.
        let mask = ((window >> b & 1) as u8).wrapping_neg();
        h ^= columns[b] & mask;
        b += 1;
    }
    h
}

impl Code {
    /// A code with zeros where its constants will stand.
    pub const fn blank(bits: [u32; 2], window: u32, period: u32) -> Code {
        Code { bits, window, period, base: [0; 8], v0: [0; 16], v1: [0; 16], sigma: 1.0 }
    }
}

/// 2 bits per weight, window of 16 bits.
pub const T2: Code = Code {
    base: [46, 164, 9, 98, 244, 78, 46, 97],
    v0: [53, 31, 25, 39, 27, 37, 23, 63, 41, 17, 43, 15, 0, 37, 34, 11],
    v1: [38, 18, 16, 25, 28, 46, 36, 50, 41, 48, 62, 29, 22, 36, 31, 1],
    sigma: 21.263,
    ..Code::blank([2, 2], 16, 8)
};

/// 2 and 3 bits in turn, window of 15 bits.
pub const T25: Code = Code {
    base: [151, 96, 69, 115, 237, 0, 0, 0],
    v0: [30, 13, 31, 52, 26, 33, 35, 22, 42, 46, 0, 21, 16, 38, 45, 63],
    v1: [12, 16, 1, 53, 24, 28, 51, 41, 31, 24, 32, 40, 39, 64, 20, 36],
    sigma: 21.242,
    ..Code::blank([2, 3], 15, 5)
};

/// 3 bits per weight, window of 15 bits.
pub const T3: Code = Code {
    base: [3, 36, 20, 237, 183, 212, 0, 0],
    v0: [62, 34, 18, 37, 36, 26, 43, 20, 49, 53, 27, 41, 24, 12, 31, 0],
    v1: [1, 34, 20, 37, 29, 42, 63, 42, 23, 35, 27, 52, 18, 47, 32, 12],
    sigma: 20.475,
    ..Code::blank([3, 3], 15, 6)
};

/// 4 and 3 bits in turn, window of 16 bits.
pub const T35: Code = Code {
    base: [178, 176, 138, 9, 61, 115, 8, 0],
    v0: [13, 0, 64, 30, 33, 39, 44, 54, 21, 27, 36, 37, 42, 48, 24, 18],
    v1: [46, 1, 20, 36, 11, 23, 16, 62, 26, 39, 35, 30, 28, 41, 51, 32],
    sigma: 20.337,
    ..Code::blank([4, 3], 16, 7)
};

/// 4 bits per weight, window of 16 bits.
pub const T4: Code = Code {
    base: [126, 139, 186, 65, 24, 144, 155, 15],
    v0: [22, 26, 41, 38, 33, 32, 35, 19, 25, 29, 62, 9, 0, 45, 49, 16],
    v1: [31, 24, 55, 48, 15, 37, 43, 28, 45, 26, 1, 32, 63, 35, 40, 21],
    sigma: 19.616,
    ..Code::blank([4, 4], 16, 8)
};

/// 5 bits per weight, window of 15 bits.
pub const T5: Code = Code {
    base: [17, 142, 246, 10, 250, 0, 0, 0],
    v0: [61, 20, 26, 41, 24, 48, 31, 17, 9, 29, 34, 0, 22, 39, 36, 43],
    v1: [1, 29, 37, 41, 20, 45, 23, 39, 48, 34, 31, 55, 33, 64, 15, 27],
    sigma: 18.324,
    ..Code::blank([5, 5], 15, 5)
};
