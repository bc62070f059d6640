//! Writes a planned file: header, then every tensor in order, its rows in parallel.

use super::corrections::Adapter;
use super::guide::Guide;
use super::guided::{Guided, experts};
use super::weights::{VALUES_AT_ONCE, check_finite};
use super::{Error, plain, resume};
use crate::checkpoint::Model;
use crate::gguf::Writer;
use crate::plan::{Plan, Planned, Target};
use crate::types::RowQuantizer;
use rayon::prelude::*;
use std::path::Path;

/// Writes a planned file and returns its size; `progress` hears of every number of weights done, from several threads.
/// With a guide, the weights that it has statistics for are quantized with error feedback;
/// [`with_calibration`](super::with_calibration) is what gives such a plan the key that names them.
pub fn write(
    model: &Model,
    plan: &Plan,
    guide: Option<Guide>,
    path: &Path,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<u64, Error> {
    write_or_resume(model, plan, guide, path, Resume::REPLACING, &|done| progress(done.weights()))
}

/// So many weights of a file that are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// By a program that was killed: they take no time.
    Before(u64),
    /// Just now.
    Now(u64),
}

impl Done {
    /// How many.
    pub fn weights(self) -> u64 {
        match self {
            Done::Before(weights) | Done::Now(weights) => weights,
        }
    }
}

/// What a file may begin with and take the place of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resume {
    /// Go on with the whole tensors that a killed program left. What was left of another model or with other options is not
    /// used. The bytes are the same.
    pub goes_on: bool,
    /// Take the place of a file that has the name in the end.
    pub replaces: bool,
}

impl Resume {
    /// From the start, in place of what is there.
    pub const REPLACING: Resume = Resume { goes_on: false, replaces: true };
}

/// As [`write`], but goes on where a program was killed, and leaves a file that is there, as `resume` says.
pub fn write_or_resume(
    model: &Model,
    plan: &Plan,
    guide: Option<Guide>,
    path: &Path,
    resume: Resume,
    progress: &(dyn Fn(Done) + Sync),
) -> Result<u64, Error> {
    write_with(model, plan, guide, None, path, resume, progress)
}

/// As [`write_or_resume`], with an adapter for the corrections of the plan.
pub(super) fn write_with(
    model: &Model,
    plan: &Plan,
    guide: Option<Guide>,
    adapter: Option<&mut Adapter>,
    path: &Path,
    resume: Resume,
    progress: &(dyn Fn(Done) + Sync),
) -> Result<u64, Error> {
    let id = resume::id(model, plan, guide);
    let (writer, done) = Writer::create_or_resume(path, &plan.keys, plan.headers(), &id, resume.goes_on)?;
    let mut writer = if resume.replaces { writer } else { writer.keep_existing() };
    plan.tensors[..done].iter().for_each(|t| progress(Done::Before(t.source.elements())));
    let now = |weights| progress(Done::Now(weights));
    let written = write_tensors(model, plan, guide, adapter, done, &mut writer, &now);
    // An input that changed explains any other error, and what was written of it.
    model.check_unchanged()?;
    guide.map_or(Ok(()), |guide| guide.calibration.check_unchanged())?;
    written?;
    Ok(writer.finish()?)
}

/// Writes the tensors of a plan but for the first `done`.
fn write_tensors(
    model: &Model,
    plan: &Plan,
    guide: Option<Guide>,
    mut adapter: Option<&mut Adapter>,
    done: usize,
    writer: &mut Writer,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<(), Error> {
    let mut guided = guide.map(|guide| Guided::new(guide, model, plan)).transpose()?;
    let mut rest = plan.tensors[done..].iter().peekable();
    while let Some(planned) = rest.next() {
        model.check_cut()?;
        let t = &planned.source;
        match planned.target {
            Target::Plain(dtype) => {
                // Floats that follow each other are written as one, so that all cores always have something to do.
                let mut floats = vec![(t, dtype)];
                while let Some((t, dtype)) = rest.peek().and_then(|&next| match next.target {
                    Target::Plain(dtype) => Some((&next.source, dtype)),
                    Target::Blocks(_) | Target::Upstream(_) | Target::Kept(_) => None,
                }) {
                    floats.push((t, dtype));
                    rest.next();
                }
                plain::write(model, &floats, writer, progress)?;
            }
            Target::Blocks(kind) => match guided.as_mut().filter(|g| g.knows(t)) {
                Some(guided) => {
                    guided.write(model, planned, kind, writer, adapter.as_deref_mut(), progress)?
                }
                None if planned.rank > 0 => return Err(Error::NothingKnown { tensor: t.name.clone() }),
                None => write_blocks(model, planned, writer, progress)?,
            },
            Target::Upstream(_) | Target::Kept(_) => write_blocks(model, planned, writer, progress)?,
        }
    }
    Ok(())
}

/// Writes a tensor in blocks: those of the checkpoint, or those that its weights are quantized to.
fn write_blocks(
    model: &Model,
    planned: &Planned,
    writer: &mut Writer,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<(), Error> {
    let Planned { source: t, target, making, .. } = planned;
    let columns = t.columns();
    let row_bytes = target.ggml().bytes(columns as u64).expect("chosen to fit") as usize;
    // Rows that are made together, so that they are whole groups; those of an expert are apart from those of others.
    let together = making.period(columns);
    let rows_at_once = (VALUES_AT_ONCE / columns.max(1)).max(1).next_multiple_of(together);
    let quantizer = || match *target {
        Target::Blocks(kind) => {
            match kind.calibrated().and_then(|c| c.makers).filter(|_| !making.is_free()) {
                Some(makers) => Some((makers.rows)(*making)),
                None => kind.quantizer(),
            }
        }
        Target::Upstream(kind) => Some(Box::new(kind) as Box<dyn RowQuantizer>),
        Target::Plain(_) | Target::Kept(_) => None,
    };
    let mut out = Vec::new();
    let rows_of_expert = if together > 1 { t.rows() / experts(t) } else { t.rows() };
    for expert in (0..t.rows()).step_by(rows_of_expert.max(1)) {
        let end = expert + rows_of_expert;
        for first in (expert..end).step_by(rows_at_once) {
            let rows = rows_at_once.min(end - first);
            out.resize(rows * row_bytes, 0);
            out.par_chunks_mut(together * row_bytes).enumerate().try_for_each_init(
                || (Vec::new(), quantizer()),
                |(values, quantizer), (i, out)| {
                    let first = first + i * together;
                    values.resize(out.len() / row_bytes * columns, 0.0);
                    match quantizer {
                        Some(quantizer) => {
                            model.read_rows(t, first, values)?;
                            for (i, row) in values.chunks_exact(columns).enumerate() {
                                check_finite(model, t, first + i, row)?;
                            }
                            quantizer.quantize(values, out);
                        }
                        None => model.read_blocks(t, first, out)?,
                    }
                    progress(values.len() as u64);
                    Ok::<(), Error>(())
                },
            )?;
            writer.write(&out)?;
            model.release();
        }
    }
    Ok(())
}
