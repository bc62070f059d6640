//! Random values that are the same on every machine and in every year.

/// splitmix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// `0..n`
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// Nearly Gaussian, mean 0, variance 1: the sum of twelve uniform values less six. Exact
    /// arithmetic, so no mathematics library has a say in it.
    pub fn gaussian(&mut self) -> f32 {
        let sum: i64 = (0..12).map(|_| (self.next() >> 40) as i64).sum();
        (sum - (6 << 24)) as f32 / (1 << 24) as f32
    }

    /// Gaussian by Box-Muller, tails and all: for errors that are compared with those of a Gaussian
    /// source. The last bits are those of the machine's logarithm.
    pub fn normal(&mut self) -> f32 {
        let mut uniform = || ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        ((-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos()) as f32
    }

    pub fn gaussians(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.gaussian()).collect()
    }

    pub fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.next() as u8).collect()
    }
}
