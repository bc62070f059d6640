//! The CUDA kernels without a GPU: tenpak-kernels.cuh as C++, thread by thread, gives the bits of the definition.
//!
//! tests/support/cuda/host.h stands in for CUDA. What it cannot show is the compiler's part: scripts/check_cuda_build.sh
//! looks at that, and scripts/gpu_check.sh at results on a GPU.
#![cfg(unix)]

mod support;

use half::{bf16, f16};
use libloading::Library;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::ptr::null;
use std::sync::{Mutex, MutexGuard, OnceLock};
use support::random::Random;
use tempfile::TempDir;
use tenpak_gguf::types::direct;
use tenpak_gguf::types::trellis::code::ZERO_POINT;
use tenpak_gguf::types::trellis::layout::*;
use tenpak_gguf::types::trellis::{scalar, scale};
use tenpak_gguf::types::{REGISTRY, Role, TensorType, by_name};

/// Rows of so many blocks leave every kind of rest: a warp has 4 to 16 blocks at a time, its CTA 32 to 64.
const BLOCKS: [usize; 7] = [1, 2, 7, 8, 9, 17, 65];

/// As the kernels have it: what the quants of a block of activations share.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Scaled {
    scale: f32,
    sum: i32,
}

type Decode = unsafe extern "C" fn(*const u8, i32, *const i8, *mut u8, *mut i32);
type Rotated = unsafe extern "C" fn(*const u8, i32, i32, *mut f32);
type Rotate = unsafe extern "C" fn(*const f32, i32, i32, *mut f16);
type Quantize = unsafe extern "C" fn(*const f32, i32, i32, *mut i8, *mut Scaled);
type Rows<F> = unsafe extern "C" fn(*const u8, i32, *const i32, i32, *mut F);
type Multiply = unsafe extern "C" fn(
    *const u8,
    i32,
    i32,
    *const i32,
    i32,
    *const u8,
    *const f32,
    *const i8,
    *const Scaled,
    *mut f32,
);

/// The compiled kernels. Only one thread may call them: they stand for the threads of a GPU.
struct Kernels {
    library: Library,
    _folder: TempDir,
}

impl Kernels {
    /// The kernels, or nothing where there is no compiler.
    fn get() -> Option<MutexGuard<'static, Kernels>> {
        static COMPILED: OnceLock<Option<Mutex<Kernels>>> = OnceLock::new();
        let kernels = COMPILED.get_or_init(|| Kernels::compiled().map(Mutex::new)).as_ref()?;
        Some(kernels.lock().unwrap_or_else(|failed| failed.into_inner()))
    }

    fn compiled() -> Option<Kernels> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = tempfile::tempdir().expect("a folder");
        let kernels =
            std::fs::read_dir(root.join("ggml-patches/overlay/ggml/src/ggml-cuda")).expect("the kernels");
        for path in kernels.map(|entry| entry.expect("an entry").path()) {
            let text = std::fs::read_to_string(&path).expect("a file of text");
            let copy = folder.path().join(path.file_name().expect("a file"));
            std::fs::write(copy, without_ptx(&text)).expect("room for the kernels");
        }
        let library = folder.path().join("kernels.so");
        let mut compiler = Command::new("c++");
        // The sanitizer ends the test where a GPU would refuse an address.
        compiler.args(["-std=c++17", "-O1", "-ffp-contract=off", "-fno-strict-aliasing", "-fPIC", "-shared"]);
        compiler.args(["-fsanitize=alignment", "-fsanitize-undefined-trap-on-error"]);
        compiler.args(["-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-Wno-unknown-pragmas"]);
        let shim = root.join("tests/support/cuda");
        for include in [folder.path(), &root.join("ggml-patches"), &shim] {
            compiler.arg("-I").arg(include);
        }
        compiler.arg(shim.join("kernels.cpp")).arg("-o").arg(&library);
        match compiler.output() {
            Err(_) => {
                let line = "\nNOT TESTED HERE: the CUDA kernels as C++, for there is no compiler `c++`\n";
                std::io::stderr().write_all(line.as_bytes()).expect("standard error is there");
                return None;
            }
            Ok(done) => assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr)),
        }
        // SAFETY: the library was made from our files, which run nothing when it is loaded.
        let library = unsafe { Library::new(library) }.expect("a library");
        Some(Kernels { library, _folder: folder })
    }

    /// A function of a type. The caller names its signature.
    fn function<F: Copy>(&self, t: &TensorType, name: &str) -> F {
        let name = format!("{}_{name}", t.name);
        // SAFETY: nothing is called here; tests/support/cuda/kernels.cpp has the signatures above.
        *unsafe { self.library.get::<F>(name.as_bytes()) }.unwrap_or_else(|e| panic!("{name}: {e}"))
    }
}

