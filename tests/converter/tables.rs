//! What the tables of single architectures need beside rows: blocks that are not alike, matrices that come apart, experts
//! in MXFP4.

use crate::support;
use safetensors::Dtype::{BF16, F8_E4M3, F32, U8};
use serde_json::json;
use std::collections::BTreeMap;
use support::random::Random;
use support::reference_case::Case;
use support::tiny_llama::Stored;
use tenpak_gguf::checkpoint::{Error, Model, Options};
use tenpak_gguf::gguf::{GgmlType, Value};

fn open(case: &Case, tensors: &BTreeMap<String, Stored>) -> Result<Model, Error> {
    Model::open(&case.write_with(tensors).path, &Options { no_tokenizer: true, ..Options::default() })
}

#[track_caller]
fn opened(case: &Case, tensors: &BTreeMap<String, Stored>) -> Model {
    open(case, tensors).unwrap_or_else(|e| panic!("{e}"))
}

fn values(model: &Model, name: &str) -> Vec<f32> {
    let t = model.tensors.iter().find(|t| t.name == name).unwrap_or_else(|| panic!("{name}"));
    let mut values = vec![0.0; t.elements() as usize];
    model.read_rows(t, 0, &mut values).expect("rows");
    values
}

/// Values of FP4 (E2M1).
const FP4: [f32; 16] =
    [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0];

/// gpt-oss is published with experts in MXFP4: ggml's type holds them without loss. Gates and what they gate take turns in
/// the rows of one tensor.
#[test]
fn experts_in_mxfp4_are_kept() {
    let mut case = Case::read("gpt_oss");
    case.json["config"]["quantization_config"] = json!({"quant_method": "mxfp4"});
    let (experts, width, inner) = (4, 64, 32);
    let mut tensors = case.tensors();
    let mut random = Random(7);
    let mut expected = BTreeMap::new();
    for (name, rows, columns) in [("gate_up_proj", 2 * inner, width), ("down_proj", width, inner)] {
        for block in 0..2 {
            let stem = format!("model.layers.{block}.mlp.experts.{name}");
            tensors.remove(&stem).expect("experts");
            let blocks = experts * rows * columns / 32;
            let codes: Vec<u8> = (0..16 * blocks).map(|_| random.next() as u8).collect();
            let scales: Vec<u8> = (0..blocks).map(|_| 120 + (random.next() % 16) as u8).collect();
            let weight = |i: usize| {
                let code = codes[i / 2] >> (4 * (i % 2)) & 15;
                FP4[usize::from(code)] * 2f32.powi(i32::from(scales[i / 32]) - 127)
            };
            expected.insert(stem.clone(), (0..32 * blocks).map(weight).collect::<Vec<_>>());
            let shape = |end: &[usize]| [&[experts, rows, columns / 32], end].concat();
            let stored = |shape, bytes| Stored { dtype: U8, shape, bytes };
            tensors.insert(format!("{stem}_blocks"), stored(shape(&[16]), codes.clone()));
            tensors.insert(format!("{stem}_scales"), stored(shape(&[]), scales.clone()));
        }
    }
    let model = opened(&case, &tensors);
    let mxfp4 = model.tensors.iter().filter(|t| model.exact_type(t) == Some(GgmlType::MXFP4)).count();
    assert_eq!(mxfp4, 6);
    for block in 0..2 {
        let of = |name: &str| &expected[&format!("model.layers.{block}.mlp.experts.{name}")];
        let rows = |parity: usize| {
            let rows = of("gate_up_proj").chunks(width).skip(parity).step_by(2);
            rows.flatten().copied().collect::<Vec<_>>()
        };
        for (name, expected) in
            [("ffn_gate_exps", rows(0)), ("ffn_up_exps", rows(1)), ("ffn_down_exps", of("down_proj").clone())]
        {
            let name = format!("blk.{block}.{name}.weight");
            assert_eq!(values(&model, &name), expected, "{name}");
            // And as blocks of ggml's type.
            let t = model.tensors.iter().find(|t| t.name == name).expect("a tensor");
            let columns = t.columns();
            let mut bytes = vec![0; columns / 32 * 17];
            let mut row = vec![0.0; columns];
            for i in 0..t.rows() {
                model.read_blocks(t, i, &mut bytes).expect("blocks");
                GgmlType::MXFP4.dequantizer().expect("a known type")(&bytes, &mut row);
                assert_eq!(row, expected[i * columns..][..columns], "{name} row {i}");
            }
        }
    }
}

