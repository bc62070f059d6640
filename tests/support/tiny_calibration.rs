//! Calibrations of a model with two blocks: Gram files and both kinds of importance matrix.

use super::random::Random;
use super::tiny_llama::{BLOCKS, HIDDEN, INNER};
use std::path::Path;
use tenpak_gguf::gguf::{GgmlType, TensorHeader, Value, Writer};

/// Columns of `attn_q`, `attn_k` (which share an input) and `ffn_down_exps`.
pub const ATTN_COLUMNS: usize = 70;
pub const DOWN_COLUMNS: usize = 130;
/// Experts of `ffn_down_exps`.
pub const EXPERTS: usize = 3;
/// Tokens seen by attention and by each expert.
pub const TOKENS: u64 = 8;
pub const EXPERT_TOKENS: [u64; EXPERTS] = [5, 0, 3];

/// Weights of the model: name, columns, experts.
pub fn weights() -> Vec<(String, usize, usize)> {
    let block = |b| {
        let name = |role: &str| format!("blk.{b}.{role}.weight");
        [
            (name("attn_q"), ATTN_COLUMNS, 1),
            (name("attn_k"), ATTN_COLUMNS, 1),
            (name("ffn_down_exps"), DOWN_COLUMNS, EXPERTS),
        ]
    };
    (0..2).flat_map(block).chain([("output.weight".into(), ATTN_COLUMNS, 1)]).collect()
}

/// Columns and tokens by expert of a weight.
fn shape(weight: &str) -> (usize, Vec<u64>) {
    if weight.contains("exps") {
        (DOWN_COLUMNS, EXPERT_TOKENS.to_vec())
    } else {
        (ATTN_COLUMNS, vec![TOKENS])
    }
}

/// Inputs of an expert of a weight, by tokens; `attn_k` has those of `attn_q`.
pub fn inputs(weight: &str, expert: usize) -> Vec<Vec<f32>> {
    let owner = weight.replace("attn_k", "attn_q");
    let mut random = Random(owner.bytes().map(u64::from).sum::<u64>() * 10 + expert as u64);
    let (columns, tokens) = shape(weight);
    (0..tokens[expert]).map(|_| random.gaussians(columns)).collect()
}

/// Sum of x_i x_j over the tokens.
pub fn product(inputs: &[Vec<f32>], i: usize, j: usize) -> f32 {
    inputs.iter().map(|x| x[i] * x[j]).sum()
}

/// A file to be written: keys and tensors of floats.
#[derive(Clone)]
pub struct Parts {
    pub keys: Vec<(String, Value)>,
    pub tensors: Vec<(String, Vec<u64>, Vec<f32>)>,
}

impl Parts {
    /// A tensor's values.
    pub fn values(&mut self, name: &str) -> &mut Vec<f32> {
        &mut self.tensors.iter_mut().find(|t| t.0 == name).expect("a tensor of the file").2
    }

    /// Puts another value in the place of a key's.
    pub fn set(&mut self, key: &str, value: Value) {
        self.keys.iter_mut().find(|k| k.0 == key).expect("a key of the file").1 = value;
    }

    /// Writes the file.
    pub fn write(&self, path: &Path) {
        let header = |(name, shape, values): &(String, Vec<u64>, Vec<f32>)| TensorHeader {
            name: name.clone(),
            shape: shape.clone(),
            kind: GgmlType::F32,
            bytes: 4 * values.len() as u64,
        };
        let headers = self.tensors.iter().map(header).collect();
        let mut writer = Writer::create(path, &self.keys, headers).expect("a writer");
        for (_, _, values) in &self.tensors {
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            writer.write(&bytes).expect("room");
        }
        writer.finish().expect("all tensors are there");
    }
}

