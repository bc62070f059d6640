//! What is said about a model: `general.*` keys from README.md, config.json, generation_config.json, and the name of
//! the folder.
//!
//! Reference: llama.cpp's `gguf-py/gguf/metadata.py`, rules and order.

use super::error::Error;
use super::model::SourceTensor;
use super::model_name::{ModelName, title};
use crate::gguf::Value;
use crate::{python_json, small_file};
use serde_json::{Map, Value as Json};
use std::path::Path;

/// What llama.cpp calls a value, and where the card says it; the first that is there counts.
const CARD_KEYS: &[(&str, &[&str])] = &[
    ("name", &["name", "model_name"]),
    ("author", &["author", "model_author", "model_creator"]),
    ("version", &["version", "model_version"]),
    ("organization", &["organization", "model_organization"]),
    ("description", &["description", "model_description"]),
    ("finetune", &["finetune", "model_finetune"]),
    ("basename", &["basename", "model_basename", "model_type"]),
    ("size_label", &["size_label", "model_size_label"]),
    ("source.url", &["url", "model_url"]),
    ("source.doi", &["doi", "model_doi"]),
    ("source.uuid", &["uuid", "model_uuid"]),
    ("source.repo_url", &["repo_url", "model_repo_url"]),
    ("license.name", &["license_name"]),
    ("license.link", &["license_link"]),
];

/// What a model's card is in.
const README: &str = "README.md";

/// Bytes of a README.md in which its table may be.
const MAX_CARD: u64 = 4 << 20;
/// Lists within lists of such a table, by the brackets that are open.
const MAX_CARD_DEPTH: usize = 64;

/// Signs of YAML that such a table may have. The parser keeps up to two events for each, of a few hundred bytes with their vector's
/// growth: some 100 MB at most.
const MAX_CARD_SIGNS: usize = 1 << 18;

/// Pieces of such a table that are read one by one if it is none as a whole: each costs a parser.
const MAX_CARD_ENTRIES: usize = 1024;

/// Sampling parameters: GGUF's name, generation_config.json's, whether it is an integer.
const SAMPLING: &[(&str, &[&str], bool)] = &[
    ("top_k", &["top_k"], true),
    ("top_p", &["top_p"], false),
    ("min_p", &["min_p"], false),
    ("xtc_probability", &["xtc_probability"], false),
    ("xtc_threshold", &["xtc_threshold"], false),
    ("temp", &["temperature"], false),
    ("penalty_last_n", &["penalty_last_n"], true),
    ("penalty_repeat", &["penalty_repeat", "repetition_penalty"], false),
    ("mirostat", &["mirostat"], true),
    ("mirostat_tau", &["mirostat_tau"], false),
    ("mirostat_eta", &["mirostat_eta"], false),
];

/// What transformers samples with.
const GENERATION: &str = "generation_config.json";

/// Keys of what a model was made from, by number.
const ORIGIN: &[&str] =
    &["name", "author", "version", "organization", "description", "url", "doi", "uuid", "repo_url"];

/// Keys under `general.`; one that is there stays.
#[derive(Default)]
struct General(Vec<(String, Value)>);

impl General {
    fn put(&mut self, name: &str, value: impl Into<Value>) {
        let name = format!("general.{name}");
        if !self.0.iter().any(|(k, _)| *k == name) {
            self.0.push((name, value.into()));
        }
    }
}

