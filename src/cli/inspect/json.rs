//! A file as JSON.

use super::digests;
use crate::cli::totals::of_file;
use serde_json::{Number, Value as Json, json};
use tenpak_gguf::gguf::{File, Value};
use tenpak_gguf::job::{FileSizes, bits_per_weight};
use tenpak_gguf::names::{self, Role};

/// Which parts of a file are shown.
#[derive(Clone, Copy)]
pub struct Parts {
    pub metadata: bool,
    pub tensors: bool,
    pub sums: bool,
}

/// Those parts of the file.
pub fn of(file: &File, parts: Parts, digests: Option<&[String]>) -> Json {
    let sizes = FileSizes::of(file);
    let paths: Vec<String> = file.paths().iter().map(|path| path.display().to_string()).collect();
    let mut all = json!({
        "files": paths,
        "version": file.version(),
        "alignment": file.alignment(),
        "bytes": sizes.bytes,
        "weights": sizes.weights,
        "bpw": sizes.bpw(),
        "times_smaller_than_fp32": sizes.times_smaller(),
        "linear_layers": {
            "bytes": sizes.linear_bytes,
            "weights": sizes.linear_weights,
            "bpw": sizes.linear_bpw(),
        },
    });
    if parts.metadata {
        all["metadata"] = Json::Object(file.keys().iter().map(|(key, v)| (key.clone(), value(v))).collect());
    }
    if parts.tensors {
        all["tensors"] = (0..file.tensors().len()).map(|i| tensor(file, i, digests)).collect();
        if let Some(digests) = digests {
            all["sha256_of_all_data"] = digests::of_all(file, digests).into();
        }
    }
    if parts.sums {
        all["types"] = of_file(file, |t| t.kind).json(|kind| kind.name());
        all["kinds"] = of_file(file, |t| Role::of(&t.name).name()).json(|kind| (*kind).to_owned());
    }
    all
}

fn tensor(file: &File, i: usize, digests: Option<&[String]>) -> Json {
    let t = &file.tensors()[i];
    let mut all = json!({
        "name": t.name,
        "type": t.kind.name(),
        "type_id": t.kind.0,
        "shape": t.shape,
        "kind": Role::of(&t.name).name(),
        "block": names::block(&t.name),
        "weights": t.elements(),
        "bytes": t.bytes(),
        "bpw": bits_per_weight(t.bytes(), t.elements()),
    });
    if file.paths().len() > 1 {
        all["file"] = file.path_of(t).display().to_string().into();
    }
    if let Some(digests) = digests {
        all["sha256"] = digests[i].clone().into();
    }
    all
}

/// A value. Floats that are no numbers are strings, and so are bytes that are no text, in hexadecimal digits.
fn value(v: &Value) -> Json {
    match v {
        Value::U8(v) => (*v).into(),
        Value::I8(v) => (*v).into(),
        Value::U16(v) => (*v).into(),
        Value::I16(v) => (*v).into(),
        Value::U32(v) => (*v).into(),
        Value::I32(v) => (*v).into(),
        Value::U64(v) => (*v).into(),
        Value::I64(v) => (*v).into(),
        Value::Bool(v) => (*v).into(),
        // The shortest digits that are the same F32.
        Value::F32(v) => float(v.to_string().parse().unwrap_or(f64::from(*v))),
        Value::F64(v) => float(*v),
        Value::String(text) => text.clone().into(),
        Value::Bytes(bytes) => {
            json!({ "hex": bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>() })
        }
        Value::Array(_, values) => values.iter().map(value).collect(),
        Value::Numbers(..) => v.numbers().map(|number| value(&number)).collect(),
    }
}

fn float(v: f64) -> Json {
    Number::from_f64(v).map_or_else(|| v.to_string().into(), Json::Number)
}
