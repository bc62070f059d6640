//! What happens to each tensor of a Hugging Face folder, and its shape afterwards.

use super::error::Error;
use super::hf_source::{NOT_OF_ONE_MODEL, Source};
use super::stored::Entry;
use super::transform::{Change, Columns, Order, Transform};
use crate::arch::config::Shape;
use crate::arch::{Conversion, Linear};

impl Source<'_> {
    /// The shape of a tensor in the file, innermost extent first, and what happens to it.
    pub fn transform(
        &self,
        hf: &str,
        entry: &Entry,
        how: Conversion,
    ) -> Result<(Vec<u64>, Transform), Error> {
        let mut shape: Vec<u64> = entry.shape.iter().rev().copied().collect();
        self.check_heads(hf, entry, how)?;
        let wrong = |what: &str| {
            let what = format!("has the shape {:?}, not {what}: {NOT_OF_ONE_MODEL}", entry.shape);
            Error::tensor(&entry.path, hf, what)
        };
        let even = |extent: u64, what: &str| {
            if extent.is_multiple_of(2) { Ok(extent as usize / 2) } else { Err(wrong(what)) }
        };
        let is_quantized = self.packed.contains_key(hf);
        let mut transform = match how {
            Conversion::QueryPairs | Conversion::KeyPairs | Conversion::Ungrouped => {
                Transform::order(Order::of_heads(how, &self.shape))
            }
            Conversion::PlusOne => Transform::change(Change::PlusOne),
            Conversion::NegativeExp => Transform::change(Change::NegativeExp),
            Conversion::Column | Conversion::DecayColumn => {
                let [length] = shape[..] else { return Err(wrong("a vector")) };
                shape = vec![1, length];
                let is_decay = how == Conversion::DecayColumn;
                Transform::change(if is_decay { Change::NegativeExp } else { Change::None })
            }
            Conversion::Groups(count) => {
                let groups =
                    self.config.needed_integer(&[count]).map_err(|e| Error::config(self.folder, e))?;
                let [length] = shape[..] else { return Err(wrong("a vector")) };
                if groups == 0 || !length.is_multiple_of(groups) {
                    return Err(wrong(&format!("{groups} groups, as config.json says")));
                }
                shape = vec![length / groups, groups];
                Transform::NONE
            }
            Conversion::Squeezed => {
                squeeze(&mut shape).ok_or_else(|| wrong("a convolution of each channel alone"))?;
                Transform::NONE
            }
            Conversion::Transposed | Conversion::Columns(_) if is_quantized => {
                let what = "is quantized, and models of this architecture have it transposed: start from the \
                            unquantized model";
                return Err(Error::tensor(&entry.path, hf, what));
            }
            Conversion::Transposed => match shape[..] {
                [columns, rows] | [columns, rows, _] => {
                    shape.swap(0, 1);
                    Transform::order(Order::Columns(Columns::all(rows as usize, columns as usize)))
                }
                _ => Transform::NONE,
            },
            Conversion::Rows(half) => {
                let ([_, rows] | [_, rows, _]) = shape[..] else { return Err(wrong("matrices")) };
                let taken = even(rows, "pairs of matrices")?;
                let (first, step) = half.places(taken);
                shape[1] = taken as u64;
                Transform::order(Order::Part { group: rows as usize, first, step, taken })
            }
            Conversion::Columns(half) => {
                let [columns, rows, _] = shape[..] else { return Err(wrong("a stack of matrices")) };
                let taken = even(columns, "pairs of matrices")?;
                let (first, step) = half.places(taken);
                shape[0] = rows;
                shape[1] = taken as u64;
                let all = Columns::all(rows as usize, columns as usize);
                Transform::order(Order::Columns(Columns { first, step, taken, ..all }))
            }
            Conversion::Elements(half) => {
                let Some(elements) = shape.first().copied() else { return Err(wrong("vectors")) };
                let taken = even(elements, "pairs of vectors")?;
                let (first, step) = half.places(taken);
                shape[0] = taken as u64;
                let order = Order::Part { group: elements as usize, first, step, taken };
                Transform { by_element: true, ..Transform::order(order) }
            }
            Conversion::LatentKeys | Conversion::LatentValues => {
                let size = |name: &str| self.config.needed_integer(&[name]);
                let sizes = size("qk_nope_head_dim").and_then(|keys| Ok((keys, size("v_head_dim")?)));
                let (keys, values) = sizes.map_err(|e| Error::config(self.folder, e))?;
                let (heads, group) = (self.shape.heads, keys + values);
                let [rank, rows] = shape[..] else { return Err(wrong("a matrix")) };
                if rows != heads * group {
                    let said =
                        format!("{heads} heads of {keys} keys and {values} values, as config.json says");
                    return Err(wrong(&said));
                }
                let (group, taken) = (group as usize, values as usize);
                if how == Conversion::LatentKeys {
                    shape = vec![keys, rank, heads];
                    Transform::order(Order::Columns(Columns::all(group, rank as usize)))
                } else {
                    shape = vec![rank, values, heads];
                    Transform::order(Order::Part { group, first: keys as usize, step: 1, taken })
                }
            }
            Conversion::Linear(part) => {
                let linear = self.linear()?;
                let expected = linear.extent(part);
                if part == Linear::Convolution {
                    squeeze(&mut shape).ok_or_else(|| wrong("a convolution of each channel alone"))?;
                }
                let extent = if part == Linear::Columns { shape.first() } else { shape.last() };
                if extent.is_none_or(|extent| *extent != expected as u64) {
                    let said = format!("{expected} for the heads of a linear attention, as config.json says");
                    return Err(wrong(&said));
                }
                if let Some(rows) = linear.rows_of(part) {
                    shape[1] = rows as u64;
                }
                linear.transform(part)
            }
            Conversion::KnownTokens => {
                if let (Some(tokens), Some(rows)) = (self.tokens, shape.last_mut()) {
                    *rows = (*rows).min(tokens as u64);
                }
                Transform::NONE
            }
            Conversion::AllTokens => {
                let Some(rows) = shape.last_mut() else { return Err(wrong("a matrix")) };
                let (stored, tokens) = (*rows, self.tokens_or_size(*rows));
                *rows = tokens;
                match stored < tokens {
                    true => Transform::order(Order::Padded(stored as usize)),
                    false => Transform::NONE,
                }
            }
            Conversion::Same | Conversion::Stacked | Conversion::Ignored => Transform::NONE,
        };
        transform.by_element |= shape.len() == 1 && transform.order != Order::Stored;
        Ok((shape, transform))
    }

    /// Refuses tensors whose rows are not as many as config.json's heads have.
    fn check_heads(&self, hf: &str, entry: &Entry, how: Conversion) -> Result<(), Error> {
        let Shape { heads, kv_heads, head_dim, .. } = self.shape;
        let Some((count, words)) = how.heads(&self.shape) else { return Ok(()) };
        let rows = entry.shape.first().copied().unwrap_or(0);
        if rows != count * head_dim {
            let what =
                format!("has {rows} rows, but config.json says {words} of {head_dim}: {NOT_OF_ONE_MODEL}");
            return Err(Error::tensor(&entry.path, hf, what));
        }
        if how == Conversion::Ungrouped && !heads.is_multiple_of(kv_heads) {
            let what =
                format!("`num_attention_heads` is {heads}, no multiple of {kv_heads}: no attention is so");
            return Err(Error::config(&self.folder.join("config.json"), what));
        }
        Ok(())
    }

    /// The number of tokens, as the tokenizer or else config.json says it.
    fn tokens_or_size(&self, rows: u64) -> u64 {
        let said = self.config.get("vocab_size").and_then(serde_json::Value::as_u64);
        self.tokens.map(|tokens| tokens as u64).or(said).unwrap_or(rows)
    }

    /// The heads of a linear attention.
    fn linear(&self) -> Result<LinearHeads, Error> {
        let size = |name: &str| self.config.needed_integer(&[name]).map(|size| size as usize);
        let heads = || -> Result<_, crate::arch::Error> {
            Ok(LinearHeads {
                groups: size("linear_num_key_heads")?,
                values: size("linear_num_value_heads")?,
                key_rows: size("linear_key_head_dim")?,
                value_rows: size("linear_value_head_dim")?,
            })
        };
        let heads = heads().map_err(|e| Error::config(self.folder, e))?;
        if heads.groups == 0 || heads.values % heads.groups != 0 {
            let what = format!(
                "`linear_num_value_heads` is {}, no multiple of `linear_num_key_heads`, {}: no attention is so",
                heads.values, heads.groups
            );
            return Err(Error::config(&self.folder.join("config.json"), what));
        }
        Ok(heads)
    }
}

