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

/// How far the predictions of a model are from those of another, by llama-perplexity.
#[derive(Clone, Debug, PartialEq)]
pub struct Divergence {
    /// Mean of the Kullback-Leibler divergences of all tokens, in nats.
    pub mean: f64,
    /// Standard error of the mean.
    pub uncertainty: f64,
    /// Median of the Kullback-Leibler divergences, in nats.
    pub median: f64,
    /// The divergence that 99 of 100 tokens do not exceed, in nats.
    pub percentile_99: f64,
    /// Percent of the tokens for which both models find the same token most likely.
    pub same_top: f64,
    /// Perplexity of the model.
    pub perplexity: f64,
    /// Perplexity of the other model.
    pub base_perplexity: f64,
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
        let mean = after(output, &["Mean", "KLD:"])?;
        Some(Divergence {
            mean: number(mean)?,
            uncertainty: number(mean.split_once('±')?.1)?,
            median: value(&["Median", "KLD:"])?,
            percentile_99: value(&["99.0%", "KLD:"])?,
            same_top: value(&["Same", "top", "p:"])?,
            perplexity: value(&["Mean", "PPL(Q)", ":"])?,
            base_perplexity: value(&["Mean", "PPL(base)", ":"])?,
        })
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
            mean: 0.054284,
            uncertainty: 0.003852,
            median: 0.029485,
            percentile_99: 0.448816,
            same_top: 89.412,
            perplexity: 10.653781,
            base_perplexity: 9.986361,
        };
        assert_eq!(Divergence::read(DIVERGENCE), Some(expected));
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
