//! The model card: front matter that the hub reads, and what people want to know.

use super::folder::SUMS;
use super::naming::main_type;
use super::{CALIBRATION, CHART, COMPARISON, Calibrated, Calibration, Plan, Planned, RECEIPT};
use crate::job::{Judged, Receipt, Tables, human_bytes, markdown_table};
use crate::printable;
use crate::types::{REGISTRY, TensorType};
use serde_json::{Map, Value as Json};

/// The llama.cpp that the patches are for.
const PIN: &str = include_str!("../../ggml-patches/BASE");

/// README.md.
pub fn text(plan: &Plan) -> String {
    let sections = [
        head(plan),
        requires(plan),
        files(plan),
        quality(plan),
        run(plan),
        made(plan),
        check(plan),
        license(plan),
    ];
    let sections: Vec<String> = sections.into_iter().filter(|section| !section.is_empty()).collect();
    format!("{}\n{}", front_matter(plan), sections.join("\n"))
}

/// YAML between two lines, as the hub reads it.
fn front_matter(plan: &Plan) -> String {
    let about = &plan.about;
    let mut map = Map::new();
    let mut put = |key: &str, value: Json| map.insert(key.to_owned(), value);
    if let Some(license) = &about.license {
        put("license", license.id.clone().into());
        if license.id == "other" {
            let name = license.name.clone().unwrap_or_else(|| "other".into());
            put("license_name", name.into());
            license.link.as_ref().map(|link| put("license_link", link.clone().into()));
        }
    }
    if let Some(base) = &about.base_model {
        put("base_model", base.clone().into());
        put("base_model_relation", "quantized".into());
    }
    put("model_name", about.name.clone().into());
    about.author.as_ref().map(|author| put("model_creator", author.clone().into()));
    about.quantized_by.as_ref().map(|who| put("quantized_by", who.clone().into()));
    put("library_name", "gguf".into());
    put("pipeline_tag", about.pipeline_tag.clone().into());
    if !about.languages.is_empty() {
        put("language", about.languages.clone().into());
    }
    put("tags", about.tags.clone().into());
    let yaml = serde_yaml_ng::to_string(&map).expect("strings and lists of strings");
    format!("---\n{yaml}---\n")
}

fn head(plan: &Plan) -> String {
    let about = &plan.about;
    let of = match (&about.base_model, about.base_model_url()) {
        (Some(base), Some(url)) => format!(" of [{}]({url})", plain(base)),
        _ => format!(" of {}", plain(&about.name)),
    };
    let least = plan.files.iter().map(|file| file.sizes.times_smaller()).fold(f64::INFINITY, f64::min);
    let most = plan.files.iter().map(|file| file.sizes.times_smaller()).fold(0.0, f64::max);
    let times = if most - least < 0.05 { format!("{most:.1}") } else { format!("{least:.1} to {most:.1}") };
    let made = if ours(plan).is_empty() { "" } else { " in the tensor types of tenpak-gguf" };
    let by =
        about.quantized_by.as_ref().map_or(String::new(), |who| format!(" Quantized by {}.", plain(who)));
    format!("# {} GGUF\n\nGGUF files{of}{made}, {times} times smaller than FP32.{by}\n", plain(&about.name))
}

/// Types of ours that the files have.
fn ours(plan: &Plan) -> Vec<&'static TensorType> {
    let has = |t: &&TensorType| {
        plan.files.iter().any(|file| file.file.tensors().iter().any(|tensor| tensor.kind.0 == t.id))
    };
    REGISTRY.iter().copied().filter(has).collect()
}

/// What runs the files, if that is not every llama.cpp.
fn requires(plan: &Plan) -> String {
    let types = ours(plan);
    if types.is_empty() {
        return String::new();
    }
    let names: Vec<String> = types.iter().map(|t| format!("{} ({})", t.name.to_uppercase(), t.id)).collect();
    let tenpak = match env!("CARGO_PKG_REPOSITORY") {
        "" => "tenpak-gguf".to_owned(),
        url => format!("[tenpak-gguf]({url})"),
    };
    let package = PIN.lines().find_map(|line| line.strip_prefix("package=")).unwrap_or_default();
    format!(
        "> [!IMPORTANT]\n> **Requires a llama.cpp with the tensor types of {tenpak}** (version {} or later). A stock llama.cpp refuses these \
         files.\n> `scripts/build_llama.sh` of {tenpak} builds one, from the llama.cpp that `{package}` has. Types: {}.\n",
        env!("CARGO_PKG_VERSION"),
        names.join(", ")
    )
}

