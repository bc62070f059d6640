//! What a Llama computes of some ids, in plain loops over the checkpoint's weights: a second opinion on llama.cpp that is
//! neither its code nor its file. Names and formulas are those of transformers' LlamaForCausalLM; all is F32.

use super::quantized_folder::floats;
use rayon::prelude::*;
use safetensors::SafeTensors;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::path::Path;

/// Tables with a row for each id, as `convert --verify` names them: columns and values.
pub type Tables = BTreeMap<String, (usize, Vec<f32>)>;

/// Sums of a product that a processor can add at a time.
const LANES: usize = 16;

struct Weights<'a> {
    file: SafeTensors<'a>,
}

impl Weights<'_> {
    fn of(&self, name: &str) -> Vec<f32> {
        let t = self.file.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
        floats(&t).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// Rows of `x`, each by the matrix of this name, a row of which has as many columns.
    fn product(&self, name: &str, x: &[f32], columns: usize) -> Vec<f32> {
        times(&self.of(name), x, columns)
    }
}

fn times(matrix: &[f32], x: &[f32], columns: usize) -> Vec<f32> {
    let outputs = matrix.len() / columns;
    let mut y = vec![0.0; x.len() / columns * outputs];
    y.par_chunks_exact_mut(outputs).zip(x.par_chunks_exact(columns)).for_each(|(y, x)| {
        y.iter_mut().zip(matrix.chunks_exact(columns)).for_each(|(y, row)| *y = dot(row, x));
    });
    y
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    let (a_lanes, b_lanes) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f32 = a_lanes.remainder().iter().zip(b_lanes.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a_lanes.zip(b_lanes) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    sums.iter().sum::<f32>() + rest
}

fn norm(x: &[f32], weight: &[f32], epsilon: f64) -> Vec<f32> {
    let mut y = x.to_vec();
    for row in y.chunks_exact_mut(weight.len()) {
        let square = row.iter().map(|v| (*v as f64).powi(2)).sum::<f64>() / row.len() as f64;
        let scale = 1.0 / (square + epsilon).sqrt();
        row.iter_mut().zip(weight).for_each(|(v, w)| *v = (*v as f64 * scale) as f32 * w);
    }
    y
}

/// Rotates the heads of each row: dimension i with i + half, by the row's number.
fn rotate(x: &mut [f32], width: usize, head: usize, theta: f64) {
    let half = head / 2;
    for (position, row) in x.chunks_exact_mut(width).enumerate() {
        for head in row.chunks_exact_mut(head) {
            let (a, b) = head.split_at_mut(half);
            for i in 0..half {
                let angle = position as f64 / theta.powf(i as f64 / half as f64);
                let (sin, cos) = (angle.sin() as f32, angle.cos() as f32);
                (a[i], b[i]) = (a[i] * cos - b[i] * sin, b[i] * cos + a[i] * sin);
            }
        }
    }
}

/// Causal attention; `keys` and `values` have fewer heads, each for several of the queries'.
fn attend(
    queries: &[f32],
    keys: &[f32],
    values: &[f32],
    heads: usize,
    kv_heads: usize,
    head: usize,
) -> Vec<f32> {
    let (width, kv_width) = (heads * head, kv_heads * head);
    let mut y = vec![0.0; queries.len()];
    y.par_chunks_exact_mut(width).enumerate().for_each(|(i, y)| {
        for h in 0..heads {
            let at = |x: &[f32], j: usize| -> Vec<f32> {
                x[j * kv_width + h / (heads / kv_heads) * head..][..head].to_vec()
            };
            let query = &queries[i * width + h * head..][..head];
            let scores: Vec<f32> = (0..=i).map(|j| dot(query, &at(keys, j)) / (head as f32).sqrt()).collect();
            let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let shares: Vec<f32> = scores.iter().map(|s| (s - most).exp()).collect();
            let sum: f32 = shares.iter().sum();
            for (j, share) in shares.iter().enumerate() {
                let y = &mut y[h * head..][..head];
                y.iter_mut().zip(at(values, j)).for_each(|(y, v)| *y += share / sum * v);
            }
        }
    });
    y
}

/// What the model in a folder computes of ids. Its head is that of the embeddings.
pub fn tables(folder: &Path, ids: &[usize]) -> Tables {
    let config: Json = serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap();
    let count = |name: &str| config[name].as_u64().unwrap_or_else(|| panic!("no {name}")) as usize;
    let (hidden, heads, kv_heads) =
        (count("hidden_size"), count("num_attention_heads"), count("num_key_value_heads"));
    let (head, inner) = (hidden / heads, count("intermediate_size"));
    let epsilon = config["rms_norm_eps"].as_f64().expect("a number");
    let theta = config["rope_theta"].as_f64().expect("a number");
    assert_eq!(config["tie_word_embeddings"], true);
    let bytes = std::fs::read(folder.join("model.safetensors")).unwrap();
    let weights = Weights { file: SafeTensors::deserialize(&bytes).unwrap() };
    let embeddings = weights.of("model.embed_tokens.weight");
    let mut x: Vec<f32> =
        ids.iter().flat_map(|id| embeddings[id * hidden..][..hidden].iter().copied()).collect();
    let mut tables = Tables::from([("embeddings".to_owned(), (hidden, x.clone()))]);
    let add = |x: &mut Vec<f32>, y: Vec<f32>| x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
    for block in 0..count("num_hidden_layers") {
        let name = |rest: &str| format!("model.layers.{block}.{rest}.weight");
        let input = norm(&x, &weights.of(&name("input_layernorm")), epsilon);
        let of = |part: &str| weights.product(&name(&format!("self_attn.{part}_proj")), &input, hidden);
        let (mut queries, mut keys, values) = (of("q"), of("k"), of("v"));
        rotate(&mut queries, hidden, head, theta);
        rotate(&mut keys, kv_heads * head, head, theta);
        let attended = attend(&queries, &keys, &values, heads, kv_heads, head);
        add(&mut x, weights.product(&name("self_attn.o_proj"), &attended, hidden));
        let input = norm(&x, &weights.of(&name("post_attention_layernorm")), epsilon);
        let mut gate = weights.product(&name("mlp.gate_proj"), &input, hidden);
        let up = weights.product(&name("mlp.up_proj"), &input, hidden);
        gate.iter_mut().zip(up).for_each(|(g, u)| *g = *g / (1.0 + (-*g).exp()) * u);
        add(&mut x, weights.product(&name("mlp.down_proj"), &gate, inner));
        tables.insert(format!("block.{block}"), (hidden, x.clone()));
    }
    let last = norm(&x, &weights.of("model.norm.weight"), epsilon);
    let logits = times(&embeddings, &last, hidden);
    tables.insert("logits".into(), (embeddings.len() / hidden, logits));
    tables
}
