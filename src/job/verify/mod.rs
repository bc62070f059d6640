//! Compares a plain file of a model, as llama.cpp runs it, with the folder that it was made of.
//!
//!   lines of text --- llama.cpp's tokenizer -------- ids --- llama.cpp's graph ---- embeddings, blocks, logits
//!         |                                           =                                      =
//!         +---------- the folder's tokenizer ------- ids --- transformers ---------- embeddings, blocks, logits
//!
//! The folder's tokenizer is that of the tokenizers library or, for a tokenizer.model alone, SentencePiece's. What differs first
//! is an error. Not compared are chat templates, names, and what shows beyond the tokens of the text, such as windows that are
//! longer.

mod compare;
mod error;
mod reference;
mod text;
mod tokens;
mod trace;

pub use compare::Agreement;
pub use error::{Difference, Distance, Shown, VerifyError, percent};

use super::Error;
use super::collector::find_collector;
use crate::arch::tokenizer::Reference;
use crate::checkpoint::{self, Model};
use crate::gguf::Value;
use crate::llama::{python, run};
use compare::Sides;
use reference::Packages;
use std::path::{Path, PathBuf};
use std::process::Command;
use text::Text;
use trace::Trace;

/// Ids of the forward pass, if the model takes as many.
const FORWARD_IDS: usize = 256;

/// How a model is verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verify {
    /// The Python that has transformers; `None` for the one that is found.
    pub python: Option<PathBuf>,
    /// The collector or its folder, instead of looking for it.
    pub collector: Option<PathBuf>,
}

/// Half of a verification. The error says why it was not compared, and what helps.
pub type Half<T> = Result<T, String>;

/// What was compared and agrees.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Lines, and ids in them.
    pub ids: Half<(usize, usize)>,
    /// The forward pass, and the versions that did it.
    pub forward: Half<(Agreement, String)>,
}

impl Verify {
    /// Refuses what cannot work, before anything that takes long.
    pub(super) fn check(&self) -> Result<(), Error> {
        find_collector(self.collector.as_deref())?;
        Ok(())
    }

    /// Compares the plain file of a model with the model's folder.
    pub(super) fn run(&self, model: &Model, plain: &Path, threads: Option<usize>) -> Result<Verified, Error> {
        let work = tempfile::Builder::new().prefix("tenpak-verify-").tempdir();
        let work = work.map_err(|source| Error::Io { path: std::env::temp_dir(), source })?;
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let threads = threads.unwrap_or_else(cores);
        let llama =
            Llama { program: find_collector(self.collector.as_deref())?, plain, threads, work: work.path() };
        let packages = Packages {
            python: python::find(self.python.as_deref()),
            folder: &model.path,
            work: work.path(),
            threads,
        };
        let has_tokenizer = model.key("tokenizer.ggml.tokens").is_some();
        let Ids { compared: ids, sample } = match has_tokenizer {
            true => compare_ids(&llama, &packages, checkpoint::tokenizer_of(&model.path)?, most_ids(model))?,
            false => Ids { compared: Err("the file has no tokenizer".into()), sample: some_ids(model) },
        };
        let forward = match !sample.is_empty() {
            true => compare_forward(&llama, &packages, &sample, model)?,
            false => Err("there are no ids to compute with".into()),
        };
        match (ids, forward) {
            (Err(ids), Err(forward)) => Err(VerifyError::Nothing { ids, forward }.into()),
            (ids, forward) => Ok(Verified { ids, forward }),
        }
    }
}

/// Ids that were compared, and those for the forward pass.
struct Ids {
    compared: Half<(usize, usize)>,
    sample: Vec<u32>,
}

