//! What happens to the rows of a tensor between the checkpoint and the file.

use crate::arch::Conversion;
use crate::arch::config::Shape;
use half::f16;

/// The order of rows in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Order {
    /// As stored.
    Stored,
    /// In heads of `head_rows` rows, the two rows of a rotary pair come side by side: see `permuted_row`.
    Pairs { head_rows: usize },
    /// Stored are groups of `queries` queries, a key and a value; all queries come first, then all keys, all values.
    Ungrouped { groups: usize, queries: usize, head_rows: usize },
    /// Of every `2 * rows` stored rows the first or the second half is taken.
    Half { second: bool, rows: usize },
    /// The stored columns, of which a stored row has `stored`, are the rows.
    Columns { stored: usize },
}

/// What happens to the elements of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transform {
    pub order: Order,
    /// One is added to every element.
    pub plus_one: bool,
}

impl Transform {
    /// Nothing happens.
    pub const NONE: Transform = Transform { order: Order::Stored, plus_one: false };

    /// Rows in another order, nothing else.
    pub fn order(order: Order) -> Transform {
        Transform { order, ..Transform::NONE }
    }
}

impl Order {
    /// The order of a tensor whose rows are heads of a model of this shape; `Stored` for all others.
    pub fn of_heads(how: Conversion, shape: &Shape) -> Order {
        let head_rows = shape.head_dim as usize;
        match how {
            Conversion::QueryPairs | Conversion::KeyPairs => Order::Pairs { head_rows },
            Conversion::Ungrouped => Order::Ungrouped {
                groups: shape.kv_heads as usize,
                queries: (shape.heads / shape.kv_heads) as usize,
                head_rows,
            },
            _ => Order::Stored,
        }
    }

    /// For every stored row, the row that it becomes, where all `rows` rows only change places.
    pub fn inverse(self, rows: usize) -> Vec<usize> {
        let mut inverse = vec![0; rows];
        (0..rows).for_each(|row| inverse[self.stored_row(row)] = row);
        inverse
    }

    /// The stored row that becomes row `row`; with [`Order::Columns`] it is the column.
    pub fn stored_row(self, row: usize) -> usize {
        match self {
            Order::Stored | Order::Columns { .. } => row,
            Order::Pairs { head_rows } => permuted_row(row, head_rows),
            Order::Ungrouped { groups, queries, head_rows } => {
                let (head, within) = (row / head_rows, row % head_rows);
                let (group, place) = if head < groups * queries {
                    (head / queries, head % queries)
                } else {
                    let head = head - groups * queries;
                    (head % groups, queries + head / groups)
                };
                (group * (queries + 2) + place) * head_rows + within
            }
            Order::Half { second, rows } => row / rows * 2 * rows + second as usize * rows + row % rows,
        }
    }
}

/// `x + 1` as torch has it: in f32, or rounded to f16 if that is how `x` is stored.
pub fn plus_one(x: f32, stored_as_f16: bool) -> f32 {
    if stored_as_f16 { f16::from_f32(x + 1.0).to_f32() } else { x + 1.0 }
}

/// The stored row that becomes row `row`, with heads of `head_rows` rows.
///
/// Hugging Face keeps the two halves of each rotary pair `head_rows / 2` apart; llama.cpp wants the
/// pair side by side. Row `2 i + half` of a head comes from row `half * head_rows / 2 + i`.
fn permuted_row(row: usize, head_rows: usize) -> usize {
    let (head, within) = (row / head_rows, row % head_rows);
    head * head_rows + within % 2 * (head_rows / 2) + within / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permutation_is_undone() {
        for order in [
            Order::Pairs { head_rows: 64 },
            Order::Ungrouped { groups: 2, queries: 4, head_rows: 16 },
            Order::Stored,
        ] {
            let inverse = order.inverse(192);
            assert!((0..192).all(|row| inverse[order.stored_row(row)] == row), "{order:?}");
        }
        assert_eq!((0..8).map(|r| permuted_row(r, 8)).collect::<Vec<_>>(), [0, 4, 1, 5, 2, 6, 3, 7]);
    }

    #[test]
    fn groups_come_apart() {
        // Two groups of two queries, a key and a value, a row each: q0 q1 k0 v0 q2 q3 k1 v1.
        let order = Order::Ungrouped { groups: 2, queries: 2, head_rows: 1 };
        assert_eq!((0..8).map(|r| order.stored_row(r)).collect::<Vec<_>>(), [0, 1, 4, 5, 2, 6, 3, 7]);
    }

    #[test]
    fn halves_of_every_matrix() {
        let rows = |second| {
            let order = Order::Half { second, rows: 2 };
            (0..4).map(|r| order.stored_row(r)).collect::<Vec<_>>()
        };
        assert_eq!((rows(false), rows(true)), (vec![0, 1, 4, 5], vec![2, 3, 6, 7]));
    }
}
