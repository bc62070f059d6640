//! Folders with pytorch_model.bin instead of safetensors. How files of torch itself are read is tested beside the reader.

use crate::support;
use serde_json::{Map, json};
use std::collections::BTreeMap;
use support::tiny_llama::{Folder, TinyLlama};
use support::{assert_says, error, torch_file};
use tenpak_gguf::checkpoint::{Model, Options};

fn open(folder: &Folder) -> Model {
    Model::open(&folder.path, &Options::default()).unwrap_or_else(|e| panic!("{e}"))
}

/// Names, shapes and values of all tensors.
fn values(model: &Model) -> Vec<(String, Vec<u64>, Vec<f32>)> {
    let tensors = model.tensors.iter().map(|t| {
        let mut values = vec![0.0; t.elements() as usize];
        model.read_rows(t, 0, &mut values).expect("rows");
        (t.name.clone(), t.shape.clone(), values)
    });
    tensors.collect()
}

#[test]
fn the_same_model_as_from_safetensors() {
    let tiny = TinyLlama::new();
    let folder = tiny.write();
    let expected = open(&folder);
    let expected = (expected.keys.clone(), values(&expected));
    folder.remove("model.safetensors");
    torch_file::write(&folder.path.join("pytorch_model.bin"), &tiny.tensors);
    let whole = open(&folder);
    assert!((whole.keys.clone(), values(&whole)) == expected);
    folder.remove("pytorch_model.bin");
    let mut map = Map::new();
    for shard in [1, 2] {
        let name = format!("pytorch_model-0000{shard}-of-00002.bin");
        let mine = |hf: &str| hf.contains("mlp") == (shard == 2);
        let tensors: BTreeMap<_, _> = tiny.tensors.clone().into_iter().filter(|(hf, _)| mine(hf)).collect();
        map.extend(tensors.keys().map(|hf| (hf.clone(), json!(name))));
        torch_file::write(&folder.path.join(name), &tensors);
    }
    folder.write_json("pytorch_model.bin.index.json", &json!({"metadata": {}, "weight_map": map}));
    let shards = open(&folder);
    assert!((shards.keys.clone(), values(&shards)) == expected);
}

#[test]
fn a_pickle_that_asks_for_more_is_refused_by_name() {
    let tiny = TinyLlama::new();
    let folder = tiny.write();
    folder.remove("model.safetensors");
    let evil = b"\x80\x02cposix\nsystem\nX\x0a\0\0\0touch /tmp\x85R.";
    torch_file::write_with(&folder.path.join("pytorch_model.bin"), evil, &tiny.tensors);
    let e = error(Model::open(&folder.path, &Options::default()));
    assert_says(e, &["pytorch_model.bin", "`posix.system`", "refused", "safetensors"]);
}

/// A table of tables of one tensor, all keys one long name: the names together would be a million times as long as the file.
#[test]
fn names_that_are_longer_together_than_any_are_refused() {
    let text = |s: &str| [&b"X"[..], &(s.len() as u32).to_le_bytes(), s.as_bytes()].concat();
    let mut p =
        [&b"\x80\x02("[..], &text("storage"), b"ctorch\nFloatStorage\n", &text("0"), &text("cpu")].concat();
    p.extend(b"K\x01tQq\x000(K\x01tq\x010(h\x00K\x00h\x01h\x01tq\x020ctorch._utils\n_rebuild_tensor_v2\nh\x02Rq\x030");
    p.extend(
        [text(&"n".repeat(100_000)), b"q\x040}(".to_vec(), b"h\x04h\x03".repeat(1000), b"uq\x050}(".to_vec()]
            .concat(),
    );
    p.extend([b"h\x04h\x05".repeat(1000), b"u.".to_vec()].concat());
    let tiny = TinyLlama::new();
    let folder = tiny.write();
    folder.remove("model.safetensors");
    torch_file::write_with(&folder.path.join("pytorch_model.bin"), &p, &tiny.tensors);
    let e = error(Model::open(&folder.path, &Options::default()));
    assert_says(e, &["pytorch_model.bin", "names in it are longer", "refused"]);
}
