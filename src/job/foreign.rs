//! Foreign folders, whose class there is no table for: llama.cpp's converter makes a GGUF file of one, which is read in its
//! place. A job with a cache keeps that file there, where it is the plain model that statistics are measured on.

use super::cache::{Cache, key_of};
use super::collector::find_collector;
use super::{Convert, Error, Event, Statistics};
use crate::atomic_file;
use crate::checkpoint::{self, Dtype, Model};
use crate::llama::converter::{self, Converter, Order};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// How foreign folders are converted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForeignOptions {
    /// llama.cpp's convert_hf_to_gguf.py or its folder, instead of looking for it.
    pub converter: Option<PathBuf>,
    /// The Python that runs it, instead of that of `$TENPAK_PYTHON` or the system's.
    pub python: Option<PathBuf>,
    /// The collector or its folder: the converter lies in the tree that the collector was built in.
    pub collector: Option<PathBuf>,
    /// Where its file is made, if no statistics are measured; those have a cache.
    pub place: Place,
}

/// Where the file is made that llama.cpp's converter writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// Among the system's temporary files. It is deleted at the end.
    #[default]
    Temporary,
    /// In a folder. It is deleted at the end.
    In(PathBuf),
    /// In a cache, where it stays.
    Cached(Cache),
}

/// What llama.cpp's converter is going to make of a foreign folder, or has made before.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The folder.
    pub foreign: checkpoint::Foreign,
    /// The converter.
    pub converter: Converter,
    /// The float type of its file.
    pub dtype: Dtype,
    /// The file in the cache, if it is to be there.
    pub cached: Option<PathBuf>,
    /// The folder in which the file is made.
    pub place: PathBuf,
    /// About how many bytes it takes.
    pub bytes: u64,
    /// Bytes that are free there, if the system tells.
    pub free: Option<u64>,
}

impl Prepared {
    /// Whether the file is there already.
    pub fn is_there(&self) -> bool {
        self.cached.as_ref().is_some_and(|path| path.exists())
    }
}

impl Convert {
    /// What has to be made of the folder, if it is foreign. Nothing is run or written.
    pub fn foreign(&self) -> Result<Option<Prepared>, Error> {
        if !self.source.is_dir() {
            return Ok(None);
        }
        let Some(foreign) = checkpoint::Foreign::of(&self.source)? else { return Ok(None) };
        if self.no_tokenizer {
            return Err(Error::NeedsTokenizer { class: foreign.class, folder: foreign.folder });
        }
        let options = &self.foreign;
        let collector = find_collector(options.collector.as_deref()).ok();
        let more = collector.as_deref().map_or_else(Vec::new, converter::folders_of);
        let environment = environment();
        let found =
            Converter::find(options.converter.as_deref(), options.python.as_deref(), &more, environment);
        let converter = found.map_err(|reason| {
            let (folder, class) = (foreign.folder.clone(), foreign.class.clone());
            converter::Error::NotFound { folder, class, reason: Box::new(reason) }
        })?;
        let plain = self.recipe.as_ref().and_then(|recipe| recipe.file_type());
        let dtype = plain.unwrap_or(foreign.dtype);
        let cache = match (&self.statistics, &options.place) {
            (Statistics::Measured(measure), _) => Some(&measure.cache),
            (_, Place::Cached(cache)) => Some(cache),
            _ => None,
        };
        let key = || key_of_foreign(&foreign, &converter, dtype, self.tokenizer_pre.as_deref());
        let cached = cache.map(|cache| Ok::<_, Error>(cache.place(&key()?, "base.gguf"))).transpose()?;
        let place = match (cache, &options.place) {
            (Some(cache), _) => cache.folder().to_owned(),
            (None, Place::In(folder)) => folder.clone(),
            (None, _) => std::env::temp_dir(),
        };
        let (bytes, free) = (foreign.bytes(dtype), free_bytes(&place));
        Ok(Some(Prepared { foreign, converter, dtype, cached, place, bytes, free }))
    }

