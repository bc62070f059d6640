//! Weights that come as floats: the nearest code of a scale by the largest weights, with and without error feedback.

use super::layout::Codes4;
use crate::types::feedback::{Feedback, FeedbackQuantizer};

/// Quantizes whole blocks; values that are not finite count as zero.
pub fn quantize_row<T: Codes4>(x: &[f32], out: &mut [T]) {
    for (x, out) in x.chunks_exact(T::LEN).zip(out) {
        let x: Vec<f32> = x.iter().map(|&v| if v.is_finite() { v } else { 0.0 }).collect();
        *out = T::fit(&x);
        for (i, &x) in x.iter().enumerate() {
            let code = out.nearest(x);
            out.set_code(i, code);
        }
    }
}

/// One weight after the other, its error fed on to the rest of the block (Frantar et al., GPTQ, 2022).
pub struct WithFeedback<T> {
    targets: Vec<f32>,
    of: std::marker::PhantomData<fn() -> T>,
}

impl<T> WithFeedback<T> {
    pub fn new() -> Self {
        WithFeedback { targets: Vec::new(), of: std::marker::PhantomData }
    }
}

impl<T: Codes4> FeedbackQuantizer for WithFeedback<T> {
    fn rotate(&self, _: &mut [f32]) {}

    fn quantize(
        &mut self,
        weights: &[f32],
        targets: &[f32],
        feedback: Feedback,
        out: &mut [u8],
        errors: &mut [f32],
    ) -> f32 {
        self.targets.clear();
        self.targets.extend(targets.iter().map(|&t| if t.is_finite() { t } else { 0.0 }));
        let mut block = T::fit(&self.targets);
        let mut loss = 0.0;
        for i in 0..T::LEN {
            let target = self.targets[i];
            let code = block.nearest(target);
            block.set_code(i, code);
            let value = block.weight(code);
            errors[i] = weights[i] - value;
            loss += feedback.weights[i] * (target - value) * (target - value);
            let row = &feedback.rows[i * feedback.stride..][..T::LEN];
            for (later, u) in self.targets[i + 1..].iter_mut().zip(&row[i + 1..]) {
                *later += u * errors[i];
            }
        }
        out.copy_from_slice(bytemuck::bytes_of(&block));
        loss
    }
}
