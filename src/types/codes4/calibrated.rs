//! The calibrated quantizer's side of the types with codes of 4 bits: the nearest codes, with error feedback.

use super::layout::Codes4;
use crate::types::feedback::{Calibrated, Feedback, FeedbackQuantizer};
use std::marker::PhantomData;

/// What the calibrated quantizer needs of a type with codes of 4 bits: its blocks are not rotated.
pub const fn calibrated<T: Codes4>() -> Calibrated {
    Calibrated {
        rotate: |_| {},
        quantizer: |_| Box::new(WithFeedback::<T> { targets: Vec::new(), of: PhantomData }),
        makers: None,
    }
}

/// Takes one weight after the other and feeds its error on to the rest of the block (Frantar et al., GPTQ, 2022).
struct WithFeedback<T> {
    targets: Vec<f32>,
    of: PhantomData<fn() -> T>,
}

impl<T: Codes4> FeedbackQuantizer for WithFeedback<T> {
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