/// The `general.*` keys of a folder, but for architecture and type. `notes` says which file is not used.
pub fn keys(
    folder: &Path,
    config: &Map<String, Json>,
    tensors: &[SourceTensor],
    notes: &mut Vec<String>,
) -> Result<Vec<(String, Value)>, Error> {
    let mut general = General::default();
    notes.extend(write_sampling(folder, &mut general));
    let weights = tensors.iter().map(SourceTensor::elements).sum();
    let (card, unread) = card(folder)?;
    if unread > 0 {
        notes.push(format!("{README} is not used whole: entries of its table that cannot be read: {unread}"));
    }
    for (key, names) in CARD_KEYS {
        if let Some(text) = names.iter().find_map(|n| card.get(*n)?.as_str()) {
            general.put(key, text);
        }
    }
    match card.get("license") {
        Some(Json::String(license)) => general.put("license", license.as_str()),
        Some(Json::Array(all)) => general.put("license", strings(all).join(",")),
        _ => {}
    }
    write_origins(
        &card,
        "base_model",
        &["base_model", "base_models", "base_model_sources"],
        weights,
        &mut general,
    );
    write_origins(&card, "dataset", &["datasets", "dataset", "dataset_sources"], weights, &mut general);
    for (key, names) in [("tags", ["tags", "pipeline_tag"]), ("languages", ["languages", "language"])] {
        let all: Vec<String> = names.iter().filter_map(|n| card.get(*n)).flat_map(one_or_many).collect();
        if !all.is_empty() {
            general.put(key, Value::strings(all));
        }
    }
    let path = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let folder_name = name_in_cache(&path)
        .unwrap_or_else(|| path.file_name().unwrap_or_default().to_string_lossy().into_owned());
    // A path is no name of a model.
    let said = config.get("_name_or_path").and_then(Json::as_str).filter(|n| n.matches('/').count() <= 1);
    for name in said.into_iter().chain([folder_name.as_str()]) {
        write_name(&ModelName::parse(name, weights), &mut general);
    }
    general.put("name", folder_name.rsplit('/').next().unwrap_or_default());
    general.put("size_label", size_label(tensors));
    Ok(general.0)
}

/// The name of a model in the cache of a hub, where folders have the names of commits:
/// `models--ORGANIZATION--NAME/snapshots/COMMIT`.
pub fn name_in_cache(path: &Path) -> Option<String> {
    let snapshots = path.parent().filter(|p| p.file_name().is_some_and(|n| n == "snapshots"))?;
    let name = snapshots.parent()?.file_name()?.to_str()?.strip_prefix("models--")?;
    Some(name.replacen("--", "/", 1))
}

fn write_name(name: &ModelName, general: &mut General) {
    for (key, part) in [
        ("name", name.full.as_deref().map(title)),
        ("organization", name.organization.as_deref().map(title)),
        ("basename", name.base.clone()),
        ("finetune", name.finetune.clone()),
        ("version", name.version.clone()),
        ("size_label", name.size.clone()),
    ] {
        if let Some(part) = part.filter(|p| !p.is_empty()) {
            general.put(key, part);
        }
    }
}

