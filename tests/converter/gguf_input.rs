//! GGUF files of quantized types as models. What their weights are, ggml has said: tests/golden/ggml.digest, written by
//! scripts/reference_dequantize.py.

use crate::support;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use support::random::Random;
use support::tiny_gguf::{file, tensor, write};
use support::tiny_llama::TinyLlama;
use support::{assert_says, error, family, files_in, plan};
use tempfile::TempDir;
use tenpak_gguf::checkpoint::{Dtype, Model, Options};
use tenpak_gguf::export;
use tenpak_gguf::gguf::{File, GgmlType, TensorHeader, Writer};
use tenpak_gguf::job;
use tenpak_gguf::plan::Recipe;
use tenpak_gguf::types;

/// Blocks of arbitrary bytes of each type, as in the script: every row of every grid is among them.
const BLOCKS: usize = 4096;

fn golden(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "golden", name].iter().collect()
}

/// A type with the digests of its matrix in ggml.gguf and of arbitrary bytes.
struct Reference {
    kind: GgmlType,
    name: String,
    matrix: String,
    arbitrary: String,
}

fn references() -> Vec<Reference> {
    let text = std::fs::read_to_string(golden("ggml.digest")).unwrap();
    let parse = |line: &str| match line.split(' ').collect::<Vec<_>>()[..] {
        [id, name, matrix, arbitrary] => Reference {
            kind: GgmlType(id.parse().unwrap()),
            name: name.into(),
            matrix: matrix.into(),
            arbitrary: arbitrary.into(),
        },
        _ => panic!("{line}"),
    };
    text.lines().map(parse).collect()
}

/// sha256 of the bits, those of every NaN being the same.
fn digest(values: &[f32]) -> String {
    let bits = values.iter().map(|v| if v.is_nan() { 0x7fc0_0000 } else { v.to_bits() });
    let bytes: Vec<u8> = bits.flat_map(u32::to_le_bytes).collect();
    format!("{:x}", Sha256::digest(bytes))
}

fn open(path: &Path) -> Model {
    Model::open(path, &Options::default()).unwrap_or_else(|e| panic!("{e}"))
}

/// Converts a file; the result is in a folder that goes away with the first of the two.
fn convert(path: &Path, recipe: Recipe) -> (TempDir, PathBuf) {
    let (folder, _) = file(&[]);
    let (model, out) = (open(path), folder.path().join("out.gguf"));
    job::write(&model, &plan(&model, recipe), None, &out, &|_| {}).unwrap_or_else(|e| panic!("{e}"));
    (folder, out)
}

/// Names, types and bytes of all tensors.
fn tensors(path: &Path) -> Vec<(String, GgmlType, Vec<u8>)> {
    let file = File::open(path).unwrap();
    let entry = |t: &tenpak_gguf::gguf::Tensor| (t.name.clone(), t.kind, file.data(t).unwrap().to_vec());
    file.tensors().iter().map(entry).collect()
}

#[test]
fn every_type_is_in_the_reference() {
    let ours = |kind: GgmlType| types::by_id(kind.0).is_some();
    let decoded = (0..1000).map(GgmlType).filter(|kind| kind.dequantizer().is_some() && !ours(*kind));
    assert_eq!(decoded.collect::<Vec<_>>(), references().iter().map(|r| r.kind).collect::<Vec<_>>());
}

#[test]
fn arbitrary_bytes_decode_as_by_ggml() {
    for reference in references() {
        let Reference { kind, name, arbitrary, .. } = reference;
        assert_eq!(kind.name(), name);
        let len = kind.block_len().unwrap();
        let bytes = Random(kind.0.into()).bytes(BLOCKS * kind.bytes(len).unwrap() as usize);
        let mut out = vec![0.0; BLOCKS * len as usize];
        kind.dequantizer().unwrap()(&bytes, &mut out);
        assert_eq!(digest(&out), arbitrary, "{name}");
    }
}

#[test]
fn a_plain_file_has_the_weights_that_ggml_finds() {
    let (_folder, plain) = convert(&golden("ggml.gguf"), Recipe::plain(Dtype::F32));
    let tensors = tensors(&plain);
    let floats = |bytes: &[u8]| -> Vec<f32> {
        bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    };
    let found = tensors.iter().map(|(name, kind, bytes)| (name.clone(), *kind, digest(&floats(bytes))));
    let found: Vec<_> = found.collect();
    let name = |r: &Reference| format!("blk.0.{}.weight", r.name);
    let expected: Vec<_> = references().iter().map(|r| (name(r), GgmlType::F32, r.matrix.clone())).collect();
    assert_eq!(found, expected);
}

