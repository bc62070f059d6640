//! The folder that a model hub takes: GGUF files whose keys say what they are, a card, figures with their receipt, recipes,
//! checksums.
//!
//! ```text
//! about, licenses    what is said about the model, and the keys of its files
//! naming, recipe     names of files and rules of types, from what is in a file
//! copy               the files again, with other keys, in parts
//! card               README.md
//! folder             SHA256SUMS, whether a folder is whole, and its way to the hub
//! ```

mod about;
mod card;
mod copy;
mod error;
mod folder;
mod licenses;
mod naming;
mod recipe;

pub use about::{NONE, Said};
pub use error::Error;
pub use folder::{check, upload, upload_words};

use crate::chart::{Curve, Point};
use crate::gguf::{File, Value};
use crate::job::{self, CALIBRATION_KEY, FileDigest, FileSizes, Judged, Receipt, Sampled, check_output};
use crate::small_file;
use about::About;
use std::path::{Path, PathBuf};

/// Bytes of a file at most, if nothing else is asked for: hubs take 50 GB.
pub const DEFAULT_MAX_BYTES: u64 = 45_000_000_000;

const CARD: &str = "README.md";
const CHART: &str = "quality.svg";
const RECEIPT: &str = "receipt.json";
/// The receipt with files that are not in the folder, if it has any.
const COMPARISON: &str = "comparison.json";
const CALIBRATION: &str = "calibration.gguf";

/// What is to be released, and where.
#[derive(Clone, Debug)]
pub struct Release {
    /// GGUF files of one model; of split ones the first parts.
    pub files: Vec<PathBuf>,
    /// The folder.
    pub folder: PathBuf,
    /// What the user says about the model.
    pub said: Said,
    /// What an evaluation of the files found.
    pub receipt: Option<PathBuf>,
    /// The recipe of each file, in their order; if there are none, the types of the files say them.
    pub recipes: Vec<PathBuf>,
    /// The calibration that the files were made with.
    pub calibration: Calibration,
    /// The command that made the files, for the card.
    pub command: Option<String>,
    /// Bytes of a file at most; larger ones are cut into parts.
    pub max_bytes: u64,
    /// Write over files of the folder.
    pub overwrite: bool,
}

/// What the user says about the calibration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Calibration {
    /// Nothing: the files may.
    #[default]
    Unsaid,
    /// The files were made without.
    Without,
    /// A file, of which the folder has the sha256.
    File(PathBuf),
    /// A file that the folder has too.
    Included(PathBuf),
}

impl Calibration {
    fn path(&self) -> Option<&Path> {
        match self {
            Calibration::File(path) | Calibration::Included(path) => Some(path),
            Calibration::Unsaid | Calibration::Without => None,
        }
    }
}

/// The calibration of a file, as far as anybody knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Calibrated {
    Unknown,
    Without,
    /// With its sha256.
    With(String),
}

/// What happens.
pub enum Event<'a> {
    /// A file is read for its sha256.
    Reading(&'a Path),
    /// A file of so many bytes is written.
    Copying(&'a Path, u64),
    /// So many more bytes of it are written.
    Copied(u64),
    /// A file is complete.
    Written(&'a Path),
}

/// A file that is to be released.
struct Planned {
    file: File,
    /// The name of the released file without `.gguf`.
    stem: String,
    sizes: FileSizes,
    recipe: Option<String>,
    calibrated: Calibrated,
    parts: Vec<copy::Part>,
    judged: Option<Judged>,
}

impl Planned {
    fn recipe_name(&self) -> String {
        format!("{}.toml", self.stem)
    }

    /// What tells it from others of the model: `T3-10x`.
    fn label<'a>(&'a self, about: &About) -> &'a str {
        self.stem.strip_prefix(&about.stem).unwrap_or(&self.stem).trim_start_matches('-')
    }
}

/// A release before it is written.
pub struct Plan<'a> {
    release: &'a Release,
    about: About,
    files: Vec<Planned>,
    receipt: Option<Receipt>,
    notes: Vec<String>,
}