/// The file that the collector would write.
pub fn gram() -> Parts {
    let mut parts = Parts { keys: Vec::new(), tensors: Vec::new() };
    let mut names = Vec::new();
    let mut owners = Vec::new();
    for (weight, ..) in weights().into_iter().filter(|w| w.0 != "output.weight") {
        names.push(weight.clone());
        owners.push(weight.replace("attn_k", "attn_q"));
        if weight.contains("attn_k") {
            continue;
        }
        let (columns, tokens) = shape(&weight);
        let mut sums = Vec::new();
        for expert in 0..tokens.len() {
            let x = inputs(&weight, expert);
            for i in 0..columns {
                sums.extend((0..=i).map(|j| product(&x, i, j)));
            }
        }
        let (len, experts) = ((columns * (columns + 1) / 2) as u64, tokens.len() as u64);
        parts.tensors.push((format!("{weight}.in_gram"), vec![len, experts], sums));
        let counts = tokens.iter().map(|&n| n as f32).collect();
        parts.tensors.push((format!("{weight}.counts"), vec![1, experts], counts));
    }
    let string = |s: &str| Value::String(s.into());
    parts.keys = vec![
        ("general.type".into(), string("gram")),
        ("general.architecture".into(), string("llama")),
        ("general.name".into(), string("Tiny")),
        ("gram.version".into(), Value::U32(1)),
        ("gram.text.name".into(), string("text.txt")),
        ("gram.tokens".into(), Value::U64(TOKENS)),
        ("gram.weights".into(), Value::strings(names)),
        ("gram.inputs".into(), Value::strings(owners)),
    ];
    parts
}

/// llama.cpp's importance matrix of the same inputs, as GGUF.
pub fn imatrix_gguf() -> Parts {
    let mut tensors = Vec::new();
    for (weight, columns, experts) in weights().into_iter().filter(|w| w.0 != "output.weight") {
        let sums = |e| {
            let x = inputs(&weight, e);
            (0..columns).map(|i| product(&x, i, i)).collect::<Vec<_>>()
        };
        let shape = vec![columns as u64, experts as u64];
        tensors.push((format!("{weight}.in_sum2"), shape, (0..experts).flat_map(sums).collect()));
        let counts = self::shape(&weight).1.iter().map(|&n| n as f32).collect();
        tensors.push((format!("{weight}.counts"), vec![1, experts as u64], counts));
    }
    let keys = vec![
        ("general.type".into(), Value::String("imatrix".into())),
        ("imatrix.datasets".into(), Value::strings(["text.txt"])),
        ("imatrix.chunk_count".into(), Value::U32(1)),
        ("imatrix.chunk_size".into(), Value::U32(TOKENS as u32)),
    ];
    Parts { keys, tensors }
}

/// The same in the older format, of `chunks` chunks; experts without tokens have ones.
pub fn imatrix_dat(chunks: i32) -> Vec<u8> {
    let weights: Vec<_> = weights().into_iter().filter(|w| w.0 != "output.weight").collect();
    let mut bytes = Vec::new();
    let string = |bytes: &mut Vec<u8>, s: &str| {
        bytes.extend((s.len() as i32).to_le_bytes());
        bytes.extend(s.as_bytes());
    };
    bytes.extend((weights.len() as i32).to_le_bytes());
    for (weight, columns, experts) in weights {
        string(&mut bytes, &weight);
        bytes.extend(chunks.to_le_bytes());
        bytes.extend(((columns * experts) as i32).to_le_bytes());
        for e in 0..experts {
            let x = inputs(&weight, e);
            let mean = |i| if x.is_empty() { 1.0 } else { product(&x, i, i) / x.len() as f32 };
            bytes.extend((0..columns).flat_map(|i| (mean(i) * chunks as f32).to_le_bytes()));
        }
    }
    bytes.extend(chunks.to_le_bytes());
    string(&mut bytes, "text.txt");
    bytes
}

/// An importance matrix of all linear layers of the tiny model.
pub fn of_tiny_llama() -> Parts {
    let mut random = Random(5);
    let mut tensors = Vec::new();
    for b in 0..BLOCKS {
        for role in ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"] {
            let columns = if role == "ffn_down" { INNER } else { HIDDEN };
            let name = format!("blk.{b}.{role}.weight");
            let sums = random.gaussians(columns).iter().map(|x| TOKENS as f32 * x * x).collect();
            tensors.push((format!("{name}.in_sum2"), vec![columns as u64, 1], sums));
            tensors.push((format!("{name}.counts"), vec![1, 1], vec![TOKENS as f32]));
        }
    }
    Parts { keys: imatrix_gguf().keys, tensors }
}
