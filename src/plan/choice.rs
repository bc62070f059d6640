//! What a rule says of types: a word each.

use super::candidates::{Family, weight_types};
use super::error::Problem;
use crate::checkpoint::Dtype;
use crate::gguf::{UPSTREAM_TYPES, UpstreamType};
use crate::types::feedback::Makers;
use crate::types::{self, TensorType};
use std::collections::BTreeMap;

/// What a word among the types of a rule stands for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Choice {
    Keep,
    Stored,
    Float(Dtype),
    Family(Family),
    Type(&'static TensorType),
    Upstream(&'static UpstreamType),
}

/// Float types by their names.
const FLOATS: [Dtype; 3] = [Dtype::F32, Dtype::F16, Dtype::BF16];

impl Choice {
    /// Understands a word, or the value of the parameter that it names.
    pub fn parse(word: &str, parameters: &BTreeMap<String, String>) -> Result<Choice, Problem> {
        let word = match word.strip_prefix('$') {
            None => word,
            Some(name) => parameters.get(name).ok_or_else(|| Problem::Parameter {
                found: name.to_owned(),
                known: list(parameters.keys()),
            })?,
        };
        let float = FLOATS.into_iter().find(|d| d.ggml().name() == word).map(Choice::Float);
        let family = || Family::named(word).map(Choice::Family);
        // The name alone stands for blocks of any length.
        let name = word.strip_suffix("_256").filter(|name| Family::named(name).is_some()).unwrap_or(word);
        let of_blocks = || types::by_name(name).filter(|t| t.kernels().is_some()).map(Choice::Type);
        let upstream = || UpstreamType::named(word).map(Choice::Upstream);
        match word {
            "keep" => Ok(Choice::Keep),
            "stored" => Ok(Choice::Stored),
            _ => float.or_else(family).or_else(of_blocks).or_else(upstream).ok_or_else(|| {
                let floats = FLOATS.map(|d| d.ggml().name());
                let families = Family::all().into_iter().map(|f| f.name().to_owned());
                let types = weight_types().map(|t| t.name.to_owned()).filter(|name| name.contains('_'));
                let words = ["keep", "stored"].map(str::to_owned);
                let upstream = UPSTREAM_TYPES.into_iter().map(|t| t.name.to_owned());
                let known =
                    list(words.into_iter().chain(floats).chain(families).chain(types).chain(upstream));
                Problem::Type { found: word.to_owned(), known }
            }),
        }
    }

    pub fn word(&self) -> String {
        match self {
            Choice::Keep => "keep".to_owned(),
            Choice::Stored => "stored".to_owned(),
            Choice::Float(dtype) => dtype.ggml().name(),
            Choice::Family(family) => family.name().to_owned(),
            Choice::Type(t) => t.name.to_owned(),
            Choice::Upstream(t) => t.name.to_owned(),
        }
    }

    /// The length of the shortest block that a tensor can be in, if that decides whether it fits.
    pub fn least_columns(&self) -> Option<usize> {
        match self {
            Choice::Family(family) => family.types().last().map(|t| t.block_len),
            Choice::Type(t) => Some(t.block_len),
            Choice::Upstream(t) => Some(t.block_len),
            Choice::Keep | Choice::Stored | Choice::Float(_) => None,
        }
    }

    /// What makes blocks of such types in a certain way.
    pub fn makers(&self) -> Option<Makers> {
        match self {
            Choice::Family(family) => family.types().into_iter().find_map(makers),
            Choice::Type(t) => makers(t),
            Choice::Keep | Choice::Stored | Choice::Float(_) | Choice::Upstream(_) => None,
        }
    }
}

/// What makes blocks of a type in a certain way.
pub(super) fn makers(t: &TensorType) -> Option<Makers> {
    t.calibrated().and_then(|calibrated| calibrated.makers)
}

/// Words, with commas.
pub(super) fn list<T: AsRef<str>>(words: impl IntoIterator<Item = T>) -> String {
    let words: Vec<T> = words.into_iter().collect();
    words.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join(", ")
}
