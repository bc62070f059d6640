//! A Hugging Face folder of a llama model with two blocks and random weights, small enough to quantize in a moment.

use super::random::Random;
use half::{bf16, f16};
use safetensors::tensor::TensorView;
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

pub const HIDDEN: usize = 256;
pub const INNER: usize = 64;
pub const HEADS: usize = 4;
pub const KV_HEADS: usize = 2;
pub const HEAD_DIM: usize = 64;
pub const BLOCKS: usize = 2;
pub const VOCAB: usize = 24;

/// A stored tensor.
#[derive(Clone)]
pub struct Stored {
    pub dtype: safetensors::Dtype,
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
}

impl Stored {
    pub fn new(dtype: safetensors::Dtype, shape: &[usize], values: &[f32]) -> Stored {
        let bytes: Vec<u8> = match dtype {
            safetensors::Dtype::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            safetensors::Dtype::F16 => values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect(),
            safetensors::Dtype::BF16 => {
                values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect()
            }
            other => panic!("no tests for {other:?}"),
        };
        Stored { dtype, shape: shape.to_vec(), bytes }
    }

    /// The elements, widened.
    pub fn values(&self) -> Vec<f32> {
        match self.dtype {
            safetensors::Dtype::F32 => {
                self.bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
            }
            dtype => self
                .bytes
                .chunks_exact(2)
                .map(|b| match dtype {
                    safetensors::Dtype::F16 => f16::from_le_bytes(b.try_into().unwrap()).to_f32(),
                    _ => bf16::from_le_bytes(b.try_into().unwrap()).to_f32(),
                })
                .collect(),
        }
    }
}

/// The files of a folder before they are written, to be changed by tests.
#[derive(Clone)]
pub struct TinyLlama {
    pub config: Json,
    pub tokenizer: Json,
    pub tokenizer_config: Json,
    pub tensors: BTreeMap<String, Stored>,
}

impl TinyLlama {
    /// A whole model; its matrices are BF16, F16 and F32 in turn, its norms F32.
    pub fn new() -> TinyLlama {
        let mut random = Random(64);
        let mut tensors = BTreeMap::new();
        let dtypes = [safetensors::Dtype::BF16, safetensors::Dtype::F16, safetensors::Dtype::F32];
        let mut put = |name: String, shape: &[usize]| {
            let norm = shape.len() == 1;
            let values: Vec<f32> = random
                .gaussians(shape.iter().product())
                .iter()
                .map(|v| if norm { 1.0 + v * 0.125 } else { v * 0.03125 })
                .collect();
            let dtype = if norm { safetensors::Dtype::F32 } else { dtypes[tensors.len() % 3] };
            tensors.insert(name, Stored::new(dtype, shape, &values));
        };
        put("model.embed_tokens.weight".into(), &[VOCAB, HIDDEN]);
        put("lm_head.weight".into(), &[VOCAB, HIDDEN]);
        put("model.norm.weight".into(), &[HIDDEN]);
        for b in 0..BLOCKS {
            let mut put = |name: &str, shape: &[usize]| put(format!("model.layers.{b}.{name}.weight"), shape);
            put("input_layernorm", &[HIDDEN]);
            put("post_attention_layernorm", &[HIDDEN]);
            put("self_attn.q_proj", &[HEADS * HEAD_DIM, HIDDEN]);
            put("self_attn.k_proj", &[KV_HEADS * HEAD_DIM, HIDDEN]);
            put("self_attn.v_proj", &[KV_HEADS * HEAD_DIM, HIDDEN]);
            put("self_attn.o_proj", &[HIDDEN, HEADS * HEAD_DIM]);
            put("mlp.gate_proj", &[INNER, HIDDEN]);
            put("mlp.up_proj", &[INNER, HIDDEN]);
            put("mlp.down_proj", &[HIDDEN, INNER]);
        }
        TinyLlama {
            config: json!({
                "architectures": ["LlamaForCausalLM"], "hidden_size": HIDDEN, "intermediate_size": INNER,
                "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "num_hidden_layers": BLOCKS,
                "vocab_size": VOCAB, "max_position_embeddings": 128, "rms_norm_eps": 1e-5,
                "rope_theta": 10000.0, "tie_word_embeddings": false, "bos_token_id": 0, "eos_token_id": 1,
            }),
            tokenizer: tokenizer(),
            tokenizer_config: json!({"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": true}),
            tensors,
        }
    }

    /// The same model with the first block only: half of the work for who converts it again and again.
    pub fn of_one_block() -> TinyLlama {
        TinyLlama::new().first_block()
    }

