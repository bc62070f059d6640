//! What llama.cpp's programs print, as values.

use std::str::FromStr;

/// A perplexity by llama-perplexity.
#[derive(Clone, Debug, PartialEq)]
pub struct Perplexity {
    /// The perplexity over all chunks.
    pub estimate: f64,
    /// Standard error of the estimate.
    pub uncertainty: f64,
    /// The perplexity over the first chunk, the first two chunks, and so on.
    pub running: Vec<f64>,
}

/// A value with its standard error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The value.
    pub value: f64,
    /// Its standard error.
    pub error: f64,
}

/// How far the predictions of a model are from those of another, by llama-perplexity.
#[derive(Clone, Debug, PartialEq)]
pub struct Divergence {
    /// Chunks of the text that were run.
    pub chunks: usize,
    /// Mean of the Kullback-Leibler divergences of all tokens, in nats.
    pub mean: f64,
    /// Standard error of the mean.
    pub uncertainty: f64,
    /// Median of the Kullback-Leibler divergences, in nats.
    pub median: f64,
    /// The divergence that 99 of 100 tokens do not exceed, in nats.
    pub percentile_99: f64,
    /// The divergence that 999 of 1000 tokens do not exceed, in nats.
    pub percentile_999: f64,
    /// Percent of the tokens for which both models find the same token most likely.
    pub same_top: f64,
    /// Standard error of that percentage; no number where all tokens are the same.
    pub same_top_uncertainty: f64,
    /// Perplexity of the model.
    pub perplexity: f64,
    /// Standard error of that perplexity.
    pub perplexity_uncertainty: f64,
    /// Perplexity of the other model.
    pub base_perplexity: f64,
    /// Standard error of that perplexity.
    pub base_perplexity_uncertainty: f64,
    /// Mean of the logarithms of what the first perplexity is over the second, whose error is far smaller than those of the
    /// perplexities, since both are of the same tokens.
    pub log_ratio: Estimate,
}

/// How many tasks a model did well, by llama-perplexity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TaskScore {
    /// Tasks that were tried.
    pub tasks: u64,
    /// Percent of them that were done well.
    pub percent: f64,
}

/// Tokens a second, by llama-bench.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    /// Of a prompt, with the standard deviation over runs.
    pub prompt: Estimate,
    /// Of what is written, with the standard deviation over runs.
    pub generation: Estimate,
}

/// What the collector, llama-tenpak-calibrate, says about its run.
#[derive(Clone, Debug, PartialEq)]
pub struct Collection {
    /// Weights whose inputs are summed.
    pub weights: u64,
    /// Different inputs of these weights.
    pub inputs: u64,
    /// Passes over the text that were left when the run began.
    pub passes_left: u64,
    /// Megabytes (of 10^6 bytes) that the sums took at the peak. `None` if the run did not reach its end.
    pub sums_megabytes: Option<f64>,
    /// Whether the time left was shown after a quarter of the first pass.
    pub shows_time_left: bool,
}

impl Perplexity {
    /// Reads the output of llama-perplexity. `None` if the estimate is not there.
    pub fn read(output: &str) -> Option<Perplexity> {
        let line = output.lines().find_map(|line| line.split_once("Final estimate: PPL = "))?.1;
        let (estimate, uncertainty) = line.split_once("+/-")?;
        let mut running = Vec::new();
        // `[1]11.2813,[2]15.6427,` and so on, in one line.
        for line in output.lines().filter(|line| line.starts_with("[1]")) {
            let values = line.split(',').filter_map(|item| item.split_once(']'));
            running.extend(values.filter_map(|(_, value)| value.parse::<f64>().ok()));
        }
        Some(Perplexity { estimate: number(estimate)?, uncertainty: number(uncertainty)?, running })
    }
}

impl Divergence {
    /// Reads the output of llama-perplexity with `--kl-divergence`. `None` if a value is not there.
    pub fn read(output: &str) -> Option<Divergence> {
        let value = |label: &[&str]| number::<f64>(after(output, label)?);
        let estimate = |label: &[&str]| {
            let (value, error) = after(output, label)?.split_once('±')?;
            // There is no error where nothing differs.
            Some(Estimate { value: number(value)?, error: number(error).unwrap_or(f64::NAN) })
        };
        let mean = estimate(&["Mean", "KLD:"])?;
        let same_top = estimate(&["Same", "top", "p:"])?;
        let perplexity = estimate(&["Mean", "PPL(Q)", ":"])?;
        let base_perplexity = estimate(&["Mean", "PPL(base)", ":"])?;
        // ik_llama.cpp says nothing of chunks but a line for each.
        let said = output.lines().find_map(|line| line.split_once("computing over "));
        Some(Divergence {
            chunks: said.map_or(Some(chunks_done(output)), |(_, chunks)| number(chunks))?,
            mean: mean.value,
            uncertainty: mean.error,
            median: value(&["Median", "KLD:"])?,
            percentile_99: value(&["99.0%", "KLD:"])?,
            percentile_999: value(&["99.9%", "KLD:"])?,
            same_top: same_top.value,
            same_top_uncertainty: same_top.error,
            perplexity: perplexity.value,
            perplexity_uncertainty: perplexity.error,
            base_perplexity: base_perplexity.value,
            base_perplexity_uncertainty: base_perplexity.error,
            log_ratio: estimate(&["Mean", "ln(PPL(Q)/PPL(base))", ":"])?,
        })
    }
}

