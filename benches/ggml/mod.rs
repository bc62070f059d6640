//! ggml's libraries, loaded from a folder.

#![allow(dead_code)] // every bench uses its part

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use std::path::Path;

pub type VecDot = unsafe extern "C" fn(i32, *mut f32, usize, *const u8, usize, *const u8, usize, i32);

/// `struct ggml_type_traits_cpu`
#[repr(C)]
pub struct TraitsCpu {
    pub from_float: Option<unsafe extern "C" fn(*const f32, *mut u8, i64)>,
    pub vec_dot: Option<VecDot>,
    pub vec_dot_type: i32,
    nrows: i64,
}

/// The first fields of `struct ggml_type_traits`.
#[repr(C)]
pub struct Traits {
    type_name: *const u8,
    blck_size: i64,
    blck_size_interleave: i64,
    type_size: usize,
    is_quantized: bool,
    pub to_float: Option<unsafe extern "C" fn(*const u8, *mut f32, i64)>,
}

pub struct Ggml {
    base: Library,
    cpu: Library,
}

impl Ggml {
    pub fn load(folder: &Path) -> Ggml {
        let open = |name: &str| {
            let path = folder.join(name);
            // SAFETY: ggml's libraries have no initializers beyond C++ statics.
            unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_GLOBAL) }
                .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
        };
        let ggml = Ggml { base: open("libggml-base.so"), cpu: open("libggml-cpu.so") };
        // SAFETY: the signature is ggml's.
        unsafe { ggml.cpu.get::<unsafe extern "C" fn()>(b"ggml_cpu_init").expect("ggml")() };
        ggml
    }

    pub fn traits_cpu(&self, id: i32) -> &'static TraitsCpu {
        type Get = unsafe extern "C" fn(i32) -> *const TraitsCpu;
        // SAFETY: the signature is ggml's; traits live as long as the library, which is never closed.
        unsafe { &*self.cpu.get::<Get>(b"ggml_get_type_traits_cpu").expect("ggml")(id) }
    }

    pub fn traits(&self, id: i32) -> &'static Traits {
        type Get = unsafe extern "C" fn(i32) -> *const Traits;
        // SAFETY: as above.
        unsafe { &*self.base.get::<Get>(b"ggml_get_type_traits").expect("ggml")(id) }
    }

    pub fn row_bytes(&self, id: i32, columns: usize) -> usize {
        type RowSize = unsafe extern "C" fn(i32, i64) -> usize;
        // SAFETY: the signature is ggml's.
        unsafe { self.base.get::<RowSize>(b"ggml_row_size").expect("ggml")(id, columns as i64) }
    }

    /// Quantizes rows with equal importance; returns nothing but the bytes in `out`.
    pub fn quantize(&self, id: i32, x: &[f32], columns: usize, out: &mut [u8]) {
        type Quantize = unsafe extern "C" fn(i32, *const f32, *mut u8, i64, i64, i64, *const f32) -> usize;
        let rows = x.len() / columns;
        assert_eq!(out.len(), self.row_bytes(id, columns) * rows);
        let importance = vec![1f32; columns];
        // SAFETY: the signature is ggml's and the buffers have the sizes that it computes.
        unsafe {
            let quantize = self.base.get::<Quantize>(b"ggml_quantize_chunk").expect("ggml");
            let (rows, columns) = (rows as i64, columns as i64);
            quantize(id, x.as_ptr(), out.as_mut_ptr(), 0, rows, columns, importance.as_ptr());
        }
    }
}
