//! What happens to tensors between a checkpoint and a file.

use super::config::Shape;

/// What happens to a tensor on its way into the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conversion {
    /// Nothing.
    Same,
    /// The rows of every query head get the order of its rotary pairs.
    QueryPairs,
    /// The same for key heads.
    KeyPairs,
    /// One is added: the model multiplies by `1 + weight`.
    PlusOne,
    /// What decays by a step: the negative of the exponential.
    NegativeExp,
    /// A vector becomes a matrix of one column.
    Column,
    /// The same of what decays by a step.
    DecayColumn,
    /// A vector becomes as many rows as a value of config.json says.
    Groups(&'static str),
    /// Of three extents the middle one, which is 1, is left out.
    Squeezed,
    /// Columns become rows, in each matrix.
    Transposed,
    /// Groups of queries, a key and a value become all queries, all keys, all values.
    Ungrouped,
    /// Half of the rows of each matrix is taken.
    Rows(Half),
    /// Half of the columns of each matrix is taken; they become rows.
    Columns(Half),
    /// Half of the elements of each row is taken.
    Elements(Half),
    /// Of the rows that give keys and values of a latent attention those of the keys are taken; columns become rows.
    LatentKeys,
    /// The same rows of the values.
    LatentValues,
    /// Something with the heads of values of a linear attention.
    Linear(Linear),
    /// Tensors of many names become one.
    Stacked,
    /// Rows without a token are left out.
    KnownTokens,
    /// The same, and tokens without a row get zeros.
    AllTokens,
    /// The tensor is left out: llama.cpp has no use for it.
    Ignored,
}

impl Conversion {
    /// The number of heads that the rows of the tensor are, if they have to be heads, and the words for it.
    pub fn heads(self, shape: &Shape) -> Option<(u64, String)> {
        let Shape { heads, kv_heads, .. } = *shape;
        match self {
            Conversion::QueryPairs => Some((heads, format!("{heads} heads"))),
            Conversion::KeyPairs => Some((kv_heads, format!("{kv_heads} heads"))),
            Conversion::Ungrouped => {
                let words = format!("{heads} query and 2 x {kv_heads} key and value heads");
                Some((heads + 2 * kv_heads, words))
            }
            _ => None,
        }
    }
}

/// Which half of a tensor is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// The first one.
    First,
    /// The second one.
    Second,
    /// All that have an even number, from 0 on.
    Even,
    /// All that have an odd number.
    Odd,
}

impl Half {
    /// Of twice as many as `taken`: the number of the first, and how far they are apart.
    pub fn places(self, taken: usize) -> (usize, usize) {
        match self {
            Half::First => (0, 1),
            Half::Second => (taken, 1),
            Half::Even => (0, 2),
            Half::Odd => (1, 2),
        }
    }
}

/// What happens to the parameters of a linear attention. Several heads of values share a head of keys, and stand in groups;
/// llama.cpp repeats keys for all values at once, so that the first values of all groups come first there, then all second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linear {
    /// Groups of queries, keys, values and gates become all queries, all keys, all values.
    QueriesKeysValues,
    /// Of these groups the gates.
    Gates,
    /// Queries and keys stay, values take turns.
    ValuesLast,
    /// The same of a convolution, whose middle extent is left out.
    Convolution,
    /// Values take turns, in rows.
    Values,
    /// Rows or elements of which each value has one take turns.
    Single,
    /// The same of elements of which the negative exponential is taken.
    Decay,
    /// Values take turns, in columns.
    Columns,
}
