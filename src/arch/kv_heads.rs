//! Heads of keys by block, in models some of whose blocks have none: `attention.head_count_kv` is an array, of 0 where a block has
//! a state or a convolution instead of attention.

use super::error::Error;
use super::file_keys::FileKeys;
use super::keys::Keys;
use crate::gguf::{Kind, Value};

const NAME: &str = "attention.head_count_kv";

/// Writes the array. `without`: for each block, whether it is one without attention.
pub fn write(keys: &mut Keys, without: &[bool]) -> Result<(), Error> {
    let heads = keys.config.shape()?.kv_heads as i32;
    let heads = without.iter().map(|&without| Value::I32(if without { 0 } else { heads }));
    keys.put(NAME, Value::Array(Kind::I32, heads.collect()));
    Ok(())
}

/// Reads the array back into `layer_types`, whose words for the two kinds of blocks are given, and `num_key_value_heads`.
pub fn read(file: &mut FileKeys, without: &str, with: &str) -> Result<(), Error> {
    let heads = file.key(NAME).and_then(Value::as_array).ok_or_else(|| file.other(NAME, "array"))?;
    let heads: Vec<u64> = heads.iter().map(|heads| heads.as_u64().unwrap_or(0)).collect();
    let kind = |heads: &u64| if *heads == 0 { without } else { with };
    file.set("layer_types", heads.iter().map(kind).collect::<Vec<_>>());
    file.set("num_key_value_heads", heads.into_iter().max().unwrap_or(0));
    Ok(())
}
