//! GGUF files of a few hundred bytes, whole and damaged.

use super::random::Random;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tenpak_gguf::gguf::{Error, File, GgmlType, Kind, TensorHeader, Value, Writer};

/// A file of `bytes`; `model.gguf` in a folder that goes away with the first of the two.
pub fn file(bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, bytes).expect("a file");
    (folder, path)
}

/// Opens a file of `bytes` and, if that goes well, reads every tensor.
pub fn open(bytes: &[u8]) -> Result<File, Error> {
    let (_folder, path) = file(bytes);
    let file = File::open(&path)?;
    for t in file.tensors() {
        let (Ok(_) | Err(_)) = file.data(t).map(|data| assert_eq!(data.len() as u64, t.bytes()));
    }
    Ok(file)
}

/// A tensor's header with the bytes that its type takes.
pub fn tensor(name: &str, shape: &[u64], kind: GgmlType) -> TensorHeader {
    let bytes = kind.bytes(shape.iter().product()).expect("whole blocks");
    TensorHeader { name: name.into(), shape: shape.to_vec(), kind, bytes }
}

/// Writes a file; data are random bytes, returned by tensor.
pub fn write(path: &Path, keys: &[(String, Value)], tensors: &[TensorHeader]) -> Vec<Vec<u8>> {
    let mut random = Random(tensors.len() as u64);
    let data: Vec<Vec<u8>> = tensors.iter().map(|t| random.bytes(t.bytes as usize)).collect();
    let mut writer = Writer::create(path, keys, tensors.to_vec()).expect("a writer");
    for bytes in &data {
        writer.write(bytes).expect("room");
    }
    let bytes = writer.finish().expect("all tensors are there");
    assert_eq!(bytes, std::fs::metadata(path).expect("the file").len());
    assert_eq!(bytes, Writer::file_bytes(keys, tensors));
    data
}

/// The bytes of a file with these keys and tensors.
pub fn bytes(keys: &[(String, Value)], tensors: &[TensorHeader]) -> Vec<u8> {
    let (_folder, path) = file(&[]);
    write(&path, keys, tensors);
    std::fs::read(path).expect("the file")
}

/// One value of every kind.
pub fn every_kind() -> Vec<(String, Value)> {
    let nested = |v: Vec<Value>| Value::Array(Kind::Array, v);
    let numbers = Value::Array(Kind::I32, vec![Value::I32(-1), Value::I32(i32::MAX)]);
    let values = [
        ("u8", Value::U8(255)),
        ("i8", Value::I8(-128)),
        ("u16", Value::U16(65535)),
        ("i16", Value::I16(-32768)),
        ("u32", Value::U32(u32::MAX)),
        ("i32", Value::I32(i32::MIN)),
        ("f32", Value::F32(f32::MIN_POSITIVE)),
        ("yes", Value::Bool(true)),
        ("no", Value::Bool(false)),
        ("string", Value::String("κλειδί\n\"\0\"".into())),
        ("empty string", Value::String(String::new())),
        ("u64", Value::U64(u64::MAX)),
        ("i64", Value::I64(i64::MIN)),
        ("f64", Value::F64(std::f64::consts::PI)),
        ("numbers", numbers.clone()),
        ("strings", Value::strings(["a", "", "Ġb"])),
        ("bools", Value::Array(Kind::Bool, vec![Value::Bool(true), Value::Bool(false)])),
        ("no elements", Value::Array(Kind::F64, vec![])),
        ("nested", nested(vec![numbers, nested(vec![])])),
    ];
    values.into_iter().map(|(k, v)| (format!("test.{k}"), v)).collect()
}

/// A file as it may be: a key of every kind, floats, a ggml type, ours, and a type of the future.
pub fn ordinary() -> Vec<u8> {
    let tensors = [
        tensor("token_embd.weight", &[64, 3], GgmlType::F16),
        tensor("norm.weight", &[5], GgmlType::F32),
        tensor("blk.0.ffn_up.weight", &[256, 2], GgmlType(12)),
        tensor("blk.0.ffn_down.weight", &[64, 2, 1, 1], GgmlType(516)),
        TensorHeader { name: "future".into(), shape: vec![100], kind: GgmlType(9999), bytes: 96 },
    ];
    bytes(&every_kind(), &tensors)
}

/// A header written by hand, value for value.
pub struct Raw(pub Vec<u8>);

impl Raw {
    pub fn new(version: u32, tensors: u64, keys: u64) -> Raw {
        Raw(b"GGUF".to_vec()).u32(version).u64(tensors).u64(keys)
    }

    pub fn u32(mut self, v: u32) -> Raw {
        self.0.extend(v.to_le_bytes());
        self
    }

    pub fn u64(mut self, v: u64) -> Raw {
        self.0.extend(v.to_le_bytes());
        self
    }

    pub fn string(self, s: &str) -> Raw {
        let mut raw = self.u64(s.len() as u64);
        raw.0.extend(s.as_bytes());
        raw
    }

    pub fn tensor(self, name: &str, shape: &[u64], kind: u32, offset: u64) -> Raw {
        let raw = self.string(name).u32(shape.len() as u32);
        shape.iter().fold(raw, |raw, &n| raw.u64(n)).u32(kind).u64(offset)
    }

    /// Pads to the default alignment and appends `n` bytes.
    pub fn data(mut self, n: usize) -> Vec<u8> {
        let len = self.0.len().next_multiple_of(32) + n;
        self.0.resize(len, 7);
        self.0
    }
}
