//! The best mix of types for a size.

use super::costs::TensorCosts;
use super::origin;
use crate::calibration::Sensitivities;
use crate::checkpoint::{Model, SourceTensor};
use crate::names::{Input, Mlp, Role, SharedInput};
use crate::plan::{self, AdapterPlan, Candidate, Offer, Plan, Recipe, Target, allocate, factors};
use std::collections::BTreeMap;
use std::fmt::Write;

/// How large a file is to be, with everything in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Size {
    /// So many times smaller than FP32 would be.
    Times(f64),
    /// So many bits for each weight.
    BitsPerWeight(f64),
    /// So many bytes.
    Bytes(u64),
}

impl Size {
    /// Bytes of a file with so many weights.
    pub fn bytes(self, weights: u64) -> u64 {
        match self {
            Size::Times(times) => (weights as f64 * 4.0 / times) as u64,
            Size::BitsPerWeight(bits) => (weights as f64 * bits / 8.0) as u64,
            Size::Bytes(bytes) => bytes,
        }
    }
}

/// A mix of types.
#[derive(Clone, Debug)]
pub struct Allocation {
    /// The recipe of it, as the text of a file.
    pub text: String,
    /// The plan that the recipe makes.
    pub plan: Plan,
    /// The mean divergence of predictions that is expected, in nats.
    pub expected: f64,
    /// What is expected of each tensor, by its place in the model; small divergences add up.
    pub costs: BTreeMap<usize, f64>,
}

/// Why there is no mix.
#[derive(Debug, thiserror::Error)]
pub enum AllocationError {
    /// Even the smallest is too large.
    #[error(
        "{wanted} bytes are too few: the smallest file of this model has {least} bytes ({bits:.2} bits per weight, {times:.1}x); ask for that or more"
    )]
    TooSmall {
        /// Bytes that were asked for.
        wanted: u64,
        /// Bytes of the smallest file.
        least: u64,
        /// Its bits per weight.
        bits: f64,
        /// How many times smaller than FP32 it is.
        times: f64,
    },
    /// The recipe that came of it.
    #[error(transparent)]
    Plan(#[from] plan::Error),
}

/// Tensors that get the same type.
struct Group {
    members: Vec<usize>,
    offers: Vec<Offer>,
}

/// Chooses the type of every tensor whose costs are known, so that the file has at most `size` and the expected divergence is
/// least. Of all others the types are those of `rest`, the plan of the recipe that suits the model.
pub fn allocation(
    model: &Model,
    costs: &[TensorCosts],
    sensitivities: &Sensitivities,
    rest: &Plan,
    size: Size,
) -> Result<Allocation, AllocationError> {
    let groups = groups(model, costs);
    let wanted = size.bytes(rest.weights());
    let allocated: u64 = costs.iter().map(|t| padded(rest.tensors[t.index].header.bytes)).sum();
    let fixed = rest.file_bytes - allocated;
    let found = allocation_beside(model, costs, sensitivities, rest, &groups, fixed, wanted)?;
    // Of an adapter file the header is known when it is known which tensors are in it.
    match AdapterPlan::of(model, &found.plan) {
        None => Ok(found),
        Some(adapter) => {
            let data: u64 = adapter.tensors.iter().map(|t| padded(t.bytes)).sum();
            let fixed = fixed + adapter.file_bytes() - data;
            allocation_beside(model, costs, sensitivities, rest, &groups, fixed, wanted)
        }
    }
}

/// The allocation beside so many bytes that are there whatever is chosen.
fn allocation_beside(
    model: &Model,
    costs: &[TensorCosts],
    sensitivities: &Sensitivities,
    rest: &Plan,
    groups: &[Group],
    fixed: u64,
    wanted: u64,
) -> Result<Allocation, AllocationError> {
    let items: Vec<Vec<Offer>> = groups.iter().map(|group| group.offers.clone()).collect();
    let chosen = allocate(&items, wanted.saturating_sub(fixed)).ok_or_else(|| {
        let least = |offers: &Vec<Offer>| offers.iter().map(|o| o.bytes).min().unwrap_or(0);
        let least = fixed + items.iter().map(least).sum::<u64>();
        let bits = least as f64 * 8.0 / rest.weights() as f64;
        AllocationError::TooSmall { wanted, least, bits, times: 32.0 / bits }
    })?;
    let mut choices = BTreeMap::new();
    let mut sum = 0.0;
    for (group, &choice) in groups.iter().zip(&chosen) {
        sum += group.offers[choice].cost;
        for &member in &group.members {
            let (candidate, cost) = costs[member].offers[choice];
            choices.insert(costs[member].index, (candidate, cost));
        }
    }
    let expected = sensitivities.expected(sum);
    let text = recipe(model, &choices, sum, expected, rest);
    let parsed = Recipe::parse("the allocation", &text, &[])?;
    let plan = origin::as_in(rest, Plan::new(model, &parsed)?);
    let costs = choices.into_iter().map(|(index, (_, cost))| (index, cost)).collect();
    Ok(Allocation { text, plan, expected, costs })
}

