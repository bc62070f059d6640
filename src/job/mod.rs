//! Jobs as a whole: a model converted, or its inputs measured. The command line is one caller of them; nothing here
//! prints, and what happens on the way goes to a function of the caller's.
//!
//! ```
//! use tenpak_gguf::gguf::{File, GgmlType, TensorHeader, Writer};
//! use tenpak_gguf::job::{Convert, Event, Outputs};
//! use tenpak_gguf::plan::Recipe;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! // A model of one matrix; a Hugging Face folder is given in the same way.
//! let matrix = TensorHeader {
//!     name: "blk.0.ffn_up.weight".into(),
//!     shape: vec![256, 2],
//!     kind: GgmlType::F32,
//!     bytes: 256 * 2 * 4,
//! };
//! let mut writer = Writer::create(&folder.join("model.gguf"), &[], vec![matrix])?;
//! writer.write(&[0; 256 * 2 * 4])?;
//! writer.finish()?;
//!
//! let recipe = Recipe::parse("my recipe", "[[rule]]\ntypes = ['t2', 'f16']", &[])?;
//! let job = Convert { recipe: Some(recipe), ..Convert::new(folder.join("model.gguf")) };
//! let outputs = Outputs::new(folder.join("small.gguf"));
//! job.run(&outputs, &|event| {
//!     if let Event::Written { path, bytes, .. } = event {
//!         println!("{}: {bytes} bytes", path.display());
//!     }
//! })?;
//!
//! let file = File::open(&folder.join("small.gguf"))?;
//! assert_eq!(file.tensors()[0].kind.name(), "t2");
//! # Ok(())
//! # }
//! ```

mod allocate;
mod cache;
mod calibrate;
mod collector;
mod convert;
mod corrections;
mod costs;
mod doctor;
mod eval;
mod event;
mod extent;
mod file_sizes;
mod forecast;
mod foreign;
mod found_loss;
mod guide;
mod guided;
mod judge;
mod kept_back;
mod loss;
mod measure;
mod merge;
mod noise;
mod origin;
mod outputs;
mod own_text;
mod plain;
mod pricing;
mod rehearsal;
mod resume;
mod sample;
mod sampled;
mod scaling;
mod sha256;
mod trial;
mod verify;
mod weights;
mod write;

pub use allocate::{Allocation, AllocationError, Size, allocation};
pub use cache::{Cache, Cached};
pub use calibrate::{Budget, Calibrate, Text, WorkFolder};
pub use collector::CollectorError;
pub use convert::{Convert, Opened, Priced, Statistics};
pub use corrections::LowRank;
pub use costs::{TensorCosts, costs};
pub use doctor::{Ability, Diagnosis, Doctor, Levels, Part, Pin, Room, Stored};
pub use eval::{
    DEFAULT_CHUNKS, Domain, Estimate, Eval, EvalError, EvalEvent, Figures, FileDigest, Found, Judged,
    Receipt, Score, Speed, Tables, digest, markdown_table, refuse_adapter,
};
pub use event::Event;
pub use file_sizes::{FileSizes, bits_per_weight, human_bytes};
pub use forecast::{Forecast, ForecastStep};
pub use foreign::{ForeignOptions, Place, Prepared};
pub use found_loss::expected_divergences;
pub use guide::Guide;
pub use judge::{Judgement, programs};
pub use measure::{Measure, Step};
pub use merge::{Merge, MergeError};
pub use origin::{CALIBRATION_KEY, calibration_of, with_calibration};
pub use outputs::{OutputError, Outputs, check_folder, check_output, save};
pub use own_text::{DEFAULT_SEED, OwnText, Writing};
pub use sampled::{Interval, Sampled, Whole};
pub use scaling::SCALED;
pub use trial::Trial;
pub use verify::{Agreement, Difference, Distance, Half, Shown, Verified, Verify, VerifyError, percent};
pub use write::{Done, Resume, write, write_or_resume};

use crate::{calibration, checkpoint, gguf, llama, plan};
use std::path::PathBuf;