/// A layer has what its kind has, and nothing of the others.
#[test]
fn tensors_of_layers_of_another_kind() {
    let refused = |name: &str, change: serde_json::Value, words: &[&str]| {
        let mut case = Case::read(name);
        for (key, value) in change.as_object().expect("values") {
            case.json["config"][key] = value.clone();
        }
        support::assert_says(support::error(open(&case, &case.tensors())), words);
    };
    let layers = json!({"layer_types": ["conv", "conv", "full_attention"]});
    refused("lfm2", layers, &["layers.1.self_attn", "layer 1", "not one with attention"]);
    refused(
        "glm4_moe",
        json!({"first_k_dense_replace": 2}),
        &["layers.1.mlp", "layer 1", "not one with experts"],
    );
    refused(
        "llama4",
        json!({"interleave_moe_layer_step": 1, "moe_layers": null}),
        &["layers.0.feed_forward", "not one without experts"],
    );
}

/// GLM's files have the layer that predicts a further token, if the checkpoint has it; config.json says that it may.
#[test]
fn layers_that_predict_further_tokens() {
    let case = Case::read("glm4_moe");
    let mut tensors = case.tensors();
    let blocks = |model: &Model| model.key("glm4moe.block_count").cloned();
    let whole = opened(&case, &tensors);
    assert_eq!((blocks(&whole), whole.block_count()), (Some(Value::U32(4)), 4));
    tensors.retain(|name, _| !name.starts_with("model.layers.3."));
    let trunk = opened(&case, &tensors);
    assert_eq!((blocks(&trunk), trunk.block_count()), (Some(Value::U32(4)), 3));
    // A part of such a layer is a missing shard.
    let mut tensors = case.tensors();
    tensors.remove("model.layers.3.eh_proj.weight").expect("the layer");
    support::assert_says(support::error(open(&case, &tensors)), &["layers.3.eh_proj", "shard"]);
    // llama.cpp has no place for DeepSeek's, nor its converter.
    let case = Case::read("deepseek_v3");
    let mut tensors = case.tensors();
    let (name, other) = ("model.layers.2.eh_proj.weight", Stored::new(BF16, &[64, 128], &[0.5; 8192]));
    tensors.insert(name.into(), other);
    let model = opened(&case, &tensors);
    assert_eq!(model.block_count(), 2);
    support::assert_says(model.notes.join("\n"), &["predict tokens after the next", name]);
}

