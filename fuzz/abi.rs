//! The C ABI: rows of any length, at any address and distance, give what the checked kernels give, and nothing is written
//! beside.

use crate::decoders::{activation, row_of_activations};
use crate::watched::Inputs;
use std::ffi::{c_int, c_void};
use tenpak_gguf::ffi;
use tenpak_gguf::types::by_name;

/// Bytes before and after what a function may write.
const MARGIN: usize = 64;
const MARK: u8 = 0xc3;

/// What a fuzzer chooses: blocks, rows, columns, an address, bytes between rows, blocks, values.
type Input = (u8, u8, u8, u8, u8, Vec<u8>, Vec<u8>);

/// The functions of a type.
struct Functions {
    name: &'static str,
    to_float: unsafe extern "C" fn(*const c_void, *mut f32, i64),
    vec_dot: unsafe extern "C" fn(c_int, *mut f32, usize, *const c_void, usize, *const c_void, usize, c_int),
}

/// Memory for floats between margins.
struct Guarded(Vec<f32>);

impl Guarded {
    fn new(len: usize) -> Guarded {
        Guarded(vec![f32::from_ne_bytes([MARK; 4]); len + 2 * MARGIN])
    }

    fn start(&mut self) -> *mut f32 {
        self.0[MARGIN..].as_mut_ptr()
    }

    /// The floats, if the margins are as they were.
    fn written(&self) -> &[f32] {
        let (before, rest) = self.0.split_at(MARGIN);
        let (written, after) = rest.split_at(rest.len() - MARGIN);
        let is_mark = |v: &f32| v.to_ne_bytes() == [MARK; 4];
        assert!(before.iter().all(is_mark) && after.iter().all(is_mark), "something is written beside");
        written
    }
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|v| v.to_bits()).collect()
}

fn works(of: &Functions, (blocks, rows, columns, address, between, weights, values): &Input) {
    if weights.is_empty() || values.is_empty() {
        return;
    }
    let t = by_name(of.name).expect("a type");
    let kernels = t.kernels().expect("a type of weights");
    let (blocks, rows, columns) = (1 + *blocks as usize % 9, *rows as usize % 18, *columns as usize % 9);
    let n = blocks * t.block_len;
    let row_bytes = t.row_bytes(n).expect("whole blocks");
    let distance = row_bytes + *between as usize;
    // Nothing is after the last row.
    let all = if rows == 0 { 0 } else { (rows - 1) * distance + row_bytes };
    let address = *address as usize % 8;
    let memory: Vec<u8> = weights.iter().copied().cycle().take(address + all).collect();
    let w = &memory[address..];
    let row = |r: usize| &w[r * distance..][..row_bytes];
    let a: Vec<Vec<u8>> =
        (0..columns).map(|c| row_of_activations(activation(t), &values[c % values.len()..], n)).collect();
    // Activations are aligned to 4 bytes: ggml's buffers are.
    let word = |bytes: &[u8]| u32::from_ne_bytes(bytes.try_into().expect("four bytes"));
    let a: Vec<Vec<u32>> = a.iter().map(|a| a.chunks_exact(4).map(word).collect()).collect();
    for r in 0..rows {
        let (mut expected, mut found) = (vec![0.0; n], Guarded::new(n));
        // SAFETY: the row has `n` weights, and there is place for as many floats.
        unsafe { (of.to_float)(row(r).as_ptr().cast(), found.start(), n as i64) };
        (kernels.dequantize)(&aligned(row(r)), &mut expected);
        assert_eq!(bits(found.written()), bits(&expected), "{}: to_float", of.name);
        for a in &a {
            let (mut expected, mut found) = ([0.0], Guarded::new(1));
            // SAFETY: both rows have `n` values, activations are aligned, and there is place for a float.
            unsafe {
                (of.vec_dot)(n as c_int, found.start(), 0, row(r).as_ptr().cast(), 0, a.as_ptr().cast(), 0, 1)
            };
            (kernels.dot_rows)(&aligned(row(r)), bytemuck::cast_slice(a), &mut expected);
            assert_eq!(bits(found.written()), bits(&expected), "{}: vec_dot", of.name);
        }
    }
    let multiply = ffi::multiply(t.id as c_int).expect("a type of weights has one");
    let mut out: Vec<Guarded> = a.iter().map(|_| Guarded::new(rows)).collect();
    let to: Vec<*mut f32> = out.iter_mut().map(Guarded::start).collect();
    let from: Vec<*const c_void> = a.iter().map(|a| a.as_ptr().cast()).collect();
    // SAFETY: rows are as long and as far from each other as is said, columns as long, and there is place for their results.
    unsafe {
        multiply(
            n as i64,
            rows as i64,
            w.as_ptr().cast(),
            distance,
            columns as i64,
            from.as_ptr(),
            to.as_ptr(),
        );
    }
    for (out, a) in out.iter().zip(&a) {
        for (r, found) in out.written().iter().enumerate() {
            let mut expected = [0.0];
            (kernels.dot_rows)(&aligned(row(r)), bytemuck::cast_slice(a), &mut expected);
            assert_eq!(found.to_bits(), expected[0].to_bits(), "{}: multiply", of.name);
        }
    }
}

/// A copy at an address that any block may have.
fn aligned(row: &[u8]) -> Vec<u8> {
    row.to_vec()
}

macro_rules! for_every_type {
    ($($name:ident)*) => {
        const TYPES: &[Functions] = &[$(Functions {
            name: stringify!($name),
            to_float: ffi::$name::to_float,
            vec_dot: ffi::$name::vec_dot,
        }),*];
    };
}
for_every_type! {
    t2 t25 t3 t35 t4 t5 t2_64 t25_64 t3_64 t35_64 t4_64 t5_64 g4_128 nf4_64 o4 o4x2 o3 o3x2 s34 s24
}

#[test]
fn every_type_is_here() {
    let weights = tenpak_gguf::types::REGISTRY.iter().filter(|t| t.kernels().is_some());
    assert_eq!(weights.count(), TYPES.len());
}

#[test]
fn c_abi() {
    let inputs = Inputs::default();
    bolero::check!().with_type::<(u8, Input)>().for_each(|(which, input)| {
        inputs.count();
        works(&TYPES[*which as usize % TYPES.len()], input);
    });
}
