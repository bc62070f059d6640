//! Model to GGUF: plan, header, then every tensor in order, its rows in parallel.

mod guided;
mod plain;
pub mod resume;

pub use guided::Guide;

use crate::calibration;
use crate::checkpoint::{self, Dtype, Model, SourceTensor};
use crate::gguf::{self, GgmlType, TensorHeader, Value, Writer};
use crate::names::{self, Role};
use crate::types::{self, TensorType};
use guided::Guided;
use rayon::prelude::*;
use std::path::{Path, PathBuf};

/// The family of trellis types, by bits per weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Trellis {
    T2,
    T3,
    T4,
}

impl Trellis {
    /// The types of the family, longest block first.
    fn types(self) -> [&'static TensorType; 2] {
        match self {
            Trellis::T2 => [&types::trellis::T2, &types::trellis::T2_64],
            Trellis::T3 => [&types::trellis::T3, &types::trellis::T3_64],
            Trellis::T4 => [&types::trellis::T4, &types::trellis::T4_64],
        }
    }

    /// The type for rows of `columns`.
    fn for_columns(self, columns: usize) -> Option<&'static TensorType> {
        self.types().into_iter().find(|t| columns.is_multiple_of(t.block_len))
    }
}

/// What to make of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipe {
    /// T4 for attention, embeddings and output head, T3 for the rest.
    Default,
    /// One family for all matrices.
    All(Trellis),
    /// One family for all matrices but embeddings and output head, which stay as they are.
    Linear(Trellis),
    /// Tensors that are quantized already as they are, where a type holds them without loss. The others in one family;
    /// with none, floats as they are and what was quantized as by default.
    Keep(Option<Trellis>),
    /// A plain file.
    Plain(Dtype),
}

/// How a tensor is stored.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// As floats.
    Plain(Dtype),
    /// In blocks.
    Blocks(&'static TensorType),
    /// As it is already, without loss.
    Kept(GgmlType),
}

impl Target {
    /// The ggml type.
    pub fn ggml(self) -> GgmlType {
        match self {
            Target::Plain(dtype) => dtype.ggml(),
            Target::Blocks(t) => GgmlType(t.id),
            Target::Kept(kind) => kind,
        }
    }
}

/// What is to be written.
pub struct Plan {
    /// Keys of the file.
    pub keys: Vec<(String, Value)>,
    /// Header of every tensor, in the order of the model's.
    pub headers: Vec<TensorHeader>,
    /// How each is stored.
    pub targets: Vec<Target>,
    /// Bytes of the whole file.
    pub file_bytes: u64,
    /// Matrices that no block length divides and that stay F16.
    pub left_plain: Vec<String>,
    /// The model's tensor that is the first here: 0 but for parts of a file.
    pub first: usize,
}

/// Why a conversion stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading the model.
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::Error),
    /// Reading the calibration.
    #[error(transparent)]
    Calibration(#[from] calibration::Error),
    /// Statistics of which no factor can be made.
    #[error(
        "tensor `{tensor}`: the Gram matrix of its inputs is not positive definite; calibrate with more text"
    )]
    NotPositive {
        /// The tensor.
        tensor: String,
    },
    /// Writing the file.
    #[error(transparent)]
    Gguf(#[from] gguf::Error),
    /// Values that no weight has.
    #[error(
        "{}: tensor `{tensor}`, row {row}: {value} is not a finite number; the file is damaged, fetch it again",
        path.display()
    )]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its row.
        row: usize,
        /// The value.
        value: f32,
    },
    /// Values that F16 cannot hold.
    #[error("tensor `{tensor}`, row {row}: {value} is too large for f16; use --outtype bf16 or f32")]
    TooLarge {
        /// The tensor.
        tensor: String,
        /// Its row.
        row: usize,
        /// The value.
        value: f32,
    },
}

/// Version of ggml's quantization formats that files name.
const QUANTIZATION_VERSION: u32 = 2;

/// Decides the type of every tensor.
pub fn plan(model: &Model, recipe: Recipe) -> Plan {
    let mut keys = model.keys.clone();
    if let Recipe::Plain(dtype) = recipe {
        keys.push(("general.file_type".into(), dtype.file_type().into()));
    }
    keys.push(("general.quantization_version".into(), QUANTIZATION_VERSION.into()));
    let mut left_plain = Vec::new();
    let targets: Vec<Target> = model
        .tensors
        .iter()
        .map(|t| {
            let target = target(model, t, recipe);
            if target.is_none() {
                left_plain.push(t.name.clone());
            }
            target.unwrap_or(Target::Plain(Dtype::F16))
        })
        .collect();
    let headers: Vec<TensorHeader> = model
        .tensors
        .iter()
        .zip(&targets)
        .map(|(t, target)| TensorHeader {
            name: t.name.clone(),
            shape: t.shape.clone(),
            kind: target.ggml(),
            bytes: target.ggml().bytes(t.elements()).expect("chosen to fit"),
        })
        .collect();
    let file_bytes = Writer::file_bytes(&keys, &headers);
    Plan { keys, headers, targets, file_bytes, left_plain, first: 0 }
}

