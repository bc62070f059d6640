//! What an architecture is: a table of its tensors and one of its hyper-parameters, and what becomes of a name.

use super::blocks::{Block, Blocks};
use super::config::Config;
pub use super::conversion::{Conversion, Half, Linear};
use super::error::Error;
use super::keys::Key;
use super::tokenizer::Vocabulary;
use crate::names::Role;
use serde_json::{Map, Value as Json};

/// How a Hugging Face model becomes a GGUF file, and how it comes back.
pub struct Architecture {
    /// `general.architecture`, and the prefix of its keys.
    pub name: &'static str,
    /// Entries of `architectures` in config.json; export writes the first.
    pub hf: &'static [&'static str],
    /// JSON object of the values that transformers assumes where config.json does not say them.
    pub defaults: &'static str,
    /// Settles values that follow from others in ways of their own.
    pub settled: fn(&mut Config),
    /// What each of its blocks is; [`alike`](super::blocks::alike) where they do not differ.
    pub blocks: fn(&Config) -> Result<Vec<Block>, Error>,
    /// JSON object of the values that config.json has for every model of the architecture and no GGUF key says.
    pub fixed: &'static str,
    /// Values of config.json that tensors show.
    pub shown: &'static [Shown],
    /// What stands before the names of all tensors but the output head; checkpoints may leave it out.
    pub prefix: &'static str,
    /// What llama.cpp takes for the output head.
    pub head: Head,
    /// Every tensor that a checkpoint may have, in pieces that architectures share.
    pub tensors: &'static [&'static [Tensor]],
    /// Every hyper-parameter, and every value of config.json that has to be what llama.cpp's graph computes, in pieces that
    /// architectures share.
    pub keys: &'static [&'static [Key]],
    /// Where its tokenizers come from.
    pub vocabulary: Vocabulary,
    /// Tensors that are computed from config.json.
    pub computed: fn(&Config) -> Result<Computed, Error>,
}

/// The output head in llama.cpp's graph of an architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// A tensor, or the embeddings where a file has none.
    Optional,
    /// A tensor that every file has to have, be it a copy of the embeddings.
    Needed,
    /// The embeddings; a file with a head of its own does not load.
    Embeddings,
}

/// A value of config.json that tensors show.
#[derive(Clone, Copy)]
pub struct Shown {
    /// Its name.
    pub name: &'static str,
    /// The GGUF tensor that is there if the value says so; `{b}` stands for every block.
    pub tensor: &'static str,
    /// What transformers assumes where a flag is not said, of which export says what differs; nothing where the value is
    /// no flag that says what the tensor does.
    pub assumed: Option<bool>,
    says: Option<fn(&Config) -> bool>,
    /// Whether a file of a model without the biases has zeros for those that llama.cpp needs.
    pub has_zeros: bool,
}

impl Shown {
    /// A flag, and what transformers assumes where it is not said.
    pub const fn flag(name: &'static str, tensor: &'static str, assumed: bool) -> Shown {
        Shown { name, tensor, assumed: Some(assumed), says: None, has_zeros: false }
    }

    /// A value that export has other words for, and whether it says that the tensor is there.
    pub const fn value(name: &'static str, tensor: &'static str, says: fn(&Config) -> bool) -> Shown {
        Shown { name, tensor, assumed: None, says: Some(says), has_zeros: false }
    }

    /// The same for biases that are zero in the file of a model without them.
    pub const fn or_zeros(self) -> Shown {
        Shown { has_zeros: true, ..self }
    }

    /// Whether config.json says that the tensor is there.
    pub fn says(&self, config: &Config) -> bool {
        match (self.says, config.said(self.name)) {
            (Some(says), _) => says(config),
            (None, Some(flag)) => flag == true,
            (None, None) => self.assumed == Some(true),
        }
    }

    /// The tensor in a block.
    pub fn tensor_of(&self, block: u64) -> String {
        filled(self.tensor, Some(block), None)
    }
}