/// The same file with names of matrices that graphs multiply with.
fn renamed(path: &Path) -> (TempDir, PathBuf) {
    let (folder, renamed) = file(&[]);
    let original = File::open(path).unwrap();
    let named = |(i, t): (usize, &tenpak_gguf::gguf::Tensor)| {
        tensor(&format!("blk.{i}.ffn_up.weight"), &t.shape, t.kind)
    };
    let headers = original.tensors().iter().enumerate().map(named).collect();
    let mut writer = Writer::create(&renamed, &[], headers).unwrap();
    original.tensors().iter().for_each(|t| writer.write(original.data(t).unwrap()).unwrap());
    writer.finish().unwrap();
    (folder, renamed)
}

/// Quantized from a quantized file as from the floats that it stands for.
#[test]
fn a_second_quantization_is_that_of_the_weights() {
    let (_source, source) = renamed(&golden("ggml.gguf"));
    let (_folder, plain) = convert(&source, Recipe::plain(Dtype::F32));
    for recipe in [Recipe::default(), Recipe::all(family("t4")), Recipe::plain(Dtype::BF16)] {
        let ((_a, direct), (_b, by_floats)) =
            (convert(&source, recipe.clone()), convert(&plain, recipe.clone()));
        assert!(tensors(&direct) == tensors(&by_floats), "{recipe:?}");
    }
}

#[test]
fn blocks_can_be_kept() {
    let source = golden("ggml.gguf");
    let (_folder, kept) = convert(&source, Recipe::keep());
    assert!(tensors(&kept) == tensors(&source));
}

/// Writes a file of weights that are all zero.
fn write_zeros(path: &Path, headers: &[TensorHeader]) {
    let mut writer = Writer::create(path, &[], headers.to_vec()).unwrap();
    headers.iter().for_each(|h| writer.write(&vec![0; h.bytes as usize]).unwrap());
    writer.finish().unwrap();
}

/// Embeddings that stay in the type of the file.
#[test]
fn embeddings_can_be_kept() {
    let (folder, path) = file(&[]);
    let random_f16 = tensor("blk.0.ffn_up.weight", &[256, 2], GgmlType::F16);
    let headers = [tensor("token_embd.weight", &[256, 3], GgmlType(14)), random_f16];
    write_zeros(&path, &headers);
    let (_out, linear) = convert(&path, Recipe::linear(family("t3")));
    let kinds: Vec<_> = tensors(&linear).iter().map(|(_, kind, _)| kind.name()).collect();
    assert_eq!(kinds, ["q6_K", "t3"]);
    drop(folder);
}

/// Our own types, of those that are rotated and those that are not.
#[test]
fn our_types_are_read_too() {
    let tiny = TinyLlama::new().write();
    let ours = tiny.beside("ours.gguf");
    let model = open(&tiny.path);
    job::write(&model, &plan(&model, Recipe::default()), None, &ours, &|_| {}).unwrap();
    let (_folder, plain) = convert(&ours, Recipe::plain(Dtype::F32));
    let exported = tiny.beside("exported.gguf");
    export::to_gguf(&File::open(&ours).unwrap(), Dtype::F32, &exported, true, &|_| {}).unwrap();
    assert!(tensors(&plain) == tensors(&exported));
}

/// Tables of numbers are no weights: they stay as they are, whatever is made of the rest.
#[test]
fn numbers_stay_as_they_are() {
    let (_folder, path) = file(&[]);
    let headers =
        [24, 25, 26, 27, 28].map(|id| tensor(&format!("blk.{id}.ids.weight"), &[64, 3], GgmlType(id)));
    write(&path, &[], &headers);
    for recipe in [Recipe::default(), Recipe::plain(Dtype::F16), Recipe::keep()] {
        let (_out, converted) = convert(&path, recipe.clone());
        assert!(tensors(&converted) == tensors(&path), "{recipe:?}");
    }
}

#[test]
fn tensors_without_elements_are_refused() {
    for shape in [[0, 4], [4, 0]] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("empty.gguf");
        write_zeros(&path, &[tensor("blk.0.ffn_up.weight", &shape, GgmlType::F32)]);
        let e = error(Model::open(&path, &Options::default()));
        assert_says(e, &["empty.gguf", "`blk.0.ffn_up.weight`", "has no elements", "get it again"]);
    }
}

/// A scale that is not finite, in row 1 of a matrix of every type that can have one.
#[test]
fn scales_that_are_not_finite_are_refused() {
    let mut refused = 0;
    for reference in references() {
        let (kind, name) = (reference.kind, reference.name);
        let row = kind.bytes(256).unwrap() as usize;
        let mut bytes = vec![0; 2 * row];
        bytes[row..].fill(0xff);
        let (folder, path) = file(&[]);
        let mut writer = Writer::create(&path, &[], vec![tensor("blk.0.w.weight", &[256, 2], kind)]).unwrap();
        writer.write(&bytes).unwrap();
        writer.finish().unwrap();
        let (model, out) = (open(&path), folder.path().join("out.gguf"));
        match job::write(&model, &plan(&model, Recipe::all(family("t3"))), None, &out, &|_| {}) {
            Err(e) => {
                assert_says(
                    e.to_string(),
                    &["`blk.0.w.weight`", "row 1", "is not a finite number", "damaged"],
                );
                assert_eq!(files_in(folder.path()), ["model.gguf"]);
                refused += 1;
            }
            // Its scales are finite whatever their bytes.
            Ok(_) => assert_eq!(name, "nvfp4"),
        }
    }
    assert_eq!(refused, references().len() - 1);
}

