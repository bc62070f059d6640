//! How often tokens come, as a text shows it.

/// The share of every token in text like the one that was counted.
///
/// Tokens that the text does not have share what the tokens that it has once make up (Good, "The population frequencies of
/// species and the estimation of population parameters", 1953, section 2).
#[derive(Clone, Debug, PartialEq)]
pub struct TokenShares {
    /// Sums of shares up to and with each token; the last is 1.
    up_to: Vec<f64>,
}

impl TokenShares {
    /// Of counts that are finite and not negative. `None` if nothing was counted.
    pub(super) fn of_counts(counts: &[f32]) -> Option<TokenShares> {
        let all: f64 = counts.iter().map(|&n| f64::from(n)).sum();
        if all <= 0.0 {
            return None;
        }
        let missing = counts.iter().filter(|&&n| n == 0.0).count();
        let once = counts.iter().filter(|&&n| n == 1.0).count();
        let of_missing = if missing == 0 { 0.0 } else { once.max(1) as f64 / (all + 1.0) };
        let mut sum = 0.0;
        let shares = counts.iter().map(|&n| match n > 0.0 {
            true => f64::from(n) / all * (1.0 - of_missing),
            false => of_missing / missing as f64,
        });
        let up_to = shares.map(|share| {
            sum += share;
            sum
        });
        Some(TokenShares { up_to: up_to.collect() })
    }

    /// `n` tokens below `rows` that stand for equal shares, in the order of their ids. A frequent token may stand for several.
    pub fn quantiles(&self, rows: usize, n: usize) -> Vec<usize> {
        let known = &self.up_to[..rows.min(self.up_to.len())];
        let all = known.last().copied().unwrap_or(0.0);
        let at = |i: usize| all * (2 * i + 1) as f64 / (2 * n) as f64;
        (0..n).map(|i| known.partition_point(|&sum| sum < at(i)).min(rows - 1)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_stand_for_shares() {
        let counts = [0.0, 60.0, 0.0, 1.0, 1.0, 38.0];
        let shares = TokenShares::of_counts(&counts).unwrap();
        let found = shares.quantiles(6, 1000);
        let of = |token: usize| found.iter().filter(|&&t| t == token).count() as f64 / 1000.0;
        let unseen = 2.0 / 101.0;
        assert!((of(1) - 0.6 * (1.0 - unseen)).abs() < 2e-3 && (of(5) - 0.38 * (1.0 - unseen)).abs() < 2e-3);
        assert!((of(0) - unseen / 2.0).abs() < 2e-3 && (of(2) - unseen / 2.0).abs() < 2e-3);
        assert!(found.is_sorted());
    }

    #[test]
    fn rows_beyond_the_counts_are_not_taken() {
        let shares = TokenShares::of_counts(&[1.0, 1.0, 8.0]).unwrap();
        assert_eq!(shares.quantiles(2, 4), [0, 0, 1, 1]);
        assert!(shares.quantiles(9, 4).iter().all(|&t| t < 3));
        assert_eq!(TokenShares::of_counts(&[0.0, 0.0]), None);
    }
}