/// GGUF names of vectors, and their elements.
pub type Computed = Vec<(&'static str, Vec<f32>)>;

/// An architecture whose values do not follow from each other.
pub fn nothing_settled(_: &mut Config) {}

/// An architecture without computed tensors.
pub fn nothing_computed(_: &Config) -> Result<Computed, Error> {
    Ok(Vec::new())
}

/// A row of the table of tensors. In names `{b}` stands for the block, `{x}` for the number within a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Name in the checkpoint, without prefix and without `.weight` or `.bias`.
    pub hf: &'static str,
    /// Name in GGUF, without `.weight` or `.bias`.
    pub gguf: &'static str,
    /// Which of its extents has to be the width of the model.
    pub width: Width,
    /// What its other extent has to be.
    pub extent: Extent,
    /// What happens to it on the way into the file.
    pub conversion: Conversion,
    /// Whether every model has it.
    pub needed: bool,
    /// Whether it has a bias in llama.cpp.
    pub bias: Bias,
    /// When export gives the tensor this row's name, where several rows have the same GGUF name.
    pub export: Export,
    /// Which blocks have it.
    pub blocks: Blocks,
    /// Whether the names are whole, as those of parameters that are neither weights nor biases of a layer are.
    pub is_whole: bool,
    /// Whether llama.cpp loads it in every block. One that has none, and attends to keys of a block before, gets that block's.
    pub is_lent: bool,
}

/// Whether llama.cpp loads a bias beside a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bias {
    /// It does not; a file with one does not load.
    None,
    /// It does where a file has one.
    Optional,
    /// It does, and a file without one does not load.
    Needed,
}

/// The extent of a tensor that is the width of the model, `hidden_size` in config.json.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// The columns: norms, and matrices that multiply the hidden state.
    Columns,
    /// The rows: matrices whose products are added to the hidden state.
    Rows,
    /// Neither.
    None,
}