impl Release {
    /// Finds out what the folder will be. Nothing is written; inputs are read as a whole if there is a receipt, which names files
    /// by their sha256.
    pub fn plan(&self, tell: &dyn Fn(Event)) -> Result<Plan<'_>, Error> {
        let files = self.files.iter().map(|path| File::open(path)).collect::<Result<Vec<_>, _>>()?;
        self.files.iter().zip(&files).try_for_each(|(path, file)| {
            job::refuse_adapter(path, file, "folders of a release have no place for that yet")
        })?;
        let Some(first) = files.first() else { return Err(Error::NoRelease(self.folder.clone())) };
        check_models(&files)?;
        let about = About::new(&self.said, first)?;
        if !self.recipes.is_empty() && self.recipes.len() != files.len() {
            return Err(Error::Recipes { recipes: self.recipes.len(), files: files.len() });
        }
        let receipt = self.receipt.as_deref().map(Receipt::read).transpose()?;
        let calibration = match self.calibration.path() {
            Some(path) => {
                tell(Event::Reading(path));
                Some((path, job::digest(path)?.sha256))
            }
            None => None,
        };
        let mut notes = Vec::new();
        let mut planned = Vec::new();
        for (i, file) in files.into_iter().enumerate() {
            let recipe = match self.recipes.get(i) {
                Some(path) => Some(text_of(path)?),
                None => file.key("tenpak.recipe").and_then(Value::as_str).map(str::to_owned),
            };
            let recipe = recipe.or_else(|| recipe::of(&file));
            if recipe.is_none() {
                notes.push(format!(
                    "{}: no recipe says its types; the folder has none for it",
                    file.path().display()
                ));
            }
            let judged = self.judged(&file, receipt.as_ref(), tell)?;
            let calibrated = self.calibrated(&file, judged.as_ref(), calibration.as_ref())?;
            let keys = about::keys(&file, &about, recipe.as_deref(), &calibrated);
            let sizes = FileSizes { bytes: copy::bytes(&file, &keys), ..FileSizes::of(&file) };
            let stem = format!("{}-{}", about.stem, naming::label(&file, sizes.times_smaller()));
            if let Some(other) = planned.iter().find(|other: &&Planned| other.stem == stem) {
                let (a, b) = (other.file.path().to_owned(), file.path().to_owned());
                return Err(Error::SameName { a, b, name: format!("{stem}.gguf") });
            }
            let whole = self.folder.join(format!("{stem}.gguf"));
            let parts = copy::parts(&file, &keys, self.max_bytes, &whole)?;
            planned.push(Planned { file, stem, sizes, recipe, calibrated, parts, judged });
        }
        if receipt.is_none() {
            notes.push("without --receipt the card says nothing about quality".into());
        }
        if about.quantized_by.is_none() {
            notes.push("nobody says who made the files (--quantized-by WHO)".into());
        }
        if planned.iter().any(|file| file.calibrated == Calibrated::Unknown) {
            notes.push(
                "nobody says what the files were calibrated with: give --calibration FILE or --no-calibration".into(),
            );
        }
        let plan = Plan { release: self, about, files: planned, receipt, notes };
        let inputs = plan.inputs();
        for path in plan.outputs() {
            check_output(&path, &inputs, self.overwrite)?;
        }
        Ok(plan)
    }

    /// What the receipt says about a file.
    fn judged(
        &self,
        file: &File,
        receipt: Option<&Receipt>,
        tell: &dyn Fn(Event),
    ) -> Result<Option<Judged>, Error> {
        let (Some(receipt), Some(at)) = (receipt, &self.receipt) else { return Ok(None) };
        let mut digests = Vec::new();
        for path in file.paths() {
            tell(Event::Reading(path));
            digests.push(job::digest(path)?.sha256);
        }
        let is_it = |judged: &&Judged| judged.model.files.iter().map(|file| &file.sha256).eq(&digests);
        let judged = receipt.models.iter().find(is_it).ok_or_else(|| Error::NotInReceipt {
            receipt: at.clone(),
            path: file.path().to_owned(),
            sha256: digests[0].clone(),
        })?;
        Ok(Some(judged.clone()))
    }

    /// The calibration of a file. All who say something have to say the same.
    fn calibrated(
        &self,
        file: &File,
        judged: Option<&Judged>,
        given: Option<&(&Path, String)>,
    ) -> Result<Calibrated, Error> {
        let inside = file.key(CALIBRATION_KEY).and_then(Value::as_str).map(str::to_owned);
        let of_receipt = judged.and_then(|judged| judged.calibration_sha256.clone());
        let of_receipt = of_receipt.map(|sha256| ("the receipt".to_owned(), sha256));
        let given = given.map(|(path, sha256)| (path.display().to_string(), sha256.clone()));
        let without = (self.calibration == Calibration::Without)
            .then(|| ("--no-calibration".to_owned(), "none".to_owned()));
        let mut known = inside.map(|sha256| ("the file".to_owned(), sha256));
        for (from, sha256) in of_receipt.into_iter().chain(given).chain(without) {
            if let Some((_, inside)) = known.as_ref().filter(|(_, known)| *known != sha256) {
                let (inside, outside) = (inside.clone(), sha256);
                return Err(Error::OtherCalibration { path: file.path().to_owned(), from, inside, outside });
            }
            known = Some((from, sha256));
        }
        Ok(match known {
            None => Calibrated::Unknown,
            Some((_, sha256)) if sha256 == "none" => Calibrated::Without,
            Some((_, sha256)) => Calibrated::With(sha256),
        })
    }
}

