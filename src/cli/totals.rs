//! Sums over tensors, a line for each kind of them.

use super::{human_bytes, table};
use comfy_table::Table;
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;
use tenpak_gguf::gguf::File;
use tenpak_gguf::job::bits_per_weight;

/// Sums of tensors of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    pub tensors: u64,
    pub weights: u64,
    pub bytes: u64,
}

/// Sums by kind, whatever kinds are.
pub struct Totals<K>(pub BTreeMap<K, Sum>);

impl<K: Ord> Totals<K> {
    /// The sums of tensors, of which there are kind, weights and bytes.
    pub fn of(tensors: impl IntoIterator<Item = (K, u64, u64)>) -> Totals<K> {
        let mut sums = BTreeMap::<K, Sum>::new();
        for (kind, weights, bytes) in tensors {
            let sum = sums.entry(kind).or_default();
            sum.tensors += 1;
            sum.weights += weights;
            sum.bytes += bytes;
        }
        Totals(sums)
    }

    /// A table with a column of kinds, which `named` names.
    pub fn table(&self, header: &str, named: impl Fn(&K) -> String) -> Table {
        let mut totals = table([header, "tensors", "weights", "size", "bpw"], &[1, 2, 3, 4]);
        for (kind, sum) in &self.0 {
            totals.add_row([
                named(kind),
                sum.tensors.to_string(),
                sum.weights.to_string(),
                human_bytes(sum.bytes),
                bpw(sum.bytes, sum.weights),
            ]);
        }
        totals
    }

    /// The sums under the names of their kinds.
    pub fn json(&self, named: impl Fn(&K) -> String) -> Json {
        let sum = |(kind, Sum { tensors, weights, bytes }): (&K, &Sum)| {
            let bpw = bits_per_weight(*bytes, *weights);
            let sum = json!({ "tensors": tensors, "weights": weights, "bytes": bytes, "bpw": bpw });
            (named(kind), sum)
        };
        Json::Object(self.0.iter().map(sum).collect::<Map<_, _>>())
    }
}

/// Sums of a file's tensors by what `kind_of` says.
pub fn of_file<K: Ord>(file: &File, kind_of: impl Fn(&tenpak_gguf::gguf::Tensor) -> K) -> Totals<K> {
    Totals::of(file.tensors().iter().map(|t| (kind_of(t), t.elements(), t.bytes())))
}

/// Bits per weight as tables show them.
pub fn bpw(bytes: u64, weights: u64) -> String {
    format!("{:.4}", bits_per_weight(bytes, weights))
}