/// The text with inline PTX as calls of the functions that host.h has for it.
fn without_ptx(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, statement)) = rest.split_once("asm") {
        out += before;
        rest = statement;
        let Some(arguments) =
            statement.trim_start().trim_start_matches("volatile").trim_start().strip_prefix('(')
        else {
            out += "asm"; // a word with these letters
            continue;
        };
        let (arguments, after) = enclosed(arguments);
        let mut parts = arguments.split('"').skip(1);
        let ptx = parts.next().expect("an instruction").trim_end_matches(';');
        let (instruction, places) = ptx.split_once(' ').expect("operands");
        // text in quotes alternates with what follows it: constraints with their operands
        let operands: Vec<_> = parts.filter_map(|part| Some(enclosed(part.strip_prefix('(')?).0)).collect();
        let places = places.split(',').map(|place| place.trim_matches([' ', '{', '}', '[', ']']));
        let operands: Vec<_> = places
            .map(|place| match place.strip_prefix('%') {
                Some(number) => operands[number.parse::<usize>().expect("a number")],
                None => place,
            })
            .collect();
        out += &format!("ptx_{}({})", instruction.replace('.', "_"), operands.join(", "));
        rest = after;
    }
    out + rest
}

/// What stands before the parenthesis that closes one before the text, and what after it.
fn enclosed(text: &str) -> (&str, &str) {
    let mut depth = 1;
    let end = text.find(|c| {
        depth += (c == '(') as i32 - (c == ')') as i32;
        depth == 0
    });
    let end = end.expect("a closing parenthesis");
    (&text[..end], &text[end + 1..])
}

/// Every type of weights.
fn weight_types() -> impl Iterator<Item = &'static TensorType> {
    REGISTRY.iter().copied().filter(|t| t.kernels().is_some())
}

/// Calls a function with the bytes where blocks of every type may lie.
fn aligned(bytes: &[u8], f: impl FnOnce(&[u8])) {
    let mut words = vec![0u32; bytes.len().div_ceil(4)];
    let copy = &mut bytemuck::cast_slice_mut(&mut words)[..bytes.len()];
    copy.copy_from_slice(bytes);
    f(copy);
}

fn dequantized(t: &TensorType, row: &[u8]) -> Vec<f32> {
    let mut out = vec![f32::NAN; row.len() / t.block_bytes * t.block_len];
    aligned(row, |row| (t.kernels().expect("a weight type").dequantize)(row, &mut out));
    out
}

/// Calls `$check::<Block>(kernels, type)` for every trellis type.
macro_rules! for_each_trellis {
    ($check:ident) => {
        let Some(kernels) = Kernels::get() else { return };
        $check::<BlockT2>(&kernels, "t2");
        $check::<BlockT3>(&kernels, "t3");
        $check::<BlockT4>(&kernels, "t4");
        $check::<BlockT2_64>(&kernels, "t2_64");
        $check::<BlockT3_64>(&kernels, "t3_64");
        $check::<BlockT4_64>(&kernels, "t4_64");
        $check::<BlockT25>(&kernels, "t25");
        $check::<BlockT35>(&kernels, "t35");
        $check::<BlockT25_64>(&kernels, "t25_64");
        $check::<BlockT35_64>(&kernels, "t35_64");
        $check::<BlockT5>(&kernels, "t5");
        $check::<BlockT5_64>(&kernels, "t5_64");
    };
}

