//! Checkpoints that are quantized already: their weights are what the library says that quantized them.

use crate::support;
use serde_json::json;
use sha2::{Digest, Sha256};
use support::quantized_case::{Case, MODULE, ROWS, TENSOR};
use support::tiny_llama::{Folder, HIDDEN, Stored, TinyLlama};
use support::{assert_says, error, plan};
use tenpak_gguf::checkpoint::{Dtype, Model, Options};
use tenpak_gguf::gguf::{File, GgmlType};
use tenpak_gguf::job;
use tenpak_gguf::plan::Recipe;
use tenpak_gguf::types;

fn open(folder: &Folder) -> Model {
    Model::open(&folder.path, &Options::default()).unwrap()
}

fn converted(folder: &Folder, recipe: Recipe, name: &str) -> File {
    let model = open(folder);
    let plan = plan(&model, recipe);
    let path = folder.beside(name);
    job::write(&model, &plan, None, &path, &|_| ()).unwrap();
    File::open(&path).unwrap()
}

fn dtype(case: &Case) -> Dtype {
    match &case.dtype[..] {
        "f16" => Dtype::F16,
        "bf16" => Dtype::BF16,
        _ => Dtype::F32,
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn weights_are_those_of_the_library() {
    let cases = Case::all();
    assert_eq!(cases.len(), 23);
    for case in cases {
        let folder = case.model().write();
        let file = converted(&folder, Recipe::plain(dtype(&case)), "plain.gguf");
        let tensor = file.tensors().iter().find(|t| t.name == TENSOR).unwrap();
        assert_eq!(sha256(file.data(tensor).unwrap()), case.sha256, "{}", case.name);
    }
}

fn found(model: &Model) -> Vec<String> {
    model.tensors.iter().filter_map(|t| model.quantization(t)).collect()
}

#[test]
fn what_was_found_is_told() {
    for (name, says) in [
        ("gptq-4-128", "GPTQ, 4 bits, groups of 128"),
        ("gptq-4-64-order", "GPTQ, 4 bits, groups of 64, columns in activation order"),
        ("gptq-4-row", "GPTQ, 4 bits, a scale for each row"),
        ("awq-32", "AWQ, 4 bits, groups of 32"),
        ("nf4-64-nested", "NF4, blocks of 64, quantized scales"),
        ("fp4-64-nested", "FP4, blocks of 64, quantized scales"),
        ("int8", "bitsandbytes INT8"),
        ("fp8-16x128", "FP8 (E4M3), blocks of 16 x 128"),
        ("fp8-tensor", "FP8 (E4M3), one scale"),
        ("pack-4-32-zero", "compressed-tensors, 4 bits, groups of 32"),
        ("w8a8", "INT8, a scale for each row"),
    ] {
        let folder = Case::load(name).model().write();
        assert_eq!(found(&open(&folder)), [says], "{name}");
    }
}

#[test]
fn the_last_group_may_be_shorter() {
    let mut tiny = Case::load("gptq-4-64-order").model();
    tiny.config["quantization_config"]["group_size"] = json!(80);
    let groups = (0..HIDDEN).flat_map(|column| (column as i32 / 80).to_le_bytes());
    part(&mut tiny, "g_idx").bytes = groups.collect();
    let weights = |tiny: &TinyLlama| {
        let folder = tiny.write();
        assert_eq!(found(&open(&folder)), ["GPTQ, 4 bits, groups of 80"]);
        let file = converted(&folder, Recipe::plain(Dtype::F16), "plain.gguf");
        let tensor = file.tensors().iter().find(|t| t.name == TENSOR).unwrap();
        file.data(tensor).unwrap().to_vec()
    };
    let with_g_idx = weights(&tiny);
    // The same when the tensor that says it for every column is not there.
    tiny.tensors.remove(&format!("{MODULE}.g_idx"));
    assert!(weights(&tiny) == with_g_idx);
    // In groups of 64, as the shapes would have it, the weights are others.
    tiny.config["quantization_config"]["group_size"] = json!(64);
    let file = converted(&tiny.write(), Recipe::plain(Dtype::F16), "plain.gguf");
    let tensor = file.tensors().iter().find(|t| t.name == TENSOR).unwrap();
    assert!(file.data(tensor).unwrap() != with_g_idx);
}

/// A model with a quantized matrix that has been changed is refused.
#[track_caller]
fn refused(name: &str, change: impl Fn(&mut TinyLlama), words: &[&str]) {
    let mut tiny = Case::load(name).model();
    change(&mut tiny);
    let e = error(Model::open(&tiny.write().path, &Options::default()));
    assert_says(e, words);
}

fn part<'a>(tiny: &'a mut TinyLlama, name: &str) -> &'a mut Stored {
    tiny.tensors.get_mut(&format!("{MODULE}.{name}")).expect("a part of the matrix")
}

