//! Model architectures: one small file each, a table of tensor names and the hyper-parameters in both words, Hugging
//! Face's and GGUF's. What they share is in [`config`], [`keys`], [`rope`] and here.
//!
//! Reference: what `convert_hf_to_gguf.py` of the llama.cpp in `ggml-patches/BASE` writes for the same folder
//! (`tests/architectures/`).

pub mod config;
mod falcon;
mod gemma;
mod gemma3;
mod gpt2;
mod gpt_neox;
mod granite;
pub mod keys;
pub mod llama;
mod mistral;
mod mixtral;
mod olmo2;
mod phi3;
mod qwen2;
mod qwen2_moe;
mod qwen3;
mod qwen3_moe;
mod rope;
mod stablelm;
mod starcoder2;
pub mod tokenizer;

use config::Config;
use keys::Keys;
use tokenizer::Vocabulary;

/// All architectures that can be read from Hugging Face folders.
pub const ALL: &[Architecture] = &[
    llama::LLAMA,
    mistral::MISTRAL,
    mixtral::MIXTRAL,
    qwen2::QWEN2,
    qwen2_moe::QWEN2_MOE,
    qwen3::QWEN3,
    qwen3_moe::QWEN3_MOE,
    gemma::GEMMA,
    gemma::GEMMA2,
    gemma3::GEMMA3,
    phi3::PHI3,
    gpt2::GPT2,
    gpt_neox::GPT_NEOX,
    starcoder2::STARCODER2,
    olmo2::OLMO2,
    granite::GRANITE,
    stablelm::STABLELM,
    falcon::FALCON,
];

/// How a Hugging Face model becomes a GGUF file.
pub struct Architecture {
    /// `general.architecture` and prefix of its keys.
    pub name: &'static str,
    /// Entries of `architectures` in config.json.
    pub hf: &'static [&'static str],
    /// JSON object of values that transformers assumes where config.json does not say them.
    pub defaults: &'static str,
    /// What may stand before the names of `tensors`, or may be missing.
    pub prefix: &'static str,
    /// Every tensor.
    pub tensors: &'static [Tensor],
    /// Where its tokenizers come from.
    pub vocabulary: Vocabulary,
    /// Writes the keys of the hyper-parameters.
    pub keys: fn(&mut Keys) -> Result<(), String>,
    /// Tensors that are computed.
    pub computed: fn(&Config) -> Result<Computed, String>,
}

/// A row of an architecture's table. `{b}` stands for the block, `{x}` for what is stacked.
#[derive(Clone, Copy, Debug)]
pub struct Tensor {
    /// Name in the checkpoint, without prefix and `.weight` or `.bias`.
    pub hf: &'static str,
    /// Name in GGUF, without `.weight` or `.bias`.
    pub gguf: &'static str,
    /// What happens on the way.
    pub how: How,
    /// Whether every model has it.
    pub needed: bool,
}

/// What happens to a tensor on its way into the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Nothing.
    Same,
    /// The rows of every query head in the order of its rotary pairs.
    QueryPairs,
    /// The same for key heads.
    KeyPairs,
    /// One is added: the model multiplies by `1 + weight`.
    PlusOne,
    /// Columns become rows.
    Transposed,
    /// Groups of queries, a key and a value become all queries, all keys, all values.
    Ungrouped,
    /// The first half of the rows of each matrix.
    FirstHalf,
    /// The second half of the rows of each matrix.
    SecondHalf,
    /// Tensors of many names become one.
    Stacked,
    /// Rows without a token are left out.
    KnownTokens,
    /// llama.cpp has no use for it.
    Ignored,
}

/// A tensor that every model has and that stays as it is.
const fn same(hf: &'static str, gguf: &'static str) -> Tensor {
    made(hf, gguf, How::Same)
}

/// A tensor that every model has.
const fn made(hf: &'static str, gguf: &'static str, how: How) -> Tensor {
    Tensor { hf, gguf, how, needed: true }
}

/// A tensor that not all models have.
const fn maybe(hf: &'static str, gguf: &'static str, how: How) -> Tensor {
    Tensor { hf, gguf, how, needed: false }
}

