//! The blocks of a model whose matrices matter least.

use super::error::Problem;
use crate::calibration::{Sensitivities, Use};
use std::collections::{BTreeMap, BTreeSet};

/// What is known of how much depends on each matrix.
#[derive(Clone, Copy, Debug)]
pub enum Knowledge<'a> {
    /// Nothing.
    Nothing,
    /// Nothing yet: the first blocks stand for those that matter least, so that sizes can be told.
    Later,
    /// What a calibration says.
    Measured(&'a Sensitivities),
}

/// The share of the blocks whose matrices matter least, at least one: a block matters as much as its matrices among the given
/// ones, of which each has a block and a name, do together.
pub(super) fn blocks<'a>(
    share: f64,
    matrices: impl Iterator<Item = (u64, &'a str)>,
    knowledge: Knowledge,
) -> Result<BTreeSet<u64>, Problem> {
    let mut sums = BTreeMap::new();
    for (block, name) in matrices {
        let found = match knowledge {
            Knowledge::Nothing => None,
            Knowledge::Later => Some(0.0),
            Knowledge::Measured(all) => all.of(name, Use::Product).map(|s| s.divergence),
        };
        *sums.entry(block).or_insert(0.0) +=
            found.ok_or_else(|| Problem::NoSensitivity { tensor: name.to_owned() })?;
    }
    let count = ((share * sums.len() as f64).round() as usize).max(1);
    let mut order: Vec<(u64, f64)> = sums.into_iter().collect();
    // In the order of the blocks where they matter alike.
    order.sort_by(|a, b| a.1.total_cmp(&b.1));
    Ok(order.into_iter().take(count).map(|(block, _)| block).collect())
}