impl Plan<'_> {
    /// What the user should know.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The card, but for digests as it will be written.
    pub fn card(&self) -> String {
        card::text(self)
    }

    /// GGUF files of the folder with their bytes.
    pub fn models(&self) -> impl Iterator<Item = (&Path, u64)> {
        self.files.iter().flat_map(|file| &file.parts).map(|part| (&part.path as &Path, part.bytes))
    }

    /// All files of the folder.
    pub fn outputs(&self) -> Vec<PathBuf> {
        let mut names = vec![CARD.to_owned(), folder::SUMS.to_owned()];
        if self.receipt.is_some() {
            names.extend([RECEIPT.to_owned(), CHART.to_owned()]);
        }
        names.extend(self.has_others().then(|| COMPARISON.to_owned()));
        names.extend(
            matches!(self.release.calibration, Calibration::Included(_)).then(|| CALIBRATION.to_owned()),
        );
        names.extend(self.files.iter().filter(|file| file.recipe.is_some()).map(Planned::recipe_name));
        let models = self.models().map(|(path, _)| path.to_owned());
        models.chain(names.iter().map(|name| self.release.folder.join(name))).collect()
    }

    fn inputs(&self) -> Vec<PathBuf> {
        let models = self.files.iter().flat_map(|file| file.file.paths());
        let others = self.release.recipes.iter().chain(&self.release.receipt);
        let calibration = self.release.calibration.path().map(Path::to_owned);
        models.chain(others).cloned().chain(calibration).collect()
    }

    /// Whether the receipt has files that are not released.
    fn has_others(&self) -> bool {
        self.receipt.as_ref().is_some_and(|receipt| self.others(receipt).next().is_some())
    }

    fn others<'a>(&'a self, receipt: &'a Receipt) -> impl Iterator<Item = &'a Judged> {
        receipt
            .models
            .iter()
            .filter(|judged| !self.files.iter().any(|file| file.judged.as_ref() == Some(*judged)))
    }

    /// Writes the folder: models, then what is about them, the list of all with their sha256 last, so that a folder without it is
    /// not whole.
    pub fn write(&self, tell: &(dyn Fn(Event) + Sync)) -> Result<(), Error> {
        let folder = &self.release.folder;
        let io = |source| Error::Io { path: folder.clone(), source };
        std::fs::create_dir_all(folder).map_err(io)?;
        let sums = folder.join(folder::SUMS);
        if self.release.overwrite && sums.exists() {
            std::fs::remove_file(&sums).map_err(io)?;
        }
        let mut all = Vec::new();
        let mut judged = Vec::new();
        for planned in &self.files {
            let mut digests = Vec::new();
            for part in &planned.parts {
                tell(Event::Copying(&part.path, part.bytes));
                copy::write(&planned.file, part, self.release.overwrite, &|bytes| {
                    tell(Event::Copied(bytes))
                })?;
                digests.push(job::digest(&part.path)?);
                tell(Event::Written(&part.path));
            }
            if let Some(found) = &planned.judged {
                let released = File::open(&planned.parts[0].path)?;
                judged.push(found.released(digests.clone(), FileSizes::of(&released)));
            }
            all.extend(digests);
        }
        if let Calibration::Included(path) = &self.release.calibration {
            let to = folder.join(CALIBRATION);
            folder::copy(path, &to)?;
            all.push(self.digest(&to, tell)?);
        }
        for (name, text) in self.texts(judged) {
            let path = folder.join(name);
            job::save(&path, text.as_bytes()).map_err(Box::new)?;
            all.push(self.digest(&path, tell)?);
        }
        job::save(&sums, folder::sums(&mut all).as_bytes()).map_err(Box::new)?;
        tell(Event::Written(&sums));
        Ok(())
    }

    fn digest(&self, path: &Path, tell: &dyn Fn(Event)) -> Result<FileDigest, Error> {
        tell(Event::Written(path));
        Ok(job::digest(path)?)
    }

    /// The small files, with the figures of the released ones.
    fn texts(&self, models: Vec<Judged>) -> Vec<(String, String)> {
        let json =
            |receipt: &Receipt| serde_json::to_string_pretty(receipt).expect("a receipt is data") + "\n";
        let recipes = self.files.iter().filter_map(|file| Some((file.recipe_name(), file.recipe.clone()?)));
        let mut texts: Vec<(String, String)> = recipes.collect();
        if let Some(receipt) = &self.receipt {
            let released = Receipt { models, ..receipt.clone() };
            texts.push((RECEIPT.into(), json(&released)));
            if self.has_others() {
                texts.push((COMPARISON.into(), json(receipt)));
            }
            texts.push((CHART.into(), self.chart(receipt).svg()));
        }
        texts.push((CARD.into(), self.card()));
        texts
    }

    /// Divergence over size of the released files and of others that they were compared with.
    fn chart(&self, receipt: &Receipt) -> Curve {
        let point = |name: &str, judged: &Judged| Point {
            name: name.to_owned(),
            bytes: judged.model.bytes,
            weights: judged.model.weights,
            divergence: judged.all.kld.value,
            error: judged.all.kld.error,
        };
        let ours =
            self.files.iter().filter_map(|file| Some(point(file.label(&self.about), file.judged.as_ref()?)));
        let mut ours: Vec<Point> = ours.collect();
        ours.sort_by(|a, b| a.bits().total_cmp(&b.bits()));
        let others = self.others(receipt).map(|judged| {
            let name = judged.model.name();
            let name = name.strip_suffix(".gguf").unwrap_or(name);
            point(name.strip_prefix(&self.about.stem).unwrap_or(name).trim_start_matches(['-', '.']), judged)
        });
        Curve { name: "these files".into(), named: true, ours, others: others.collect() }
    }
}

