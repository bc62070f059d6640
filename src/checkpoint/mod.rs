//! Models to convert: Hugging Face folders and GGUF files, both as one [`Model`].
//!
//! Each file uses those above it only: `error`, `dtype`, `transform`; `stored`, the tensors of mapped files; `pickle`,
//! `pytorch`, `weight_files` and `shards`, the files of a folder; `quantized`, what reads matrices that other libraries packed;
//! `model`; `hf_source`, `hf_transforms`, `hf_checks`, `hf_tensors`, the tensors of a folder; `model_name`, `model_card`,
//! `hf_folder`, `gguf_model` and `foreign`, which make models.

mod dtype;
mod error;
mod foreign;
mod gguf_model;
mod hf_checks;
mod hf_folder;
mod hf_source;
mod hf_tensors;
mod hf_transforms;
mod model;
mod model_card;
mod model_name;
mod pickle;
mod pytorch;
mod quantized;
mod shards;
mod stored;
mod transform;
mod weight_files;

pub use dtype::Dtype;
pub use error::Error;
pub use foreign::Foreign;
pub use hf_folder::{Options, tokenizer_of};
pub use model::{Model, SourceTensor};
pub use model_card::{HUB, base_model_keys};
pub use transform::{Change, Order};

use std::path::Path;

impl Model {
    /// Opens a Hugging Face folder or a GGUF file.
    pub fn open(path: &Path, options: &Options) -> Result<Model, Error> {
        let metadata = std::fs::metadata(path).map_err(Error::read(path))?;
        if metadata.is_dir() {
            hf_folder::open(path, options)
        } else if path.extension().is_some_and(|e| e == "safetensors") {
            let problem = "give the folder that holds it, with config.json and tokenizer.json";
            Err(Error::unsupported(path, problem))
        } else {
            gguf_model::open(path)
        }
    }
}
