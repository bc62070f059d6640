//! What is written where: the type of every tensor, chosen by the rules of a recipe.
//!
//! ```text
//! names        name of a tensor -> role, block                    (crate::names)
//! candidates   tensor -> all types that can hold it, with bytes
//! rules        recipe: ordered rules, of which the first that matches a tensor decides
//! Plan         one list: source, header, target, and why
//! parts        slices of that list, for files in parts
//! sample       some blocks that stand for all
//! adapter      corrections of low rank, in a file beside it
//! ```

mod adapter;
mod allocation;
mod built_in;
mod candidates;
mod choice;
mod error;
mod least_sensitive;
mod parts;
mod rules;
mod sample;
mod syntax;

pub use adapter::{AdapterPlan, CORRECTED, MAX_RANK, factor_type, factors, takes_correction};
pub use allocation::{Offer, allocate};
pub use built_in::{BUILT_IN, BuiltIn, OF_TENPAK};
pub use candidates::{Candidate, Candidates, Family, Target};
pub use error::{Error, Problem};
pub use least_sensitive::Knowledge;
pub use parts::{Cut, MAX_PARTS, Part, by_size, cut, part_keys, part_path};
pub use rules::{Recipe, Why};
pub use sample::{NoSample, Sample, SampleError};

use crate::checkpoint::{Model, SourceTensor};
use crate::gguf::{TensorHeader, Value, Writer};
use crate::types::feedback::Making;

/// What is to be written into a file.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Keys of the file.
    pub keys: Vec<(String, Value)>,
    /// Tensors in the order of the file.
    pub tensors: Vec<Planned>,
    /// Bytes of the whole file.
    pub file_bytes: u64,
}

/// A tensor that is to be written.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The tensor of the model that is read.
    pub source: SourceTensor,
    /// What the header of the file says of it.
    pub header: TensorHeader,
    /// How it is stored.
    pub target: Target,
    /// Rank of the correction beside it; 0 for none.
    pub rank: usize,
    /// How its blocks are made.
    pub making: Making,
    /// What decided that.
    pub why: Why,
}

/// Version of ggml's quantization formats that files name.
const QUANTIZATION_VERSION: u32 = 2;

impl Plan {
    /// Chooses the type of every tensor of a model, of which nothing else is known.
    pub fn new(model: &Model, recipe: &Recipe) -> Result<Plan, Error> {
        Plan::knowing(model, recipe, Knowledge::Nothing)
    }

    /// As [`Plan::new`], for recipes that ask what depends on each matrix.
    pub fn knowing(model: &Model, recipe: &Recipe, knowledge: Knowledge) -> Result<Plan, Error> {
        let mut keys = model.keys.clone();
        if let Some(dtype) = recipe.file_type() {
            keys.push(("general.file_type".into(), dtype.file_type().into()));
        }
        keys.push(("general.quantization_version".into(), QUANTIZATION_VERSION.into()));
        let tensors =
            recipe.choose(model, knowledge)?.into_iter().zip(&model.tensors).map(|((candidate, why), t)| {
                let Candidate { target, bytes, rank, making } = candidate;
                let header =
                    TensorHeader { name: t.name.clone(), shape: t.shape.clone(), kind: target.ggml(), bytes };
                Planned { source: t.clone(), header, target, rank, making, why }
            });
        Ok(Plan::of(keys, tensors.collect()))
    }

    /// The plan of a file with these keys and tensors.
    fn of(keys: Vec<(String, Value)>, tensors: Vec<Planned>) -> Plan {
        let mut plan = Plan { keys, tensors, file_bytes: 0 };
        plan.file_bytes = Writer::file_bytes(&plan.keys, &plan.headers());
        plan
    }

    /// The plan of a file with the same keys and some of the tensors.
    pub fn only(self, is_wanted: impl Fn(&Planned) -> bool) -> Plan {
        let Plan { keys, mut tensors, .. } = self;
        tensors.retain(is_wanted);
        Plan::of(keys, tensors)
    }

    /// The plan of a file that has this key too, or with this value.
    pub fn with_key(mut self, key: &str, value: Value) -> Plan {
        self.keys.retain(|(other, _)| other != key);
        self.keys.push((key.to_owned(), value));
        Plan::of(self.keys, self.tensors)
    }

    /// Headers of the tensors.
    pub fn headers(&self) -> Vec<TensorHeader> {
        self.tensors.iter().map(|t| t.header.clone()).collect()
    }

    /// Number of weights of all tensors.
    pub fn weights(&self) -> u64 {
        self.tensors.iter().map(|t| t.source.elements()).sum()
    }

    /// Tensors whose rows are no whole blocks of the type that their rule prefers, and that are floats therefore.
    pub fn left_plain(&self) -> impl Iterator<Item = &Planned> {
        let is_left = |t: &&Planned| t.why.unfit.is_some() && matches!(t.target, Target::Plain(_));
        self.tensors.iter().filter(is_left)
    }
}