/// The keys of a latent attention are transposed, head by head, and so they are where the matrix is quantized.
#[test]
fn keys_and_values_of_a_latent_attention() {
    let case = Case::read("deepseek_v3");
    let mut tensors = case.tensors();
    let (heads, own, size, rank) = (4, 16, 16, 32);
    let name = "model.layers.0.self_attn.kv_b_proj.weight";
    let stored = tensors[name].values();
    let model = opened(&case, &tensors);
    let (keys, of_values) =
        (values(&model, "blk.0.attn_k_b.weight"), values(&model, "blk.0.attn_v_b.weight"));
    let at = |head: usize, row: usize, column: usize| stored[(head * (own + size) + row) * rank + column];
    for head in 0..heads {
        for column in 0..rank {
            for row in 0..own {
                assert_eq!(keys[(head * rank + column) * own + row], at(head, row, column));
                assert_eq!(of_values[(head * size + row) * rank + column], at(head, own + row, column));
            }
        }
    }
    // One byte a weight with one scale gives the same as the floats that these are.
    const E4M3: [(u8, f32); 4] = [(0x38, 1.0), (0x3c, 1.5), (0x40, 2.0), (0xb8, -1.0)];
    let codes: Vec<_> = (0..stored.len()).map(|i| E4M3[(i * i / 3 + i / 7) % 4]).collect();
    let shape = tensors[name].shape.clone();
    let floats: Vec<f32> = codes.iter().map(|(_, value)| value * 0.5).collect();
    tensors.insert(name.into(), Stored::new(BF16, &shape, &floats));
    let plain = opened(&case, &tensors);
    let bytes = codes.iter().map(|(byte, _)| *byte).collect();
    tensors.insert(name.into(), Stored { dtype: F8_E4M3, shape, bytes });
    tensors.insert(format!("{name}_scale_inv"), Stored::new(F32, &[1, 1], &[0.5]));
    let mut case = case;
    case.json["config"]["quantization_config"] = json!({"quant_method": "fp8"});
    let quantized = opened(&case, &tensors);
    for part in ["blk.0.attn_k_b.weight", "blk.0.attn_v_b.weight"] {
        assert_eq!(values(&quantized, part), values(&plain, part), "{part}");
    }
}

/// Layers of Gemma 3n that attend to keys of others get a copy of those, which llama.cpp loads and does not read; tokens
/// beyond the embeddings for each layer have zeros.
#[test]
fn borrowed_keys_and_tokens_without_embeddings_for_each_layer() {
    let case = Case::read("gemma3n");
    let mut tensors = case.tensors();
    for block in [20, 21] {
        for part in ["k_proj", "v_proj", "k_norm"] {
            tensors.remove(&format!("model.layers.{block}.self_attn.{part}.weight")).expect("keys");
        }
    }
    let table = tensors.get_mut("model.embed_tokens_per_layer.weight").expect("embeddings");
    let (columns, rows) = (table.shape[1], 300);
    table.shape[0] = rows;
    table.bytes.truncate(2 * rows * columns);
    let stored = table.values();
    let model = opened(&case, &tensors);
    // Of layers before it, the last with a window, and the last with full attention.
    for (block, lender) in [(20, 18), (21, 19)] {
        for layer in ["attn_k", "attn_v", "attn_k_norm"] {
            let of = |block: u32| values(&model, &format!("blk.{block}.{layer}.weight"));
            assert_eq!(of(block), of(lender), "{layer} of {block}");
        }
    }
    let table = values(&model, "per_layer_token_embd.weight");
    assert_eq!(table.len(), 304 * columns);
    assert_eq!(table[..rows * columns], stored[..]);
    assert!(table[rows * columns..].iter().all(|value| *value == 0.0));
    // One of the three matrices that predictions begin with is missing.
    tensors.remove("model.altup_projections.2.weight").expect("a matrix");
    let error = open(&case, &tensors).err().expect("refused").to_string();
    support::assert_says(error, &["altup_proj", "2 matrices", "3"]);
}

/// A layer of Gemma 4 with full attention may have keys that are values too, and heads of its own size.
#[test]
fn values_that_are_keys_and_heads_of_two_sizes() {
    let mut case = Case::read("gemma4");
    let tensors = case.tensors();
    let model = opened(&case, &tensors);
    let shape = |name: &str| model.tensors.iter().find(|t| t.name == name).map(|t| t.shape.clone());
    assert_eq!(shape("blk.0.attn_v.weight"), Some(vec![32, 16]));
    assert_eq!((shape("blk.2.attn_k.weight"), shape("blk.2.attn_v.weight")), (Some(vec![32, 16]), None));
    assert_eq!(values(&model, "rope_freqs.weight"), [1.0, 1.0, 1e30, 1e30, 1e30, 1e30, 1e30, 1e30]);
    case.json["config"]["attention_k_eq_v"] = json!(false);
    let error = open(&case, &tensors).err().expect("refused").to_string();
    support::assert_says(error, &["layers.2.self_attn", "config.json says"]);
}