/// How many chunks of a text llama-perplexity has done, by what it has printed so far.
pub fn chunks_done(output: &str) -> usize {
    // Perplexities are `[1]11.2813,[2]15.6427,` in one line; divergences are a line for each chunk that begins with its number.
    let of_perplexities = output
        .lines()
        .filter(|line| line.starts_with("[1]"))
        .map(|line| line.split(',').filter(|item| item.starts_with('[')).count());
    let rows = output.lines().skip_while(|line| !line.starts_with("chunk ")).skip(1);
    let of_divergences = rows.map_while(number::<usize>);
    of_perplexities.chain(of_divergences).last().unwrap_or(0)
}

impl TaskScore {
    /// Reads the output of llama-perplexity with `--hellaswag` or `--multiple-choice`: the last of the lines that begin with
    /// a number of tasks and the percentage of them that were done well. `None` if there is none.
    pub fn read(output: &str) -> Option<TaskScore> {
        let rows = output.lines().skip_while(|line| !line.starts_with("task\tacc_norm")).skip(1);
        let row = |line: &str| {
            let mut cells = line.split('\t');
            let (tasks, percent) = (cells.next()?.parse().ok()?, number(cells.next()?)?);
            Some(TaskScore { tasks, percent })
        };
        rows.filter_map(row).last()
    }

    /// Standard error of the percentage.
    pub fn error(&self) -> f64 {
        let p = self.percent / 100.0;
        100.0 * (p * (1.0 - p) / self.tasks.saturating_sub(1).max(1) as f64).sqrt()
    }
}

impl Speed {
    /// Reads what llama-bench prints with `-o json`. `None` if it does not have a prompt and a text that is written.
    pub fn read(output: &str) -> Option<Speed> {
        let all: serde_json::Value =
            serde_json::from_str(&output[output.find('[')?..=output.rfind(']')?]).ok()?;
        let of = |kind: &str| {
            let run = all.as_array()?.iter().find(|run| run[kind].as_u64().is_some_and(|n| n > 0))?;
            Some(Estimate { value: run["avg_ts"].as_f64()?, error: run["stddev_ts"].as_f64()? })
        };
        Some(Speed { prompt: of("n_prompt")?, generation: of("n_gen")? })
    }
}

impl Collection {
    /// Reads what the collector printed so far. `None` before it has planned its passes.
    pub fn read(output: &str) -> Option<Collection> {
        // 210 weights with 120 inputs; 4 chunks of 512 tokens; passes left: 1 of up to 225 MB
        let (weights, rest) = output.lines().find_map(|line| {
            line.split_once(" weights with ").filter(|(_, r)| r.contains("; passes left: "))
        })?;
        let quarter = |line: &&str| {
            line.starts_with("pass 1 of ") && line.contains(" 25 %, ") && line.ends_with(" left")
        };
        Some(Collection {
            weights: number(weights)?,
            inputs: number(rest)?,
            passes_left: number(rest.split_once("passes left: ")?.1)?,
            sums_megabytes: output
                .lines()
                .filter_map(|line| line.strip_suffix(" MB for the sums")?.rsplit_once(' '))
                .find_map(|(_, value)| value.parse().ok()),
            shows_time_left: output.lines().any(|line| quarter(&line)),
        })
    }
}

/// What follows the words in the line that begins with them, whatever spaces are between the words.
fn after<'a>(output: &'a str, words: &[&str]) -> Option<&'a str> {
    let rest_of =
        |line: &'a str| words.iter().try_fold(line, |rest, word| rest.trim_start().strip_prefix(word));
    output.lines().find_map(rest_of)
}

