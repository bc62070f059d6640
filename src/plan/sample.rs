//! Some blocks of a model that stand for all, where quantizing all takes too long.

use super::{Plan, Planned, Why};
use crate::checkpoint::Model;
use crate::names::{block, in_block};
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::Arc;

/// Which blocks are quantized.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sample {
    /// These, by number.
    Blocks(BTreeSet<u64>),
    /// So many from the first on.
    First(u64),
    /// The first, and every k-th after it.
    Every(u64),
    /// So many, spread evenly over all.
    Spread(u64),
    /// One of each kind, the middle one: blocks are of one kind if their tensors have the same names and shapes.
    Kinds,
}

/// Why a sample is none of a model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SampleError {
    /// A block that the model does not have.
    #[error("there is no block {block} to sample: the model has {count}, of which the first is 0")]
    NoBlock {
        /// The block.
        block: u64,
        /// Blocks of the model.
        count: u64,
    },
    /// More blocks than the model has.
    #[error("a sample of {wanted} blocks is none of this model, which has {count}")]
    TooMany {
        /// Blocks that were asked for.
        wanted: u64,
        /// Blocks of the model.
        count: u64,
    },
    /// There is nothing to extrapolate from.
    #[error("nothing in blocks {0} is quantized, so that they say nothing about the others")]
    NothingQuantized(String),
}

/// A text that is no sample.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSample {
    /// Not a list of blocks.
    #[error("not a list of blocks such as 0,8,16 or 0-3,20")]
    List,
    /// Not a way of sampling.
    #[error("not a number of blocks such as 8, nor `first:8`, `every:4` or `kinds`")]
    Way,
}

impl Sample {
    /// Reads blocks by number: `0,8,16` or `0-3,20`.
    pub fn of_list(text: &str) -> Result<Sample, NoSample> {
        let mut blocks = BTreeSet::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| text.trim().parse::<u32>().map_err(|_| NoSample::List);
            let (first, last) = (number(first)?, number(last)?);
            // No model has as many, and a set of them has to be made.
            if first > last || last > 1_000_000 {
                return Err(NoSample::List);
            }
            blocks.extend((first..=last).map(u64::from));
        }
        Ok(Sample::Blocks(blocks))
    }

    /// The numbers of the blocks, at least one.
    pub fn blocks(&self, model: &Model) -> Result<BTreeSet<u64>, SampleError> {
        let count = model.block_count();
        let all = |wanted: u64| match wanted <= count {
            true => Ok(wanted),
            false => Err(SampleError::TooMany { wanted, count }),
        };
        match self {
            Sample::Blocks(blocks) => match blocks.iter().find(|&&block| block >= count) {
                Some(&block) => Err(SampleError::NoBlock { block, count }),
                None => Ok(blocks.clone()),
            },
            Sample::First(n) => Ok((0..all(*n)?).collect()),
            Sample::Every(k) => {
                all(*k)?;
                Ok((0..count).step_by(*k as usize).collect())
            }
            Sample::Spread(n) => {
                all(*n)?;
                Ok((0..*n).map(|i| (2 * i + 1) * count / (2 * n)).collect())
            }
            Sample::Kinds => Ok(one_of_each_kind(model)),
        }
    }
}

impl FromStr for Sample {
    type Err = NoSample;

    /// Reads `8`, `first:8`, `every:4` or `kinds`.
    fn from_str(text: &str) -> Result<Sample, NoSample> {
        let number = |text: &str| text.parse::<u32>().ok().filter(|&n| n > 0).map(u64::from);
        let found = match text.split_once(':') {
            Some(("first", n)) => number(n).map(Sample::First),
            Some(("every", k)) => number(k).map(Sample::Every),
            Some(_) => None,
            None if text == "kinds" => Some(Sample::Kinds),
            None => number(text).map(Sample::Spread),
        };
        found.ok_or(NoSample::Way)
    }
}

/// The middle block of those that have the same tensors.
fn one_of_each_kind(model: &Model) -> BTreeSet<u64> {
    let mut tensors: BTreeMap<u64, Vec<(&str, &[u64])>> = BTreeMap::new();
    for t in &model.tensors {
        if let Some((block, rest)) = in_block(&t.name) {
            tensors.entry(block).or_default().push((rest, &t.shape));
        }
    }
    let mut kinds: BTreeMap<Vec<(&str, &[u64])>, Vec<u64>> = BTreeMap::new();
    for (block, mut of_block) in tensors {
        of_block.sort_unstable();
        kinds.entry(of_block).or_default().push(block);
    }
    kinds.values().map(|blocks| blocks[blocks.len() / 2]).collect()
}

impl Plan {
    /// The same file with only these blocks, and what is in none, as planned; the others are as in `plain`, a plan of the same model.
    pub fn with_blocks(self, blocks: &BTreeSet<u64>, plain: Plan) -> Plan {
        let Plan { keys, tensors, .. } = self;
        let is_sampled = |planned: &Planned| block(&planned.header.name).is_none_or(|b| blocks.contains(&b));
        let words: Arc<str> = "its block is not in the sample".into();
        let left = |plain: Planned| Planned { why: Why { words: words.clone(), ..plain.why }, ..plain };
        let tensors = tensors.into_iter().zip(plain.tensors);
        let tensors =
            tensors.map(|(planned, plain)| if is_sampled(&planned) { planned } else { left(plain) });
        Plan::of(keys, tensors.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_and_lists_are_read() {
        let blocks = |numbers: &[u64]| Ok(Sample::Blocks(numbers.iter().copied().collect()));
        assert_eq!(Sample::of_list("0,8,16"), blocks(&[0, 8, 16]));
        assert_eq!(Sample::of_list("0-3, 20"), blocks(&[0, 1, 2, 3, 20]));
        for wrong in ["", "a", "3-1", "1,,2", "-1", "4000000000", "0-2000000"] {
            assert_eq!(Sample::of_list(wrong), Err(NoSample::List), "{wrong:?}");
        }
        assert_eq!("8".parse(), Ok(Sample::Spread(8)));
        assert_eq!("first:2".parse(), Ok(Sample::First(2)));
        assert_eq!("every:4".parse(), Ok(Sample::Every(4)));
        assert_eq!("kinds".parse(), Ok(Sample::Kinds));
        for wrong in ["", "0", "every:0", "last:3", "first:", "kind"] {
            assert_eq!(wrong.parse::<Sample>(), Err(NoSample::Way), "{wrong:?}");
        }
    }
}
