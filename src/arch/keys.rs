//! GGUF keys of hyper-parameters.

use super::config::{BLOCKS, Config, HEADS, HIDDEN};
use super::rope;
use crate::gguf::Value;

/// Collects keys, each under the name of the architecture.
pub struct Keys<'a> {
    /// Where the numbers come from.
    pub config: &'a Config,
    architecture: &'static str,
    keys: Vec<(String, Value)>,
}

impl<'a> Keys<'a> {
    /// No keys yet.
    pub fn new(config: &'a Config, architecture: &'static str) -> Keys<'a> {
        Keys { config, architecture, keys: Vec::new() }
    }

    /// The keys in the order in which they were first put.
    pub fn finish(self) -> Vec<(String, Value)> {
        self.keys
    }

    /// Sets a key, without the name of the architecture.
    pub fn put(&mut self, name: &str, value: impl Into<Value>) {
        let (name, value) = (format!("{}.{name}", self.architecture), value.into());
        match self.keys.iter_mut().find(|(k, _)| *k == name) {
            Some((_, old)) => *old = value,
            None => self.keys.push((name, value)),
        }
    }

    /// Sets a key to the integer of the first name that config.json has.
    pub fn integer(&mut self, key: &str, names: &[&str]) -> Result<(), String> {
        let value = self.config.needed_integer(names)? as u32;
        self.put(key, value);
        Ok(())
    }

    /// The same where config.json has it.
    pub fn integer_if_said(&mut self, key: &str, names: &[&str]) -> Result<(), String> {
        match self.config.find(names) {
            Some(_) => self.integer(key, names),
            None => Ok(()),
        }
    }

    /// Sets a key to a number.
    pub fn float(&mut self, key: &str, names: &[&str]) -> Result<(), String> {
        let value = self.config.needed_float(names)? as f32;
        self.put(key, value);
        Ok(())
    }

    /// The same where config.json has it.
    pub fn float_if_said(&mut self, key: &str, names: &[&str]) -> Result<(), String> {
        match self.config.find(names) {
            Some(_) => self.float(key, names),
            None => Ok(()),
        }
    }

    /// Blocks, context, width, heads.
    pub fn sizes(&mut self) -> Result<(), String> {
        self.config.shape()?;
        self.integer("block_count", BLOCKS)?;
        self.integer("context_length", &["max_position_embeddings", "n_ctx", "n_positions"])?;
        self.integer("embedding_length", HIDDEN)?;
        self.integer_if_said("feed_forward_length", &["intermediate_size", "n_inner"])?;
        self.integer("attention.head_count", HEADS)
    }

    /// Heads of keys and values; as many as of queries where nothing is said.
    pub fn kv_heads(&mut self) -> Result<(), String> {
        let heads = self.config.shape()?.kv_heads;
        self.put("attention.head_count_kv", heads as u32);
        Ok(())
    }

    /// Size of the heads where it is said or, with `always`, follows from the width.
    pub fn head_size(&mut self, always: bool) -> Result<(), String> {
        if always || self.config.get("head_dim").is_some() {
            let dim = self.config.shape()?.head_dim as u32;
            self.put("attention.key_length", dim);
            self.put("attention.value_length", dim);
        }
        Ok(())
    }

    /// What most architectures have: sizes, rotary embeddings, epsilons, experts, heads.
    pub fn standard(&mut self) -> Result<(), String> {
        self.sizes()?;
        self.kv_heads()?;
        rope::write(self)?;
        self.float_if_said("attention.layer_norm_rms_epsilon", &["rms_norm_eps"])?;
        self.float_if_said("attention.layer_norm_epsilon", &["layer_norm_eps", "norm_epsilon"])?;
        self.integer_if_said("expert_count", &["num_local_experts", "num_experts"])?;
        self.integer_if_said("expert_used_count", &["num_experts_per_tok"])?;
        self.head_size(false)
    }
}
