//! Which of two traces' tables differ first.

use super::error::{Difference, Distance, VerifyError};
use super::trace::{EMBEDDINGS, LOGITS, Rows, Trace, block};

/// The distance of two rows, relative to the length of one, that rounding explains. Both sides multiply the same weights in
/// F32, in another order: 1e-5 and less. llama.cpp's GELU is a table of 16 bits, and an approximation where the model has
/// the exact one: 2.9e-3 at most over tiny models of all architectures. Weights of F32 among others of BF16 are BF16 in the
/// plain file: 2e-3. A wrong scale, norm, rotation or activation is off by 2e-2 and more.
const TOLERANCE: f64 = 5e-3;

/// The share of tokens that may be farther off in models with experts: where two experts have nearly the same score, the
/// last bits decide which one a token gets, and all after it sees the difference.
const SHARE_WITH_EXPERTS: f64 = 1.0 / 16.0;

/// What was compared and agrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    /// Tokens that both sides computed.
    pub tokens: usize,
    /// Blocks whose outputs were compared.
    pub blocks: u64,
    /// Blocks of the model.
    pub of_blocks: u64,
    /// The largest relative distance.
    pub largest: f64,
}

/// The two sides of a comparison.
pub(super) struct Sides<'a> {
    pub ids: &'a [u32],
    pub blocks: u64,
    pub has_experts: bool,
    pub ours: &'a Trace,
    pub theirs: &'a Trace,
}

impl Sides<'_> {
    /// Compares embeddings, blocks and logits, in this order, and stops at the first that differs.
    pub fn compare(&self) -> Result<Agreement, VerifyError> {
        let mut largest: f64 = 0.0;
        let differs = |difference| VerifyError::Differs(Box::new(difference));
        if let Some(distance) = self.distance(EMBEDDINGS, length)? {
            // No rounding reaches them, experts or not.
            if distance.tokens > 0 {
                return Err(differs(Difference::Embeddings(distance)));
            }
            largest = largest.max(distance.relative);
        }
        let allowed =
            if self.has_experts { (self.ids.len() as f64 * SHARE_WITH_EXPERTS) as usize } else { 0 };
        let mut compared = 0;
        for number in 0..self.blocks {
            let Some(distance) = self.distance(&block(number), length)? else { continue };
            if distance.tokens > allowed {
                return Err(differs(Difference::Block { block: number, distance, before: largest }));
            }
            (compared, largest) = (compared + 1, largest.max(distance.relative));
        }
        let logits = self.distance(LOGITS, length_about_mean)?;
        let distance = logits.ok_or_else(|| self.theirs.lacks(LOGITS))?;
        if distance.tokens > allowed {
            return Err(differs(Difference::Logits { distance, after_blocks: compared > 0 }));
        }
        let largest = largest.max(distance.relative);
        Ok(Agreement { tokens: self.ids.len(), blocks: compared, of_blocks: self.blocks, largest })
    }

    /// How far two tables are from each other; `None` if not both sides have one. What goes into and out of blocks has to
    /// have as many columns: models with several streams between blocks show them in other shapes.
    fn distance(&self, name: &str, length: fn(&[f32]) -> f64) -> Result<Option<Distance>, VerifyError> {
        let of = |trace: &Trace| trace.rows(name, self.ids.len());
        let (Some(ours), Some(theirs)) = (of(self.ours)?, of(self.theirs)?) else { return Ok(None) };
        let fits = name == LOGITS || ours.columns == theirs.columns;
        Ok(fits.then(|| distance(&ours, &theirs, self.ids, length)))
    }
}

/// How far two tables are from each other. Columns that only one has are padding of a vocabulary.
fn distance(ours: &Rows, theirs: &Rows, ids: &[u32], length: fn(&[f32]) -> f64) -> Distance {
    let columns = ours.columns.min(theirs.columns);
    let mut worst = Distance { token: 1, id: ids[0], relative: 0.0, tokens: 0, of: ids.len() };
    let pairs = ours.values.chunks_exact(ours.columns).zip(theirs.values.chunks_exact(theirs.columns));
    for (i, (ours, theirs)) in pairs.enumerate() {
        let (ours, theirs) = (&ours[..columns], &theirs[..columns]);
        let squares: f64 = ours.iter().zip(theirs).map(|(a, b)| (*a as f64 - *b as f64).powi(2)).sum();
        let relative = match (squares.sqrt(), length(theirs)) {
            (0.0, _) => 0.0,
            (off, length) => off / length,
        };
        // What is no number is farthest off.
        let relative = if relative.is_nan() { f64::INFINITY } else { relative };
        worst.tokens += (relative > TOLERANCE) as usize;
        if relative > worst.relative {
            (worst.token, worst.id, worst.relative) = (i + 1, ids[i], relative);
        }
    }
    worst
}

/// The length of a row.
fn length(row: &[f32]) -> f64 {
    row.iter().map(|v| (*v as f64).powi(2)).sum::<f64>().sqrt()
}

/// The length of a row less its mean: what all logits share changes no prediction, and would hide differences.
fn length_about_mean(row: &[f32]) -> f64 {
    let mean = row.iter().map(|v| *v as f64).sum::<f64>() / row.len().max(1) as f64;
    row.iter().map(|v| (*v as f64 - mean).powi(2)).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(columns: usize, values: &[f32]) -> Rows {
        Rows { columns, values: values.to_vec() }
    }

    #[test]
    fn the_farthest_token_is_named() {
        let theirs = rows(2, &[3.0, 4.0, 0.0, 2.0, 1.0, 0.0]);
        let ours = rows(2, &[3.0, 4.0, 0.0, 1.0, 1.0, 0.2]);
        let found = distance(&ours, &theirs, &[7, 8, 9], length);
        assert_eq!((found.token, found.id, found.relative), (2, 8, 0.5));
        assert_eq!((found.tokens, found.of), (2, 3));
    }

    #[test]
    fn what_is_no_number_differs() {
        for (a, b) in [(f32::NAN, 1.0), (1.0, f32::NAN), (f32::INFINITY, 1.0), (1.0, 0.0)] {
            let found = distance(&rows(1, &[a]), &rows(1, &[b]), &[5], length);
            assert_eq!((found.relative, found.tokens), (f64::INFINITY, 1), "{a} {b}");
        }
        assert_eq!(distance(&rows(1, &[0.0]), &rows(1, &[0.0]), &[5], length).relative, 0.0);
    }

    #[test]
    fn padding_of_a_vocabulary_does_not_count() {
        let found = distance(&rows(3, &[1.0, 2.0, 9.0]), &rows(2, &[1.0, 2.0]), &[5], length);
        assert_eq!(found.relative, 0.0);
    }

    #[test]
    fn what_all_logits_share_does_not_hide_differences() {
        let (ours, theirs) = (rows(2, &[1000.0, 1001.0]), rows(2, &[1001.0, 1000.0]));
        assert!(distance(&ours, &theirs, &[5], length_about_mean).relative > 1.0);
        assert!(distance(&ours, &theirs, &[5], length).relative < TOLERANCE);
    }
}