    /// The model without all blocks but the first.
    pub fn first_block(mut self) -> TinyLlama {
        self.config["num_hidden_layers"] = json!(1);
        self.tensors
            .retain(|name, _| !name.starts_with("model.layers.") || name.starts_with("model.layers.0."));
        self
    }

    /// The model with a sixteenth of the width: most of its bytes say what it is, which is what a fuzzer is to change.
    pub fn narrow(mut self) -> TinyLlama {
        const NARROWER: usize = 16;
        for t in self.tensors.values_mut() {
            let whole: usize = t.shape.iter().product();
            t.shape.iter_mut().filter(|n| **n != VOCAB).for_each(|n| *n /= NARROWER);
            t.bytes.truncate(t.bytes.len() / whole * t.shape.iter().product::<usize>());
        }
        self.config["hidden_size"] = json!(HIDDEN / NARROWER);
        self.config["intermediate_size"] = json!(INNER / NARROWER);
        self
    }

    /// Writes the folder `tiny-llama` with one safetensors file.
    pub fn write(&self) -> Folder {
        let folder = self.write_without_tensors();
        self.write_shard(&folder.path.join("model.safetensors"), |_| true);
        folder
    }

    /// Writes the folder `tiny-llama` with two shards and their index.
    pub fn write_sharded(&self) -> Folder {
        let folder = self.write_without_tensors();
        let shard = |name: &str| if name.contains("proj") { 2 } else { 1 };
        let file = |i: usize| format!("model-0000{i}-of-00002.safetensors");
        for i in [1, 2] {
            self.write_shard(&folder.path.join(file(i)), |name| shard(name) == i);
        }
        let map: Map<_, _> = self.tensors.keys().map(|n| (n.clone(), json!(file(shard(n))))).collect();
        folder.write_json("model.safetensors.index.json", &json!({"metadata": {}, "weight_map": map}));
        folder
    }

    fn write_without_tensors(&self) -> Folder {
        let parent = tempfile::tempdir().expect("a folder");
        let path = parent.path().join("tiny-llama");
        std::fs::create_dir(&path).expect("a folder");
        let folder = Folder { parent, path };
        folder.write_json("config.json", &self.config);
        folder.write_json("tokenizer.json", &self.tokenizer);
        folder.write_json("tokenizer_config.json", &self.tokenizer_config);
        folder
    }

    fn write_shard(&self, path: &Path, wanted: impl Fn(&str) -> bool) {
        let views = self.tensors.iter().filter(|(name, _)| wanted(name)).map(|(name, t)| {
            (name, TensorView::new(t.dtype, t.shape.clone(), &t.bytes).expect("as long as its shape"))
        });
        std::fs::write(path, safetensors::serialize(views, None).expect("views are whole")).expect("a file");
    }
}

/// A written folder; it goes away with this value.
pub struct Folder {
    pub parent: TempDir,
    pub path: PathBuf,
}

impl Folder {
    pub fn write_json(&self, name: &str, json: &Json) {
        std::fs::write(self.path.join(name), json.to_string()).expect("a file");
    }

    pub fn remove(&self, name: &str) {
        std::fs::remove_file(self.path.join(name)).expect("it was there");
    }

    /// A path beside the folder.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.parent.path().join(name)
    }
}

/// The tensors of a folder's only safetensors file.
pub fn read_tensors(folder: &Path) -> BTreeMap<String, Stored> {
    let bytes = std::fs::read(folder.join("model.safetensors")).expect("the file");
    let parsed = safetensors::SafeTensors::deserialize(&bytes).expect("a whole file");
    let tensors = parsed.tensors().into_iter().map(|(name, t)| {
        (name, Stored { dtype: t.dtype(), shape: t.shape().to_vec(), bytes: t.data().to_vec() })
    });
    tensors.collect()
}

pub fn read_json(path: &Path) -> Json {
    serde_json::from_slice(&std::fs::read(path).expect("the file")).expect("JSON")
}

/// A byte-level BPE tokenizer with two merges, one id short of the vocabulary: the last token is padding.
fn tokenizer() -> Json {
    let letters =
        ["<s>", "</s>", "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p"];
    let all = letters.iter().copied().chain(["Ġ", "Ċ", "ab", "Ġa", "é"]);
    let vocab: Map<_, _> = all.enumerate().map(|(id, text)| (text.to_owned(), json!(id))).collect();
    let special = |id: usize, content: &str| {
        json!({"id": id, "content": content, "special": true, "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false})
    };
    json!({
        "version": "1.0",
        "added_tokens": [special(0, "<s>"), special(1, "</s>")],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "post_processor": null,
        "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "vocab": vocab, "merges": [["a", "b"], ["Ġ", "a"]]},
    })
}