/// The number at the start of a text.
fn number<T: FromStr>(text: &str) -> Option<T> {
    let text = text.trim_start();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '-').unwrap_or(text.len());
    text[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the programs printed about SmolLM2 in Q4_K_M, over three chunks.
    const PERPLEXITY: &str = include_str!("../../tests/golden/llama/perplexity.log");
    const DIVERGENCE: &str = include_str!("../../tests/golden/llama/divergence.log");
    /// What the collector printed about SmolLM2 in F16, over 1024 tokens with 80 MiB.
    const COLLECTION: &str = include_str!("../../tests/golden/llama/collection.log");

    #[test]
    fn perplexities() {
        let running = vec![16.6047, 12.1386, 10.6538];
        let expected = Perplexity { estimate: 10.6538, uncertainty: 1.11243, running };
        assert_eq!(Perplexity::read(PERPLEXITY), Some(expected));
        assert_eq!(Perplexity::read(DIVERGENCE), None);
        assert_eq!(Perplexity::read("Final estimate: PPL = nan +/- nan"), None);
    }

    #[test]
    fn divergences() {
        let expected = Divergence {
            chunks: 3,
            mean: 0.054284,
            uncertainty: 0.003852,
            median: 0.029485,
            percentile_99: 0.448816,
            percentile_999: 1.440190,
            same_top: 89.412,
            same_top_uncertainty: 1.113,
            perplexity: 10.653781,
            perplexity_uncertainty: 1.112430,
            base_perplexity: 9.986361,
            base_perplexity_uncertainty: 1.016918,
            log_ratio: Estimate { value: 0.064695, error: 0.013806 },
        };
        assert_eq!(Divergence::read(DIVERGENCE).as_ref(), Some(&expected));
        assert_eq!(Divergence::read(&DIVERGENCE.replace("computing over", "")), Some(expected));
        assert_eq!(Divergence::read(PERPLEXITY), None);
        let interrupted = DIVERGENCE.split_once("Median").expect("it has a median").0;
        assert_eq!(Divergence::read(interrupted), None);
    }

    #[test]
    fn negative_divergences_and_columns_of_other_widths() {
        let text = DIVERGENCE.replace("Median  KLD:   0.029485", "Median  KLD:  -0.000012");
        assert_eq!(Divergence::read(&text).map(|d| d.median), Some(-0.000012));
        let text = DIVERGENCE.replace("Mean    KLD:   0.054284", "Mean KLD: 12.054284");
        assert_eq!(Divergence::read(&text).map(|d| d.mean), Some(12.054284));
    }

    #[test]
    fn a_model_that_differs_from_itself_in_nothing_has_no_error() {
        let text = DIVERGENCE.replace("89.412 ± 1.113 %", "100.000 ± -nan %");
        let read = Divergence::read(&text).expect("all values");
        assert!(read.same_top == 100.0 && read.same_top_uncertainty.is_nan());
    }

    #[test]
    fn chunks_that_are_done() {
        assert_eq!((chunks_done(PERPLEXITY), chunks_done(DIVERGENCE)), (3, 3));
        assert_eq!(chunks_done("[1]16.6047,[2]12.1386,"), 2);
        let two = DIVERGENCE.split_once("   3      10.6").expect("a third chunk").0;
        assert_eq!((chunks_done(two), chunks_done("")), (2, 0));
    }

    #[test]
    fn scores_of_tasks() {
        let choices =
            "\ntask\tacc_norm\n1\t100.00000000\n2\t50.00000000\n\nFinal result: 50.0000 +/- 50.0000\n";
        let score = TaskScore::read(choices).expect("a score");
        assert_eq!(score, TaskScore { tasks: 2, percent: 50.0 });
        assert_eq!(score.error(), 50.0);
        let endings = "\ntask\tacc_norm\t95% confidence interval\n1\t0.00000000%\t[0.0000%, 79.3451%]\n";
        assert_eq!(TaskScore::read(endings), Some(TaskScore { tasks: 1, percent: 0.0 }));
        assert_eq!(TaskScore::read("no tasks\n"), None);
    }

    #[test]
    fn speeds() {
        let run = |prompt, written, speed: f64| {
            format!(
                "{{\"n_prompt\": {prompt}, \"n_gen\": {written}, \"avg_ts\": {speed:?}, \"stddev_ts\": 0.5}}"
            )
        };
        let output = format!("a note\n[{}, {}]\n", run(512, 0, 100.0), run(0, 64, 10.0));
        let estimate = |value| Estimate { value, error: 0.5 };
        let expected = Speed { prompt: estimate(100.0), generation: estimate(10.0) };
        assert_eq!(Speed::read(&output), Some(expected));
        assert_eq!(Speed::read(&format!("[{}]", run(512, 0, 1.0))), None);
    }

    #[test]
    fn collections() {
        let expected = Collection {
            weights: 210,
            inputs: 120,
            passes_left: 4,
            sums_megabytes: Some(79.9),
            shows_time_left: false,
        };
        assert_eq!(Collection::read(COLLECTION).as_ref(), Some(&expected));
        let one_pass = "pass 1 of 1: 512 of 2048 tokens,  25 %, 1.5 min left\n";
        let text = COLLECTION.replace("pass 1 of 4", one_pass);
        assert_eq!(Collection::read(&text), Some(Collection { shows_time_left: true, ..expected.clone() }));
        let interrupted = COLLECTION.split_once("pass 3 of").expect("it has three passes").0;
        assert_eq!(Collection::read(interrupted), Some(Collection { sums_megabytes: None, ..expected }));
        assert_eq!(Collection::read(COLLECTION.lines().next().expect("a line")), None);
    }
}