fn golden(t: &TensorType) -> Vec<u8> {
    let path = format!("{}/tests/golden/{}.bin", env!("CARGO_MANIFEST_DIR"), t.name);
    let mut bytes = std::fs::read(path).expect("a golden file");
    bytes.truncate(4 * t.block_bytes);
    bytes
}

fn blocks<T: Trellis>(bytes: &[u8]) -> Vec<T> {
    bytes.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect()
}

/// Compares values and block integers of a row with those of the definition.
fn check_row<T: Trellis>(kernels: &Kernels, t: &TensorType, row: &[u8], random: &mut Random) {
    let n = row.len() / t.block_bytes;
    let quants: Vec<_> = (0..n * T::LEN).map(|_| (random.below(255) as i32 - 127) as i8).collect();
    let (mut values, mut integers) = (vec![0xa5; n * T::LEN], vec![0; n]);
    let decode = kernels.function::<Decode>(t, "decode");
    // SAFETY: n blocks, with room for their values and their integers.
    unsafe { decode(row.as_ptr(), n as i32, quants.as_ptr(), values.as_mut_ptr(), integers.as_mut_ptr()) };
    for (b, block) in blocks::<T>(row).iter().enumerate() {
        let at = b * T::LEN..(b + 1) * T::LEN;
        let (r, q) = (&scalar::reconstruct(block)[..T::LEN], &quants[at.clone()]);
        assert_eq!(&values[at], r, "{}: values of block {b} of {n}", t.name);
        let integer: i32 = r.iter().zip(q).map(|(&r, &q)| (r as i32 - ZERO_POINT) * q as i32).sum();
        assert_eq!(integers[b], integer, "{}: integer of block {b} of {n}", t.name);
    }
}

/// Three million weights: rows of every rest, rows with every history byte, and the golden blocks.
fn check_decoding<T: Trellis>(kernels: &Kernels, name: &str) {
    let t = by_name(name).expect("a type");
    let mut random = Random(t.id as u64);
    check_row::<T>(kernels, t, &golden(t), &mut random);
    for n in BLOCKS {
        let row = random.bytes(n * t.block_bytes);
        check_row::<T>(kernels, t, &row, &mut random);
    }
    for _ in 0..500_000 / 256 / T::LEN + 1 {
        let mut row = random.bytes(256 * t.block_bytes);
        for (block, history) in row.chunks_exact_mut(t.block_bytes).zip(0..) {
            block[1] = history;
        }
        check_row::<T>(kernels, t, &row, &mut random);
    }
}

#[test]
fn values_and_block_integers_are_those_of_the_definition() {
    for_each_trellis!(check_decoding);
}

/// Rotated weights are f16 of 16 d (r - 64), exact for all scale codes but those four whose 16 d f16 has to round.
fn check_rotated_weights<T: Trellis>(kernels: &Kernels, name: &str) {
    let exact = (0..=255).filter(|code| ![1, 3, 5, 7].contains(code));
    let t = by_name(name).expect("a type");
    let (n, rows) = (33, 8);
    let mut weights = Random(t.id as u64).bytes(n * rows * t.block_bytes);
    for (block, code) in weights.chunks_exact_mut(t.block_bytes).zip(exact.cycle()) {
        block[0] = code;
    }
    let mut out = vec![f32::NAN; n * rows * T::LEN];
    let rotated = kernels.function::<Rotated>(t, "rotated");
    // SAFETY: rows of n blocks, with room for their weights.
    unsafe { rotated(weights.as_ptr(), n as i32, rows as i32, out.as_mut_ptr()) };
    for (block, out) in blocks::<T>(&weights).iter().zip(out.chunks_exact(T::LEN)) {
        let d = 16.0 * scale::decode(block.d());
        let r = &scalar::reconstruct(block)[..T::LEN];
        let exact: Vec<_> = r.iter().map(|&r| d * (r as i32 - ZERO_POINT) as f32).collect();
        assert_eq!(out, exact, "{name}: scale code {}", block.d());
    }
}