#[test]
fn unknown_methods_are_named() {
    refused(
        "int8",
        |t| t.config["quantization_config"]["quant_method"] = json!("hqq"),
        &["hqq", "unquantized"],
    );
    let no_method = |t: &mut TinyLlama| t.config["quantization_config"] = json!({"bits": 4});
    refused("int8", no_method, &["config.json", "no quant_method"]);
    let marlin = |t: &mut TinyLlama| t.config["quantization_config"]["checkpoint_format"] = json!("marlin");
    refused("gptq-4-128", marlin, &["model.safetensors", MODULE, "marlin", "gptq_v2"]);
    let gemv = |t: &mut TinyLlama| t.config["quantization_config"]["version"] = json!("gemv");
    refused("awq-128", gemv, &[MODULE, "gemv"]);
}

#[test]
fn parts_that_are_missing_are_named() {
    for (name, part) in [
        ("gptq-4-128", "scales"),
        ("gptq-4-128", "qzeros"),
        ("awq-128", "scales"),
        ("nf4-64", "weight.absmax"),
        ("nf4-64-nested", "weight.nested_quant_map"),
        ("int8", "weight"),
        ("fp8-16x128", "weight"),
        ("pack-4-128", "weight_scale"),
        ("pack-4-128", "weight_shape"),
    ] {
        let full = format!("{MODULE}.{part}");
        refused(name, |t| drop(t.tensors.remove(&full)), &[&full, "model.safetensors"]);
    }
    // A format that is said, but nothing in it.
    let none = |t: &mut TinyLlama| t.tensors.retain(|name, _| !name.starts_with(MODULE));
    refused("gptq-4-128", none, &["config.json", "none are"]);
}

#[test]
fn shapes_that_contradict_are_named() {
    for (name, changed) in [
        ("gptq-4-128", "qweight"),
        ("gptq-4-128", "scales"),
        ("gptq-4-128", "qzeros"),
        ("gptq-4-128", "g_idx"),
        ("awq-128", "qzeros"),
        ("awq-128", "scales"),
        ("nf4-64-nested", "weight"),
        ("nf4-64-nested", "weight.absmax"),
        ("nf4-64-nested", "weight.nested_absmax"),
        ("int8", "SCB"),
        ("fp8-16x128", "weight_scale_inv"),
        ("pack-4-128", "weight_packed"),
        ("pack-4-32-zero", "weight_zero_point"),
    ] {
        // One line less.
        let shorter = |t: &mut TinyLlama| {
            let stored = part(t, changed);
            let lines = stored.shape[0];
            stored.bytes.truncate(stored.bytes.len() / lines * (lines - 1));
            stored.shape[0] -= 1;
        };
        refused(name, shorter, &[MODULE, "model.safetensors"]);
    }
}