/// `None` for a matrix that should be in blocks but does not fit any.
fn target(model: &Model, t: &SourceTensor, recipe: Recipe) -> Option<Target> {
    let exact = model.exact_type(t).map(Target::Kept);
    let is_quantizable = names::is_quantizable(&t.name, &t.shape);
    let family = match recipe {
        _ if exact.is_some_and(|kept| kept.ggml().is_plain_number()) => return exact,
        _ if !names::is_matrix(&t.name, &t.shape) => return Some(Target::Plain(Dtype::F32)),
        Recipe::Plain(_) if t.left_precise && !is_quantizable => return Some(Target::Plain(Dtype::F32)),
        Recipe::Plain(dtype) => return Some(Target::Plain(dtype)),
        // As llama-quantize has it, or whoever made the file.
        _ if !is_quantizable || t.left_precise && !is_outer(&t.name) => {
            return exact.or(Some(Target::Plain(t.dtype.written())));
        }
        Recipe::Linear(_) if is_outer(&t.name) => return exact.or(Some(Target::Plain(t.dtype.written()))),
        Recipe::Keep(family) => match (exact, family) {
            (Some(_), _) => return exact,
            (None, Some(family)) => family,
            (None, None) if model.quantization(t).is_none() => return Some(Target::Plain(t.dtype.written())),
            (None, None) => default_family(t),
        },
        Recipe::All(family) | Recipe::Linear(family) => family,
        Recipe::Default => default_family(t),
    };
    family.for_columns(t.columns()).map(Target::Blocks)
}

fn default_family(t: &SourceTensor) -> Trellis {
    if is_sensitive(&t.name) { Trellis::T4 } else { Trellis::T3 }
}

/// Attention, embeddings and output head: small or heard everywhere.
fn is_sensitive(name: &str) -> bool {
    matches!(Role::of(name), Role::Attention(_)) || is_outer(name)
}

/// Embeddings and output head.
fn is_outer(name: &str) -> bool {
    matches!(Role::of(name), Role::Embeddings | Role::Head)
}

/// Values converted at a time: bounds memory whatever the model.
const CHUNK: usize = 1 << 22;

/// Writes the planned file; `progress` hears of every number of weights done. With a guide, the weights that it
/// has statistics for are quantized with error feedback.
pub fn run(
    model: &Model,
    plan: &Plan,
    guide: Option<Guide>,
    path: &Path,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<u64, Error> {
    run_or_resume(model, plan, guide, path, false, progress)
}

/// As [`run`], but goes on with the whole tensors that a killed run left, if `resume` is set. A run with another model
/// or other options begins anew. The bytes are the same.
pub fn run_or_resume(
    model: &Model,
    plan: &Plan,
    guide: Option<Guide>,
    path: &Path,
    resume: bool,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<u64, Error> {
    let id = resume::id(model, plan, guide);
    let (headers, keys) = (plan.headers.clone(), &plan.keys);
    let (mut writer, done) = Writer::create_or_resume(path, keys, headers, &id, resume)?;
    let mut guided = guide.map(|guide| Guided::new(guide, model, plan)).transpose()?;
    let tensors = &model.tensors[plan.first..];
    tensors[..done].iter().for_each(|t| progress(t.elements()));
    let mut rest = tensors[done..].iter().zip(&plan.targets[done..]).peekable();
    while let Some((t, target)) = rest.next() {
        match target {
            Target::Plain(dtype) => {
                let mut run = vec![(t, *dtype)];
                while let Some((t, Target::Plain(dtype))) =
                    rest.next_if(|(_, t)| matches!(t, Target::Plain(_)))
                {
                    run.push((t, *dtype));
                }
                plain::write(model, &run, &mut writer, progress)?;
            }
            Target::Blocks(kind) => match guided.as_mut().filter(|g| g.knows(t)) {
                Some(guided) => guided.write(model, t, kind, &mut writer, progress)?,
                None => write_blocks(model, t, *target, &mut writer, progress)?,
            },
            Target::Kept(_) => write_blocks(model, t, *target, &mut writer, progress)?,
        }
    }
    Ok(writer.finish()?)
}

/// Writes a tensor in blocks: those that it has already, or new ones.
fn write_blocks(
    model: &Model,
    t: &SourceTensor,
    target: Target,
    writer: &mut Writer,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<(), Error> {
    let columns = t.columns();
    let row_bytes = target.ggml().bytes(columns as u64).expect("chosen to fit") as usize;
    let rows_at_once = (CHUNK / columns.max(1)).max(1);
    let quantizer = || match target {
        Target::Blocks(kind) => kind.quantizer(),
        Target::Plain(_) | Target::Kept(_) => None,
    };
    let mut out = Vec::new();
    for first in (0..t.rows()).step_by(rows_at_once) {
        let rows = rows_at_once.min(t.rows() - first);
        out.resize(rows * row_bytes, 0);
        out.par_chunks_exact_mut(row_bytes).enumerate().try_for_each_init(
            || (vec![0.0; columns], quantizer()),
            |(values, quantizer), (i, out)| {
                match quantizer {
                    Some(quantizer) => {
                        model.read_rows(t, first + i, values)?;
                        check_finite(model, t, first + i, values)?;
                        quantizer.quantize(values, out);
                    }
                    None => model.read_blocks(t, first + i, out)?,
                }
                progress(columns as u64);
                Ok::<(), Error>(())
            },
        )?;
        writer.write(&out)?;
        model.release();
    }
    Ok(())
}

fn check_finite(model: &Model, t: &SourceTensor, row: usize, values: &[f32]) -> Result<(), Error> {
    match values.iter().find(|v| !v.is_finite()) {
        None => Ok(()),
        Some(&value) => Err(not_finite(model, t, row, value)),
    }
}

fn not_finite(model: &Model, t: &SourceTensor, row: usize, value: f32) -> Error {
    Error::NotFinite { path: model.file_of(t, row).to_owned(), tensor: t.name.clone(), row, value }
}
