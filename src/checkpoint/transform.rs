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
    /// Stored are groups of `stored` rows that begin with sections of these many rows; the first sections of all groups
    /// come first, then all second ones, then all third ones.
    Sections { groups: usize, sections: [usize; 3], stored: usize },
    /// Of every `group` stored rows those are taken that begin at `first` and are `step` apart, `taken` of them.
    Part { group: usize, first: usize, step: usize, taken: usize },
    /// As stored, and zeros beyond so many rows.
    Padded(usize),
    /// Stored columns are the rows.
    Columns(Columns),
    /// Stored are `skipped` rows that stay, and heads of `head_rows` rows in `groups` groups of `each`. The first heads of
    /// all groups come first, then all second ones, and so on.
    Tiled { skipped: usize, groups: usize, each: usize, head_rows: usize },
}

/// Columns of stored matrices that are rows of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Columns {
    /// Columns of a stored row.
    pub stored: usize,
    /// Stored rows of a matrix, of which a row of the file has the first ones.
    pub group: usize,
    /// Where in a matrix the first of these rows is.
    pub from: usize,
    /// The first column that is taken.
    pub first: usize,
    /// How far the columns are apart that are taken.
    pub step: usize,
    /// How many columns are taken of each matrix.
    pub taken: usize,
}

impl Columns {
    /// All columns of matrices of so many rows and columns.
    pub fn all(group: usize, stored: usize) -> Columns {
        Columns { stored, group, from: 0, first: 0, step: 1, taken: stored }
    }

    /// The first stored row and the column that a row of the file is made of.
    pub fn place(self, row: usize) -> (usize, usize) {
        (row / self.taken * self.group + self.from, self.first + self.step * (row % self.taken))
    }
}

/// What every element is changed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// One is added.
    PlusOne,
    /// It becomes the negative of its exponential.
    NegativeExp,
}

/// What happens to the elements of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transform {
    /// The order of rows.
    pub order: Order,
    /// Rows are single elements, whatever the shape is.
    pub by_element: bool,
    /// The order of the elements of each row.
    pub columns: Order,
    /// What happens to each element.
    pub change: Change,
}

impl Transform {
    /// Nothing happens.
    pub const NONE: Transform =
        Transform { order: Order::Stored, by_element: false, columns: Order::Stored, change: Change::None };

    /// Rows in another order, nothing else.
    pub fn order(order: Order) -> Transform {
        Transform { order, ..Transform::NONE }
    }

    /// Other elements, nothing else.
    pub fn change(change: Change) -> Transform {
        Transform { change, ..Transform::NONE }
    }
}

impl Order {
    /// The order of a tensor whose rows are heads of a model of this shape; `Stored` for all others.
    pub fn of_heads(how: Conversion, shape: &Shape) -> Order {
        let head_rows = shape.head_dim as usize;
        match how {
            Conversion::QueryPairs | Conversion::KeyPairs => Order::Pairs { head_rows },
            Conversion::Ungrouped => {
                let queries = (shape.heads / shape.kv_heads) as usize;
                Order::Sections {
                    groups: shape.kv_heads as usize,
                    sections: [queries * head_rows, head_rows, head_rows],
                    stored: (queries + 2) * head_rows,
                }
            }
            _ => Order::Stored,
        }
    }

    /// For every stored row, the row that it becomes, where all `rows` rows only change places.
    pub fn inverse(self, rows: usize) -> Vec<usize> {
        let mut inverse = vec![0; rows];
        (0..rows).for_each(|row| inverse[self.stored_row(row)] = row);
        inverse
    }

