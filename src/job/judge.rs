//! What a file costs: its predictions beside those of the model that it was made of, on text that nothing was measured on.

use super::measure::Measured;
use crate::llama::evaluation::CHUNK;
use crate::llama::find::Wanted;
use crate::llama::{Divergence, Evaluation};
use std::path::Path;

/// The judge.
const JUDGE: Wanted = Wanted {
    name: "llama-perplexity",
    is_script: false,
    option: "--collector",
    variable: "TENPAK_COLLECTOR",
};

/// Chunks of text to judge on.
const CHUNKS: usize = 8;

/// Tokens of the text that are run.
pub(super) const TOKENS: usize = CHUNKS * CHUNK;

/// What the judge found.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// Divergence of the file's predictions from the model's, and both perplexities.
    pub divergence: Divergence,
    /// Tokens that were predicted.
    pub tokens: usize,
}

/// Judges a file. The error says why it could not, for people.
pub(super) fn judge(
    measured: &Measured,
    file: &Path,
    programs: Option<&Path>,
    threads: Option<usize>,
) -> Result<Judgement, String> {
    let folder = programs.map(|path| if path.is_file() { path.parent().unwrap_or(path) } else { path });
    let program = JUDGE.find(folder, &[]).map_err(|e| e.to_string())?;
    let work = tempfile::Builder::new().prefix("tenpak-judge-").tempdir().map_err(|e| e.to_string())?;
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let evaluation = Evaluation {
        programs: program.parent().map(Path::to_owned).unwrap_or_default(),
        text: measured.kept_back.clone(),
        chunks: CHUNKS,
        threads: threads.unwrap_or_else(cores),
        options: if measured.parse_special { vec!["--parse-special".into()] } else { Vec::new() },
        environment: Vec::new(),
    };
    let (logits, log) = (work.path().join("logits"), work.path().join("log"));
    let judged = evaluation.write_logits(&measured.base, &logits, &log);
    let divergence = judged.and_then(|()| evaluation.divergence(file, &logits, &log));
    let divergence = divergence.map_err(|e| e.without_log())?;
    Ok(Judgement { divergence, tokens: TOKENS / 2 })
}
