//! Model architectures: one small file each, with a table of tensors and a table of hyper-parameters in the words of
//! Hugging Face and of GGUF. Converting reads both tables one way, and export reads them the other way. Rows that
//! architectures share are in `pieces.rs`; `docs/adding-an-architecture.md` has the steps for a new one.
//!
//! Reference: what `convert_hf_to_gguf.py` of the llama.cpp in `ggml-patches/BASE` writes for the same folder
//! (`tests/architectures/`).

pub mod blocks;
pub mod config;
mod conversion;
mod deepseek3;
mod error;
mod falcon;
pub mod file_keys;
mod gemma;
mod gemma3;
mod gemma3n;
mod gemma4;
mod glm4_moe;
mod gpt2;
mod gpt_neox;
mod gpt_oss;
mod granite;
mod granite_hybrid;
mod harmless;
mod hyper_parameters;
pub mod keys;
mod kv_heads;
mod lfm2;
mod llama;
mod llama4;
mod mistral;
mod mistral3;
mod mixtral;
mod olmo2;
mod olmo3;
mod phi3;
mod pieces;
mod qwen2;
mod qwen2_moe;
mod qwen3;
mod qwen3_moe;
mod qwen3_next;
mod rope;
mod rope_factors;
mod rope_keys;
mod smollm3;
mod stablelm;
mod starcoder2;
mod table;
pub mod tokenizer;

pub use blocks::{AttendsTo, Block, Predicts};
pub use error::Error;
pub use harmless::is_harmless;
pub use pieces::VOCABULARY_SIZE;
pub use table::{
    Architecture, Bias, Conversion, Export, Extent, Half, Head, Linear, Match, Shown, Tensor, Width, filled,
};

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
    gemma3n::GEMMA3N,
    gemma4::GEMMA4,
    gemma4::GEMMA4_UNIFIED,
    phi3::PHI3,
    gpt2::GPT2,
    gpt_neox::GPT_NEOX,
    starcoder2::STARCODER2,
    olmo2::OLMO2,
    granite::GRANITE,
    stablelm::STABLELM,
    falcon::FALCON,
    smollm3::SMOLLM3,
    olmo3::OLMO3,
    mistral3::MISTRAL3,
    glm4_moe::GLM4_MOE,
    lfm2::LFM2,
    lfm2::LFM2_MOE,
    gpt_oss::GPT_OSS,
    deepseek3::DEEPSEEK3,
    qwen3_next::QWEN3_NEXT,
    qwen3_next::QWEN35,
    qwen3_next::QWEN35_MOE,
    llama4::LLAMA4,
    granite_hybrid::GRANITE_HYBRID,
];

impl Architecture {
    /// The architecture of an entry of `architectures`.
    pub fn of(hf: &str) -> Option<&'static Architecture> {
        ALL.iter().find(|a| a.hf.contains(&hf))
    }

    /// The architecture of a `model_type`.
    pub fn of_model_type(kind: &str) -> Option<&'static Architecture> {
        let of = |a: &Architecture| {
            let fixed: serde_json::Value = serde_json::from_str(a.fixed).expect("a tested constant");
            fixed["model_type"] == kind
        };
        ALL.iter().find(|a| of(a))
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
        let place = |hf: &str| {
            let places = mixtral.matches(hf).into_iter();
            places.map(|p| (p.name, p.row.conversion, p.index)).collect::<Vec<_>>()
        };
        assert_eq!(
            place("model.layers.7.block_sparse_moe.experts.3.w2.weight"),
            [("blk.7.ffn_down_exps.weight".into(), Conversion::Stacked, 3)]
        );
        assert_eq!(
            place("layers.7.self_attn.q_proj.bias"),
            [("blk.7.attn_q.bias".into(), Conversion::QueryPairs, 0)]
        );
        assert_eq!(place("model.layers.x.self_attn.q_proj.weight"), []);
        assert_eq!(place("vision_tower.weight"), []);
    }

    /// Of several rows with one GGUF name, export chooses one; every other row is read only.
    #[test]
    fn every_exported_name_comes_back() {
        for a in ALL {
            for row in a.rows().filter(|row| row.conversion != Conversion::Ignored) {
                let gguf = filled(row.gguf, Some(11), None) + if row.is_whole { "" } else { ".weight" };
                let of_name = || a.rows().filter(|other| other.gguf == row.gguf);
                if of_name().all(|other| other.export == Export::Never) && of_name().any(|other| other.needed)
                {
                    // A part of what export cannot put together again.
                    assert_eq!(a.exported(&gguf, &|_| true), None, "{}: {gguf}", a.name);
                    continue;
                }
                let chosen = |has: bool| a.exported(&gguf, &move |_| has).unwrap_or_else(|| panic!("{gguf}"));
                let (_, hf) = chosen(row.export != Export::Always);
                let mut places = a.matches(&hf.replace("{x}", "2"));
                // Blocks of another kind may have another place for it.
                places.retain(|place| place.row.blocks == row.blocks);
                assert!(places.len() == 1 && places[0].name == gguf, "{}: {gguf} {hf}", a.name);
                if row.export != Export::Never && chosen(false).0 == chosen(true).0 {
                    assert_eq!(places[0].row, row, "{}: two rows are exported as {gguf}", a.name);
                }
            }
        }
    }

    #[test]
    fn names_of_the_checkpoint() {
        let name = |hf: &str, gguf: &str| {
            let exported = Architecture::of(hf).unwrap().exported(gguf, &|_| false);
            exported.map(|(_, name)| name)
        };
        let llama = |gguf| name("LlamaForCausalLM", gguf);
        assert_eq!(llama("token_embd.weight").as_deref(), Some("model.embed_tokens.weight"));
        assert_eq!(llama("output.weight").as_deref(), Some("lm_head.weight"));
        assert_eq!(llama("blk.0.ffn_down.bias").as_deref(), Some("model.layers.0.mlp.down_proj.bias"));
        assert_eq!(llama("blk.x.ffn_down.weight"), None);
        assert_eq!(name("GPTNeoXForCausalLM", "output.weight").as_deref(), Some("embed_out.weight"));
    }
}