/// The extent of a tensor that is not the width of the model: of a vector that is not as long as that, its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Whatever it is.
    Any,
    /// All heads of queries.
    Queries,
    /// All heads of keys, or of values.
    Keys,
    /// All heads of queries, keys and values.
    QueriesKeysValues,
    /// A head.
    Head,
    /// The value of a GGUF key, without the architecture's name; of a key with a value for each block that of the block.
    Is(&'static str),
    /// So many times that.
    Times(u64, &'static str),
    /// As many times that as there are heads.
    Heads(&'static str),
    /// All heads of queries, and a gate for each.
    GatedQueries,
    /// What goes into a state of Mamba 2: its width and a gate, two vectors for each group, and a step for each head.
    MambaInputs,
    /// The product of the values of two GGUF keys.
    Product(&'static str, &'static str),
    /// A number that is the same in every model.
    Exactly(u64),
    /// So many matrices in a stack.
    Parts(u64),
}

impl Extent {
    /// The matrices between which the activation is.
    pub const INNER: Extent = Extent::Is("feed_forward_length");
    /// Those of an expert.
    pub const EXPERT_INNER: Extent = Extent::Is("expert_feed_forward_length");
    /// Those of the expert of all tokens.
    pub const SHARED_INNER: Extent = Extent::Is("expert_shared_feed_forward_length");
    /// A row for every expert.
    pub const EXPERTS: Extent = Extent::Is("expert_count");
}

/// When export gives a tensor the name of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Export {
    /// Whenever the file has the tensor.
    Always,
    /// Where the file also has the tensor of this GGUF name in the same block.
    Beside(&'static str),
    /// Never: checkpoints with this name are only read.
    Never,
}

impl Tensor {
    /// A tensor that every model has and that stays as it is.
    pub const fn new(hf: &'static str, gguf: &'static str, width: Width) -> Tensor {
        Tensor {
            hf,
            gguf,
            width,
            extent: Extent::Any,
            conversion: Conversion::Same,
            needed: true,
            bias: Bias::None,
            export: Export::Always,
            blocks: Blocks::All,
            is_whole: false,
            is_lent: false,
        }
    }

    /// A parameter that stays as it is, by its whole names.
    pub const fn whole(hf: &'static str, gguf: &'static str) -> Tensor {
        Tensor { is_whole: true, ..Tensor::new(hf, gguf, Width::None) }
    }

    /// A tensor that is left out, by its whole name after the prefix.
    pub const fn ignored(hf: &'static str) -> Tensor {
        Tensor {
            export: Export::Never,
            ..Tensor::new(hf, "", Width::None).converted(Conversion::Ignored).optional()
        }
    }

    /// What the tensor is to the model, as its GGUF name says.
    pub fn role(&self) -> Role {
        let end = if self.is_whole { "" } else { ".weight" };
        Role::of(&(filled(self.gguf, Some(0), None) + end))
    }

    /// The same row for a tensor of some blocks.
    pub const fn of(self, blocks: Blocks) -> Tensor {
        Tensor { blocks, ..self }
    }

    /// The same row for a tensor that a block without one has from the block whose keys it attends to.
    pub const fn lent(self) -> Tensor {
        Tensor { is_lent: true, ..self }
    }

    /// The same row for a part of a tensor that export cannot put together again.
    pub const fn part(self) -> Tensor {
        Tensor { export: Export::Never, ..self }
    }

    /// The same row for a tensor that something happens to.
    pub const fn converted(self, conversion: Conversion) -> Tensor {
        Tensor { conversion, ..self }
    }

    /// The same row for a tensor with this other extent.
    pub const fn by(self, extent: Extent) -> Tensor {
        Tensor { extent, ..self }
    }

    /// The same row for a tensor that may have a bias.
    pub const fn may_have_bias(self) -> Tensor {
        Tensor { bias: Bias::Optional, ..self }
    }

    /// The same row for a tensor that has a bias.
    pub const fn with_bias(self) -> Tensor {
        Tensor { bias: Bias::Needed, ..self }
    }

    /// The same row for a tensor that not all models have.
    pub const fn optional(self) -> Tensor {
        Tensor { needed: false, ..self }
    }

    /// The same row for another name that checkpoints may have, which export never writes.
    pub const fn only_read(self) -> Tensor {
        Tensor { export: Export::Never, ..self.optional() }
    }

    /// The same row for a name that export takes where the block also has the tensor `gguf`.
    pub const fn beside(self, gguf: &'static str) -> Tensor {
        Tensor { export: Export::Beside(gguf), ..self }
    }
}

/// The same rows, each for a tensor that the same happens to.
pub const fn all<const N: usize>(mut rows: [Tensor; N], conversion: Conversion) -> [Tensor; N] {
    let mut i = 0;
    while i < N {
        rows[i] = rows[i].converted(conversion);
        i += 1;
    }
    rows
}

/// The same rows, each for a tensor of some blocks.
pub const fn of<const N: usize>(mut rows: [Tensor; N], blocks: Blocks) -> [Tensor; N] {
    let mut i = 0;
    while i < N {
        rows[i] = rows[i].of(blocks);
        i += 1;
    }
    rows
}

/// The same rows, each for a tensor that may have a bias.
pub const fn may_have_biases<const N: usize>(mut rows: [Tensor; N]) -> [Tensor; N] {
    let mut i = 0;
    while i < N {
        rows[i] = rows[i].may_have_bias();
        i += 1;
    }
    rows
}

/// The same rows, each for a tensor that has a bias.
pub const fn with_biases<const N: usize>(mut rows: [Tensor; N]) -> [Tensor; N] {
    let mut i = 0;
    while i < N {
        rows[i] = rows[i].with_bias();
        i += 1;
    }
    rows
}

/// A row that fits the name of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// The row.
    pub row: &'static Tensor,
    /// Name in GGUF.
    pub name: String,
    /// Its place among those that are stacked.
    pub index: u64,
}

/// Ends of the names of buffers that every program computes anew, in every architecture: frequencies, angles, numbers of
/// places, causal masks.
const BUFFERS: [&str; 5] = [".inv_freq", ".cos_cached", ".sin_cached", ".position_ids", ".masked_bias"];

/// Any of [`BUFFERS`].
static BUFFER: Tensor = Tensor::ignored("");

impl Architecture {
    /// The values of a config.json of the architecture.
    pub fn config(&self, json: &Map<String, Json>) -> Config {
        let mut config = Config::new(json, self.defaults);
        (self.settled)(&mut config);
        config
    }

    /// All rows of its tensors.
    pub fn rows(&self) -> impl Iterator<Item = &'static Tensor> {
        self.tensors.iter().flat_map(|piece| piece.iter())
    }

    /// What becomes of a tensor of the checkpoint: nothing known, or one place, or two if it is split.
    pub fn matches(&self, hf: &str) -> Vec<Match> {
        if BUFFERS.iter().any(|end| hf.ends_with(end)) {
            return vec![Match { row: &BUFFER, name: String::new(), index: 0 }];
        }
        let name = hf.strip_prefix(self.prefix).unwrap_or(hf);
        let (stem, suffix) = split_suffix(name);
        let place = |row: &'static Tensor| {
            let is_whole = row.is_whole || row.conversion == Conversion::Ignored;
            let (block, index) = captured(row.hf, if is_whole { name } else { stem })?;
            let gguf = filled(row.gguf, block, None);
            let name = if row.is_whole { gguf } else { format!("{gguf}.{suffix}") };
            Some(Match { row, name, index: index.unwrap_or_default() })
        };
        self.rows().filter_map(place).collect()
    }

    /// GGUF names of what a model with these blocks cannot do without, each with a name of the checkpoint.
    pub fn needed(&self, blocks: &[Block]) -> impl Iterator<Item = (String, String)> {
        let of_block = move |t: &Tensor, block: u64| {
            let end = if t.is_whole { "" } else { ".weight" };
            let name = |pattern: &str| filled(pattern, Some(block), Some(0)) + end;
            (name(t.gguf), format!("{}{}", self.prefix_of(t), name(t.hf)))
        };
        self.rows().filter(|t| t.needed).flat_map(move |t| {
            let blocks = if t.gguf.contains("{b}") { blocks } else { ALONE };
            let has = blocks.iter().enumerate().filter(|(_, block)| t.blocks.include(**block));
            has.map(move |(number, _)| of_block(t, number as u64))
        })
    }

    /// The row whose name export gives to a GGUF tensor, and that name without the numbers of a stack: `{x}` stays.
    /// `has` tells whether the file has a tensor.
    pub fn exported(&self, gguf: &str, has: &dyn Fn(&str) -> bool) -> Option<(&'static Tensor, String)> {
        let split = gguf.rsplit_once('.').filter(|(_, suffix)| SUFFIXES.contains(suffix));
        self.rows().filter(|row| row.conversion != Conversion::Ignored).find_map(|row| {
            let (stem, end) = match split {
                _ if row.is_whole => (gguf, String::new()),
                Some((stem, suffix)) => (stem, format!(".{suffix}")),
                None => return None,
            };
            let (block, _) = captured(row.gguf, stem)?;
            let fits = match row.export {
                Export::Always => true,
                Export::Beside(other) => has(&format!("{}.weight", filled(other, block, None))),
                Export::Never => false,
            };
            let name = || format!("{}{}{end}", self.prefix_of(row), filled(row.hf, block, None));
            fits.then(|| (row, name()))
        })
    }

    /// What stands before the name of a row: the head stands beside the model, not in it.
    fn prefix_of(&self, row: &Tensor) -> &'static str {
        if row.role() == Role::Head { "" } else { self.prefix }
    }
}

