//! All types that can hold a tensor.

use crate::checkpoint::{Dtype, Model, SourceTensor};
use crate::gguf::{GgmlType, UPSTREAM_TYPES, UpstreamType};
use crate::names;
use crate::types::feedback::Making;
use crate::types::{REGISTRY, TensorType};

/// How a tensor is stored.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// As floats.
    Plain(Dtype),
    /// In blocks that are made of its weights.
    Blocks(&'static TensorType),
    /// In blocks of ggml's own that are made of its weights.
    Upstream(&'static UpstreamType),
    /// In the blocks that the checkpoint has, without loss.
    Kept(GgmlType),
}

impl Target {
    /// The ggml type.
    pub fn ggml(self) -> GgmlType {
        match self {
            Target::Plain(dtype) => dtype.ggml(),
            Target::Blocks(t) => GgmlType(t.id),
            Target::Upstream(t) => t.kind,
            Target::Kept(kind) => kind,
        }
    }
}

/// A type that can hold a tensor.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// How the tensor is stored.
    pub target: Target,
    /// Bytes that its data take.
    pub bytes: u64,
    /// Rank of the correction beside it, whose bytes are not counted here; 0 for none.
    pub rank: usize,
    /// How its blocks are made.
    pub making: Making,
}

/// The types that can hold a tensor.
#[derive(Clone, Debug)]
pub enum Candidates {
    /// There is no choice, for this reason.
    One(Candidate, &'static str),
    /// One of these, of which floats are always some.
    Any(Vec<Candidate>),
}

impl Candidates {
    /// The types that can hold a tensor of a model.
    pub fn of(model: &Model, t: &SourceTensor) -> Candidates {
        let candidate = |target: Target| {
            let (bytes, making) = (target.ggml().bytes(t.elements())?, Making::default());
            Some(Candidate { target, bytes, rank: 0, making })
        };
        let only = |target, why| candidate(target).map(|candidate| Candidates::One(candidate, why));
        let kept = model.exact_type(t);
        let f32 = Target::Plain(Dtype::F32);
        let fixed = match kept {
            Some(kind) if kind.is_plain_number() => {
                only(Target::Kept(kind), "numbers that are no weights stay as they are")
            }
            _ if !names::is_matrix(&t.name, &t.shape) => {
                only(f32, "llama.cpp wants vectors, norms and the like as F32")
            }
            _ if t.left_precise && model.is_converted() => {
                only(f32, "llama.cpp's converter writes it as F32 among matrices of fewer bits")
            }
            _ => None,
        };
        if let Some(fixed) = fixed {
            return fixed;
        }
        let plain = [Dtype::F32, Dtype::BF16, Dtype::F16].map(Target::Plain);
        let fits = |block_len: usize| model.is_quantizable(t) && t.columns().is_multiple_of(block_len);
        let blocks = weight_types().filter(|kind| fits(kind.block_len)).map(Target::Blocks);
        let upstream = UPSTREAM_TYPES.into_iter().filter(|kind| fits(kind.block_len)).map(Target::Upstream);
        let all = kept.map(Target::Kept).into_iter().chain(plain).chain(blocks).chain(upstream);
        Candidates::Any(all.filter_map(candidate).collect())
    }
}

/// Types of ours that files hold.
pub(super) fn weight_types() -> impl Iterator<Item = &'static TensorType> {
    REGISTRY.iter().copied().filter(|t| t.kernels().is_some())
}

/// Types that differ in nothing but the length of a block: `t3` and `t3_64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family(&'static str);

impl Family {
    /// Every family, in the order of the registry.
    pub fn all() -> Vec<Family> {
        let mut all = Vec::new();
        for family in weight_types().map(Family::of) {
            if !all.contains(&family) {
                all.push(family);
            }
        }
        all
    }

    /// The family of this name, which is that of its types without the length of a block.
    pub fn named(name: &str) -> Option<Family> {
        Family::all().into_iter().find(|family| family.0 == name)
    }

    fn of(t: &'static TensorType) -> Family {
        Family(t.name.split('_').next().unwrap_or(t.name))
    }

    /// Whether its types are trellis codes.
    pub fn is_trellis(self) -> bool {
        self.0.starts_with('t')
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.0
    }

    /// Its types, those of the longest blocks first.
    pub fn types(self) -> Vec<&'static TensorType> {
        let mut types: Vec<_> = weight_types().filter(|t| Family::of(t) == self).collect();
        types.sort_by_key(|t| std::cmp::Reverse(t.block_len));
        types
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_those_of_the_registry() {
        let names: Vec<_> = Family::all().into_iter().map(Family::name).collect();
        assert_eq!(
            names,
            ["t2", "t3", "t4", "g4", "nf4", "t25", "t35", "o4", "o4x2", "o3", "o3x2", "s34", "s24", "t5"]
        );
        let types = |name| Family::named(name).map(|f| f.types().iter().map(|t| t.name).collect::<Vec<_>>());
        assert_eq!(types("t3"), Some(vec!["t3", "t3_64"]));
        assert_eq!(types("t25"), Some(vec!["t25", "t25_64"]));
        assert_eq!(types("g4"), Some(vec!["g4_128"]));
        assert_eq!((types("a8"), types("q4")), (None, None));
    }
}
