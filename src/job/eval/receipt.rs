//! What an evaluation found, and of what: a JSON file with which anybody can repeat it.

use crate::job::{FileSizes, Sampled, Whole};
use crate::llama::evaluation::{CHUNK, COUNTED};
use crate::llama::{self, Divergence, TaskKind};
use serde::{Deserialize, Serialize};

/// The version of receipts that is written and read.
pub const VERSION: u32 = 1;

/// A receipt. Files are named without their folders and told apart by sha256.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// Version of this format.
    pub receipt: u32,
    /// Version of this program.
    pub tenpak_gguf: String,
    /// What computed.
    pub program: Program,
    /// What all are compared with.
    pub base: Model,
    /// Texts.
    pub domains: Vec<Domain>,
    /// Files of tasks.
    pub tasks: Vec<Tasks>,
    /// Tokens a second were measured.
    pub speed: bool,
    /// What was compared, in the order of the command.
    pub models: Vec<Judged>,
}

/// llama-perplexity, and where it ran.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Program {
    /// Its name.
    pub name: String,
    /// Of lines `SHA256  NAME` of the program and of the libraries of llama.cpp beside it, by name.
    pub sha256: String,
    /// The level of instructions of our kernels. ggml chooses its own.
    pub level: String,
    /// Threads.
    pub threads: usize,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDigest {
    /// Its name, without folders.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Its digest.
    pub sha256: String,
}

/// A GGUF file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// The file, or all of its parts; the last is its adapter, if it has one.
    pub files: Vec<FileDigest>,
    /// Bytes of all of these.
    pub bytes: u64,
    /// Weights.
    pub weights: u64,
    /// Bits per weight of the whole.
    pub bpw: f64,
    /// Bits per weight of the linear layers.
    pub linear_bpw: f64,
    /// How many times smaller than FP32 it is.
    pub times_smaller_than_fp32: f64,
}

impl Model {
    /// The files of a model, whose sizes are these.
    pub fn of(files: Vec<FileDigest>, sizes: FileSizes) -> Model {
        Model {
            files,
            bytes: sizes.bytes,
            weights: sizes.weights,
            bpw: sizes.bpw(),
            linear_bpw: sizes.linear_bpw(),
            times_smaller_than_fp32: sizes.times_smaller(),
        }
    }

    /// The name of the file, of a split one the name of the first part.
    pub fn name(&self) -> &str {
        self.files.first().map_or("", |file| &file.name)
    }
}

/// A text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Domain {
    /// What tables call it.
    pub name: String,
    /// The text; of one that the base wrote itself too.
    pub file: FileDigest,
    /// Whether the base wrote it. Tokens such as `<|im_end|>` are tokens then.
    pub by_base: bool,
    /// Chunks of it that were asked for.
    pub chunks: usize,
    /// Tokens of a chunk.
    pub context: usize,
}

/// A file of tasks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tasks {
    /// `hellaswag` or `multiple-choice`.
    pub kind: String,
    /// The file.
    pub file: FileDigest,
    /// How many were asked for; 0 for all.
    pub tasks: u64,
}

/// What was found of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// The file.
    pub model: Model,
    /// The files that were run, if they are others: with the same tensors, before their keys were completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<Vec<FileDigest>>,
    /// sha256 of the calibration that it was made with, if the file says it or it was given.
    pub calibration_sha256: Option<String>,
    /// For each text.
    pub domains: Vec<Figures>,
    /// Over all texts, each weighted by its positions.
    pub all: Figures,
    /// For each file of tasks.
    pub tasks: Vec<Score>,
    /// Tokens a second.
    pub speed: Option<Speed>,
    /// What the whole file would cost over all texts, if only some of its blocks are quantized.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole: Option<Whole>,
}

impl Judged {
    /// The same figures of other files with the same tensors.
    pub fn released(&self, files: Vec<FileDigest>, sizes: FileSizes) -> Judged {
        let measured = self.measured.clone().or_else(|| Some(self.model.files.clone()));
        Judged { model: Model::of(files, sizes), measured, ..self.clone() }
    }
}

/// A value and its standard error; `null` where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The value.
    pub value: f64,
    /// Its standard error.
    pub error: Option<f64>,
}

impl Estimate {
    fn new(value: f64, error: f64) -> Estimate {
        Estimate { value, error: Some(error).filter(|error| error.is_finite()) }
    }
}