#[test]
fn contents_that_are_wrong_are_named() {
    let far = |t: &mut TinyLlama| part(t, "g_idx").bytes[0] = 99;
    refused("gptq-4-64-order", far, &["g_idx", "group 99 of 4"]);
    let state = |t: &mut TinyLlama| part(t, "weight.quant_state.bitsandbytes__nf4").bytes[0] = b'x';
    refused("nf4-64", state, &["quant_state", "not a JSON object"]);
    let shape = |t: &mut TinyLlama| part(t, "weight_shape").bytes[8] = 3;
    refused("pack-4-128", shape, &["weight_packed", "config_groups"]);
    let columns = |t: &mut TinyLlama| part(t, "weight_format").bytes[0] = 1;
    refused("int8", columns, &["weight_format", "row by row"]);
    let types = |t: &mut TinyLlama| part(t, "qweight").dtype = safetensors::Dtype::U32;
    refused("gptq-4-128", types, &["qweight", "U32, not I32"]);
}

#[test]
fn old_files_of_the_libraries_count() {
    let mut tiny = Case::load("gptq-4-128").model();
    let config = tiny.config.as_object_mut().unwrap().remove("quantization_config").unwrap();
    let folder = tiny.write();
    // Nothing says how it is quantized: the tensors are unknown.
    assert_says(error(Model::open(&folder.path, &Options::default())), &[MODULE]);
    let mut old = config.clone();
    old.as_object_mut().unwrap().remove("quant_method");
    folder.write_json("quantize_config.json", &old);
    assert_eq!(found(&open(&folder)).len(), 1);
}

/// The file of a case as the command line makes it by default.
fn kept(case: &Case) -> File {
    converted(&case.model().write(), Recipe::keep(), "kept.gguf")
}

fn tensor<'a>(file: &'a File, name: &str) -> &'a tenpak_gguf::gguf::Tensor {
    file.tensors().iter().find(|t| t.name == name).unwrap()
}

#[test]
fn what_a_type_holds_is_kept_without_loss() {
    for (name, kind) in [
        ("gptq-4-128", types::codes4::G4_128.id),
        ("gptq-4-128-v2", types::codes4::G4_128.id),
        ("gptq-4-row", types::codes4::G4_128.id),
        ("gptq-3-128", types::codes4::G4_128.id),
        ("awq-128", types::codes4::G4_128.id),
        ("pack-4-128", types::codes4::G4_128.id),
        ("nf4-64", types::codes4::NF4_64.id),
        ("nf4-64-nested", types::codes4::NF4_64.id),
        ("nf4-128-nested", types::codes4::NF4_64.id),
    ] {
        let case = Case::load(name);
        let file = kept(&case);
        let tensor = tensor(&file, TENSOR);
        assert_eq!(tensor.kind.0, kind, "{name}");
        let mut weights = vec![0.0; ROWS * HIDDEN];
        let kernels = types::by_id(kind).unwrap().kernels().unwrap();
        (kernels.dequantize)(file.data(tensor).unwrap(), &mut weights);
        let mut bytes = vec![0; weights.len() * dtype(&case).bytes()];
        dtype(&case).narrow(&weights, &mut bytes);
        assert_eq!(sha256(&bytes), case.sha256, "{name}");
    }
}

#[test]
fn floats_beside_what_is_kept_stay() {
    let case = Case::load("gptq-4-128");
    let folder = case.model().write();
    let model = open(&folder);
    let file = converted(&folder, Recipe::keep(), "kept.gguf");
    for (t, source) in file.tensors().iter().zip(&model.tensors) {
        let expected = match &t.name[..] {
            TENSOR => types::codes4::G4_128.id,
            name if tenpak_gguf::names::is_matrix(name, &t.shape) => source.dtype.ggml().0,
            _ => GgmlType::F32.0,
        };
        assert_eq!(t.kind.0, expected, "{}", t.name);
    }
}

