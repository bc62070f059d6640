//! What an evaluation found, as tables.

use super::receipt::{Estimate, Figures, Judged, Receipt};
use crate::job::human_bytes;
use crate::printable;

/// A table of files and one of their predictions, each with its header.
pub struct Tables {
    /// Sizes of the files, the base first, and what does not depend on a text. The first column is text.
    pub files: Vec<Vec<String>>,
    /// A row for each file and text. The first two columns are text.
    pub figures: Vec<Vec<String>>,
}

/// `0.0543 ± 0.0039`.
fn shown(e: Estimate, digits: usize) -> String {
    let value = format!("{:.digits$}", e.value);
    e.error.map_or(value.clone(), |error| format!("{value} ± {error:.digits$}"))
}

/// The same with a sign.
fn change(e: Estimate) -> String {
    let value = format!("{:+.2}", e.value);
    e.error.map_or(format!("{value} %"), |error| format!("{value} ± {error:.2} %"))
}

/// Rows of a file: each text, and all of them together if there are several.
fn rows(judged: &Judged) -> Vec<&Figures> {
    let all = (judged.domains.len() > 1).then_some(&judged.all);
    judged.domains.iter().chain(all).collect()
}

impl Tables {
    /// The tables of a receipt.
    pub fn of(receipt: &Receipt) -> Tables {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
        let mut header = words(&["file", "bytes", "size", "x FP32", "bpw", "bpw of linear layers"]);
        if receipt.speed {
            header.extend(words(&["prompt, tokens/s", "generation, tokens/s"]));
        }
        header.extend(receipt.tasks.iter().map(|tasks| format!("{} ({})", tasks.kind, tasks.file.name)));
        let mut files = vec![header];
        let base = (&receipt.base, None);
        let models = receipt.models.iter().map(|judged| (&judged.model, Some(judged)));
        for (model, judged) in std::iter::once(base).chain(models) {
            let mut row = vec![
                model.name().to_owned(),
                model.bytes.to_string(),
                human_bytes(model.bytes),
                format!("{:.2}", model.times_smaller_than_fp32),
                format!("{:.3}", model.bpw),
                format!("{:.3}", model.linear_bpw),
            ];
            let speed = judged.and_then(|judged| judged.speed);
            if receipt.speed {
                row.extend(
                    [speed.map(|s| shown(s.prompt, 1)), speed.map(|s| shown(s.generation, 1))].map(or_none),
                );
            }
            for i in 0..receipt.tasks.len() {
                let score = judged.and_then(|judged| judged.tasks.get(i));
                row.push(or_none(score.map(|s| format!("{} % of {}", shown(s.percent, 1), s.tasks))));
            }
            files.push(row);
        }
        let header = ["file", "text", "positions", "KLD", "median", "99 %", "99.9 %", "perplexity", "change"];
        let mut figures = vec![words(&header)];
        figures[0].push("same first choice".into());
        for judged in &receipt.models {
            for f in rows(judged) {
                let percentile = |value: Option<f64>| or_none(value.map(|value| format!("{value:.4}")));
                figures.push(vec![
                    judged.model.name().to_owned(),
                    f.domain.clone(),
                    f.positions.to_string(),
                    shown(f.kld, 4),
                    percentile(f.kld_median),
                    percentile(f.kld_99),
                    percentile(f.kld_999),
                    shown(f.perplexity, 3),
                    change(f.perplexity_change),
                    format!("{} %", shown(f.same_top, 2)),
                ]);
            }
        }
        Tables { files, figures }
    }

    /// Of every file of which only some blocks are quantized, what the whole one would cost: a line each.
    pub fn of_wholes(receipt: &Receipt) -> String {
        let mut text = String::new();
        for judged in &receipt.models {
            let Some(whole) = &judged.whole else { continue };
            text += &format!("{}: {whole}\n", printable::line(judged.model.name()));
        }
        text
    }

    /// For pages.
    pub fn markdown(receipt: &Receipt) -> String {
        let Tables { files, figures } = Tables::of(receipt);
        let base = printable::line(receipt.base.name());
        format!(
            "{}\n{}\n{}Against `{base}`; what stands after ± is the standard error.\n",
            markdown_table(&files, 1),
            markdown_table(&figures, 2),
            Tables::of_wholes(receipt),
        )
    }

    /// For programs: a line for each file and text, numbers as they are.
    pub fn csv(receipt: &Receipt) -> String {
        let header = "file,bytes,times_smaller_than_fp32,bpw,linear_bpw,text,positions,kld,kld_error,kld_median,kld_99,kld_999,\
                  perplexity,perplexity_error,base_perplexity,base_perplexity_error,perplexity_change_percent,\
                  perplexity_change_percent_error,same_top_percent,same_top_percent_error,prompt_tokens_per_second,\
                  generation_tokens_per_second";
        let mut text = header.to_owned();
        for (i, tasks) in receipt.tasks.iter().enumerate() {
            text +=
                &format!(",task_{i}_{0}_percent,task_{i}_{0}_percent_error", tasks.kind.replace('-', "_"));
        }
        text.push('\n');
        for judged in &receipt.models {
            for f in rows(judged) {
                let optional = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
                let m = &judged.model;
                let mut cells = vec![quoted(m.name()), m.bytes.to_string()];
                cells.extend([m.times_smaller_than_fp32, m.bpw, m.linear_bpw].map(|n| n.to_string()));
                cells.extend([quoted(&f.domain), f.positions.to_string()]);
                let pair = |e: Estimate| [e.value.to_string(), optional(e.error)];
                cells.extend(pair(f.kld));
                cells.extend([f.kld_median, f.kld_99, f.kld_999].map(optional));
                for e in [f.perplexity, f.base_perplexity, f.perplexity_change, f.same_top] {
                    cells.extend(pair(e));
                }
                let speed = judged.speed;
                cells
                    .extend([speed.map(|s| s.prompt.value), speed.map(|s| s.generation.value)].map(optional));
                judged.tasks.iter().for_each(|score| cells.extend(pair(score.percent)));
                text += &(cells.join(",") + "\n");
            }
        }
        text
    }
}

/// A table in Markdown, its header first, of which so many columns are text and the others numbers.
pub fn markdown_table(rows: &[Vec<String>], text: usize) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| printable::line(cell).replace('|', "\\|")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rule = |i: usize| if i < text { "---" } else { "---:" }.to_owned();
    let rules: Vec<String> = (0..rows[0].len()).map(rule).collect();
    let rest: String = rows[1..].iter().map(|row| line(row)).collect();
    format!("{}{}{rest}", line(&rows[0]), line(&rules))
}

fn or_none(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".into())
}

/// A cell that may have commas.
fn quoted(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}