/// A tensor that is left out.
const fn ignored(hf: &'static str) -> Tensor {
    maybe(hf, "", How::Ignored)
}

/// GGUF names of vectors, and their elements.
pub type Computed = Vec<(&'static str, Vec<f32>)>;

/// No computed tensors.
fn nothing_computed(_: &Config) -> Result<Computed, String> {
    Ok(Vec::new())
}

/// A row that fits the name of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Name in GGUF.
    pub name: String,
    /// What happens on the way.
    pub how: How,
    /// Its place among those that are stacked.
    pub index: u64,
}

impl Architecture {
    /// The architecture of an entry of `architectures`.
    pub fn of(hf: &str) -> Option<&'static Architecture> {
        ALL.iter().find(|a| a.hf.contains(&hf))
    }

    /// What becomes of a tensor of the checkpoint: nothing known, or one place, or two if it is split.
    pub fn places(&self, hf: &str) -> Vec<Place> {
        // Computed anew by whoever needs them, in every architecture.
        if hf.ends_with(".rotary_emb.inv_freq") {
            return vec![Place { name: String::new(), how: How::Ignored, index: 0 }];
        }
        let hf = hf.strip_prefix(self.prefix).unwrap_or(hf);
        let (stem, suffix) = match hf.rsplit_once('.') {
            Some((stem, suffix @ ("weight" | "bias"))) => (stem, suffix),
            _ => (hf, "weight"),
        };
        let place = |t: &Tensor| {
            let (block, index) = captured(t.hf, stem)?;
            Some(Place {
                name: format!("{}.{suffix}", t.gguf.replace("{b}", &block.unwrap_or_default().to_string())),
                how: t.how,
                index: index.unwrap_or_default(),
            })
        };
        self.tensors.iter().filter_map(place).collect()
    }

    /// GGUF names of what a model with so many blocks cannot do without, each with a name of the checkpoint.
    pub fn needed(&self, blocks: u64) -> impl Iterator<Item = (String, String)> {
        let of_block = move |t: &Tensor, block: u64| {
            let fill = |s: &str| s.replace("{b}", &block.to_string()).replace("{x}", "0") + ".weight";
            (fill(t.gguf), format!("{}{}", self.prefix, fill(t.hf)))
        };
        self.tensors.iter().filter(|t| t.needed).flat_map(move |t| {
            let blocks = if t.gguf.contains("{b}") { blocks } else { 1 };
            (0..blocks).map(move |block| of_block(t, block))
        })
    }
}

/// The numbers that stand in a name where a pattern has `{b}` and `{x}`, if it fits.
fn captured(pattern: &str, name: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (mut block, mut index) = (None, None);
    let (mut pattern, mut name) = (pattern.split('.'), name.split('.'));
    loop {
        match (pattern.next(), name.next()) {
            (None, None) => return Some((block, index)),
            (Some("{b}"), Some(n)) => block = Some(n.parse().ok()?),
            (Some("{x}"), Some(n)) => index = Some(n.parse().ok()?),
            (Some(p), Some(n)) if p == n => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_one_architecture() {
        let mut all: Vec<_> = ALL.iter().flat_map(|a| a.hf).collect();
        let entries = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), entries);
    }

    #[test]
    fn defaults_are_json() {
        for a in ALL {
            assert!(serde_json::from_str::<serde_json::Value>(a.defaults).unwrap().is_object(), "{}", a.name);
        }
    }

    #[test]
    fn names_find_their_places() {
        let mixtral = Architecture::of("MixtralForCausalLM").unwrap();
        let place = |name: &str, how, index| vec![Place { name: name.into(), how, index }];
        assert_eq!(
            mixtral.places("model.layers.7.block_sparse_moe.experts.3.w2.weight"),
            place("blk.7.ffn_down_exps.weight", How::Stacked, 3)
        );
        assert_eq!(
            mixtral.places("layers.7.self_attn.q_proj.bias"),
            place("blk.7.attn_q.bias", How::QueryPairs, 0)
        );
        assert!(mixtral.places("model.layers.x.self_attn.q_proj.weight").is_empty());
        assert!(mixtral.places("vision_tower.weight").is_empty());
    }
}
