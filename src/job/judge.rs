//! What a file costs: its predictions beside those of the model that it was made of, on text that nothing was measured on.

use super::calibrate::WorkFolder;
use super::measure::Measured;
use super::sampled::{Sampled, Whole};
use crate::gguf::File;
use crate::llama::find::{NotFound, Wanted};
use crate::llama::{Divergence, Evaluation};
use std::path::{Path, PathBuf};

/// The judge.
pub(super) const JUDGE: Wanted = Wanted {
    name: "llama-perplexity",
    is_script: false,
    option: "--collector",
    variable: "TENPAK_COLLECTOR",
};

/// What the judge found.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// Divergence of the file's predictions from the model's, and both perplexities.
    pub divergence: Divergence,
    /// Tokens that were predicted.
    pub tokens: usize,
    /// What the whole file would cost, if only some of its blocks are quantized.
    pub whole: Option<Whole>,
}

/// llama-perplexity: as given, of the environment, beside this program, of the search path. What is given may be another
/// program in its folder.
pub(super) fn find_judge(programs: Option<&Path>) -> Result<PathBuf, NotFound> {
    let folder = programs.map(|path| if path.is_file() { path.parent().unwrap_or(path) } else { path });
    JUDGE.find(folder, &[])
}

/// The folder of llama.cpp's programs, which is that of the judge.
pub fn programs(programs: Option<&Path>) -> Result<PathBuf, NotFound> {
    Ok(find_judge(programs)?.parent().map(Path::to_owned).unwrap_or_default())
}

/// llama-perplexity over so many chunks of a text, in which tokens such as `<|im_end|>` may be tokens.
pub(super) fn evaluation(
    programs: Option<&Path>,
    text: PathBuf,
    chunks: usize,
    threads: Option<usize>,
    parse_special: bool,
) -> Result<Evaluation, NotFound> {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    Ok(Evaluation {
        programs: self::programs(programs)?,
        text,
        chunks,
        threads: threads.unwrap_or_else(cores),
        options: if parse_special { vec!["--parse-special".into()] } else { Vec::new() },
        environment: Vec::new(),
        adapter: None,
    })
}

/// Judges a file, with its corrections if it has any. The error says why it could not, for people.
pub(super) fn judge(
    measured: &Measured,
    file: &Path,
    adapter: Option<&Path>,
    programs: Option<&Path>,
    threads: Option<usize>,
) -> Result<Judgement, String> {
    let (text, shares) = (measured.kept_back.clone(), measured.shares);
    let evaluation = evaluation(programs, text, shares.judged, threads, measured.parse_special);
    let evaluation = evaluation.map_err(|e| e.to_string())?;
    let work = WorkFolder::new(|| tempfile::Builder::new().prefix("tenpak-judge-").tempdir());
    let work = work.map_err(|e| e.to_string())?;
    let (logits, log) = (work.path().join("logits"), work.path().join("log"));
    let judged = evaluation.write_logits(&measured.base, &logits, &log);
    let of_file = evaluation.clone().with_adapter(adapter);
    let divergence = judged.and_then(|()| of_file.divergence(file, &logits, &log));
    let divergence = divergence.map_err(|e| e.without_log())?;
    let sampled = File::open(file).map_err(|e| e.to_string())?;
    let (kld, log_ratio) = ((divergence.mean, divergence.uncertainty), divergence.log_ratio);
    let whole = Sampled::of(&sampled).map(|sampled| sampled.whole(kld, (log_ratio.value, log_ratio.error)));
    Ok(Judgement { divergence, tokens: shares.judged_tokens() / 2, whole })
}
