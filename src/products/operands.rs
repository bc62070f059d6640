//! The operands of a matrix product as they lie in memory: nothing is copied or collected for a product.

use super::Definition;
use bytemuck::Pod;
use std::ffi::c_void;
use std::marker::PhantomData;

/// Rows of whole blocks of weights, at equal distances.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    bytes: &'a [u8],
    rows: usize,
    row_bytes: usize,
    stride: usize,
}

impl<'a> Matrix<'a> {
    /// `rows` rows of `row_bytes` bytes, of which row `r` begins at `bytes[r * stride]`.
    ///
    /// # Panics
    /// If `bytes` ends before the last row does.
    pub fn new(bytes: &'a [u8], rows: usize, row_bytes: usize, stride: usize) -> Self {
        let needed = if rows == 0 { 0 } else { (rows - 1) * stride + row_bytes };
        assert!(
            bytes.len() >= needed,
            "{rows} rows, {stride} bytes apart, do not fit in {} bytes",
            bytes.len()
        );
        Matrix { bytes, rows, row_bytes, stride }
    }

    /// Number of rows.
    #[inline(always)]
    pub fn rows(self) -> usize {
        self.rows
    }

    /// The blocks of row `r`.
    #[inline(always)]
    pub fn row<D: Pod>(self, r: usize) -> &'a [D] {
        bytemuck::cast_slice(&self.bytes[r * self.stride..][..self.row_bytes])
    }

    /// The blocks of all rows, if each row begins where the one before it ends.
    #[inline(always)]
    pub fn all<D: Pod>(self) -> Option<&'a [D]> {
        let follow = self.stride == self.row_bytes;
        follow.then(|| bytemuck::cast_slice(&self.bytes[..self.rows * self.row_bytes]))
    }
}

/// Columns of activations, each a row of whole blocks somewhere in memory.
#[derive(Clone, Copy, Debug)]
pub struct Columns<'a> {
    starts: &'a [*const c_void],
    bytes: usize,
    borrowed: PhantomData<&'a [u8]>,
}

impl<'a> Columns<'a> {
    /// Columns of `bytes` bytes that begin at `starts`.
    ///
    /// # Safety
    /// - Each start points to `bytes` bytes that can be read, and that nothing writes, for `'a`.
    pub unsafe fn new(starts: &'a [*const c_void], bytes: usize) -> Self {
        Columns { starts, bytes, borrowed: PhantomData }
    }

    /// Calls `then` with columns of equal length that are slices.
    ///
    /// # Panics
    /// If their lengths differ.
    pub fn with<A: Pod, R>(columns: &[&[A]], then: impl FnOnce(Columns) -> R) -> R {
        let bytes = columns.first().map_or(0, |column| size_of_val(*column));
        assert!(columns.iter().all(|column| size_of_val(*column) == bytes), "columns of different lengths");
        let starts: Vec<_> = columns.iter().map(|column| column.as_ptr().cast()).collect();
        // SAFETY: the slices outlive the call.
        then(unsafe { Columns::new(&starts, bytes) })
    }

    /// Number of columns.
    #[inline(always)]
    pub fn len(self) -> usize {
        self.starts.len()
    }

    /// Whether there is no column.
    pub fn is_empty(self) -> bool {
        self.starts.is_empty()
    }

    /// The blocks of each column.
    pub fn iter<A: Pod>(self) -> impl Iterator<Item = &'a [A]> {
        (0..self.len()).map(move |c| self.column(c))
    }

    /// The blocks of column `c`.
    #[inline(always)]
    pub fn column<A: Pod>(self, c: usize) -> &'a [A] {
        // SAFETY: by the contract of `new`.
        let bytes = unsafe { std::slice::from_raw_parts(self.starts[c].cast::<u8>(), self.bytes) };
        bytemuck::cast_slice(bytes)
    }
}

/// The results of a matrix product: for each column, a place for each row.
#[derive(Debug)]
pub struct Results<'a> {
    starts: &'a [*mut f32],
    rows: usize,
    borrowed: PhantomData<&'a mut [f32]>,
}

impl<'a> Results<'a> {
    /// Results of `rows` rows for each column, which begin at `starts`.
    ///
    /// # Safety
    /// - Each start points to `rows` floats that can be written, and that nothing else reads or writes, for `'a`.
    /// - No two columns share a float.
    pub unsafe fn new(starts: &'a [*mut f32], rows: usize) -> Self {
        Results { starts, rows, borrowed: PhantomData }
    }

    /// Calls `then` with the results of `rows` rows for each column, one column after the other in `out`.
    ///
    /// # Panics
    /// If `out` is not a whole number of columns.
    pub fn with<R>(out: &mut [f32], rows: usize, then: impl FnOnce(&mut Results) -> R) -> R {
        assert!(out.len().is_multiple_of(rows), "{} results are not columns of {rows} rows", out.len());
        let starts: Vec<_> = out.chunks_exact_mut(rows.max(1)).map(|column| column.as_mut_ptr()).collect();
        // SAFETY: chunks of a slice are disjoint, and the slice outlives the call.
        then(&mut unsafe { Results::new(&starts, rows) })
    }

    /// The results of column `c`.
    #[inline(always)]
    pub fn column(&mut self, c: usize) -> &mut [f32] {
        // SAFETY: by the contract of `new`; columns are disjoint and `self` is borrowed.
        unsafe { std::slice::from_raw_parts_mut(self.starts[c], self.rows) }
    }
}

/// Makes sure that operands fit each other.
///
/// # Panics
/// If they do not.
#[inline(always)]
pub fn check<D: Definition>(rows: Matrix, columns: Columns, out: &Results) {
    assert!(
        out.starts.len() == columns.len(),
        "{} columns of results for {}",
        out.starts.len(),
        columns.len()
    );
    assert!(out.rows == rows.rows, "results of {} rows for {}", out.rows, rows.rows);
    let (blocks, activations) =
        (rows.row_bytes / size_of::<D>(), columns.bytes / size_of::<D::Activations>());
    assert!(columns.is_empty() || blocks == activations, "rows of {blocks} blocks, columns of {activations}");
}
