//! A plan: sizes, and what decided about types.

use super::totals::Totals;
use super::{human_bytes, rate, table};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::io::Write;
use tenpak_gguf::gguf::GgmlType;
use tenpak_gguf::job::bits_per_weight;
use tenpak_gguf::plan::Plan;

fn by_type(plan: &Plan) -> Totals<GgmlType> {
    Totals::of(plan.tensors.iter().map(|t| (t.header.kind, t.source.elements(), t.header.bytes)))
}

/// Prints sizes by type, how many tensors each rule decided about, the whole, and what corrections of low rank add to it.
pub fn print(plan: &Plan) -> anyhow::Result<()> {
    let mut by_rule = BTreeMap::new();
    for t in &plan.tensors {
        let rule = t.why.rule.unwrap_or(usize::MAX);
        *by_rule.entry((rule, t.header.kind, t.why.to_string())).or_insert(0u64) += 1;
    }
    let types = by_type(plan).table("type", |kind| kind.name());
    let mut rules = table(["tensors", "type", "why"], &[0]);
    for ((_, kind, why), tensors) in by_rule {
        rules.add_row([tensors.to_string(), kind.name(), why]);
    }
    let out = &mut std::io::stdout();
    writeln!(out, "{types}\n\n{rules}\n\nfile: {}", rate(plan.file_bytes, plan.weights()))?;
    let (matrices, bytes) = plan.corrections();
    if matrices > 0 {
        let both = rate(plan.file_bytes + bytes, plan.weights());
        writeln!(out, "corrections of {matrices} matrices: {}; with the file: {both}", human_bytes(bytes))?;
    }
    Ok(())
}

/// The plan with every tensor. Names are those of `inspect --json`.
pub fn json(plan: &Plan) -> Json {
    let tensors = plan.tensors.iter().map(|t| {
        let (bytes, weights) = (t.header.bytes, t.source.elements());
        json!({
            "name": t.header.name,
            "type": t.header.kind.name(),
            "shape": t.header.shape,
            "weights": weights,
            "bytes": bytes,
            "bpw": bits_per_weight(bytes, weights),
            "why": t.why.to_string(),
        })
    });
    let bpw = bits_per_weight(plan.file_bytes, plan.weights());
    let (matrices, bytes) = plan.corrections();
    json!({
        "corrections": { "matrices": matrices, "bytes": bytes },
        "bytes": plan.file_bytes,
        "weights": plan.weights(),
        "bpw": bpw,
        "times_smaller_than_fp32": 32.0 / bpw,
        "types": by_type(plan).json(|kind| kind.name()),
        "tensors": tensors.collect::<Vec<_>>(),
    })
}