#[test]
fn rotated_weights_are_exact() {
    for_each_trellis!(check_rotated_weights);
}

/// Columns of blocks like those of models, and of blocks whose size is out of the ordinary.
fn columns(t: &TensorType, blocks: usize, columns: usize, random: &mut Random) -> Vec<f32> {
    const SIZES: [f32; 6] = [1.0, 0.0, 1e-38, 1e-42, 1e30, f32::INFINITY];
    let mut x = random.gaussians(columns * blocks * t.block_len);
    for block in x.chunks_exact_mut(t.block_len) {
        let size = SIZES[random.below(12).saturating_sub(6) as usize];
        let place = random.below(t.block_len as u64) as usize;
        if size.is_finite() {
            block.iter_mut().for_each(|v| *v *= size);
        } else {
            block[place] = if place.is_multiple_of(2) { f32::INFINITY } else { f32::NAN };
        }
    }
    x
}

/// Quants in the order of elements, and what blocks of them share, as the processor makes them.
fn quantized(t: &TensorType, x: &[f32]) -> (Vec<i8>, Vec<Scaled>) {
    let Role::Weight { activation, .. } = t.role else { panic!("{} is a weight type", t.name) };
    let Role::Activation { quantize } = activation.role else { panic!("{} is none", activation.name) };
    let mut bytes = vec![0u32; activation.row_bytes(x.len()).expect("whole blocks") / 4];
    quantize(x, bytemuck::cast_slice_mut(&mut bytes));
    let (mut quants, mut scaled) = (vec![], vec![]);
    let steps = match activation.name {
        "a8" => BlockT3::STEPS,
        "a8_64" => BlockT3_64::STEPS,
        "q8" => direct::layout::STEPS,
        _ => 1,
    };
    for block in bytemuck::cast_slice::<u32, u8>(&bytes).chunks_exact(activation.block_bytes) {
        let (head, qs) = block.split_at(8);
        let [scale, sum] =
            [0, 4].map(|at| u32::from_ne_bytes(head[at..at + 4].try_into().expect("four bytes")));
        scaled.push(Scaled { scale: f32::from_bits(scale), sum: sum as i32 });
        let lanes = qs.len() / steps;
        quants.extend((0..qs.len()).map(|i| qs[lanes * (i % steps) + i / steps] as i8));
    }
    (quants, scaled)
}

#[test]
fn quantized_activations_are_the_processors() {
    let Some(kernels) = Kernels::get() else { return };
    for t in weight_types() {
        let mut random = Random(t.id as u64);
        for n in BLOCKS {
            let x = columns(t, n, 3, &mut random);
            let (expected, shared) = quantized(t, &x);
            let (mut quants, mut scaled) = (vec![-128; x.len()], vec![Scaled::default(); shared.len()]);
            let quantize = kernels.function::<Quantize>(t, "quantize");
            let blocks = shared.len() / 3; // of activations, of a column
            // SAFETY: three columns of so many blocks, with room for their quants and scales.
            unsafe { quantize(x.as_ptr(), blocks as i32, 3, quants.as_mut_ptr(), scaled.as_mut_ptr()) };
            assert_eq!(quants, expected, "{}: quants of {n} blocks", t.name);
            for (got, expected) in scaled.iter().zip(&shared) {
                let same = got.scale.to_bits() == expected.scale.to_bits() && got.sum == expected.sum;
                assert!(same || got.scale.is_nan() && expected.scale.is_nan() && got.sum == 0, "{}", t.name);
            }
        }
    }
}

