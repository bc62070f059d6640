//! The first blocks of a model: what takes long on all of them is tested on these.

use std::error::Error;
use std::path::Path;
use tenpak_gguf::gguf::{File, Tensor, TensorHeader, Value, Writer};
use tenpak_gguf::names;

/// The keys of a model of the llama architecture with another number of blocks.
pub fn keys_of_blocks(model: &File, blocks: u64) -> Vec<(String, Value)> {
    let mut keys = model.keys().to_vec();
    for (key, value) in &mut keys {
        if key == "llama.block_count" {
            *value = Value::U32(blocks as u32);
        }
    }
    keys
}

/// Writes the file `out`: keys and the first blocks of one file, and what is in no block, embeddings above all, of another
/// file of the same model.
pub fn make(blocks_of: &Path, rest_of: &Path, blocks: u64, out: &Path) -> Result<(), Box<dyn Error>> {
    make_with_keys(blocks_of, rest_of, blocks, &keys_of_blocks(&File::open(blocks_of)?, blocks), out)
}

/// The same with other keys.
pub fn make_with_keys(
    blocks_of: &Path,
    rest_of: &Path,
    blocks: u64,
    keys: &[(String, Value)],
    out: &Path,
) -> Result<(), Box<dyn Error>> {
    let (blocks_of, rest_of) = (File::open(blocks_of)?, File::open(rest_of)?);
    let mut chosen = Vec::new();
    for t in blocks_of.tensors() {
        match names::block(&t.name) {
            Some(block) if block >= blocks => {}
            Some(_) => chosen.push((&blocks_of, t)),
            None => {
                let found = rest_of.tensors().iter().find(|other| other.name == t.name);
                chosen.push((&rest_of, found.ok_or_else(|| format!("`{}` is missing", t.name))?));
            }
        }
    }
    let header = |(_, t): &(&File, &Tensor)| TensorHeader {
        name: t.name.clone(),
        shape: t.shape.clone(),
        kind: t.kind,
        bytes: t.bytes(),
    };
    let mut writer = Writer::create(out, keys, chosen.iter().map(header).collect())?;
    for (file, t) in chosen {
        writer.write(file.data(t)?)?;
    }
    writer.finish()?;
    Ok(())
}