impl From<llama::Estimate> for Estimate {
    fn from(e: llama::Estimate) -> Estimate {
        Estimate::new(e.value, e.error)
    }
}

/// How a file predicts a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// The text; `all` of all of them.
    pub domain: String,
    /// Tokens that were predicted.
    pub positions: u64,
    /// Mean divergence from the base in nats.
    pub kld: Estimate,
    /// Its median; of several texts together there is none.
    pub kld_median: Option<f64>,
    /// What 99 of 100 tokens do not exceed.
    pub kld_99: Option<f64>,
    /// What 999 of 1000 tokens do not exceed.
    pub kld_999: Option<f64>,
    /// Perplexity.
    pub perplexity: Estimate,
    /// Perplexity of the base.
    pub base_perplexity: Estimate,
    /// Percent by which perplexity is above that of the base.
    pub perplexity_change: Estimate,
    /// Percent of the tokens for which both find the same token most likely.
    pub same_top: Estimate,
}

impl Figures {
    /// What llama-perplexity said about a text.
    pub fn of(domain: &str, d: &Divergence) -> Figures {
        let ratio = d.log_ratio.value.exp();
        Figures {
            domain: domain.to_owned(),
            positions: (d.chunks * COUNTED) as u64,
            kld: Estimate::new(d.mean, d.uncertainty),
            kld_median: Some(d.median),
            kld_99: Some(d.percentile_99),
            kld_999: Some(d.percentile_999),
            perplexity: Estimate::new(d.perplexity, d.perplexity_uncertainty),
            base_perplexity: Estimate::new(d.base_perplexity, d.base_perplexity_uncertainty),
            perplexity_change: Estimate::new(100.0 * (ratio - 1.0), 100.0 * ratio * d.log_ratio.error),
            same_top: Estimate::new(d.same_top, d.same_top_uncertainty),
        }
    }

    /// What the whole file would cost, of which a sample has these figures.
    pub fn of_whole(&self, sampled: &Sampled) -> Whole {
        let ratio = 1.0 + self.perplexity_change.value / 100.0;
        let error = self.perplexity_change.error.unwrap_or(0.0) / 100.0 / ratio;
        sampled.whole((self.kld.value, self.kld.error.unwrap_or(0.0)), (ratio.ln(), error))
    }

    /// All texts together, each weighted by its positions; perplexities by their logarithms.
    pub fn together(parts: &[Figures]) -> Figures {
        if let [one] = parts {
            return Figures { domain: "all".into(), ..one.clone() };
        }
        let positions: u64 = parts.iter().map(|part| part.positions).sum();
        let share = |part: &Figures| part.positions as f64 / positions.max(1) as f64;
        let mean = |of: &dyn Fn(&Figures) -> (f64, f64)| {
            let value = parts.iter().map(|part| share(part) * of(part).0).sum::<f64>();
            let square = parts.iter().map(|part| (share(part) * of(part).1).powi(2)).sum::<f64>();
            (value, square.sqrt())
        };
        let plain = |of: fn(&Figures) -> Estimate| {
            let (value, error) = mean(&|part| (of(part).value, of(part).error.unwrap_or(0.0)));
            Estimate::new(value, error)
        };
        let perplexity = |of: fn(&Figures) -> Estimate| {
            let (log, error) =
                mean(&|part| (of(part).value.ln(), of(part).error.unwrap_or(0.0) / of(part).value));
            Estimate::new(log.exp(), log.exp() * error)
        };
        let (log, error) = mean(&|part| {
            let ratio = 1.0 + part.perplexity_change.value / 100.0;
            (ratio.ln(), part.perplexity_change.error.unwrap_or(0.0) / 100.0 / ratio)
        });
        Figures {
            domain: "all".into(),
            positions,
            kld: plain(|part| part.kld),
            kld_median: None,
            kld_99: None,
            kld_999: None,
            perplexity: perplexity(|part| part.perplexity),
            base_perplexity: perplexity(|part| part.base_perplexity),
            perplexity_change: Estimate::new(100.0 * (log.exp() - 1.0), 100.0 * log.exp() * error),
            same_top: plain(|part| part.same_top),
        }
    }
}

/// How many tasks were done well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// `hellaswag` or `multiple-choice`.
    pub kind: String,
    /// Tasks that were tried.
    pub tasks: u64,
    /// Percent that were done well.
    pub percent: Estimate,
}

impl Score {
    /// What llama-perplexity said about tasks.
    pub fn of(kind: TaskKind, score: &llama::TaskScore) -> Score {
        let percent = Estimate::new(score.percent, score.error());
        Score { kind: kind.name().into(), tasks: score.tasks, percent }
    }
}

