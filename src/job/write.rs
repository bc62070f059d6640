//! Writes a planned file: header, then every tensor in order, its rows in parallel.

use super::guided::{Guide, Guided};
use super::weights::{VALUES_AT_ONCE, check_finite};
use super::{Error, plain, resume};
use crate::checkpoint::{Model, SourceTensor};
use crate::gguf::Writer;
use crate::plan::{Plan, Target};
use crate::types::RowQuantizer;
use rayon::prelude::*;
use std::path::Path;

/// Writes a planned file and returns its size; `progress` hears of every number of weights done, from several threads.
/// With a guide, the weights that it has statistics for are quantized with error feedback.
pub fn write(
    model: &Model,
    plan: &Plan,
    guide: Option<Guide>,
    path: &Path,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<u64, Error> {
    write_or_resume(model, plan, guide, path, false, progress)
}

/// As [`write`], but goes on with the whole tensors that a killed program left, if `resume` is set. What was left of
/// another model or with other options is not used. The bytes are the same.
pub fn write_or_resume(
    model: &Model,
    plan: &Plan,
    guide: Option<Guide>,
    path: &Path,
    resume: bool,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<u64, Error> {
    let id = resume::id(model, plan, guide);
    let (mut writer, done) = Writer::create_or_resume(path, &plan.keys, plan.headers(), &id, resume)?;
    let mut guided = guide.map(|guide| Guided::new(guide, model, plan)).transpose()?;
    plan.tensors[..done].iter().for_each(|t| progress(t.source.elements()));
    let mut rest = plan.tensors[done..].iter().peekable();
    while let Some(planned) = rest.next() {
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
                plain::write(model, &floats, &mut writer, progress)?;
            }
            Target::Blocks(kind) => match guided.as_mut().filter(|g| g.knows(t)) {
                Some(guided) => guided.write(model, t, kind, &mut writer, progress)?,
                None => write_blocks(model, t, planned.target, &mut writer, progress)?,
            },
            Target::Upstream(_) | Target::Kept(_) => {
                write_blocks(model, t, planned.target, &mut writer, progress)?
            }
        }
    }
    Ok(writer.finish()?)
}

/// Writes a tensor in blocks: those of the checkpoint, or those that its weights are quantized to.
fn write_blocks(
    model: &Model,
    t: &SourceTensor,
    target: Target,
    writer: &mut Writer,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<(), Error> {
    let columns = t.columns();
    let row_bytes = target.ggml().bytes(columns as u64).expect("chosen to fit") as usize;
    let rows_at_once = (VALUES_AT_ONCE / columns.max(1)).max(1);
    let quantizer = || match target {
        Target::Blocks(kind) => kind.quantizer(),
        Target::Upstream(kind) => Some(Box::new(kind) as Box<dyn RowQuantizer>),
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