fn files(plan: &Plan) -> String {
    let has_figures = plan.receipt.is_some();
    let mut header = vec!["file", "size", "x FP32", "bits per weight", "mostly"];
    if has_figures {
        header.extend(["KLD", "same first choice"]);
    }
    let mut rows = vec![header.into_iter().map(str::to_owned).collect::<Vec<_>>()];
    for file in &plan.files {
        let links: Vec<String> = file.parts.iter().map(|part| name_of(&part.path)).collect();
        let links: Vec<String> = links.iter().map(|name| format!("[{name}]({name})")).collect();
        let kind = main_type(&file.file).map_or_else(|| "-".to_owned(), |kind| kind.name().to_uppercase());
        let mut row = vec![
            links.join("<br>"),
            human_bytes(file.parts.iter().map(|part| part.bytes).sum()),
            format!("{:.1}", file.sizes.times_smaller()),
            format!("{:.2}", file.sizes.bpw()),
            kind,
        ];
        if let Some(judged) = &file.judged {
            row.extend([
                format!("{:.4}", judged.all.kld.value),
                format!("{:.1} %", judged.all.same_top.value),
            ]);
        }
        rows.push(row);
    }
    let cut = plan.files.iter().any(|file| file.parts.len() > 1);
    let parts = if cut {
        "\nOf a file in parts, load the first; llama.cpp finds the others beside it.\n"
    } else {
        ""
    };
    format!("## Files\n\n{}{parts}", markdown_table(&rows, 1))
}

fn quality(plan: &Plan) -> String {
    let Some(receipt) = &plan.receipt else { return String::new() };
    // Files by the names that they have here.
    let ours = plan.files.iter().filter_map(|file| Some(named(file.judged.as_ref()?, file)));
    let models: Vec<Judged> = ours.chain(plan.others(receipt).cloned()).collect();
    let tables = Tables::of(&Receipt { models, ..receipt.clone() });
    let texts: Vec<String> = receipt
        .domains
        .iter()
        .map(|domain| format!("`{}` (sha256 `{}`)", code(&domain.name), short(&domain.file.sha256)))
        .collect();
    let mut rows = tables.figures;
    rows.iter_mut().flatten().for_each(|cell| *cell = cell.replace('<', "&lt;"));
    let more = (receipt.speed || !receipt.tasks.is_empty()).then(|| {
        let mut rows = tables.files;
        rows.iter_mut().flatten().for_each(|cell| *cell = cell.replace('<', "&lt;"));
        format!("\n{}", markdown_table(&rows, 1))
    });
    let others =
        if plan.has_others() { format!(" `{COMPARISON}` has those of all files.") } else { String::new() };
    format!(
        "## Quality\n\n![Mean KL divergence over bits per weight]({CHART})\n\n{}{}\nKLD is the mean Kullback-Leibler divergence, in \
         nats, of the predictions from those of `{}` (sha256 `{}`); what stands after ± is the standard error; `same first choice` is how \
         often both find the same token most likely. By llama-perplexity over {}. Exact figures and digests: `{RECEIPT}`.{others}\n",
        markdown_table(&rows, 2),
        more.unwrap_or_default(),
        code(receipt.base.name()),
        short(&receipt.base.files.first().map_or(String::new(), |file| file.sha256.clone())),
        texts.join(", "),
    )
}

/// What was found of a file, under the name that it has in the folder.
fn named(judged: &Judged, file: &Planned) -> Judged {
    let mut judged = judged.clone();
    judged.model.files.truncate(1);
    judged.model.files.iter_mut().for_each(|digest| digest.name = format!("{}.gguf", file.stem));
    judged
}

fn run(plan: &Plan) -> String {
    let first = plan
        .files
        .first()
        .and_then(|file| file.parts.first())
        .map_or(String::new(), |part| name_of(&part.path));
    let mut lines = Vec::new();
    if let Some(repo) = &plan.about.repo {
        let whole = plan.files.first().map_or("", |file| &file.stem);
        let what = if plan.files.first().is_some_and(|file| file.parts.len() > 1) {
            format!("--include '{whole}-*.gguf'")
        } else {
            first.clone()
        };
        lines.push(format!("hf download {repo} {what} --local-dir ."));
    }
    match &plan.about.pipeline_tag[..] {
        "feature-extraction" | "sentence-similarity" => {
            lines.push(format!("llama-server -m {first} --embedding      # POST /v1/embeddings"))
        }
        _ => {
            lines.push(format!("llama-cli -m {first}"));
            lines.push(format!(
                "llama-server -m {first}      # an OpenAI API and a page at http://localhost:8080"
            ));
        }
    }
    format!("## Run\n\n```sh\n{}\n```\n", lines.join("\n"))
}

