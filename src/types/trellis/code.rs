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
    /// Bits per symbol, k.
    pub bits: u32,
    /// Symbols in the window.
    pub window: u32,
    /// Symbols after which the columns repeat, doubled.
    pub period: u32,
    /// Columns of the first `period` symbols of the window; the others follow by doubling.
    pub base: [u8; 8],
    /// Value of the low hash nibble.
    pub v0: [u8; 16],
    /// Value of the high hash nibble.
    pub v1: [u8; 16],
    /// Standard deviation of the reconstruction when symbols are uniform.
    pub sigma: f32,
}

impl Code {
    /// Bits in the window, L.
    pub const fn window_bits(&self) -> u32 {
        self.bits * self.window
    }

    /// The column of every window bit; entries past the window are zero.
    pub const fn columns(&self) -> [u8; 16] {
        let mut columns = [0; 16];
        let mut b = 0;
        while b < self.window_bits() as usize {
            let period = (self.bits * self.period) as usize;
            columns[b] = if b < period { self.base[b] } else { columns[b - period] << 1 };
            b += 1;
        }
        columns
    }

    /// Hash of a window, newest symbol in the low bits.
    pub const fn hash(&self, window: u32) -> u8 {
        let columns = self.columns();
        let mut h = 0;
        let mut b = 0;
        while b < 16 {
            if window >> b & 1 == 1 {
                h ^= columns[b];
            }
            b += 1;
        }
        h
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

impl Code {
    /// A code with zeros where its constants will stand.
    pub const fn blank(bits: u32, window: u32, period: u32) -> Code {
        Code { bits, window, period, base: [0; 8], v0: [0; 16], v1: [0; 16], sigma: 1.0 }
    }
}

/// 2 bits per weight, window of 16 bits.
pub const T2: Code = Code {
    base: [46, 164, 9, 98, 244, 78, 46, 97],
    v0: [53, 31, 25, 39, 27, 37, 23, 63, 41, 17, 43, 15, 0, 37, 34, 11],
    v1: [38, 18, 16, 25, 28, 46, 36, 50, 41, 48, 62, 29, 22, 36, 31, 1],
    sigma: 21.263,
    ..Code::blank(2, 8, 4)
};

/// 3 bits per weight, window of 15 bits.
pub const T3: Code = Code {
    base: [3, 36, 20, 237, 183, 212, 0, 0],
    v0: [62, 34, 18, 37, 36, 26, 43, 20, 49, 53, 27, 41, 24, 12, 31, 0],
    v1: [1, 34, 20, 37, 29, 42, 63, 42, 23, 35, 27, 52, 18, 47, 32, 12],
    sigma: 20.475,
    ..Code::blank(3, 5, 2)
};

/// 4 bits per weight, window of 16 bits.
pub const T4: Code = Code {
    base: [126, 139, 186, 65, 24, 144, 155, 15],
    v0: [22, 26, 41, 38, 33, 32, 35, 19, 25, 29, 62, 9, 0, 45, 49, 16],
    v1: [31, 24, 55, 48, 15, 37, 43, 28, 45, 26, 1, 32, 63, 35, 40, 21],
    sigma: 19.616,
    ..Code::blank(4, 4, 2)
};
