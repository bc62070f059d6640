//! What a conversion tells: in words for people, and as JSON.

use super::progress::Progress;
use super::{forecast, foreign, human_bytes, rate};
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use tenpak_gguf::job::{self, Event, Judgement, Step, Verified, bits_per_weight};
use tenpak_gguf::plan::Target;

/// Says what happens, and keeps what `--json` shows.
pub struct Teller {
    bar: Mutex<Progress>,
    /// What `--json` shows at the end, instead of lines on standard output.
    kept: Option<Mutex<Map<String, Json>>>,
}

impl Teller {
    /// Nothing has happened yet.
    pub fn new(json: bool) -> Teller {
        Teller { bar: Mutex::new(Progress::hidden()), kept: json.then(Mutex::default) }
    }

    /// What `--json` shows, if it was asked for.
    pub fn kept(self) -> Option<Map<String, Json>> {
        self.kept.map(|kept| kept.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Says what happens.
    pub fn tell(&self, event: Event) {
        if let Some(kept) = &self.kept {
            keep(&event, &mut kept.lock().unwrap_or_else(PoisonError::into_inner));
        }
        say_event(event, &self.bar, self.kept.is_none());
    }
}

/// Says what happens. What it made is reported on standard output, or not.
fn say_event(event: Event, bar: &Mutex<Progress>, is_reported: bool) {
    let bar = || bar.lock().unwrap_or_else(PoisonError::into_inner);
    match event {
        Event::Note(note) => say!("note: {note}"),
        Event::Foreign(prepared) => say!("{}", foreign::sentence(prepared)),
        Event::Quantized { tensors, how, target } => {
            let becomes = match target {
                Target::Kept(kind) => format!("kept without loss as {}", kind.name()),
                Target::Blocks(_) | Target::Upstream(_) => {
                    format!("quantized anew to {}", target.ggml().name())
                }
                Target::Plain(dtype) => format!("written as {}", dtype.ggml().name()),
            };
            say!("quantized already: {tensors} tensors ({how}), {becomes}");
        }
        Event::QuantizedTwice => say!(
            "note: these weights are quantized a second time, and both errors add up; \
             if there is an unquantized model, start from that"
        ),
        Event::LeftPlain(planned) => warn!(
            "warning: tensor `{}`: rows are not a multiple of {}; it stays {}",
            planned.header.name,
            planned.why.unfit.unwrap_or_default(),
            planned.header.kind.name().to_uppercase()
        ),
        Event::OtherModel { path, calibrated, model } => warn!(
            "warning: {}: is the calibration of {calibrated:?}, and this model is {model:?}; if it is another model, \
             calibrate this one",
            path.display()
        ),
        Event::Step { step, path, is_there } => {
            let what = match step {
                Step::Base => "the model as plain floats",
                Step::OwnText => "text that the model writes",
                Step::Calibration => "statistics and sensitivities",
                Step::Trial => "a trial of some layers",
                Step::Rehearsal => "a rehearsal of the mix",
                Step::Sensitivities | Step::Costs | Step::File | Step::Judgement => return,
            };
            say!("{what}{}: {}", if is_there { ", from the cache" } else { "" }, path.display());
        }
        Event::Forecast(found) => say!("{}\n", forecast::text(found)),
        Event::Verifying => say!("comparing the model in llama.cpp with its folder"),
        Event::Verified(verified) => report_verified(verified, is_reported),
        Event::Statistics(words) => say!("calibration: {words}"),
        Event::Costs { weights } => *bar() = Progress::new(weights, "finding out what types cost"),
        Event::Trying { weights } => *bar() = Progress::new(weights, "quantizing for the trial"),
        Event::Tried(trial) => {
            let rest = trial.of_rest().map(|factor| ("all others", factor));
            let kinds: Vec<String> =
                trial.kinds().chain(rest).map(|(kind, f)| format!("{f:.2} {kind}")).collect();
            let by_kinds =
                if kinds.is_empty() { String::new() } else { format!("; by kinds: {}", kinds.join(", ")) };
            say!(
                "trial: some layers in t3 cost {:.2} times what is expected of them{by_kinds}",
                trial.of_all()
            );
        }
        Event::NoSensitivities => say!(
            "note: the calibration does not say how much depends on each weight, so that the recipe decides about types; \
             `tenpak-gguf calibrate` makes one that does"
        ),
        Event::Allocated { plan, expected, .. } => {
            let mut by_type = BTreeMap::new();
            for t in &plan.tensors {
                *by_type.entry(t.header.kind).or_insert(0u64) += t.source.elements();
            }
            let share = |n: &u64| 100.0 * *n as f64 / plan.weights().max(1) as f64;
            let mix: Vec<String> =
                by_type.iter().map(|(kind, n)| format!("{:.1} % {}", share(n), kind.name())).collect();
            let (matrices, bytes) = plan.corrections();
            let corrections = match matrices {
                0 => String::new(),
                n => format!(" with {} of corrections of {n} matrices", human_bytes(bytes)),
            };
            say!(
                "mix: {}; {}{corrections}; a divergence of {expected:.4} is expected",
                mix.join(", "),
                rate(plan.file_bytes + bytes, plan.weights())
            );
        }
        Event::Judged(_) | Event::Written { .. } | Event::Corrections { .. } if !is_reported => {}
        Event::Sampled(sampled) => {
            let job::Interval { low, value, high } = sampled.times;
            say!(
                "sample: blocks {} are quantized, and what is in none; the whole file would have {}, and is expected to diverge {value:.2} \
                 times as much ({low:.2} to {high:.2})",
                sampled.blocks,
                human_bytes(sampled.file_bytes)
            );
        }
        Event::Judged(Judgement { divergence: d, tokens, whole }) => {
            report!(
                "cost: KLD {:.4} ± {:.4}, perplexity {:+.2} % ({:.3} to {:.3}), same first choice {:.1} %, on {tokens} tokens \
                 that were kept from calibration",
                d.mean,
                d.uncertainty,
                100.0 * (d.perplexity / d.base_perplexity - 1.0),
                d.base_perplexity,
                d.perplexity,
                d.same_top
            );
            if let Some(whole) = whole {
                report!("{whole}");
            }
        }
        Event::Corrections { path, matrices, bytes } => report!(
            "{}: corrections of {matrices} matrices, {}; run the model with --lora and this file: without it the model is worse",
            path.display(),
            human_bytes(bytes)
        ),
        Event::NotJudged(why) => say!("note: what the file costs was not measured: {why}"),
        Event::Complete(path) => say!("{}: complete already", path.display()),
        Event::LeftByOther(name) => {
            warn!(
                "warning: {name} was left by a conversion with other options or of another model; delete it"
            )
        }
        Event::Started { weights } => *bar() = Progress::new(weights, "converting"),
        Event::Progress(weights) => bar().inc(weights),
        Event::There(weights) => bar().begin_at(weights),
        Event::Stopped => bar().finish(),
        Event::Written { path, tensors, weights, bytes } => {
            report!("{}: {tensors} tensors, {}", path.display(), rate(bytes, weights));
        }
    }
}

/// Says what was compared, and what was not.
fn report_verified(Verified { ids, forward }: &Verified, is_reported: bool) {
    let mut parts = Vec::new();
    match ids {
        Ok((lines, tokens)) => parts.push(format!("ids of {lines} lines ({tokens} tokens)")),
        Err(why) => say!("note: ids were not compared: {why}"),
    }
    match forward {
        Ok((agreement, versions)) => {
            let job::Agreement { tokens, blocks, of_blocks, largest } = agreement;
            parts.push(format!(
                "embeddings, {blocks} of {of_blocks} blocks and logits of {tokens} tokens, which differ by {} at most ({versions})",
                job::percent(*largest)
            ));
        }
        Err(why) => say!("note: the forward pass was not compared: {why}"),
    }
    if is_reported {
        report!("verified: {}", parts.join("; "));
    }
}

/// Keeps of an event what programs ask for.
fn keep(event: &Event, kept: &mut Map<String, Json>) {
    let mut add = |key: &str, value: Json| kept.insert(key.to_owned(), value);
    match event {
        Event::Tried(trial) => {
            let kinds: Map<String, Json> =
                trial.kinds().map(|(kind, factor)| (kind.to_owned(), factor.into())).collect();
            add("trial", json!({ "all": trial.of_all(), "others": trial.of_rest(), "kinds": kinds }));
        }
        Event::Allocated { expected, .. } => _ = add("expected_kld", (*expected).into()),
        Event::Judged(Judgement { divergence: d, tokens, whole }) => {
            let judged = json!({
                "positions": tokens,
                "kld": { "value": d.mean, "error": d.uncertainty },
                "perplexity": d.perplexity,
                "base_perplexity": d.base_perplexity,
                "same_top": d.same_top,
                "whole": whole,
            });
            add("judged", judged);
        }
        Event::NotJudged(why) => _ = add("not_judged", why.as_str().into()),
        Event::Verified(Verified { ids, forward }) => {
            let ids = match ids {
                Ok((lines, tokens)) => json!({ "lines": lines, "tokens": tokens }),
                Err(why) => json!({ "not_compared": why }),
            };
            let forward = match forward {
                Ok((agreement, versions)) => json!({
                    "tokens": agreement.tokens,
                    "blocks": agreement.blocks,
                    "largest_difference": agreement.largest,
                    "versions": versions,
                }),
                Err(why) => json!({ "not_compared": why }),
            };
            add("verified", json!({ "ids": ids, "forward": forward }));
        }
        Event::Corrections { path, matrices, bytes } => {
            let path = path.display().to_string();
            add("corrections", json!({ "path": path, "matrices": matrices, "bytes": bytes }));
        }
        Event::Written { path, tensors, weights, bytes } => {
            let file = json!({
                "path": path.display().to_string(),
                "tensors": tensors,
                "weights": weights,
                "bytes": bytes,
                "bpw": bits_per_weight(*bytes, *weights),
            });
            match kept.get_mut("files").and_then(Json::as_array_mut) {
                Some(files) => files.push(file),
                None => _ = kept.insert("files".into(), json!([file])),
            }
        }
        _ => {}
    }
}
