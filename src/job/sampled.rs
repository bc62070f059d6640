//! What a file says of which only some blocks are quantized, and what the whole file would cost; docs/allocation.md, section 4.

use super::human_bytes;
use crate::gguf::{File, Value};
use crate::plan::Plan;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Standard deviations to either side.
pub(super) const DEVIATIONS: f64 = 2.0;

const BLOCKS_KEY: &str = "tenpak.sample.blocks";
const BYTES_KEY: &str = "tenpak.sample.file_bytes";
const TIMES_KEYS: [&str; 3] = ["tenpak.sample.times_low", "tenpak.sample.times", "tenpak.sample.times_high"];

/// A value, and between what it lies with a probability of about 95 %.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// What is most likely.
    pub value: f64,
    /// The upper end.
    pub high: f64,
}

/// What a file says of which only some blocks are quantized.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampled {
    /// The blocks, as a list of numbers.
    pub blocks: String,
    /// Bytes of the whole file.
    pub file_bytes: u64,
    /// How many times the divergence of this file that of the whole one is.
    pub times: Interval,
}

/// What the whole file would cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Whole {
    /// Blocks that were quantized, as a list of numbers.
    pub sampled_blocks: String,
    /// Bytes of the whole file.
    pub bytes: u64,
    /// Mean divergence in nats.
    pub kld: Interval,
    /// Percent by which perplexity is above that of the base.
    pub perplexity_change: Interval,
}

impl fmt::Display for Whole {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Whole { sampled_blocks, bytes, kld, perplexity_change: change } = self;
        write!(
            f,
            "blocks {sampled_blocks} are quantized; the whole file ({}) would have KLD {:.4} ({:.4} to {:.4}), perplexity {:+.2} % \
             ({:+.2} to {:+.2})",
            human_bytes(*bytes),
            kld.value,
            kld.low,
            kld.high,
            change.value,
            change.low,
            change.high
        )
    }
}

impl Sampled {
    /// What a file says; `None` if it is no sample.
    pub fn of(file: &File) -> Option<Sampled> {
        let number = |key: &str| file.key(key)?.as_f64().filter(|times| times.is_finite() && *times > 0.0);
        let [low, value, high] = TIMES_KEYS.map(number);
        Some(Sampled {
            blocks: file.key(BLOCKS_KEY)?.as_str()?.to_owned(),
            file_bytes: file.key(BYTES_KEY)?.as_u64()?,
            times: Interval { low: low?, value: value?, high: high? },
        })
    }

    /// The whole file, from the mean divergence of this one and the natural logarithm of its perplexity over the base's, each with its
    /// standard error. The latter is proportional to the divergence.
    pub fn whole(&self, kld: (f64, f64), log_ratio: (f64, f64)) -> Whole {
        let [kld, log_ratio] = [kld, log_ratio].map(|(value, error)| {
            let ends = [value - DEVIATIONS * error, value + DEVIATIONS * error];
            // Of a perplexity that may be lower than the base's the lower end is further off the more there are of such blocks.
            let low = ends[0] * if ends[0] < 0.0 { self.times.high } else { self.times.low };
            let high = ends[1] * if ends[1] < 0.0 { self.times.low } else { self.times.high };
            Interval { low, value: value * self.times.value, high }
        });
        let percent = |log: f64| 100.0 * (log.exp() - 1.0);
        Whole {
            sampled_blocks: self.blocks.clone(),
            bytes: self.file_bytes,
            kld: Interval { low: kld.low.max(0.0), ..kld },
            perplexity_change: Interval {
                low: percent(log_ratio.low),
                value: percent(log_ratio.value),
                high: percent(log_ratio.high),
            },
        }
    }

    /// A plan whose file says this.
    pub(super) fn name_in(&self, plan: Plan) -> Plan {
        let Interval { low, value, high } = self.times;
        let plan = plan
            .with_key(BLOCKS_KEY, self.blocks.as_str().into())
            .with_key(BYTES_KEY, Value::U64(self.file_bytes));
        let times = TIMES_KEYS.into_iter().zip([low, value, high]);
        times.fold(plan, |plan, (key, times)| plan.with_key(key, (times as f32).into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_take_the_error_of_what_was_measured_too() {
        let times = Interval { low: 2.0, value: 3.0, high: 5.0 };
        let sampled = Sampled { blocks: "0".into(), file_bytes: 1, times };
        let whole = sampled.whole((0.1, 0.01), (0.2, 0.0));
        assert!((whole.kld.low - 0.16).abs() < 1e-12 && (whole.kld.high - 0.6).abs() < 1e-12);
        assert!((whole.perplexity_change.value - 100.0 * (0.6f64.exp() - 1.0)).abs() < 1e-9);
        let better = sampled.whole((0.001, 0.01), (-0.1, 0.0));
        assert_eq!(better.kld.low, 0.0);
        assert!(better.perplexity_change.low < better.perplexity_change.value);
        assert!((better.perplexity_change.low - 100.0 * ((-0.5f64).exp() - 1.0)).abs() < 1e-9);
    }
}
