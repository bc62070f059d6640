//! Tests of the search.

use super::*;
use crate::types::trellis::code::{T2, T3, T4, T5, T25, T35};

/// splitmix64, <https://prng.di.unimi.it/splitmix64.c>.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Sum of twelve uniform numbers less 6: nearly Gaussian.
    fn normal(&mut self) -> f32 {
        (0..12).map(|_| (self.next() >> 40) as f32 / (1 << 24) as f32).sum::<f32>() - 6.0
    }
}

fn random_code(code: &Code, rng: &mut SplitMix64) -> Code {
    loop {
        let mut base = rng.next().to_le_bytes();
        base[code.bits[0] as usize + 1] = base[code.bits[0] as usize];
        let code = Code { base, ..code.clone() };
        if (1..1 << code.bits[0].max(code.bits[1])).all(|symbol| code.hash(symbol) != 0) {
            return code;
        }
    }
}

fn for_every_level(code: &Code, targets: &[f32]) -> Path {
    let mut expected = vec![0; targets.len()];
    let mut search = with_values(Isa::Scalar, code, &code.values());
    let path = search.run(targets, &mut expected);
    for isa in Isa::available() {
        let mut symbols = vec![0; targets.len()];
        let mut search = with_values(isa, code, &code.values());
        assert_eq!(search.run(targets, &mut symbols), path, "{}", isa.name());
        assert_eq!(symbols, expected, "{}", isa.name());
    }
    path
}

fn same_at_every_level(code: &Code) {
    let mut rng = SplitMix64(1 << code.bits[0]);
    for round in 0..24 {
        // In random codes, two columns that tell the states of a vector apart are equal.
        let code = if round % 3 == 0 { code.clone() } else { random_code(code, &mut rng) };
        let spread = [1.0, 0.2, 4.0, 1e6][round % 4] * code.sigma;
        let targets: Vec<f32> = (0..[64, 256, 1][round % 3]).map(|_| rng.normal() * spread).collect();
        for_every_level(&code, &targets);
    }
}

#[test]
fn same_path_at_every_level() {
    same_at_every_level(&T2);
    same_at_every_level(&T25);
    same_at_every_level(&T3);
    same_at_every_level(&T35);
    same_at_every_level(&T4);
    same_at_every_level(&T5);
}

/// Squared error per target, in units of the targets' variance.
fn error(code: &Code) -> f32 {
    const BLOCKS: usize = 20;
    let mut rng = SplitMix64(1);
    let mut search = for_code(code);
    let mut run = || {
        let targets: [f32; 256] = std::array::from_fn(|_| rng.normal() * code.sigma);
        search.run(&targets, &mut [0; 256]).error
    };
    let sum: f32 = (0..BLOCKS).map(|_| run()).sum();
    sum / (BLOCKS * 256) as f32 / (code.sigma * code.sigma)
}

/// The means over many blocks are .0657, .0340, .0171, .0087, .0045 and .0013; a mean over 20 varies by 2 %.
#[test]
fn error_is_near_the_bound() {
    assert!(error(&T2) < 0.068);
    assert!(error(&T25) < 0.0352);
    assert!(error(&T3) < 0.0178);
    assert!(error(&T35) < 0.0090);
    assert!(error(&T4) < 0.0047);
    assert!(error(&T5) < 0.0014);
}

/// The reported path is what a decoder makes of history and symbols, and its error is the path's.
#[test]
fn path_decodes() {
    let mut rng = SplitMix64(2);
    for code in [T3, T25, T35, T5] {
        let targets: [f32; 64] = std::array::from_fn(|_| rng.normal() * code.sigma);
        let mut symbols = [0; 64];
        let path = for_code(&code).run(&targets, &mut symbols);
        let mut window = path.history as u32;
        let mut error = 0.0;
        for (i, (x, s)) in targets.iter().zip(symbols).enumerate() {
            window = code.next_window(window, i, s);
            let e = x - code.value(code.hash(window)) as f32;
            error += e * e;
        }
        assert_eq!(error, path.error);
    }
}

#[test]
fn not_finite_targets_do_not_panic() {
    for x in [f32::NAN, f32::INFINITY, f32::MAX] {
        for isa in Isa::available() {
            with_values(isa, &T3, &T3.values()).run(&[x; 64], &mut [0; 64]);
        }
    }
}
