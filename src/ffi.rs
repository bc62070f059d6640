//! The C ABI that ggml calls, and the only place with raw pointers.
//!
//! Every weight type NAME has
//!
//! ```c
//! void   tenpak_NAME_to_float  (const void * x, float * y, int64_t k);
//! void   tenpak_NAME_from_float(const float * x, void * y, int64_t k);
//! void   tenpak_NAME_vec_dot   (int n, float * s, size_t bs, const void * x, size_t bx, const void * y, size_t by, int nrc);
//! size_t tenpak_NAME_quantize  (const float * x, void * y, int64_t nrows, int64_t n_per_row, const float * imatrix);
//! ```
//!
//! with ggml's own signatures, and every activation type `tenpak_NAME_from_float`. `tenpak_multiply` gives
//! the function that multiplies rows of weights with many columns. `render::header` renders
//! their declarations and the X-macros that the ggml patch is written over.

use crate::products::{Columns, Matrix, Results};
use crate::types::{self, Role, RowQuantizer, TensorType};
use std::cell::RefCell;
use std::ffi::{c_int, c_void};

/// The bytes of `k` weights at `x`.
///
/// # Safety
/// - `x` points to as many readable bytes as `k` weights of type `t` take, for `'a`.
unsafe fn row<'a>(t: &TensorType, x: *const c_void, k: usize) -> &'a [u8] {
    // SAFETY: by this function's contract.
    unsafe { std::slice::from_raw_parts(x.cast(), bytes(t, k)) }
}

/// As [`row`], to be written.
///
/// # Safety
/// - `x` points to as many writable bytes as `k` weights of type `t` take, for `'a`; nothing else
///   reads or writes them meanwhile.
unsafe fn row_mut<'a>(t: &TensorType, x: *mut c_void, k: usize) -> &'a mut [u8] {
    // SAFETY: by this function's contract.
    unsafe { std::slice::from_raw_parts_mut(x.cast(), bytes(t, k)) }
}

fn bytes(t: &TensorType, k: usize) -> usize {
    t.row_bytes(k).expect("ggml passes whole blocks")
}

fn kernels(t: &TensorType) -> types::Kernels {
    t.kernels().expect("a weight type")
}

thread_local! {
    /// The quantizer that this thread used last, by type id: it owns megabytes of scratch.
    static QUANTIZER: RefCell<Option<(u32, Box<dyn RowQuantizer>)>> = const { RefCell::new(None) };
}

fn quantize(t: &'static TensorType, x: &[f32], y: &mut [u8]) {
    QUANTIZER.with_borrow_mut(|slot| {
        if slot.as_ref().is_none_or(|(id, _)| *id != t.id) {
            *slot = Some((t.id, t.quantizer().expect("a weight type")));
        }
        let (_, quantizer) = slot.as_mut().expect("just filled");
        quantizer.quantize(x, y);
    });
}

/// See `tenpak.h`.
pub type Multiply =
    unsafe extern "C" fn(i64, i64, *const c_void, usize, i64, *const *const c_void, *const *mut f32);

/// The function that multiplies rows of weights of type `id` with many columns, or `None`.
#[unsafe(export_name = "tenpak_multiply")]
pub extern "C" fn multiply(id: c_int) -> Option<Multiply> {
    macro_rules! of_role {
        (weight $name:ident) => {
            Some($name::multiply as Multiply)
        };
        (activation $name:ident) => {
            None
        };
    }
    macro_rules! by_id {
        ($($role:ident $name:ident $folder:ident::$type:ident;)*) => {
            $(if id == types::$folder::$type.id as c_int {
                return of_role!($role $name);
            })*
        };
    }
    types::for_each_type!(by_id);
    None
}

