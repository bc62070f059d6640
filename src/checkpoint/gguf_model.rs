//! A GGUF file as a model to convert.

use super::transform::Transform;
use super::{Data, Dtype, Error, Model, SourceTensor, Storage, problem};
use crate::gguf;
use std::path::Path;

pub fn open(path: &Path) -> Result<Model, Error> {
    let file = gguf::File::open(path)?;
    let mut tensors = Vec::new();
    for (i, t) in file.tensors().iter().enumerate() {
        let Some(dtype) = Dtype::from_ggml(t.kind) else {
            return Err(problem(
                path,
                format!(
                    "tensor `{}` is {}: only F32, F16 and BF16 can be converted; \
                     start from the unquantized model. If there is none, llama.cpp's `llama-quantize --allow-requantize \
                     FILE f16.gguf F16` makes an F16 file of this one, but what is quantized twice loses twice",
                    t.name,
                    t.kind.name()
                ),
            ));
        };
        tensors.push(SourceTensor {
            name: t.name.clone(),
            shape: t.shape.clone(),
            dtype,
            data: Data::Gguf(i),
            transform: Transform::NONE,
        });
    }
    let written = ["general.file_type", "general.quantization_version"];
    let keys = file.keys().iter().filter(|(k, _)| !written.contains(&k.as_str())).cloned();
    Ok(Model { path: path.to_owned(), keys: keys.collect(), tensors, storage: Storage::Gguf(file) })
}
