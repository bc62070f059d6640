//! `ggml-patches/device/reference.c`: a decoder over `tenpak-tables.h` alone gives the golden bits.
#![cfg(unix)]

mod support;

use libloading::Library;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use support::random::Random;
use tempfile::TempDir;
use tenpak_gguf::types::{REGISTRY, Role, TensorType};

/// Blocks in a golden file.
const BLOCKS: usize = 4;
/// Blocks of arbitrary bytes that are compared with the kernels.
const ARBITRARY: usize = 500;

/// Types that devices can decode. A new type may come without; one that devices have must not get lost.
const TYPES: usize = 20;

type ToFloat = unsafe extern "C" fn(*const u8, *mut f32);
type Dot = unsafe extern "C" fn(i32, *const u8, *const u8) -> f32;

/// The compiled file, or nothing where there is no compiler.
struct Reference {
    library: Library,
    _folder: TempDir,
}

impl Reference {
    /// Compiles as one of the languages that the tables are for.
    fn compiled(language: &str, standard: &str) -> Option<Reference> {
        let folder = tempfile::tempdir().expect("a folder");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("ggml-patches/device/reference.c");
        let library = folder.path().join("reference.so");
        let mut compiler = Command::new("c++");
        compiler.args(["-x", language, standard, "-O1", "-ffp-contract=off", "-fPIC", "-shared"]);
        compiler.args(["-Wall", "-Wextra", "-Werror"]).arg(source).arg("-lm").arg("-o").arg(&library);
        match compiler.output() {
            Err(_) => {
                let line =
                    format!("\nNOT TESTED HERE: reference.c as {language}, for there is no compiler `c++`\n");
                std::io::stderr().write_all(line.as_bytes()).expect("standard error is there");
                return None;
            }
            Ok(done) => assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr)),
        }
        // SAFETY: the library was made from our file, which runs nothing when it is loaded.
        let library = unsafe { Library::new(library) }.expect("a library");
        Some(Reference { library, _folder: folder })
    }

    fn knows(&self, t: &TensorType) -> bool {
        // SAFETY: nothing is called.
        unsafe { self.library.get::<ToFloat>(format!("tenpak_reference_{}_to_float", t.name).as_bytes()) }
            .is_ok()
    }

    fn to_float(&self, t: &TensorType, blocks: &[u8]) -> Vec<f32> {
        let name = format!("tenpak_reference_{}_to_float", t.name);
        // SAFETY: the file defines functions of that name with this signature.
        let function =
            unsafe { self.library.get::<ToFloat>(name.as_bytes()) }.expect("reference.c knows the type");
        let mut out = vec![f32::NAN; blocks.len() / t.block_bytes * t.block_len];
        for (block, out) in blocks.chunks(t.block_bytes).zip(out.chunks_mut(t.block_len)) {
            // SAFETY: a whole block, and room for its weights.
            unsafe { function(block.as_ptr(), out.as_mut_ptr()) };
        }
        out
    }

    fn dot(&self, t: &TensorType, weights: &[u8], activations: &[u8]) -> f32 {
        let name = format!("tenpak_reference_{}_dot", t.name);
        // SAFETY: the file defines functions of that name with this signature; both rows have as many blocks as it is told.
        unsafe {
            let function = self.library.get::<Dot>(name.as_bytes()).expect("defined with to_float");
            function((weights.len() / t.block_bytes) as i32, weights.as_ptr(), activations.as_ptr())
        }
    }
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|v| v.to_bits()).collect()
}

/// Every weight type that devices know, with the file of its golden bytes and its blocks of activations.
fn check(reference: &Reference) {
    let mut checked = 0;
    for t in REGISTRY {
        let Role::Weight { activation, kernels, .. } = &t.role else { continue };
        if !reference.knows(t) {
            continue;
        }
        checked += 1;
        let path = format!("{}/tests/golden/{}.bin", env!("CARGO_MANIFEST_DIR"), t.name);
        let golden = std::fs::read(&path).expect("a golden file");
        let (weights, rest) = golden.split_at(BLOCKS * t.block_bytes);
        let bytes = BLOCKS * t.block_len / activation.block_len * activation.block_bytes;
        let (activations, floats) = rest.split_at(bytes);
        let floats: Vec<_> =
            floats.chunks_exact(4).map(|b| f32::from_ne_bytes(b.try_into().unwrap())).collect();
        let (product, values) = floats.split_last().expect("a product");
        assert_eq!(values.len(), BLOCKS * t.block_len, "{path}");
        assert_eq!(bits(&reference.to_float(t, weights)), bits(values), "{}: weights", t.name);
        let got = reference.dot(t, weights, activations);
        assert_eq!(got.to_bits(), product.to_bits(), "{}: product", t.name);

        let arbitrary = Random(t.id as u64).bytes(ARBITRARY * t.block_bytes);
        let mut expected = vec![0.0; ARBITRARY * t.block_len];
        (kernels.dequantize)(&arbitrary, &mut expected);
        assert_eq!(bits(&reference.to_float(t, &arbitrary)), bits(&expected), "{}: arbitrary blocks", t.name);
    }
    assert!(checked >= TYPES, "reference.c knows {checked} types and knew {TYPES}: see src/render/tables.rs");
}

#[test]
fn a_decoder_in_c_gives_the_golden_bits() {
    if let Some(reference) = Reference::compiled("c", "-std=c99") {
        check(&reference);
    }
}

#[test]
fn a_decoder_in_cpp_gives_the_golden_bits() {
    if let Some(reference) = Reference::compiled("c++", "-std=c++17") {
        check(&reference);
    }
}
