//! pytorch_model.bin as torch writes it: a zip file, uncompressed, with a pickle of protocol 2 and a storage for each
//! tensor.

use super::tiny_llama::Stored;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use zip::write::SimpleFileOptions;

/// Writes a file with these tensors.
pub fn write(path: &Path, tensors: &BTreeMap<String, Stored>) {
    write_with(path, &pickle(tensors), tensors);
}

/// Writes a file with another pickle.
pub fn write_with(path: &Path, pickle: &[u8], tensors: &BTreeMap<String, Stored>) {
    let mut zip = zip::ZipWriter::new(std::fs::File::create(path).expect("a file"));
    let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut add = |name: &str, bytes: &[u8]| {
        zip.start_file(format!("pytorch_model/{name}"), stored).expect("a file in it");
        zip.write_all(bytes).expect("written");
    };
    add("data.pkl", pickle);
    add("byteorder", b"little");
    for (i, t) in tensors.values().enumerate() {
        add(&format!("data/{i}"), &t.bytes);
    }
    add("version", b"3\n");
    zip.finish().expect("a whole file");
}

/// `OrderedDict([(name, _rebuild_tensor_v2(storage, 0, shape, strides, False, OrderedDict())), ...])`
pub fn pickle(tensors: &BTreeMap<String, Stored>) -> Vec<u8> {
    let mut p = b"\x80\x02ccollections\nOrderedDict\n)R(".to_vec();
    for (i, (name, t)) in tensors.iter().enumerate() {
        let storage = match t.dtype {
            safetensors::Dtype::F32 => "Float",
            safetensors::Dtype::F16 => "Half",
            safetensors::Dtype::BF16 => "BFloat16",
            other => panic!("no storage for {other:?}"),
        };
        text(name, &mut p);
        p.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text("storage", &mut p);
        p.extend(format!("ctorch\n{storage}Storage\n").bytes());
        text(&i.to_string(), &mut p);
        text("cpu", &mut p);
        integer(t.shape.iter().product(), &mut p);
        p.extend(b"tQK\x00(");
        t.shape.iter().for_each(|n| integer(*n, &mut p));
        p.extend(b"t(");
        for d in 0..t.shape.len() {
            integer(t.shape[d + 1..].iter().product(), &mut p);
        }
        p.extend(b"t\x89ccollections\nOrderedDict\n)RtR");
    }
    p.extend(b"u.");
    p
}

fn text(s: &str, p: &mut Vec<u8>) {
    p.push(b'X');
    p.extend((s.len() as u32).to_le_bytes());
    p.extend(s.bytes());
}

fn integer(n: usize, p: &mut Vec<u8>) {
    p.push(b'J');
    p.extend((n as i32).to_le_bytes());
}