/// Bytes of a tensor with what stands between it and the next.
fn padded(bytes: u64) -> u64 {
    bytes.next_multiple_of(crate::gguf::DEFAULT_ALIGNMENT)
}

/// Gate and up of one input together, so that they can be computed together, everything else by itself.
fn groups(model: &Model, costs: &[TensorCosts]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut known = BTreeMap::new();
    for (at, tensor) in costs.iter().enumerate() {
        let t = &model.tensors[tensor.index];
        let offers: Vec<Offer> =
            tensor.offers.iter().map(|(c, cost)| Offer { bytes: with_factors(t, c), cost: *cost }).collect();
        let is_pair = matches!(
            Role::of(&t.name),
            Role::Mlp(Mlp::Gate | Mlp::Up)
                | Role::Experts(Mlp::Gate | Mlp::Up)
                | Role::SharedExperts(Mlp::Gate | Mlp::Up)
        );
        let shared = SharedInput::of(&t.name).filter(|_| is_pair);
        let key = shared.map(|s| (s.scope.to_owned(), matches!(s.input, Input::Experts), t.shape.clone()));
        let together = key.as_ref().and_then(|key| known.get(key).copied());
        match together {
            Some(group) if same_targets(costs, &groups[group], tensor) => {
                let group: &mut Group = &mut groups[group];
                group.members.push(at);
                for (sum, offer) in group.offers.iter_mut().zip(&offers) {
                    sum.bytes += offer.bytes;
                    sum.cost += offer.cost;
                }
            }
            _ => {
                if let Some(key) = key {
                    known.insert(key, groups.len());
                }
                groups.push(Group { members: vec![at], offers });
            }
        }
    }
    groups
}

/// Bytes of a candidate, with its correction.
fn with_factors(t: &SourceTensor, candidate: &Candidate) -> u64 {
    let factors = (candidate.rank > 0).then(|| factors(t, candidate.rank));
    padded(candidate.bytes) + factors.iter().flatten().map(|factor| padded(factor.bytes)).sum::<u64>()
}

fn same_targets(costs: &[TensorCosts], group: &Group, tensor: &TensorCosts) -> bool {
    let kinds = |t: &TensorCosts| t.offers.iter().map(|(c, _)| (c.target.ggml(), c.rank)).collect::<Vec<_>>();
    kinds(&costs[group.members[0]]) == kinds(tensor)
}

/// The text of a recipe: a rule for every tensor, and one for those that are as they would be without a size.
fn recipe(
    model: &Model,
    choices: &BTreeMap<usize, (Candidate, f64)>,
    sum: f64,
    expected: f64,
    rest: &Plan,
) -> String {
    let mut text = format!("about = \"the least expected divergence for its size: {expected:.4} nats\"\n");
    let mut rule = |name: &str, word: &str, rank: usize, why: &str| {
        let _ = write!(text, "\n[[rule]]\nwhy = \"{why}\"\nnames = [\"{name}\"]\ntypes = [\"{word}\"]\n");
        if rank > 0 {
            let _ = writeln!(text, "low_rank = {rank}");
        }
    };
    let mut others = false;
    for (index, t) in model.tensors.iter().enumerate() {
        match choices.get(&index) {
            Some((candidate, cost)) => {
                let share = if sum > 0.0 { 100.0 * cost / sum } else { 0.0 };
                rule(
                    &t.name,
                    &word(candidate.target),
                    candidate.rank,
                    &format!("{cost:.6} nats, {share:.2} % of the sum"),
                );
            }
            None if rest.tensors[index].why.rule.is_some() => {
                let planned = &rest.tensors[index];
                match planned.target {
                    Target::Blocks(_) | Target::Upstream(_) => {
                        rule(&t.name, &word(planned.target), planned.rank, &planned.why.words)
                    }
                    Target::Plain(_) | Target::Kept(_) => others = true,
                }
            }
            None => {}
        }
    }
    if others {
        text +=
            "\n[[rule]]\nwhy = \"nothing is known of what its errors do\"\ntypes = [\"keep\", \"stored\"]\n";
    }
    text
}

/// A target as recipes write it.
fn word(target: Target) -> String {
    match target {
        Target::Plain(_) => "stored".into(),
        Target::Kept(_) => "keep".into(),
        Target::Blocks(kind) => kind.name.into(),
        Target::Upstream(kind) => kind.name.into(),
    }
}