/// The rotation, from what the processor's quants say of it: of a block whose greatest rotated value is 127 the quants
/// are the rotated values, rounded.
fn check_rotated_columns<T: Trellis>(kernels: &Kernels, name: &str) {
    let t = by_name(name).expect("a type");
    let (n, count) = (9, 2);
    let mut random = Random(t.id as u64);
    let x = random.gaussians(n * count * T::LEN);
    let (quants, scaled) = quantized(t, &x);
    let mut out = vec![f16::NAN; x.len()];
    let rotate = kernels.function::<Rotate>(t, "rotate");
    // SAFETY: columns of n blocks, with room for their values.
    unsafe { rotate(x.as_ptr(), n as i32, count as i32, out.as_mut_ptr()) };
    for ((out, q), shared) in out.chunks(T::LEN).zip(quants.chunks(T::LEN)).zip(scaled) {
        for (out, &q) in out.iter().zip(q) {
            let error = (out.to_f32() / shared.scale - q as f32).abs();
            assert!(error < 0.57, "{name}: {out} of scale {} is {q}", shared.scale);
        }
    }
}

#[test]
fn rotated_activations_are_those_that_are_quantized() {
    for_each_trellis!(check_rotated_columns);
}

#[test]
fn rows_as_floats_are_the_processors() {
    let Some(kernels) = Kernels::get() else { return };
    for t in weight_types() {
        let mut random = Random(t.id as u64);
        for n in BLOCKS {
            let row_bytes = n * t.block_bytes;
            let mut weights = random.bytes(5 * row_bytes);
            if let Some(start) = weights.get_mut(..4 * t.block_bytes) {
                start.copy_from_slice(&golden(t));
            }
            let ids = [4, 0, 3];
            let rows = ids.iter().map(|&id| &weights[id as usize * row_bytes..][..row_bytes]);
            let expected: Vec<_> = rows.flat_map(|row| dequantized(t, row)).collect();
            let (mut f32s, mut f16s) = (vec![f32::NAN; expected.len()], vec![f16::NAN; expected.len()]);
            let mut bf16s = vec![bf16::NAN; expected.len()];
            // SAFETY: rows of n blocks, room for the weights of three of them.
            unsafe {
                let (rows, n, m) = (kernels.function::<Rows<f32>>(t, "rows_f32"), n as i32, ids.len() as i32);
                rows(weights.as_ptr(), n, ids.as_ptr(), m, f32s.as_mut_ptr());
                let rows = kernels.function::<Rows<f16>>(t, "rows_f16");
                rows(weights.as_ptr(), n, ids.as_ptr(), m, f16s.as_mut_ptr());
                let rows = kernels.function::<Rows<bf16>>(t, "rows_bf16");
                rows(weights.as_ptr(), n, ids.as_ptr(), m, bf16s.as_mut_ptr());
            }
            for (i, &x) in expected.iter().enumerate() {
                let place = format!("{}: weight {i} of rows of {n} blocks", t.name);
                assert_eq!(f32s[i].to_bits(), x.to_bits(), "{place}");
                assert_eq!(f16s[i].to_bits(), f16::from_f32(x).to_bits(), "{place} as f16");
                assert_eq!(bf16s[i].to_bits(), bf16::from_f32(x).to_bits(), "{place} as bf16");
            }
        }
    }
}

/// Blocks of any codes, and of scales that no product overflows with.
fn weights(t: &TensorType, n: usize, random: &mut Random) -> Vec<u8> {
    let mut weights = random.bytes(n * t.block_bytes);
    if t.name == "nf4_64" {
        weights.chunks_exact_mut(t.block_bytes).for_each(|block| block[3] = 0x3c);
    }
    weights
}

fn norm(x: &[f32]) -> f32 {
    x.iter().map(|v| v * v).sum::<f32>().sqrt()
}

