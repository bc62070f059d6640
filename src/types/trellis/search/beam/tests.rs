use super::*;
use crate::types::trellis::code::{T2, T3, T4, T5, T25, T35};
use crate::types::trellis::search::viterbi;

/// splitmix64 as sums of four uniform values: nearly Gaussian, mean 0.
fn noise(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed;
    let mut uniform = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    move || (0..4).map(|_| uniform()).sum()
}

/// A block: weights in the units of the values, D and U.
struct Block {
    weights: Vec<f32>,
    d: Vec<f32>,
    u: Vec<f32>,
}

impl Block {
    fn new(n: usize, seed: u64) -> Block {
        let mut noise = noise(seed);
        let weights = (0..n).map(|_| noise() * 36.0).collect();
        let d = (0..n).map(|_| (noise() * 0.5).exp()).collect();
        let u = (0..n * n).map(|_| noise() * 0.05).collect();
        Block { weights, d, u }
    }

    fn run(&self, beam: &mut dyn FeedbackSearch) -> (Vec<u8>, u8, f32) {
        let n = self.weights.len();
        let feedback = Feedback { weights: &self.d, rows: &self.u, stride: n };
        let mut symbols = vec![0; n];
        let (history, loss) = beam.run(&self.weights, &mut self.weights.clone(), feedback, &mut symbols);
        (symbols, history, loss)
    }
}

fn check_levels(code: &Code) {
    for (n, width) in [(256, 1), (256, 7), (64, 24), (256, 96), (64, 300)] {
        let block = Block::new(n, (n + width) as u64);
        let expected = block.run(&mut *with_isa(Isa::Scalar, code, width));
        for isa in Isa::available() {
            let mut beam = with_isa(isa, code, width);
            // Twice: nothing may be left of the block before.
            assert_eq!(block.run(&mut *beam), expected, "{} {n} {width}", isa.name());
            assert_eq!(block.run(&mut *beam), expected, "{} {n} {width}, again", isa.name());
        }
    }
}

#[test]
fn same_paths_at_every_level() {
    check_levels(&T2);
    check_levels(&T25);
    check_levels(&T3);
    check_levels(&T35);
    check_levels(&T4);
    check_levels(&T5);
}

#[test]
fn losses_are_those_of_the_symbols() {
    let block = Block::new(256, 3);
    for code in [T3, T25, T35, T5] {
        let mut beam = for_code(&code, 50);
        let (symbols, history, loss) = block.run(&mut *beam);
        let mut values = [0.0; 256];
        beam.values(history, &symbols, &mut values);
        let mut window = history as u32;
        let mut errors = [0.0f64; 256];
        let mut sum = 0.0;
        for i in 0..256 {
            window = code.next_window(window, i, symbols[i]);
            let value = code.value(code.hash(window)) as f32;
            assert_eq!(values[i], value);
            errors[i] = (block.weights[i] - value) as f64;
            let fed_back: f64 = (0..i).map(|j| block.u[j * 256 + i] as f64 * errors[j]).sum();
            sum += block.d[i] as f64 * (errors[i] + fed_back).powi(2);
        }
        // 256 additions in f32.
        assert!((loss as f64 / sum - 1.0).abs() < 1e-4, "{loss} {sum}");
    }
}

#[test]
fn wider_beams_come_close_to_the_exact_search() {
    let mut block = Block::new(256, 5);
    block.d.fill(1.0);
    block.u.fill(0.0);
    let exact = viterbi::for_code(&T3).run(&block.weights, &mut [0; 256]).error;
    let losses = [8, 64, 512].map(|width| block.run(&mut *for_code(&T3, width)).2);
    assert!(losses[0] > losses[1] && losses[1] > losses[2], "{losses:?}");
    // The exact search counts in integers and may miss the least by a little.
    assert!(losses[2] > 0.99 * exact && losses[2] < 1.08 * exact, "{losses:?} {exact}");
}

#[test]
fn weights_that_cost_nothing_are_no_trouble() {
    let mut block = Block::new(64, 6);
    block.d.fill(0.0);
    block.weights.fill(0.0);
    let (_, _, loss) = block.run(&mut *for_code(&T2, 5));
    assert_eq!(loss, 0.0);
}