    /// The stored row that becomes row `row`; with [`Order::Columns`] it is the first one of those whose column does.
    pub fn stored_row(self, row: usize) -> usize {
        match self {
            Order::Stored | Order::Padded(_) => row,
            Order::Columns(columns) => columns.place(row).0,
            Order::Pairs { head_rows } => permuted_row(row, head_rows),
            Order::Sections { groups, sections, stored } => {
                let (mut rest, mut before) = (row, 0);
                for section in sections {
                    if rest < groups * section {
                        return rest / section * stored + before + rest % section;
                    }
                    rest -= groups * section;
                    before += section;
                }
                unreachable!("row {row} of {groups} groups of {sections:?}")
            }
            Order::Part { group, first, step, taken } => row / taken * group + first + step * (row % taken),
            Order::Tiled { skipped, .. } if row < skipped => row,
            Order::Tiled { skipped, groups, each, head_rows } => {
                let (head, within) = ((row - skipped) / head_rows, (row - skipped) % head_rows);
                skipped + (head % groups * each + head / groups) * head_rows + within
            }
        }
    }
}

impl Change {
    /// An element as torch has it afterwards: computed in f32, and rounded to f16 if that is how it is stored.
    pub fn apply(self, x: f32, stored_as_f16: bool) -> f32 {
        let y = match self {
            Change::None => return x,
            Change::PlusOne => x + 1.0,
            Change::NegativeExp => -(f64::from(x).exp() as f32),
        };
        if stored_as_f16 { f16::from_f32(y).to_f32() } else { y }
    }

    /// The element before.
    pub fn undo(self, y: f32) -> f32 {
        match self {
            Change::None => y,
            Change::PlusOne => y - 1.0,
            Change::NegativeExp => f64::from(-y).ln() as f32,
        }
    }
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

    fn first_rows(order: Order, rows: usize) -> Vec<usize> {
        (0..rows).map(|row| order.stored_row(row)).collect()
    }

    #[test]
    fn permutation_is_undone() {
        for order in [
            Order::Pairs { head_rows: 64 },
            Order::Sections { groups: 2, sections: [64, 16, 16], stored: 96 },
            Order::Tiled { skipped: 32, groups: 4, each: 5, head_rows: 8 },
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
        let order = Order::Sections { groups: 2, sections: [2, 1, 1], stored: 4 };
        assert_eq!(first_rows(order, 8), [0, 1, 4, 5, 2, 6, 3, 7]);
        // What follows the sections of a group is left out.
        let order = Order::Sections { groups: 2, sections: [1, 1, 1], stored: 5 };
        assert_eq!(first_rows(order, 6), [0, 5, 1, 6, 2, 7]);
    }

    #[test]
    fn parts_of_every_matrix() {
        let rows = |first, step| first_rows(Order::Part { group: 4, first, step, taken: 2 }, 4);
        assert_eq!((rows(0, 1), rows(2, 1)), (vec![0, 1, 4, 5], vec![2, 3, 6, 7]));
        assert_eq!((rows(0, 2), rows(1, 2)), (vec![0, 2, 4, 6], vec![1, 3, 5, 7]));
    }

    #[test]
    fn heads_of_groups_take_turns() {
        // Two groups of three heads.
        let order = Order::Tiled { skipped: 1, groups: 2, each: 3, head_rows: 1 };
        assert_eq!(first_rows(order, 7), [0, 1, 4, 2, 5, 3, 6]);
    }

    #[test]
    fn columns_of_every_matrix() {
        // Matrices of three rows of four columns, of which every second one is taken.
        let columns = Columns { step: 2, first: 1, taken: 2, ..Columns::all(3, 4) };
        let places: Vec<_> = (0..4).map(|row| columns.place(row)).collect();
        assert_eq!(places, [(0, 1), (0, 3), (3, 1), (3, 3)]);
    }

    #[test]
    fn changes_are_undone() {
        for change in [Change::PlusOne, Change::NegativeExp] {
            for x in [-3.5f32, 0.0, 0.25, 2.0] {
                assert!((change.undo(change.apply(x, false)) - x).abs() < 1e-6, "{change:?} of {x}");
            }
        }
        assert_eq!(Change::PlusOne.apply(1.0 / 4096.0, true), 1.0);
    }
}