#[test]
fn what_no_type_holds_is_quantized_anew() {
    let other = [
        "gptq-4-64-order",
        "gptq-2-64",
        "gptq-8-32-bf16",
        "awq-32",
        "fp4-64-nested",
        "int8",
        "w8a8",
        "pack-8-row",
    ];
    for name in other {
        assert_eq!(tensor(&kept(&Case::load(name)), TENSOR).kind.0, types::trellis::T3.id, "{name}");
    }
    // A scale that binary16 has not.
    let mut case = Case::load("pack-4-128");
    let scales = case.tensors.get_mut("weight_scale").unwrap();
    scales.bytes[..2].copy_from_slice(&half::bf16::from_f32(1e-9).to_le_bytes());
    assert_eq!(tensor(&kept(&case), TENSOR).kind.0, types::trellis::T3.id);
}

/// Rows that change their order on the way, and a model with experts.
#[test]
fn rows_in_another_order_are_kept() {
    let case = Case::load("nf4-64");
    let mut tiny = case.model();
    // 32 rows of keys: a head of 32, and eight of queries.
    tiny.config["head_dim"] = json!(32);
    tiny.config["num_attention_heads"] = json!(8);
    tiny.config["num_key_value_heads"] = json!(1);
    let values = vec![0.5; ROWS * HIDDEN];
    let float =
        |shape: &[usize]| Stored::new(safetensors::Dtype::BF16, shape, &values[..shape.iter().product()]);
    for b in 0..2 {
        for name in ["k_proj", "v_proj"] {
            tiny.tensors.insert(format!("model.layers.{b}.self_attn.{name}.weight"), float(&[ROWS, HIDDEN]));
        }
    }
    let large = vec![0.5; 8 * 32 * HIDDEN];
    for b in 0..2 {
        for (name, shape) in [("q_proj", [256, HIDDEN]), ("o_proj", [HIDDEN, 256])] {
            let stored = Stored::new(safetensors::Dtype::BF16, &shape, &large);
            tiny.tensors.insert(format!("model.layers.{b}.self_attn.{name}.weight"), stored);
        }
    }
    tiny.tensors.insert(format!("{MODULE}.weight"), float(&[ROWS, HIDDEN]));
    tiny.tensors.retain(|name, _| !name.starts_with(&format!("{MODULE}.weight.")));
    let keys = "model.layers.1.self_attn.k_proj";
    tiny.tensors.extend(case.tensors.iter().map(|(name, t)| (format!("{keys}.{name}"), t.clone())));
    let folder = tiny.write();
    let plain = converted(&folder, Recipe::plain(Dtype::F32), "plain.gguf");
    let kept = converted(&folder, Recipe::keep(), "kept.gguf");
    let name = "blk.1.attn_k.weight";
    let mut weights = vec![0.0; ROWS * HIDDEN];
    let t = tensor(&kept, name);
    assert_eq!(t.kind.0, types::codes4::NF4_64.id);
    (types::codes4::NF4_64.kernels().unwrap().dequantize)(kept.data(t).unwrap(), &mut weights);
    let mut bytes = vec![0; weights.len() * 4];
    Dtype::F32.narrow(&weights, &mut bytes);
    assert!(bytes == plain.data(tensor(&plain, name)).unwrap());
}

/// A Mixtral of two experts, whose gate and up projections are this matrix in the first, and changed in the second.
fn mixtral(case: &Case, change: impl Fn(&str, &mut u8)) -> TinyLlama {
    let mut tiny = case.model();
    tiny.config["architectures"] = json!(["MixtralForCausalLM"]);
    tiny.config["num_local_experts"] = json!(2);
    tiny.config["num_experts_per_tok"] = json!(1);
    tiny.tensors.retain(|name, _| !name.contains(".mlp."));
    let float = |shape: &[usize]| {
        let values = vec![0.5; shape.iter().product()];
        Stored::new(safetensors::Dtype::BF16, shape, &values)
    };
    for b in 0..2 {
        let moe = format!("model.layers.{b}.block_sparse_moe");
        tiny.tensors.insert(format!("{moe}.gate.weight"), float(&[2, HIDDEN]));
        for expert in 0..2 {
            let module = format!("{moe}.experts.{expert}");
            tiny.tensors.insert(format!("{module}.w2.weight"), float(&[HIDDEN, ROWS]));
            for (name, stored) in &case.tensors {
                let mut stored = stored.clone();
                if expert == 1 {
                    stored.bytes.iter_mut().for_each(|b| change(name, b));
                }
                for matrix in ["w1", "w3"] {
                    tiny.tensors.insert(format!("{module}.{matrix}.{name}"), stored.clone());
                }
            }
        }
    }
    tiny
}