fn made(plan: &Plan) -> String {
    let mut text = format!("## How they were made\n\nBy tenpak-gguf {}", version(plan));
    match plan.release.calibration {
        Calibration::Included(_) => text += &format!(", with the calibration `{CALIBRATION}`"),
        _ if plan.files.iter().all(|file| file.calibrated == Calibrated::Without) => {
            text += ", without calibration"
        }
        _ => {}
    }
    text += ".\n";
    for file in &plan.files {
        if let Calibrated::With(sha256) = &file.calibrated {
            text += &format!("`{}.gguf`: calibration with sha256 `{sha256}`.\n", file.stem);
        }
    }
    text += "\n```sh\n";
    match (&plan.release.command, &plan.about.base_model) {
        (Some(command), _) => text += &(command.replace("```", "` ` `").trim_end().to_owned() + "\n"),
        (None, base) => {
            let folder = base.as_ref().and_then(|base| base.split('/').nth(1)).unwrap_or("MODEL");
            if let Some(base) = base {
                text += &format!("hf download {base} --local-dir {folder}\n");
            }
            for file in &plan.files {
                text += &command(plan, file, folder);
            }
        }
    }
    text += "```\n";
    let recipes: Vec<&Planned> = plan.files.iter().filter(|file| file.recipe.is_some()).collect();
    if !recipes.is_empty() {
        let names: Vec<String> =
            recipes.iter().map(|file| format!("[`{0}`]({0})", file.recipe_name())).collect();
        text += &format!("\nThe type of every tensor: {}.\n", names.join(", "));
    }
    text
}

/// The command that makes a file's tensors again.
fn command(plan: &Plan, file: &Planned, folder: &str) -> String {
    let mut text = format!("tenpak-gguf convert ./{folder} -o {}.gguf", file.stem);
    if file.recipe.is_some() {
        text += &format!(" --recipe {}", file.recipe_name());
    }
    match (&file.calibrated, &plan.release.calibration) {
        (Calibrated::Without, _) => text += " --no-calibration",
        (Calibrated::With(_), Calibration::Included(_)) => text += &format!(" --calibration {CALIBRATION}"),
        (Calibrated::With(_), _) => text += " --calibration CALIBRATION",
        (Calibrated::Unknown, _) => {}
    }
    text + "\n"
}

/// The version that converted the files, as they say it.
fn version(plan: &Plan) -> String {
    let file = plan.files.first().and_then(|file| file.file.key("tenpak.version")?.as_str().map(plain));
    file.unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned())
}

fn check(plan: &Plan) -> String {
    let mut text = format!("## Check\n\n```sh\nsha256sum --check {SUMS}\n");
    if let Some(receipt) = &plan.receipt {
        let texts: Vec<String> = receipt
            .domains
            .iter()
            .filter(|d| !d.by_base)
            .map(|d| format!(" -f '{}'", quotable(&d.file.name)))
            .collect();
        let (base, texts) = (quotable(receipt.base.name()), texts.concat());
        text += &format!("tenpak-gguf eval --check {RECEIPT} --against '{base}'{texts}\n");
    }
    text + "```\n"
}

fn license(plan: &Plan) -> String {
    let Some(license) = &plan.about.license else { return String::new() };
    let name = license.name.as_ref().unwrap_or(&license.id);
    let link = license.link.as_ref().map_or(String::new(), |link| format!(" ({})", plain(link)));
    let of = plan
        .about
        .base_model_url()
        .map_or(String::new(), |url| format!(", as [the model]({url}) that they were made of"));
    format!("## Licence\n\n{}{link}{of}.\n", plain(name))
}

fn name_of(path: &std::path::Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The first digits of a digest.
fn short(sha256: &str) -> String {
    sha256.chars().take(16).collect()
}

/// Text of others, so that Markdown shows it and does not obey it.
fn plain(text: &str) -> String {
    let mut shown = String::new();
    for c in printable::line(text).chars() {
        if "\\`*_[]<>#|!~".contains(c) {
            shown.push('\\');
        }
        shown.push(c);
    }
    shown
}

/// The same between backquotes.
fn code(text: &str) -> String {
    printable::line(text).replace('`', "'")
}

/// The same between the quotes of a shell, in a fenced block.
fn quotable(text: &str) -> String {
    code(text).replace('\'', "'\\''")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_others_are_no_markdown() {
        assert_eq!(plain("a[b](c) <img> _x_\n"), "a\\[b\\](c) \\<img\\> \\_x\\_\\\\n");
        assert_eq!((&code("a`b")[..], &quotable("it's")[..]), ("a'b", "it'\\''s"));
    }
}
