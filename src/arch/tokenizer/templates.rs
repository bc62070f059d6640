//! Chat templates, with the precedence that transformers has: files of their own, then what tokenizer_config.json says, then
//! the old file of processors.

use super::files::{Files, Problem};
use super::tokens::KeyList;
use crate::gguf::Value;
use crate::small_file;
use serde_json::{Map, Value as Json};

const TEMPLATE: &str = "chat_template.jinja";
const TEMPLATE_JSON: &str = "chat_template.json";
/// Folder of templates beside the default one.
pub const MORE_TEMPLATES: &str = "additional_chat_templates";

/// Templates of a folder.
#[derive(Debug, Default, PartialEq)]
pub struct Templates {
    default: Option<String>,
    /// Names and texts.
    named: Vec<(String, String)>,
}

impl Templates {
    /// The templates of a folder; `config` is tokenizer_config.json.
    pub fn read(files: &Files, config: &Map<String, Json>) -> Result<Templates, Problem> {
        let default = files.text(TEMPLATE)?.map(|text| ("default".to_owned(), text));
        let own = Templates::named(default.into_iter().chain(more(files)?));
        if own != Templates::default() {
            return Ok(own);
        }
        let of = |json: &Map<String, Json>| json.get("chat_template").map(Templates::of).unwrap_or_default();
        let said = of(config);
        if said != Templates::default() {
            return Ok(said);
        }
        Ok(files.json(TEMPLATE_JSON)?.as_ref().map(of).unwrap_or_default())
    }

    /// What a `chat_template` says: a text, a list of names and texts, or a table of them.
    fn of(said: &Json) -> Templates {
        let text = |json: &Json| json.as_str().map(str::to_owned);
        match said {
            Json::String(text) => Templates { default: Some(text.clone()), named: Vec::new() },
            Json::Array(all) => {
                Templates::named(all.iter().filter_map(|t| Some((text(&t["name"])?, text(&t["template"])?))))
            }
            Json::Object(table) => {
                Templates::named(table.iter().filter_map(|(name, t)| Some((name.clone(), text(t)?))))
            }
            _ => Templates::default(),
        }
    }

    /// Templates by name, of which `default` is the one.
    fn named(all: impl Iterator<Item = (String, String)>) -> Templates {
        let (default, named): (Vec<_>, Vec<_>) = all.partition(|(name, _)| name == "default");
        Templates { default: default.into_iter().last().map(|(_, text)| text), named }
    }

    /// Whether a template has a text in it.
    pub fn mention(&self, text: &str) -> bool {
        self.default.iter().chain(self.named.iter().map(|(_, template)| template)).any(|t| t.contains(text))
    }

    /// Writes the keys.
    pub fn write(&self, keys: &mut KeyList) {
        if let Some(default) = &self.default {
            keys.put("chat_template", default.as_str());
        }
        let mut names = Vec::new();
        for (name, text) in &self.named {
            let name: String =
                name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
            if name.is_empty() {
                continue;
            }
            keys.put(&format!("chat_template.{name}"), text.as_str());
            names.push(name);
        }
        if !names.is_empty() {
            names.sort();
            names.dedup();
            keys.put("chat_templates", Value::strings(names));
        }
    }
}

/// The templates of the folder for them, by name.
fn more(files: &Files) -> Result<Vec<(String, String)>, Problem> {
    let at = |e: std::io::Error| Problem::of(MORE_TEMPLATES)(e.to_string());
    let folder = files.folder.join(MORE_TEMPLATES);
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut all = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(at)? {
        let path = entry.map_err(at)?.path();
        if path.extension().is_some_and(|e| e == "jinja") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let bytes = small_file::read(&path).map_err(at)?;
            let text =
                String::from_utf8(bytes).map_err(|_| Problem::of(MORE_TEMPLATES)("is not UTF-8".into()));
            all.push((name, text?));
        }
    }
    all.sort();
    Ok(all)
}