    /// Has llama.cpp's converter make the file, if it is not there, and opens it.
    pub(super) fn convert_foreign(
        &self,
        prepared: Prepared,
        tell: &(dyn Fn(Event) + Sync),
    ) -> Result<Model, Error> {
        if let Statistics::Measured(measure) = &self.statistics {
            measure.check()?;
        }
        tell(Event::Foreign(&prepared));
        let is_rounded = prepared.foreign.is_wider && prepared.dtype != Dtype::F32;
        let mut model = match prepared.cached.clone().filter(|path| path.exists()) {
            Some(path) => prepared.foreign.open(&path, None)?,
            None => self.run_converter(prepared, tell)?,
        };
        let note = "weights of F32 were rounded to 16 bits on the way, as llama.cpp's converter does by default; --outtype f32 \
                    keeps them";
        model.notes.extend(is_rounded.then(|| note.to_owned()));
        Ok(model)
    }

    fn run_converter(&self, prepared: Prepared, tell: &(dyn Fn(Event) + Sync)) -> Result<Model, Error> {
        let Prepared { foreign, converter, dtype, cached, place, bytes, free } = prepared;
        if let Some(free) = free.filter(|free| *free < bytes) {
            return Err(Error::NoSpace { class: foreign.class, place, bytes, free });
        }
        let io = |source| Error::Io { path: place.clone(), source };
        if cached.is_some() {
            std::fs::create_dir_all(&place).map_err(io)?;
        }
        let (temporary, _watched) = atomic_file::temporary(&place).map_err(io)?;
        let temporary = temporary.into_temp_path();
        let order = Order {
            folder: &foreign.folder,
            output: &temporary,
            float: &dtype.ggml().name(),
            name: foreign.name.as_deref(),
            pre_tokenizer: self.tokenizer_pre.as_deref(),
        };
        tell(Event::Started { weights: foreign.weights });
        let mut done = 0;
        let ran = converter.run(&order, &mut |share| {
            let now = (foreign.weights as f64 * share) as u64;
            tell(Event::Progress(now.saturating_sub(done)));
            done = done.max(now);
        });
        tell(Event::Stopped);
        ran?;
        let path = match cached {
            Some(path) => {
                temporary.persist(&path).map_err(|e| io(e.error))?;
                path
            }
            // Where a file may lose its name while it is read, it goes with this process, however that ends.
            None if cfg!(unix) => return Ok(foreign.open(&temporary, None)?),
            None => {
                let path = temporary.to_path_buf();
                return Ok(foreign.open(&path, Some(temporary))?);
            }
        };
        Ok(foreign.open(&path, None)?)
    }
}

/// Where people are told to make a Python with what the converter needs.
pub(super) fn environment() -> PathBuf {
    Cache::of_user().map_or("tenpak-python".into(), |cache| cache.folder().join("python"))
}

/// The key of what the converter makes: a digest of its sources, of the folder's files by name, size and time, and of options.
fn key_of_foreign(
    foreign: &checkpoint::Foreign,
    converter: &Converter,
    dtype: Dtype,
    pre_tokenizer: Option<&str>,
) -> Result<String, Error> {
    let mut hash = Sha256::new();
    for path in converter.sources() {
        let bytes = std::fs::read(&path).map_err(|source| Error::Io { path, source })?;
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    }
    let sources = format!("{:x}", hash.finalize());
    let files = foreign.files.iter().map(|path| {
        let metadata = std::fs::metadata(path);
        let modified = metadata.as_ref().ok().and_then(|m| m.modified().ok());
        format!("{:?} {:?} {modified:?}", path.file_name(), metadata.map(|m| m.len()).ok())
    });
    let files = files.collect::<Vec<_>>().join("\n");
    let folder = foreign.folder.canonicalize().unwrap_or_default();
    let names = format!("{:?} {:?} {}", folder.file_name(), foreign.name, dtype.ggml().name());
    Ok(key_of(&[&sources, &files, &names, pre_tokenizer.unwrap_or_default()]))
}

/// Bytes that are free for files in a folder, which need not be there.
#[cfg(unix)]
pub(super) fn free_bytes(folder: &Path) -> Option<u64> {
    let existing = folder.ancestors().find(|folder| folder.exists())?;
    let about = rustix::fs::statvfs(existing).ok()?;
    Some(about.f_bavail * about.f_frsize)
}

/// Bytes that are free for files in a folder.
#[cfg(not(unix))]
pub(super) fn free_bytes(_folder: &Path) -> Option<u64> {
    None
}