/// Names that llama.cpp never quantizes, in a file of F16, with what the converter's type is and a quantized recipe's.
#[test]
fn small_matrices_stay_precise() {
    const F32: GgmlType = GgmlType::F32;
    const F16: GgmlType = GgmlType::F16;
    let (_folder, path) = file(&[]);
    let of = |name: &str, shape: &[u64], kind| tensor(name, shape, kind);
    let cases = [
        (of("token_embd.weight", &[256, 64], F16), "f16", "t3"),
        (of("blk.0.attn_q.weight", &[256, 256], F16), "f16", "t3"),
        // As the converter has them.
        (of("blk.0.ssm_conv1d.weight", &[4, 256], F32), "f32", "f32"),
        (of("blk.0.shortconv.conv.weight", &[64, 256], F32), "f32", "f32"),
        (of("blk.0.time_mix_w1.weight", &[256, 64], F32), "f32", "f32"),
        (of("blk.0.time_mix_lerp_fused.weight", &[256, 1, 1, 5], F32), "f32", "f32"),
        (of("blk.0.ffn_gate_inp.weight", &[256, 8], F16), "f32", "f32"),
        (of("token_types.weight", &[256, 2], F32), "f32", "f32"),
        (of("position_embd.weight", &[256, 16], F32), "f32", "f32"),
        // As llama-quantize leaves them.
        (of("blk.0.time_mix_a1.weight", &[256, 64], F16), "f16", "f16"),
        (of("blk.0.laurel_l.weight", &[256, 64], F16), "f16", "f16"),
        (of("per_layer_model_proj.weight", &[256, 64], GgmlType::BF16), "f16", "bf16"),
        (of("blk.0.attn_rel_b.weight", &[64, 32], F16), "f16", "f16"),
        (of("v.patch_embd.weight", &[64, 64, 3], F32), "f32", "f32"),
        (of("blk.0.time_mix_g1.weight", &[256, 2], GgmlType(8)), "f16", "q8_0"),
        // To ggml a vector.
        (of("blk.0.time_mix_lerp_k.weight", &[256, 1, 1], F16), "f16", "f16"),
        // Of names that nobody knows, which graphs may do anything with.
        (of("blk.0.new_kind_of_mixing.weight", &[256, 4], F32), "f32", "f32"),
        (of("blk.0.new_kind_of_states.weight", &[256, 4], F16), "f16", "f16"),
        // F32 among F16, but the head is too large for that.
        (of("output.weight", &[256, 8], F32), "f16", "t3"),
    ];
    write_zeros(&path, &cases.clone().map(|(header, ..)| header));
    let kinds = |path: &Path| tensors(path).into_iter().map(|(name, kind, _)| (name, kind.name()));
    let (_a, plain) = convert(&path, Recipe::plain(Dtype::F16));
    let (_b, quantized) = convert(&path, Recipe::all(family("t3")));
    let (_c, embeddings_kept) = convert(&path, Recipe::linear(family("t3")));
    let found = kinds(&plain).zip(kinds(&quantized)).zip(kinds(&embeddings_kept));
    for ((plain, quantized), linear) in found {
        let (header, as_plain, as_t3) = cases.iter().find(|(h, ..)| h.name == plain.0).unwrap();
        assert_eq!((&plain.1[..], &quantized.1[..]), (*as_plain, *as_t3), "{}", plain.0);
        let is_outer = ["token_embd.weight", "output.weight"].contains(&&linear.0[..]);
        assert_eq!(linear.1, if is_outer { header.kind.name() } else { quantized.1 }, "{}", linear.0);
    }
}

/// In a file of F32, F32 says nothing: only names do.
#[test]
fn f32_among_f32_is_not_precise() {
    let (_folder, path) = file(&[]);
    let names = ["blk.0.attn_q.weight", "blk.0.new_kind_of_mixing.weight", "blk.0.time_mix_a1.weight"];
    write_zeros(&path, &names.map(|name| tensor(name, &[256, 64], GgmlType::F32)));
    let types = |recipe| {
        let (_out, converted) = convert(&path, recipe);
        tensors(&converted).iter().map(|(_, kind, _)| kind.name()).collect::<Vec<_>>()
    };
    assert_eq!(types(Recipe::all(family("t3"))), ["t3", "f32", "f32"]);
    assert_eq!(types(Recipe::plain(Dtype::F16)), ["f16"; 3]);
}
