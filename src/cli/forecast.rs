//! What will be done, and about how long it takes, as a table.

use super::{human_bytes, table};
use serde_json::{Value as Json, json};
use tenpak_gguf::job::{Forecast, ForecastStep, Step};

/// The table, and a line about all of it.
pub fn text(forecast: &Forecast) -> String {
    let mut steps = table(["step", "", "about"], &[2]);
    for step in &forecast.steps {
        let time = match (step.is_there, step.seconds) {
            (true, _) => "in the cache".into(),
            (false, Some(seconds)) => duration(seconds),
            (false, None) => "?".into(),
        };
        steps.add_row([words(step.step).to_owned(), amounts(step), time]);
    }
    let all = forecast.seconds().map_or("?".into(), duration);
    let cache = forecast.cache.display();
    format!("{steps}\nall together about {all} of this machine; what is made on the way stays in {cache}")
}

/// The steps.
pub fn json(forecast: &Forecast) -> Json {
    let step = |step: &ForecastStep| {
        json!({
            "step": words(step.step),
            "tokens": step.tokens,
            "bytes": step.bytes,
            "seconds": step.seconds,
            "is_in_cache": step.is_there,
        })
    };
    forecast.steps.iter().map(step).collect()
}

fn words(step: Step) -> &'static str {
    match step {
        Step::Base => "the model as plain floats",
        Step::OwnText => "text that the model writes",
        Step::Calibration => "statistics of the inputs of its weights",
        Step::Sensitivities => "how much depends on each weight",
        Step::Costs => "what types cost, and the best mix",
        Step::Trial => "a trial of some layers",
        Step::Rehearsal => "a rehearsal of the mix",
        Step::File => "the file",
        Step::Judgement => "what the file costs, on text kept back",
    }
}

fn amounts(step: &ForecastStep) -> String {
    let tokens = step.tokens.map(|n| format!("{n} tokens"));
    let bytes = step.bytes.map(human_bytes);
    tokens.into_iter().chain(bytes).collect::<Vec<_>>().join(", ")
}

/// `40 s`, `7 min`, `3 h 20 min`.
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 99.5 => format!("{} s", s.ceil()),
        s if s < 5400.0 => format!("{:.0} min", s / 60.0),
        s => format!("{} h {} min", (s / 3600.0).floor(), (s % 3600.0 / 60.0).floor()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_in_words() {
        let words = [0.2, 40.0, 300.0, 12_000.0].map(duration);
        assert_eq!(words, ["1 s", "40 s", "5 min", "3 h 20 min"]);
    }

    #[test]
    fn a_step_whose_time_is_not_known_says_so() {
        let step = |seconds, is_there| ForecastStep {
            step: Step::OwnText,
            tokens: Some(4608),
            bytes: None,
            seconds,
            is_there,
        };
        let text =
            text(&Forecast { steps: vec![step(None, false), step(Some(9.0), true)], cache: "cache".into() });
        assert!(text.contains("4608 tokens") && text.contains("in the cache"), "{text}");
        assert!(text.contains("all together about ?"), "{text}");
    }
}