/// What stands for the blocks of tensors outside of blocks.
const ALONE: &[Block] = &[Block::PLAIN];

/// What names of tensors end in, in both words.
const SUFFIXES: [&str; 2] = ["weight", "bias"];

/// A name without its suffix, and the suffix; matrices of experts in one tensor have none, and are weights.
fn split_suffix(name: &str) -> (&str, &str) {
    let split = name.rsplit_once('.').filter(|(_, suffix)| SUFFIXES.contains(suffix));
    split.unwrap_or((name, "weight"))
}

/// A pattern with numbers for `{b}` and `{x}`, where they are given.
pub fn filled(pattern: &str, block: Option<u64>, index: Option<u64>) -> String {
    let mut name = pattern.to_owned();
    for (place, number) in [("{b}", block), ("{x}", index)] {
        if let Some(number) = number {
            name = name.replace(place, &number.to_string());
        }
    }
    name
}

/// The numbers that stand in a name where a pattern has `{b}` and `{x}`, if the name fits the pattern.
fn captured(pattern: &str, name: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (mut block, mut index) = (None, None);
    let (mut pattern, mut name) = (pattern.split('.'), name.split('.'));
    loop {
        match (pattern.next(), name.next()) {
            (None, None) => return Some((block, index)),
            (Some("{b}"), Some(n)) => block = Some(n.parse().ok()?),
            (Some("{x}"), Some(n)) => index = Some(n.parse().ok()?),
            (Some(p), Some(n)) if p == n => {}
            _ => return None,
        }
    }
}
