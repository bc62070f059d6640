//! What is said about a model: by the user, by the file, and what follows from both.

use super::error::Error;
use super::naming::{file_name, is_hub_name, main_type};
use super::{Calibrated, licenses};
use crate::checkpoint::{HUB, base_model_keys};
use crate::gguf::{File, GgmlType, Value};

/// What stands for nothing where something has to be said.
pub const NONE: &str = "none";

/// What the user says about a model. What is not said the file says.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// Name of the model, in the card, in the keys, and in the names of files.
    pub name: Option<String>,
    /// Who made the model.
    pub author: Option<String>,
    /// Identifier of the licence; `none` for none.
    pub license: Option<String>,
    /// Where the licence is, for one that the hub does not know.
    pub license_link: Option<String>,
    /// The model of the hub that the files were made of, `ORGANIZATION/NAME`; `none` for none.
    pub base_model: Option<String>,
    /// Who made the files.
    pub quantized_by: Option<String>,
    /// Further tags.
    pub tags: Vec<String>,
    /// What the model does, by the hub's name.
    pub pipeline_tag: Option<String>,
    /// The repository that the folder is for, `ORGANIZATION/NAME`.
    pub repo: Option<String>,
}

/// What the keys and the card say about a model.
#[derive(Clone, Debug)]
pub struct About {
    pub name: String,
    /// The name in the names of files.
    pub stem: String,
    pub author: Option<String>,
    /// The identifier as it was given, and as the hub writes it.
    pub license: Option<License>,
    pub base_model: Option<String>,
    pub quantized_by: Option<String>,
    pub languages: Vec<String>,
    pub tags: Vec<String>,
    pub pipeline_tag: String,
    pub repo: Option<String>,
}

#[derive(Clone, Debug)]
pub struct License {
    /// What the hub knows, or `other`.
    pub id: String,
    /// The name of another.
    pub name: Option<String>,
    pub link: Option<String>,
}

/// What models do, by the hub's names, as far as GGUF files are for it.
const PIPELINES: &[&str] = &[
    "text-generation",
    "image-text-to-text",
    "audio-text-to-text",
    "any-to-any",
    "feature-extraction",
    "sentence-similarity",
    "text-ranking",
    "text-classification",
    "fill-mask",
    "translation",
    "summarization",
    "text2text-generation",
    "automatic-speech-recognition",
    "text-to-speech",
    "question-answering",
    "conversational",
];

/// Parts of the names of architectures whose models write no text.
const ENCODERS: &[&str] = &["bert", "embedding"];

/// Tags of all releases.
const TAGS: &[&str] = &["gguf", "llama.cpp", "quantized", "tenpak"];