/// Whether all files are language models, whole, and of one model.
fn check_models(files: &[File]) -> Result<(), Error> {
    let text = |file: &File, key: &str| file.key(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let weights = |file: &File| file.tensors().iter().map(|t| t.elements()).sum::<u64>();
    for file in files {
        let kind = text(file, "general.type");
        if !["", "model"].contains(&&kind[..]) {
            return Err(Error::NoModel { path: file.path().to_owned(), kind });
        }
        if let Some(Sampled { blocks, .. }) = Sampled::of(file) {
            return Err(Error::Sample { path: file.path().to_owned(), blocks });
        }
        let (key, first) = ("general.architecture", &files[0]);
        let (a, b) = (text(first, key), text(file, key));
        let what = if a != b {
            format!("{b}, not {a}")
        } else if weights(first) != weights(file) {
            format!("{} weights, not {}", weights(file), weights(first))
        } else {
            continue;
        };
        return Err(Error::OtherModel { path: file.path().to_owned(), first: first.path().to_owned(), what });
    }
    Ok(())
}

/// The text of a small file.
fn text_of(path: &Path) -> Result<String, Error> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let bytes = small_file::read(path).map_err(io)?;
    String::from_utf8(bytes).map_err(|e| io(std::io::Error::new(std::io::ErrorKind::InvalidData, e)))
}