macro_rules! weight {
    ($name:ident $folder:ident::$type:ident) => {
        /// C ABI of this type; see [`crate::ffi`].
        pub mod $name {
            use super::*;

            /// Dequantizes `k` weights.
            ///
            /// # Safety
            /// - `x` points to the blocks of `k` weights, `y` to `k` writable floats.
            #[unsafe(export_name = concat!("tenpak_", stringify!($name), "_to_float"))]
            pub unsafe extern "C" fn to_float(x: *const c_void, y: *mut f32, k: i64) {
                // SAFETY: by this function's contract.
                let (x, y) = unsafe {
                    let y = std::slice::from_raw_parts_mut(y, k as usize);
                    (row(&types::$folder::$type, x, k as usize), y)
                };
                (kernels(&types::$folder::$type).dequantize)(x, y);
            }

            /// Quantizes `k` weights without calibration.
            ///
            /// # Safety
            /// - `x` points to `k` floats, `y` to writable blocks of `k` weights.
            #[unsafe(export_name = concat!("tenpak_", stringify!($name), "_from_float"))]
            pub unsafe extern "C" fn from_float(x: *const f32, y: *mut c_void, k: i64) {
                // SAFETY: by this function's contract.
                let (x, y) = unsafe {
                    let x = std::slice::from_raw_parts(x, k as usize);
                    (x, row_mut(&types::$folder::$type, y, k as usize))
                };
                super::quantize(&types::$folder::$type, x, y);
            }

            /// Quantizes rows without calibration; returns the bytes written.
            ///
            /// # Safety
            /// - `x` points to `nrows * n_per_row` floats, `y` to writable blocks of as many weights.
            #[unsafe(export_name = concat!("tenpak_", stringify!($name), "_quantize"))]
            pub unsafe extern "C" fn quantize(
                x: *const f32,
                y: *mut c_void,
                nrows: i64,
                n_per_row: i64,
                _imatrix: *const f32,
            ) -> usize {
                // SAFETY: by this function's contract; rows are contiguous.
                unsafe { from_float(x, y, nrows * n_per_row) };
                bytes(&types::$folder::$type, (nrows * n_per_row) as usize)
            }

            /// Writes the product of row `r` and column `c` to `out[c][r]`.
            ///
            /// # Safety
            /// - `x` points to `rows` rows of `n` weights, `row_bytes` from one to the next; `columns` to
            ///   `n_columns` pointers to the blocks of `n` activations, aligned to 4 bytes; `out` to
            ///   as many pointers to `rows` writable floats, which are disjoint.
            pub unsafe extern "C" fn multiply(
                n: i64,
                rows: i64,
                x: *const c_void,
                row_bytes: usize,
                n_columns: i64,
                columns: *const *const c_void,
                out: *const *mut f32,
            ) {
                let Role::Weight { activation, kernels, .. } = &types::$folder::$type.role else {
                    unreachable!("a weight type")
                };
                let (n, rows, n_columns) = (n as usize, rows as usize, n_columns as usize);
                let one_row = bytes(&types::$folder::$type, n);
                let all_rows = if rows == 0 { 0 } else { (rows - 1) * row_bytes + one_row };
                // SAFETY: by this function's contract.
                let (x, columns, mut out) = unsafe {
                    let columns = std::slice::from_raw_parts(columns, n_columns);
                    let out = std::slice::from_raw_parts(out, n_columns);
                    (
                        std::slice::from_raw_parts(x.cast(), all_rows),
                        Columns::new(columns, bytes(activation, n)),
                        Results::new(out, rows),
                    )
                };
                (kernels.multiply)(Matrix::new(x, rows, one_row, row_bytes), columns, &mut out);
            }

            /// Writes the dot product of two rows of `n` to `s`.
            ///
            /// # Safety
            /// - `x` points to the blocks of `n` weights and `y` to the blocks of `n`
            ///   activations, aligned to 4 bytes; `s` is writable; `nrc` is 1.
            #[unsafe(export_name = concat!("tenpak_", stringify!($name), "_vec_dot"))]
            pub unsafe extern "C" fn vec_dot(
                n: c_int,
                s: *mut f32,
                _bs: usize,
                x: *const c_void,
                _bx: usize,
                y: *const c_void,
                _by: usize,
                _nrc: c_int,
            ) {
                let Role::Weight { activation, kernels, .. } = &types::$folder::$type.role else {
                    unreachable!("a weight type")
                };
                // SAFETY: by this function's contract.
                unsafe {
                    let (x, s) = (row(&types::$folder::$type, x, n as usize), std::slice::from_mut(&mut *s));
                    (kernels.dot_rows)(x, row(activation, y, n as usize), s);
                }
            }
        }
    };
}

macro_rules! activation {
    ($name:ident $folder:ident::$type:ident) => {
        /// C ABI of this type; see [`crate::ffi`].
        pub mod $name {
            use super::*;

            /// Quantizes `k` activations.
            ///
            /// # Safety
            /// - `x` points to `k` floats, `y` to writable blocks of `k` activations, aligned to 4 bytes.
            #[unsafe(export_name = concat!("tenpak_", stringify!($name), "_from_float"))]
            pub unsafe extern "C" fn from_float(x: *const f32, y: *mut c_void, k: i64) {
                let Role::Activation { quantize } = types::$folder::$type.role else {
                    unreachable!("an activation type")
                };
                // SAFETY: by this function's contract.
                unsafe {
                    let x = std::slice::from_raw_parts(x, k as usize);
                    quantize(x, row_mut(&types::$folder::$type, y, k as usize));
                }
            }
        }
    };
}

macro_rules! export {
    ($($role:ident $name:ident $folder:ident::$type:ident;)*) => {
        $($role! { $name $folder::$type })*
    };
}
types::for_each_type!(export);
