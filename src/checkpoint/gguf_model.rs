//! A GGUF file as a model to convert, whatever the types of its tensors.

use super::dtype::Dtype;
use super::error::Error;
use super::model::{Data, Model, SourceTensor, Storage};
use super::transform::Transform;
use crate::gguf::{self, GgmlType};
use crate::names::is_matrix;
use std::path::Path;

pub fn open(path: &Path) -> Result<Model, Error> {
    let file = gguf::File::open(path)?;
    refuse_others(path, &file)?;
    if let Some(t) = file.tensors().iter().find(|t| t.name.contains(char::is_control)) {
        return Err(Error::tensor(
            path,
            &t.name,
            "has control characters in its name, which no model has: refused",
        ));
    }
    if let Some(t) = file.tensors().iter().find(|t| t.elements() == 0) {
        let what =
            "has no elements, which no program that runs models takes: the file is damaged, get it again";
        return Err(Error::tensor(path, &t.name, what));
    }
    let mostly_f32 = is_mostly_f32(file.tensors());
    let mut tensors = Vec::new();
    for (i, t) in file.tensors().iter().enumerate() {
        // Blocks are dequantized to F32, and plain numbers stay as they are.
        let is_readable = t.kind.dequantizer().is_some() || t.kind.is_plain_number();
        let dtype = Dtype::from_ggml(t.kind).or(is_readable.then_some(Dtype::F32));
        let dtype = dtype.ok_or_else(|| unreadable(path, &t.name, t.kind))?;
        tensors.push(SourceTensor {
            name: t.name.clone(),
            shape: t.shape.clone(),
            dtype,
            left_precise: t.kind == GgmlType::F32 && !mostly_f32,
            data: Data::Gguf(i),
            transform: Transform::NONE,
            factors: None,
        });
    }
    let written = ["general.file_type", "general.quantization_version"];
    let keys = file.keys().iter().filter(|(k, _)| !written.contains(&k.as_str())).cloned();
    Ok(Model {
        path: path.to_owned(),
        keys: keys.collect(),
        tensors,
        notes: Vec::new(),
        storage: Storage::Gguf(file),
        read: Vec::new(),
        converted: None,
    })
}

/// Refuses GGUF files that are no models, by what they are.
fn refuse_others(path: &Path, file: &gguf::File) -> Result<(), Error> {
    if let Some(adapter) = file.adapter() {
        let problem = format!(
            "a part of what it computes is in its adapter {adapter:?} (--low-rank): start from the model it was made of"
        );
        return Err(Error::unsupported(path, problem));
    }
    let text = |key: &str| file.key(key).and_then(gguf::Value::as_str).unwrap_or_default();
    let has = |end: &str| file.tensors().iter().any(|t| t.name.ends_with(end));
    let problem = match (text("general.type"), text("general.architecture")) {
        ("adapter", _) => LORA,
        _ if has(".lora_a") && has(".lora_b") => LORA,
        ("imatrix", _) => {
            "this is an importance matrix, no model: give it with --calibration to the conversion of its model"
        }
        ("gram", _) => {
            "this is a calibration, no model: give it with --calibration to the conversion of its model"
        }
        ("mmproj", _) | (_, "clip") => {
            "this is what sees or hears in a model (a projector for --mmproj), no language model: llama.cpp takes it as it is, \
             beside the file of the language model"
        }
        _ => return Ok(()),
    };
    Err(Error::unsupported(path, problem))
}

const LORA: &str = "this is a LoRA adapter, no model: merge it into its model first (llama-export-lora of llama.cpp, or \
                    merge_and_unload of peft), or give it to llama.cpp as it is (--lora FILE)";

/// Whether most weights of matrices are F32.
fn is_mostly_f32(tensors: &[gguf::Tensor]) -> bool {
    let matrices = tensors.iter().filter(|t| is_matrix(&t.name, &t.shape));
    let (f32, others): (Vec<_>, Vec<_>) = matrices.partition(|t| t.kind == GgmlType::F32);
    let weights = |tensors: Vec<&gguf::Tensor>| tensors.iter().map(|t| t.elements()).sum::<u64>();
    weights(f32) > weights(others)
}

/// A tensor whose weights nobody here can tell.
fn unreadable(path: &Path, name: &str, kind: GgmlType) -> Error {
    Error::tensor(
        path,
        name,
        format!(
            "is {}, which cannot be dequantized: start from the unquantized model, or let the program \
             that made this file write it in F16 (llama-quantize --allow-requantize FILE f16.gguf F16)",
            kind.name()
        ),
    )
}