/// Experts that are kept as they are, and those that a plain file has.
#[test]
fn experts_are_kept_without_loss() {
    let case = Case::load("gptq-4-128");
    let other_weights = |name: &str, b: &mut u8| *b ^= if name == "qweight" { 0x35 } else { 0 };
    let folder = mixtral(&case, other_weights).write();
    assert_eq!(found(&open(&folder)), ["GPTQ, 4 bits, groups of 128"; 4]);
    let plain = converted(&folder, Recipe::plain(dtype(&case)), "plain.gguf");
    let kept = converted(&folder, Recipe::keep(), "kept.gguf");
    for name in ["blk.0.ffn_gate_exps.weight", "blk.1.ffn_up_exps.weight"] {
        let (t, plain) = (tensor(&kept, name), plain.data(tensor(&plain, name)).unwrap());
        assert_eq!(
            (t.kind.0, &t.shape[..]),
            (types::codes4::G4_128.id, &[HIDDEN as u64, ROWS as u64, 2][..])
        );
        let (first, second) = plain.split_at(plain.len() / 2);
        assert!(sha256(first) == case.sha256 && first != second);
        let mut weights = vec![0.0; 2 * ROWS * HIDDEN];
        (types::codes4::G4_128.kernels().unwrap().dequantize)(kept.data(t).unwrap(), &mut weights);
        let mut bytes = vec![0; plain.len()];
        dtype(&case).narrow(&weights, &mut bytes);
        assert!(bytes == plain, "{name}");
    }
}

/// No type holds FP8: experts are read as floats, and quantized as those.
#[test]
fn experts_of_fp8_are_quantized_as_their_weights() {
    let case = Case::load("fp8-16x128");
    let negated = |name: &str, b: &mut u8| *b ^= if name == "weight" { 0x80 } else { 0 };
    let folder = mixtral(&case, negated).write();
    let plain = converted(&folder, Recipe::plain(dtype(&case)), "plain.gguf");
    let from_floats = Model::open(&folder.beside("plain.gguf"), &Options::default()).unwrap();
    let path = folder.beside("from-floats.gguf");
    let plan = plan(&from_floats, Recipe::default());
    job::write(&from_floats, &plan, None, &path, &|_| ()).unwrap();
    let (anew, from_floats) = (converted(&folder, Recipe::keep(), "anew.gguf"), File::open(&path).unwrap());
    for name in ["blk.0.ffn_gate_exps.weight", "blk.1.ffn_up_exps.weight"] {
        let floats = plain.data(tensor(&plain, name)).unwrap();
        let (first, second) = floats.split_at(floats.len() / 2);
        let mut weights = [vec![0.0; ROWS * HIDDEN], vec![0.0; ROWS * HIDDEN]];
        dtype(&case).widen(first, &mut weights[0]);
        dtype(&case).widen(second, &mut weights[1]);
        assert_eq!(sha256(first), case.sha256);
        assert!(weights[0].iter().zip(&weights[1]).all(|(a, b)| *a == -*b));
        let (anew, expected) =
            (anew.data(tensor(&anew, name)).unwrap(), from_floats.data(tensor(&from_floats, name)).unwrap());
        assert_eq!(tensor(&from_floats, name).kind.0, types::trellis::T3.id);
        assert!(anew == expected, "{name}");
    }
}