/// Tokens a second; errors are standard deviations over runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Speed {
    /// Of a prompt of 512 tokens.
    pub prompt: Estimate,
    /// Of 64 tokens that are written.
    pub generation: Estimate,
}

impl Domain {
    /// A text that is to be run.
    pub fn new(name: String, file: FileDigest, by_base: bool, chunks: usize) -> Domain {
        Domain { name, file, by_base, chunks, context: CHUNK }
    }
}

/// How much of a standard error two figures of the same files may differ: other processors round sums in F32 otherwise.
const SHARE_OF_ERROR: f64 = 0.1;

/// What the last digit that llama-perplexity prints leaves open, and a figure without an error may differ.
const ROUNDING: f64 = 1e-3;

impl Receipt {
    /// The figures that another run of the same evaluation found otherwise, in words. Speed is that of a machine, and is not
    /// compared.
    pub fn differences(&self, again: &Receipt) -> Vec<String> {
        let mut found = Vec::new();
        let mut compare = |what: String, a: Estimate, b: Estimate| {
            let allowed = SHARE_OF_ERROR * a.error.unwrap_or(0.0) + ROUNDING * a.value.abs().max(ROUNDING);
            if (a.value - b.value).abs() > allowed || b.value.is_nan() {
                found.push(format!("{what}: {} in the receipt, {} now", a.value, b.value));
            }
        };
        let mut others = Vec::new();
        for (a, b) in self.domains.iter().zip(&again.domains) {
            if a.file.sha256 != b.file.sha256 {
                others.push(format!("{}: it is another text than that of the receipt", a.name));
            }
        }
        for (a, b) in self
            .models
            .iter()
            .map(|judged| &judged.model)
            .chain([&self.base])
            .zip(again.models.iter().map(|judged| &judged.model).chain([&again.base]))
        {
            if a.files.iter().map(|file| &file.sha256).ne(b.files.iter().map(|file| &file.sha256)) {
                others.push(format!("{}: a part has other bytes than that of the receipt", a.name()));
            }
        }
        for (a, b) in self.models.iter().zip(&again.models) {
            for (x, y) in a.domains.iter().zip(&b.domains) {
                let what = |figure: &str| format!("{}, {}, {figure}", a.model.name(), x.domain);
                compare(what("KLD"), x.kld, y.kld);
                compare(what("perplexity"), x.perplexity, y.perplexity);
                compare(what("perplexity of the base"), x.base_perplexity, y.base_perplexity);
                compare(what("same first choice"), x.same_top, y.same_top);
                let count = |n: u64| Estimate { value: n as f64, error: None };
                compare(what("positions"), count(x.positions), count(y.positions));
            }
            for (x, y) in a.tasks.iter().zip(&b.tasks) {
                compare(format!("{}, {}", a.model.name(), x.kind), x.percent, y.percent);
            }
        }
        others.extend(found);
        others
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(positions: u64, kld: f64, perplexity: f64, change: f64) -> Figures {
        let estimate = |value: f64| Estimate { value, error: Some(0.1) };
        Figures {
            domain: "text".into(),
            positions,
            kld: estimate(kld),
            kld_median: Some(0.0),
            kld_99: Some(0.0),
            kld_999: Some(0.0),
            perplexity: estimate(perplexity),
            base_perplexity: estimate(perplexity),
            perplexity_change: estimate(change),
            same_top: estimate(90.0),
        }
    }

    #[test]
    fn texts_together_are_weighted_by_their_positions() {
        let all = Figures::together(&[figures(300, 1.0, 4.0, 100.0), figures(100, 3.0, 4.0, 0.0)]);
        assert_eq!((all.positions, all.kld.value, all.kld_median), (400, 1.5, None));
        let error = (0.075f64.powi(2) + 0.025f64.powi(2)).sqrt();
        assert!((all.kld.error.unwrap() - error).abs() < 1e-12);
        assert!((all.perplexity.value - 4.0).abs() < 1e-12);
        // The geometric mean of 2, 2, 2 and 1.
        assert!((all.perplexity_change.value - 100.0 * (2f64.powf(0.75) - 1.0)).abs() < 1e-9);
        let one = figures(300, 1.0, 4.0, 0.0);
        assert_eq!(Figures::together(std::slice::from_ref(&one)).kld_median, Some(0.0));
    }
}