fn strings(all: &[Json]) -> Vec<String> {
    all.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

fn one_or_many(value: &Json) -> Vec<String> {
    match value {
        Json::String(s) => vec![s.clone()],
        Json::Array(all) => strings(all),
        _ => Vec::new(),
    }
}

/// The YAML at the head of README.md, and how many of its entries are not in it; nothing where it is none.
fn card(folder: &Path) -> Result<(Map<String, Json>, usize), Error> {
    let path = folder.join(README);
    if !path.exists() {
        return Ok(Default::default());
    }
    let bytes = small_file::read_start(&path, MAX_CARD).map_err(Error::read(&path))?;
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.trim_start_matches('\u{feff}').lines();
    if lines.next().map(str::trim_end) != Some("---") {
        return Ok(Default::default());
    }
    let yaml = lines.take_while(|l| l.trim_end() != "---").map(|l| l.replace('\t', "  ") + "\n");
    Ok(entries(&yaml.collect::<Vec<_>>()))
}

/// The entries of a table in YAML. People write such tables by hand: an entry that is none is left out and counted, and of two of
/// one name the second stays. What comes after [`MAX_CARD_ENTRIES`] of them is not looked at.
fn entries(lines: &[String]) -> (Map<String, Json>, usize) {
    if let Some(all) = parsed(&lines.concat()) {
        return (all, 0);
    }
    let begins = |line: &String| !line.starts_with([' ', '-', '#', '\n', ']', '}']);
    let (mut all, mut unread) = (Map::new(), 0);
    for (i, part) in lines.chunk_by(|_, next| !begins(next)).enumerate() {
        match (i < MAX_CARD_ENTRIES).then(|| parsed(&part.concat())).flatten() {
            Some(entry) => all.extend(entry),
            // Comments are no entry.
            None => unread += usize::from(part.iter().any(begins)),
        }
    }
    (all, unread)
}

/// A table in YAML; nothing if it is none, has deeper lists within lists than [`MAX_CARD_DEPTH`], over which the time of the
/// parser grows with the square, or more signs than [`MAX_CARD_SIGNS`], with which its memory grows.
fn parsed(yaml: &str) -> Option<Map<String, Json>> {
    let (mut depth, mut deepest) = (0usize, 0);
    for byte in yaml.bytes() {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    let signs = yaml.bytes().filter(|byte| b"[]{},:?-\n".contains(byte)).count();
    let is_cheap = deepest <= MAX_CARD_DEPTH && signs <= MAX_CARD_SIGNS;
    is_cheap.then(|| serde_yaml_ng::from_str(yaml).ok()).flatten()
}

/// Writes what the folder says of sampling, or says why it is not used: not all folders have a valid file, and nothing else
/// depends on it.
fn write_sampling(folder: &Path, general: &mut General) -> Option<String> {
    let path = folder.join(GENERATION);
    if !path.exists() {
        return None;
    }
    let unused = |why: String| Some(format!("{GENERATION} is not used: {why}"));
    let text = match small_file::read(&path) {
        Ok(text) => text,
        Err(e) => return unused(e.to_string()),
    };
    let json: Map<String, Json> = match python_json::parse(&text) {
        Ok(json) => json,
        Err(e) => return unused(format!("it is no JSON object ({e})")),
    };
    if let Some(sequence) = json.get("sequence").and_then(Json::as_str) {
        general.put("sampling.sequence", sequence);
    }
    for (key, names, integer) in SAMPLING {
        let Some(value) = names.iter().find_map(|n| json.get(*n)).and_then(Json::as_f64) else { continue };
        let value = if *integer { Value::I32(value as i32) } else { Value::F32(value as f32) };
        general.put(&format!("sampling.{key}"), value);
    }
    None
}

/// Models and data that a model was made from: names of the hub, addresses, or tables.
fn write_origins(card: &Map<String, Json>, key: &str, names: &[&str], weights: u64, general: &mut General) {
    let Some(value) = names.iter().find_map(|n| card.get(*n)) else { return };
    let entries = match value {
        Json::Array(all) => all.clone(),
        Json::Null => Vec::new(),
        one => vec![one.clone()],
    };
    general.put(&format!("{key}.count"), entries.len() as u32);
    for (i, entry) in entries.iter().enumerate() {
        let described = match entry {
            Json::String(id) => described(id, weights),
            Json::Object(table) => table.clone(),
            _ => Map::new(),
        };
        for part in ORIGIN {
            if let Some(text) = described.get(*part).and_then(Json::as_str) {
                general.put(&format!("{key}.{i}.{part}"), text);
            }
        }
    }
}

/// Where models of the hub are.
pub const HUB: &str = "https://huggingface.co/";

/// The `general.base_model.*` keys of a file that was made of a model of the hub, `ORGANIZATION/NAME`, with so many weights.
pub fn base_model_keys(id: &str, weights: u64) -> Vec<(String, Value)> {
    let card = Map::from_iter([("base_model".to_owned(), Json::from(id))]);
    let mut general = General::default();
    write_origins(&card, "base_model", &["base_model"], weights, &mut general);
    general.0
}

/// What a name of the hub or an address says.
fn described(id: &str, weights: u64) -> Map<String, Json> {
    let mut said = Map::new();
    let address = ["http://", "https://", "ssh://"].iter().any(|scheme| id.starts_with(scheme));
    let name = match id.split_once("huggingface.co/") {
        Some((_, name)) if address => Some(name).filter(|n| n.matches('/').count() == 1),
        None if address => None,
        _ => Some(id),
    };
    if address {
        said.insert("repo_url".into(), id.into());
    }
    if let Some(name) = name {
        let parsed = ModelName::parse(name, weights);
        if let (Some(full), Some(organization), false) = (&parsed.full, &parsed.organization, address) {
            said.insert("repo_url".into(), format!("{HUB}{organization}/{full}").into());
        }
        for (key, part) in [
            ("name", parsed.full.as_deref().map(title)),
            ("organization", parsed.organization.as_deref().map(title)),
            ("version", parsed.version),
        ] {
            if let Some(part) = part {
                said.insert(key.into(), part.into());
            }
        }
    }
    said
}

/// The number of weights as people write it: `8B`, `135M`, `8x7B` with experts.
fn size_label(tensors: &[SourceTensor]) -> String {
    let (mut total, mut shared, mut expert, mut experts, mut stacks) = (0, 0, 0, 0, 0);
    for t in tensors {
        total += t.elements();
        match t.shape[..] {
            [.., count] if t.name.contains("_exps.") && t.shape.len() >= 3 => {
                expert += t.elements() / count.max(1);
                experts += count;
                stacks += 1;
            }
            _ => shared += t.elements(),
        }
    }
    match experts.checked_div(stacks) {
        Some(count) if count > 0 => format!("{count}x{}", rounded(shared + expert)),
        _ => rounded(total),
    }
}

/// At least two digits and a unit.
fn rounded(weights: u64) -> String {
    let units = [(1e12, "T"), (1e9, "B"), (1e6, "M")];
    let (unit, suffix) = units.into_iter().find(|(u, _)| weights as f64 > *u).unwrap_or((1e3, "K"));
    let scaled = weights as f64 / unit;
    let digits = if scaled.round_ties_even() == 0.0 { 0 } else { format!("{:.0}", scaled).len() };
    format!("{scaled:.*}{suffix}", 2usize.saturating_sub(digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mit() -> Map<String, Json> {
        Map::from_iter([("license".to_owned(), "mit".into())])
    }

    #[test]
    fn cards_with_entries_that_are_none() {
        let entries_of = |text: &str| {
            let lines: Vec<String> = text.lines().map(|line| format!("{line}\n")).collect();
            Json::Object(entries(&lines).0)
        };
        let text = "license: mit\nlanguage:\n- en\n- no\nlicense: apache-2.0\nx: [1, 2\nmodel-index:\n- results: .nan\n1: y\n";
        let expected = serde_json::json!({"license": "apache-2.0", "language": ["en", "no"],
            "model-index": [{"results": null}]});
        let mut found = entries_of(text);
        found.as_object_mut().unwrap().retain(|name, _| name != "1");
        assert_eq!(found, expected);
        assert_eq!(entries_of("- a list\n- is no table\n"), Json::Object(Map::new()));
        let unread =
            |text: &str| entries(&text.lines().map(|line| format!("{line}\n")).collect::<Vec<_>>()).1;
        assert_eq!(unread("# of x\nx: [1, 2\nlicense: mit\n# no entry\ny: }\n"), 2);
    }

    #[test]
    fn lists_within_lists_without_end_are_left_out() {
        let deep = format!("license: mit\na: {}{}\n", "[".repeat(100_000), "]".repeat(100_000));
        let lines: Vec<String> = deep.lines().map(|line| format!("{line}\n")).collect();
        assert_eq!(entries(&lines), (mit(), 1));
    }

    #[test]
    fn entries_without_end_are_left_out() {
        let bad = "x: [\n".repeat(MAX_CARD_ENTRIES - 1);
        let text = format!("license: mit\n{bad}language: en\n");
        let lines: Vec<String> = text.lines().map(|line| format!("{line}\n")).collect();
        assert_eq!(entries(&lines), (mit(), MAX_CARD_ENTRIES));
        assert_eq!(entries(&lines[1..]).0.get("language"), Some(&serde_json::json!("en")));
    }

    #[test]
    fn names_in_a_cache_are_those_of_the_hub() {
        let name = |path: &str| name_in_cache(Path::new(path));
        assert_eq!(name("/c/models--org--Some-1B/snapshots/0123"), Some("org/Some-1B".into()));
        assert_eq!(name("/c/models--gpt2/snapshots/0123"), Some("gpt2".into()));
        assert_eq!(name("/c/org/Some-1B"), None);
    }

    #[test]
    fn weights_are_rounded() {
        let cases = [(134_515_008, "135M"), (8_030_261_248, "8.0B"), (29_000, "29K"), (400, "0.40K")];
        for (weights, label) in cases {
            assert_eq!(rounded(weights), label);
        }
    }
}