/// Leaves out the middle one of three extents, if it is 1. Biases have one extent.
fn squeeze(shape: &mut Vec<u64>) -> Option<()> {
    match shape[..] {
        [_, 1, _] => {
            shape.remove(1);
            Some(())
        }
        [_] | [_, _] => Some(()),
        _ => None,
    }
}

/// The heads of a linear attention: as many groups as heads of keys, and in each as many heads of values.
#[derive(Clone, Copy)]
struct LinearHeads {
    groups: usize,
    values: usize,
    key_rows: usize,
    value_rows: usize,
}

impl LinearHeads {
    /// Rows of all queries and all keys.
    fn before_values(self) -> usize {
        2 * self.groups * self.key_rows
    }

    /// Rows of all values.
    fn value_rows(self) -> usize {
        self.values * self.value_rows
    }

    /// What a tensor is in one of its extents.
    fn extent(self, part: Linear) -> usize {
        match part {
            Linear::QueriesKeysValues | Linear::Gates => self.before_values() + 2 * self.value_rows(),
            Linear::ValuesLast | Linear::Convolution => self.before_values() + self.value_rows(),
            Linear::Values | Linear::Columns => self.value_rows(),
            Linear::Single | Linear::Decay => self.values,
        }
    }

    /// The rows in the file where they are fewer.
    fn rows_of(self, part: Linear) -> Option<usize> {
        match part {
            Linear::QueriesKeysValues => Some(self.before_values() + self.value_rows()),
            Linear::Gates => Some(self.value_rows()),
            _ => None,
        }
    }

    fn transform(self, part: Linear) -> Transform {
        let LinearHeads { groups, values, key_rows, .. } = self;
        let tiled = |skipped, head_rows| match values / groups {
            1 => Order::Stored,
            each => Order::Tiled { skipped, groups, each, head_rows },
        };
        // Of a group: queries, keys, values, gates.
        let group_values = self.value_rows() / groups;
        let stored = 2 * key_rows + 2 * group_values;
        match part {
            Linear::QueriesKeysValues => Transform::order(Order::Sections {
                groups,
                sections: [key_rows, key_rows, group_values],
                stored,
            }),
            Linear::Gates => {
                let first = 2 * key_rows + group_values;
                Transform::order(Order::Part { group: stored, first, step: 1, taken: group_values })
            }
            Linear::ValuesLast | Linear::Convolution => {
                Transform::order(tiled(self.before_values(), self.value_rows))
            }
            Linear::Values => Transform::order(tiled(0, self.value_rows)),
            Linear::Single => Transform::order(tiled(0, 1)),
            Linear::Decay => Transform { change: Change::NegativeExp, ..Transform::order(tiled(0, 1)) },
            Linear::Columns => Transform { columns: tiled(0, self.value_rows), ..Transform::NONE },
        }
    }
}