/// Why a job stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading the model.
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::Error),
    /// The recipe, alone or for this model.
    #[error(transparent)]
    Plan(#[from] plan::Error),
    /// Reading the calibration.
    #[error(transparent)]
    Calibration(#[from] calibration::Error),
    /// Collecting statistics.
    #[error(transparent)]
    Collector(#[from] CollectorError),
    /// The file would compute something else than the folder, or that cannot be found out.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// llama.cpp's converter of folders.
    #[error(transparent)]
    Converter(#[from] llama::converter::Error),
    /// There is not room enough for what llama.cpp's converter writes.
    #[error(
        "{}: {class} is a class that llama.cpp's converter has to convert, which writes about {:.1} GB there, and {:.1} GB are \
         free: free some, or choose a folder of another disk (-o, --cache)",
        place.display(), *bytes as f64 / 1e9, *free as f64 / 1e9
    )]
    NoSpace {
        /// The class.
        class: String,
        /// The folder.
        place: PathBuf,
        /// Bytes that the file takes, about.
        bytes: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// llama.cpp's converter writes every file with a tokenizer.
    #[error(
        "--no-tokenizer: {class} is a class that llama.cpp's converter has to convert, and that needs the tokenizer of {}",
        folder.display()
    )]
    NeedsTokenizer {
        /// The class.
        class: String,
        /// The folder.
        folder: PathBuf,
    },
    /// Calibrations of parts that are no whole.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// Blocks that are no sample of the model.
    #[error(transparent)]
    Sample(#[from] plan::SampleError),
    /// A size that cannot be met.
    #[error(transparent)]
    Allocation(#[from] AllocationError),
    /// An output that may not be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// An option of tokenizers, for a model that has one already.
    #[error(
        "{option}: a GGUF file keeps its tokenizer; give it when the folder is converted of which {} was made",
        path.display()
    )]
    HasTokenizer {
        /// The option.
        option: &'static str,
        /// The model.
        path: PathBuf,
    },
    /// Statistics of which no factor can be made.
    #[error(
        "tensor `{tensor}`: the Gram matrix of its inputs is not positive definite; calibrate with more text"
    )]
    NotPositive {
        /// The tensor.
        tensor: String,
    },
    /// A correction of low rank for a tensor whose input was not measured.
    #[error(
        "tensor `{tensor}`: a correction of low rank needs statistics of its input: calibrate, or leave --low-rank and `low_rank` away"
    )]
    NothingKnown {
        /// The tensor.
        tensor: String,
    },
    /// Columns are to be scaled by inputs that were not measured.
    #[error(
        "`activation_scaling`: nothing is known of the inputs; calibrate (--calibration FILE, or --calibration-text TEXT), or leave the \
         key out of the recipe"
    )]
    NothingToScaleBy,
    /// A plan with corrections of low rank is written without a file for them.
    #[error(
        "tensor `{tensor}`: its correction of low rank has no file; `Convert` writes one beside the model"
    )]
    NoAdapter {
        /// The tensor.
        tensor: String,
    },
    /// An input was changed while it was read.
    #[error(transparent)]
    Changed(#[from] gguf::Changed),
    /// Writing the file.
    #[error(transparent)]
    Gguf(#[from] gguf::Error),
    /// Reading a text, or making a folder.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or the folder.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// What a trial or a rehearsal found, in the cache.
    #[error("{}: is damaged; delete it, and it is made again", .0.display())]
    Damaged(PathBuf),
    /// NaN or infinity among the weights.
    #[error(
        "{}: tensor `{tensor}`, row {row}: {value} is not a finite number: either the file is damaged, then fetch it again, or the \
         model is, and no other copy of it helps",
        path.display()
    )]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its row.
        row: usize,
        /// The value.
        value: f32,
    },
    /// Values that F16 cannot hold.
    #[error("tensor `{tensor}`, row {row}: {value} is too large for f16; use --outtype bf16 or f32")]
    TooLarge {
        /// The tensor.
        tensor: String,
        /// Its row.
        row: usize,
        /// The value.
        value: f32,
    },
}