impl About {
    /// What is to be said about the model of a file. Licence and base model have to be said by somebody.
    pub fn new(said: &Said, file: &File) -> Result<About, Error> {
        let text = |key: &str| {
            let value = file.key(&format!("general.{key}")).and_then(Value::as_str);
            value.map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
        };
        for (option, name) in [("--base-model", &said.base_model), ("--upload", &said.repo)] {
            if let Some(name) = name.as_ref().filter(|name| *name != NONE && !is_hub_name(name)) {
                return Err(Error::HubName { option, name: name.clone() });
            }
        }
        let of_hub = |url: String| Some(url.strip_prefix(HUB)?.trim_end_matches('/').to_owned());
        let source = || text("source.repo_url").and_then(of_hub).filter(|name| is_hub_name(name));
        let base_model = match said.base_model.clone().or_else(source) {
            Some(none) if none == NONE => None,
            Some(name) => Some(name),
            None => return Err(Error::NoBaseModel(file.path().to_owned())),
        };
        let license = match said.license.clone().or_else(|| text("license")) {
            Some(none) if none == NONE => None,
            Some(license) => Some(License::new(&license, said, &text)),
            None => return Err(Error::NoLicense(file.path().to_owned())),
        };
        let of_base = base_model.as_ref().and_then(|name| name.split_once('/'));
        let of_file = || file.path().file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let name = said.name.clone().or_else(|| text("name")).unwrap_or_else(|| match of_base {
            Some((_, name)) => name.to_owned(),
            None => of_file(),
        });
        let stem = match (&said.name, of_base) {
            (None, Some((_, base))) => file_name(base),
            _ => file_name(&name),
        };
        let author = said.author.clone().or_else(|| text("author")).or_else(|| text("organization"));
        let author = author.or_else(|| of_base.map(|(organization, _)| organization.to_owned()));
        let list = |key: &str| {
            let values = file.key(&format!("general.{key}")).and_then(Value::as_array).unwrap_or_default();
            values.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect::<Vec<_>>()
        };
        let architecture = file.key("general.architecture").and_then(Value::as_str).unwrap_or("unknown");
        let is_pipeline = |tag: &String| PIPELINES.contains(&&tag[..]);
        let of_file = list("tags");
        let pipeline_tag =
            said.pipeline_tag.clone().or_else(|| of_file.iter().rev().find(|t| is_pipeline(t)).cloned());
        let is_encoder = ENCODERS.iter().any(|part| architecture.contains(part));
        let pipeline_tag = pipeline_tag
            .unwrap_or_else(|| if is_encoder { "feature-extraction" } else { "text-generation" }.to_owned());
        let mut tags: Vec<String> = Vec::new();
        let all = TAGS.iter().map(|tag| (*tag).to_owned()).chain(of_file).chain(said.tags.iter().cloned());
        for tag in all.filter(|tag| *tag != pipeline_tag) {
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
        Ok(About {
            name,
            stem,
            author,
            license,
            base_model,
            quantized_by: said.quantized_by.clone().or_else(|| text("quantized_by")),
            languages: list("languages"),
            tags,
            pipeline_tag,
            repo: said.repo.clone(),
        })
    }

    /// The address of the model that the files were made of.
    pub fn base_model_url(&self) -> Option<String> {
        self.base_model.as_ref().map(|name| format!("{HUB}{name}"))
    }
}

impl License {
    fn new(license: &str, said: &Said, text: &dyn Fn(&str) -> Option<String>) -> License {
        let link = said.license_link.clone().or_else(|| text("license.link"));
        match licenses::known(license) {
            // What the card of the model called its own licence.
            Some("other") => License { id: "other".into(), name: text("license.name"), link },
            Some(known) => License { id: known.to_owned(), name: None, link },
            None => License { id: "other".into(), name: Some(license.to_owned()), link },
        }
    }
}

/// The keys of a released file: those of the file, completed.
pub fn keys(
    file: &File,
    about: &About,
    recipe: Option<&str>,
    calibrated: &Calibrated,
) -> Vec<(String, Value)> {
    let mut keys = Keys(file.keys().to_vec());
    keys.put("general.name", about.name.as_str());
    if let Some(author) = &about.author {
        keys.put("general.author", author.as_str());
    }
    keys.0.retain(|(key, _)| about.license.is_some() || !key.starts_with("general.license"));
    if let Some(license) = &about.license {
        keys.put("general.license", license.id.as_str());
        for (key, value) in [("general.license.name", &license.name), ("general.license.link", &license.link)]
        {
            if let Some(value) = value {
                keys.put(key, value.as_str());
            }
        }
    }
    if let (Some(base), Some(url)) = (&about.base_model, about.base_model_url()) {
        keys.put("general.source.repo_url", url);
        let weights = file.tensors().iter().map(|t| t.elements()).sum();
        let new = base_model_keys(base, weights);
        let is_new = |key: &String| new.iter().any(|(other, _)| other == key);
        keys.0.retain(|(key, _)| !key.starts_with("general.base_model.") || is_new(key));
        new.into_iter().for_each(|(key, value)| keys.put(&key, value));
    }
    if let Some(who) = &about.quantized_by {
        keys.put("general.quantized_by", who.as_str());
    }
    if let Some(repo) = &about.repo {
        keys.put("general.repo_url", format!("{HUB}{repo}"));
    }
    let tags = about.tags.iter().chain([&about.pipeline_tag]).cloned();
    keys.put("general.tags", Value::strings(tags));
    if let Some(number) = main_type(file).and_then(file_type) {
        keys.put("general.file_type", number);
    }
    keys.keep("tenpak.version", env!("CARGO_PKG_VERSION"));
    if let Some(recipe) = recipe {
        keys.put("tenpak.recipe", recipe);
    }
    if let Calibrated::With(sha256) = calibrated {
        keys.put(crate::job::CALIBRATION_KEY, sha256.as_str());
    }
    keys.0
}

/// What `general.file_type` says of a file most of whose weights have a type: of ours the number of the type, which the patched
/// llama.cpp shows by its name. Of upstream's mixes the file says more than the type, and keeps what it has.
fn file_type(kind: GgmlType) -> Option<u32> {
    crate::types::by_name(&kind.name()).map(|_| kind.0)
}

struct Keys(Vec<(String, Value)>);

impl Keys {
    /// Puts a value in the place of what the key has, or after the other keys of its kind.
    fn put(&mut self, key: &str, value: impl Into<Value>) {
        let value = value.into();
        if let Some((_, old)) = self.0.iter_mut().find(|(k, _)| k == key) {
            *old = value;
            return;
        }
        let kind = key.split('.').next().unwrap_or(key);
        let is_of_kind = |(k, _): &(String, Value)| k.split('.').next() == Some(kind);
        let at = self.0.iter().rposition(is_of_kind).map_or(self.0.len(), |at| at + 1);
        self.0.insert(at, (key.to_owned(), value));
    }

    /// Puts a value unless there is one.
    fn keep(&mut self, key: &str, value: impl Into<Value>) {
        if !self.0.iter().any(|(k, _)| k == key) {
            self.put(key, value);
        }
    }
}
