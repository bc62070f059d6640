//! A foreign folder: its config.json names a class that there is no table for, and llama.cpp's converter makes a GGUF file
//! of it, which is then read in its place. What can be checked of the folder before is checked here.

use super::dtype::Dtype;
use super::error::Error;
use super::model::{Converted, Model, Stamps, stamps};
use super::shards::{self, Shards};
use super::weight_files::INDEX;
use super::{gguf_model, hf_folder, hf_tensors, model_card};
use std::path::{Path, PathBuf};
use tempfile::TempPath;

/// What names of tensors have in them that belong to no language model, beside those that classes with tables use.
const SEEN_OR_HEARD: [&str; 4] = ["vision", "visual", "audio", "image_"];

/// A folder whose class there is no table for.
#[derive(Clone, Debug)]
pub struct Foreign {
    /// The folder.
    pub folder: PathBuf,
    /// The class that config.json names.
    pub class: String,
    /// Weights of the language model, about: those of packed matrices are taken for weights of four bits.
    pub weights: u64,
    /// The type of 16 bits that holds most of its weights best.
    pub dtype: Dtype,
    /// Whether most of its weights are of more bits.
    pub is_wider: bool,
    /// The name of the model where that of the folder is that of a commit.
    pub name: Option<String>,
    /// The files that decide what is written.
    pub files: Vec<PathBuf>,
    /// Those files as they were.
    read: Stamps,
    notes: Vec<String>,
}

impl Foreign {
    /// The folder, if it is one. An error if it is one that llama.cpp's converter would read in part or not at all.
    pub fn of(folder: &Path) -> Result<Option<Foreign>, Error> {
        let Some(class) = hf_folder::foreign_class(folder)? else { return Ok(None) };
        let shards = Shards::open(folder)?;
        check_choice(folder, shards.files.paths())?;
        let (mut weights, mut of_f16, mut wider, mut others) = (0u64, 0u64, 0u64, 0);
        for (hf, entry) in &shards.tensors {
            if hf_tensors::language_part(hf).is_none() || SEEN_OR_HEARD.iter().any(|word| hf.contains(word)) {
                others += 1;
                continue;
            }
            let elements: u64 = entry.shape.iter().product();
            weights += match &entry.dtype {
                Ok(_) => elements,
                Err(kind) if kind.starts_with("F8") => elements,
                Err(_) => 2 * shards.files.bytes(entry.span).len() as u64,
            };
            match entry.dtype {
                Ok(Dtype::F16) => of_f16 += elements,
                Ok(Dtype::F32 | Dtype::F64) => wider += elements,
                _ => {}
            }
        }
        let dtype = if of_f16 > weights / 2 { Dtype::F16 } else { Dtype::BF16 };
        let is_wider = wider > weights / 2;
        let mut notes: Vec<String> = hf_tensors::note_of_others(folder, others).into_iter().collect();
        notes.extend(shards.notes.iter().cloned());
        let canonical = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        let name =
            model_card::name_in_cache(&canonical).and_then(|name| name.rsplit('/').next().map(str::to_owned));
        let files = [shards.files.paths().to_vec(), hf_folder::files_beside(folder)].concat();
        let (folder, read) = (folder.to_owned(), stamps(&files));
        Ok(Some(Foreign { folder, class, weights, dtype, is_wider, name, files, read, notes }))
    }

    /// About how many bytes the GGUF file in a float type takes.
    pub fn bytes(&self, dtype: Dtype) -> u64 {
        self.weights * dtype.bytes() as u64
    }

    /// The model, as llama.cpp's converter wrote it into a GGUF file. A temporary one is deleted with the model.
    pub fn open(self, gguf: &Path, temporary: Option<TempPath>) -> Result<Model, Error> {
        let mut model = gguf_model::open(gguf)?;
        model.path = self.folder;
        model.notes = self.notes;
        model.read = self.read;
        model.converted = Some(Converted { files: self.files, _temporary: temporary });
        Ok(model)
    }
}

/// Refuses a folder of whose files llama.cpp's converter would take others than transformers does.
fn check_choice(folder: &Path, taken: &[PathBuf]) -> Result<(), Error> {
    let theirs = files_of_converter(folder)?;
    let mut ours = taken.to_vec();
    ours.sort();
    if theirs == ours {
        return Ok(());
    }
    let name = |files: &[PathBuf]| match files {
        [] => "none".to_owned(),
        [file, more @ ..] => {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            if more.is_empty() { format!("`{name}`") } else { format!("`{name}` and {} more", more.len()) }
        }
    };
    let remedy = match theirs.is_empty() {
        true => "name it model.safetensors, or the shards model-00001-of-0000N.safetensors and so on",
        false => "leave the weights of one model in the folder",
    };
    let problem = format!(
        "the weights are those of {}, as transformers takes them, but llama.cpp's converter, which has to read them, would \
         take {}: {remedy}",
        name(&ours),
        name(&theirs)
    );
    Err(Error::unsupported(folder, problem))
}

/// The files of which llama.cpp's converter reads weights.
fn files_of_converter(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = std::fs::read_dir(folder).map_err(Error::read(folder))?;
    let names: Vec<String> =
        entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    let named = |begin: &str, end: &str| {
        let is_named = |name: &&String| name.starts_with(begin) && name.ends_with(end);
        names.iter().filter(is_named).map(|name| folder.join(name)).collect::<Vec<_>>()
    };
    let index_of = |usual: &str| folder.join(format!("{usual}{INDEX}"));
    let (mut files, mut index) = (named("model", ".safetensors"), index_of("model.safetensors"));
    if files.is_empty() && !index.is_file() {
        (files, index) = (named("pytorch_model", ".bin"), index_of("pytorch_model.bin"));
    }
    if index.is_file() {
        files = shards::indexed(folder, &index)?.0;
    }
    files.sort();
    Ok(files)
}
