//! Why a release was not made.

use crate::{gguf, job};
use std::path::PathBuf;

/// Why a release was not made, or not uploaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading or writing a GGUF file.
    #[error(transparent)]
    Gguf(#[from] gguf::Error),
    /// An input was changed while it was read.
    #[error(transparent)]
    Changed(#[from] gguf::Changed),
    /// Reading the receipt or a digest.
    #[error(transparent)]
    Eval(#[from] job::EvalError),
    /// An output that may not be written.
    #[error(transparent)]
    Output(#[from] job::OutputError),
    /// Writing a small file.
    #[error(transparent)]
    Save(#[from] Box<job::Error>),
    /// A file cannot be read, or a folder not be made.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Nobody says who may use the model.
    #[error(
        "{}: says no licence (general.license), without which nobody may use it: give the one that the card of the model says \
         (--license apache-2.0), or --license none", .0.display()
    )]
    NoLicense(PathBuf),
    /// Nobody says of which model the files are.
    #[error(
        "{}: does not say which model of the hub it was made of: give its name (--base-model ORGANIZATION/NAME), or --base-model \
         none", .0.display()
    )]
    NoBaseModel(PathBuf),
    /// A name that is none of the hub.
    #[error("{option} {name}: not the name of a model on the hub, which is ORGANIZATION/NAME")]
    HubName {
        /// The option.
        option: &'static str,
        /// What was given.
        name: String,
    },
    /// A file that is no language model.
    #[error("{}: is no model (general.type is `{kind}`)", path.display())]
    NoModel {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: String,
    },
    /// A file of which only some blocks are quantized.
    #[error("{}: only blocks {blocks} of it are quantized: convert the whole, without --layers and --sample-layers", path.display())]
    Sample {
        /// The file.
        path: PathBuf,
        /// The blocks that are quantized.
        blocks: String,
    },
    /// Files of two models.
    #[error("{}: is another model than {} ({what}); release each into a folder of its own", path.display(), first.display())]
    OtherModel {
        /// The file.
        path: PathBuf,
        /// The first file.
        first: PathBuf,
        /// What differs.
        what: String,
    },
    /// Two files would have one name.
    #[error("{} and {} would both be {name}; release one of them, or each into a folder of its own", a.display(), b.display())]
    SameName {
        /// A file.
        a: PathBuf,
        /// Another.
        b: PathBuf,
        /// Their name.
        name: String,
    },
    /// There is no such file in the receipt.
    #[error(
        "{}: has no figures of {} (sha256 {sha256}): evaluate it (`tenpak-gguf eval {} --against BASE --receipt NEW.json`), or leave \
         --receipt out", receipt.display(), path.display(), path.display()
    )]
    NotInReceipt {
        /// The receipt.
        receipt: PathBuf,
        /// The file.
        path: PathBuf,
        /// Its digest, of a split file that of the first part.
        sha256: String,
    },
    /// Calibrations that differ.
    #[error(
        "{}: was made with another calibration than {from} says (sha256 {inside} and {outside}): give the one that it was made with",
        path.display()
    )]
    OtherCalibration {
        /// The GGUF file.
        path: PathBuf,
        /// Where the second digest comes from.
        from: String,
        /// By the file.
        inside: String,
        /// By the other.
        outside: String,
    },
    /// Recipes do not belong to files.
    #[error(
        "{recipes} recipes for {files} files: give --recipe once for each file, in their order, or not at all"
    )]
    Recipes {
        /// How many recipes.
        recipes: usize,
        /// How many files.
        files: usize,
    },
    /// A file would have more parts than the format counts.
    #[error("{}: would have {parts} parts; give a larger --split-max-size", path.display())]
    TooManyParts {
        /// The file.
        path: PathBuf,
        /// How many parts.
        parts: usize,
    },
    /// A folder without a list of what is in it.
    #[error("{}: is no release: it has no SHA256SUMS; make it with `tenpak-gguf release FILE... -o {}`", .0.display(), .0.display())]
    NoRelease(PathBuf),
    /// A folder that is not what its list says.
    #[error("{}: {why}", path.display())]
    NotWhole {
        /// The file.
        path: PathBuf,
        /// What is wrong, and the remedy.
        why: String,
    },
    /// The hub's program is not there.
    #[error(
        "hf, the command line of the hub, is not in $PATH: pip install huggingface_hub, then hf auth login"
    )]
    NoHf,
    /// The hub's program failed.
    #[error("hf upload {why}: what it printed says why; the folder {} is whole, so that `tenpak-gguf release -o {} --upload {repo}` \
             tries again", folder.display(), folder.display())]
    Upload {
        /// How it ended.
        why: String,
        /// The folder.
        folder: PathBuf,
        /// The repository.
        repo: String,
    },
}