/// Compares the ids of all lines.
fn compare_ids(llama: &Llama, packages: &Packages, reference: Reference, most: usize) -> Result<Ids, Error> {
    let text = Text::new(&reference);
    let texts = llama.write("texts", &with_zeros(&text.lines))?;
    let ours = tokens::read(&llama.run("--tokenize", &texts, "ids")?, text.lines.len())?;
    let sample = text.sample(&ours, most);
    let (lines, theirs) = match &reference.tokenizer {
        Some(tokenizer) => (&text.lines[..], tokens::encode(tokenizer, &text.lines)),
        None => {
            let lines = text.unmarked();
            match packages.ids(&llama.write("texts.unmarked", &with_zeros(lines))?) {
                Ok(path) => (lines, Ok(tokens::read(&path, lines.len())?)),
                Err(why) => (
                    lines,
                    Err(format!("the tokenizers library does not read a tokenizer.model alone, and {why}")),
                ),
            }
        }
    };
    let theirs = match theirs {
        Ok(theirs) => theirs,
        Err(why) => return Ok(Ids { compared: Err(why), sample }),
    };
    let ours = &ours[..lines.len()];
    let text_of = |id| reference.tokenizer.as_ref()?.id_to_token(id);
    if let Some(difference) = tokens::first_difference(lines, ours, &theirs, text_of) {
        return Err(VerifyError::Differs(Box::new(difference)).into());
    }
    Ok(Ids { compared: Ok((ours.len(), ours.iter().map(Vec::len).sum())), sample })
}

/// Texts, each ended by a zero byte.
fn with_zeros(lines: &[String]) -> Vec<u8> {
    lines.iter().flat_map(|line| [line.as_bytes(), b"\0"].concat()).collect()
}

/// Compares what both sides compute of some ids.
fn compare_forward(
    llama: &Llama,
    packages: &Packages,
    ids: &[u32],
    model: &Model,
) -> Result<Half<(Agreement, String)>, Error> {
    let list: Vec<String> = ids.iter().map(u32::to_string).collect();
    let given = llama.write("forward.ids", list.join(" ").as_bytes())?;
    let (theirs, versions) = match packages.forward(&given) {
        Ok((path, versions)) => (Trace::of_transformers(&path)?, versions),
        Err(why) => return Ok(Err(why)),
    };
    let ours = Trace::of_llama(&llama.run("--trace", &given, "trace.gguf")?)?;
    let has_experts = count(model, "expert_count").is_some_and(|n| n > 0);
    let sides = Sides { ids, blocks: model.block_count(), has_experts, ours: &ours, theirs: &theirs };
    Ok(Ok((sides.compare()?, versions)))
}

/// A number that the keys of the model's architecture say.
fn count(model: &Model, name: &str) -> Option<u64> {
    let architecture = model.key("general.architecture").and_then(Value::as_str)?;
    model.key(&format!("{architecture}.{name}")).and_then(Value::as_u64)
}

/// Ids that the model takes at a time, and not more than are wanted.
fn most_ids(model: &Model) -> usize {
    count(model, "context_length").map_or(FORWARD_IDS, |n| FORWARD_IDS.min(n as usize))
}

/// Ids for a model without a tokenizer: from all of its vocabulary, in no order.
fn some_ids(model: &Model) -> Vec<u32> {
    let embeddings = model.tensors.iter().find(|t| t.name == "token_embd.weight");
    let all = embeddings.and_then(|t| t.shape.get(1).copied()).unwrap_or(0);
    // Steps of the golden section come near every number early.
    let at = |i: usize| ((i as f64 * 0.618_033_988_749_895).fract() * all as f64) as u32;
    (0..most_ids(model)).map(at).take(all as usize).collect()
}

/// The collector with a plain file.
struct Llama<'a> {
    program: PathBuf,
    plain: &'a Path,
    threads: usize,
    work: &'a Path,
}

impl Llama<'_> {
    fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, Error> {
        let path = self.work.join(name);
        std::fs::write(&path, bytes).map_err(|source| Error::Io { path: path.clone(), source })?;
        Ok(path)
    }

    /// Has the collector make a file of another.
    fn run(&self, task: &str, given: &Path, name: &str) -> Result<PathBuf, Error> {
        let out = self.work.join(name);
        let mut command = Command::new(&self.program);
        command.arg("-m").arg(self.plain).arg(task).arg(given).arg("-o").arg(&out);
        command.args(["-t", &self.threads.to_string()]);
        match run::logged(&mut command, &self.work.join(format!("{name}.log"))) {
            Ok(_) if out.exists() => Ok(out),
            Ok(_) => Err(super::CollectorError::NoOutput(out).into()),
            // The log is deleted when this ends: its last lines are all that there is.
            Err(run::Error::Failed { program, status, tail, .. }) => {
                Err(VerifyError::Program { program, status, tail }.into())
            }
            Err(e) => Err(super::CollectorError::Start(e).into()),
        }
    }
}