/// The processor's product, and how far another order of its sums may be from it.
fn product(t: &TensorType, row: &[u8], x: &[f32]) -> (f32, f32) {
    const ERROR: f32 = 2e-6; // 2^-24 for each of some additions
    let Role::Weight { activation, kernels, .. } = t.role else { panic!("{} is a weight type", t.name) };
    let Role::Activation { quantize } = activation.role else { panic!("{} is none", activation.name) };
    let mut a = vec![0u32; activation.row_bytes(x.len()).expect("whole blocks") / 4];
    quantize(x, bytemuck::cast_slice_mut(&mut a));
    let mut product = [f32::NAN];
    aligned(row, |row| (kernels.dot_rows)(row, bytemuck::cast_slice(&a), &mut product));
    (product[0], ERROR * norm(&dequantized(t, row)) * norm(x))
}

#[test]
fn products_are_the_processors_but_for_the_order_of_sums() {
    let Some(kernels) = Kernels::get() else { return };
    for t in weight_types() {
        let mut random = Random(t.id as u64);
        for n in BLOCKS {
            for (name, columns) in [
                ("multiply_1_column_1_warp", 1),
                ("multiply_1_column_2_warps", 1),
                ("multiply_1_column_4_warps", 1),
                ("multiply_3_columns_1_warp", 3),
                ("multiply_8_columns_4_warps", 8),
            ] {
                let (rows, row_bytes) = (5, n * t.block_bytes);
                let weights = weights(t, rows * n, &mut random);
                let x = random.gaussians(columns * n * t.block_len);
                let (quants, scaled) = quantized(t, &x);
                let mut out = vec![f32::NAN; rows * columns];
                let multiply = kernels.function::<Multiply>(t, name);
                let (w, ids, gate, bias) = (weights.as_ptr(), null(), null(), null());
                let (q, s, o) = (quants.as_ptr(), scaled.as_ptr(), out.as_mut_ptr());
                // SAFETY: rows and columns of n blocks, with room for their products.
                unsafe { multiply(w, n as i32, rows as i32, ids, 1, gate, bias, q, s, o) };
                for (i, &got) in out.iter().enumerate() {
                    let x = &x[i / rows * n * t.block_len..][..n * t.block_len];
                    let (product, error) = product(t, &weights[i % rows * row_bytes..][..row_bytes], x);
                    assert!((got - product).abs() <= error, "{} {name}: {got} for {product}", t.name);
                }
            }
        }
    }
}

/// Of four experts two are multiplied, with gates and biases and without.
#[test]
fn products_of_experts_are_the_processors() {
    let Some(kernels) = Kernels::get() else { return };
    for t in weight_types() {
        for gated in [false, true] {
            let mut random = Random(t.id as u64);
            let (n, rows, ids, experts) = (9, 3, [3, 0], 4);
            let row_bytes = n * t.block_bytes;
            let weights = weights(t, 2 * experts * rows * n, &mut random);
            let (up, gate) = weights.split_at(weights.len() / 2);
            let (x, bias) = (random.gaussians(n * t.block_len), random.gaussians(experts * rows));
            let (quants, scaled) = quantized(t, &x);
            let mut out = vec![f32::NAN; ids.len() * rows];
            let multiply = kernels.function::<Multiply>(t, "multiply_1_column_2_warps");
            let g = if gated { gate.as_ptr() } else { null() };
            let (w, b, q, s) = (up.as_ptr(), bias.as_ptr(), quants.as_ptr(), scaled.as_ptr());
            let o = out.as_mut_ptr();
            // SAFETY: four matrices and gates, of which two are multiplied with a column of n blocks, with room for the products.
            unsafe { multiply(w, n as i32, rows as i32, ids.as_ptr(), ids.len() as i32, g, b, q, s, o) };
            for (i, &got) in out.iter().enumerate() {
                let row = ids[i / rows] as usize * rows + i % rows;
                let bytes = row * row_bytes..(row + 1) * row_bytes;
                let (mut expected, mut error) = product(t, &up[bytes.clone()], &x);
                if gated {
                    let (product, its_error) = product(t, &gate[bytes], &x);
                    expected += bias[row] - product;
                    error += its_error;
                }
                assert!((got - expected).abs() <= error, "{}: {got} for {expected}, gated {gated}", t.name);
            }
        }
    }
}
