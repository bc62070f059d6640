//! Checkpoints of tests/architectures: a config.json, a tokenizer, and weights that are drawn when they are needed.
//! `scripts/reference_architectures.py` draws the same.

use super::random::Random;
use super::tiny_llama::{Folder, Stored};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What one file of tests/architectures says.
pub struct Case {
    pub name: String,
    pub json: Json,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/architectures")
}

impl Case {
    /// All cases, by name.
    pub fn all() -> Vec<Case> {
        let entries = std::fs::read_dir(folder()).expect("the folder of cases");
        let paths = entries.map(|e| e.expect("an entry").path());
        let mut names: Vec<String> = paths
            .filter(|p| p.extension().is_some_and(|e| e == "json"))
            .map(|p| p.file_stem().expect("a name").to_string_lossy().into_owned())
            .collect();
        names.sort();
        names.iter().map(|name| Case::read(name)).collect()
    }

    /// One case.
    pub fn read(name: &str) -> Case {
        let text = std::fs::read(folder().join(format!("{name}.json"))).expect("a case of this name");
        Case { name: name.to_owned(), json: serde_json::from_slice(&text).expect("JSON") }
    }

    /// llama.cpp's name of the pre-tokenizer, where it is given.
    pub fn pre(&self) -> Option<&str> {
        self.json["pre"].as_str()
    }

    /// Names, types and values of the tensors.
    pub fn tensors(&self) -> BTreeMap<String, Stored> {
        let dtype = match self.json["dtype"].as_str() {
            Some("f32") => Dtype::F32,
            Some("f16") => Dtype::F16,
            Some("bf16") => Dtype::BF16,
            other => panic!("{}: no type {other:?}", self.name),
        };
        let shapes = self.json["tensors"].as_object().expect("tensors");
        let tensor = |(name, shape): (&String, &Json)| {
            let shape: Vec<usize> = serde_json::from_value(shape.clone()).expect("a shape");
            let seed = Sha256::digest(name)[..8].try_into().expect("8 bytes");
            let values = Random(u64::from_le_bytes(seed)).gaussians(shape.iter().product());
            let values: Vec<f32> = values.iter().map(|v| v * 0.0625).collect();
            (name.clone(), Stored::new(dtype, &shape, &values))
        };
        shapes.iter().map(tensor).collect()
    }

    /// The folder as a hub would have it.
    pub fn write(&self) -> Folder {
        self.write_with(&self.tensors())
    }

    /// The folder with other tensors.
    pub fn write_with(&self, tensors: &BTreeMap<String, Stored>) -> Folder {
        let parent = tempfile::tempdir().expect("a folder");
        let path = parent.path().join(&self.name);
        std::fs::create_dir(&path).expect("a folder");
        let tokenizer =
            folder().join("tokenizers").join(self.json["tokenizer"].as_str().expect("a tokenizer"));
        for entry in std::fs::read_dir(tokenizer).expect("the tokenizer") {
            let entry = entry.expect("an entry");
            std::fs::copy(entry.path(), path.join(entry.file_name())).expect("a copy");
        }
        let folder = Folder { parent, path };
        folder.write_json("config.json", &self.json["config"]);
        for (name, content) in self.json["files"].as_object().into_iter().flatten() {
            match content {
                Json::String(text) => std::fs::write(folder.path.join(name), text).expect("a file"),
                json => folder.write_json(name, json),
            }
        }
        let views = tensors.iter().map(|(name, t)| {
            (name, TensorView::new(t.dtype, t.shape.clone(), &t.bytes).expect("as long as its shape"))
        });
        let bytes = safetensors::serialize(views, None).expect("views are whole");
        std::fs::write(folder.path.join("model.safetensors"), bytes).expect("a file");
        folder
    }

    /// The lines of the reference for a type, sorted.
    pub fn reference(&self, outtype: &str) -> Vec<String> {
        let text = std::fs::read_to_string(folder().join(format!("{}.digest", self.name))).expect("a digest");
        let of_type = |line: &str| {
            let (kind, rest) = line.split_once(' ')?;
            (kind == "all" || kind == outtype).then(|| rest.to_owned())
        };
        let mut lines: Vec<String> = text.lines().filter_map(of_type).collect();
        lines.sort();
        lines
    }
}
