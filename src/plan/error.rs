//! Why there is no plan.

use super::parts::MAX_PARTS;
use std::path::PathBuf;

/// What is wrong with a recipe, or with a recipe for a model.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("{}: {source}; give the file of a recipe, or the name of one that `tenpak-gguf recipes` lists", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// There is no built-in recipe of this name.
    #[error("there is no built-in recipe `{name}`; there are {known}")]
    NotBuiltIn {
        /// The name.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// The recipe is no TOML, or has keys or values that no recipe has.
    #[error(
        "{recipe}, line {line}: {problem}; docs/recipes.md and `tenpak-gguf recipes default` show the form"
    )]
    Syntax {
        /// File or name of the recipe.
        recipe: String,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong in it.
        problem: String,
    },
    /// A value outside of the rules that cannot be.
    #[error("{recipe}: {problem}")]
    Recipe {
        /// File or name of the recipe.
        recipe: String,
        /// What is wrong with it.
        problem: Box<Problem>,
    },
    /// A rule that cannot be, or that is none for this model.
    #[error("{recipe}, rule {number}{}: {problem}", if why.is_empty() { String::new() } else { format!(" ({why})") })]
    Rule {
        /// File or name of the recipe.
        recipe: String,
        /// The rule, counted from 1.
        number: usize,
        /// Its own words, if it has any.
        why: String,
        /// What is wrong with it.
        problem: Box<Problem>,
    },
    /// A part that is none.
    #[error("there is no part {number} of {of}; the first is part 1, the last part {of}")]
    NoPart {
        /// The part that was asked for.
        number: usize,
        /// How many parts there are.
        of: usize,
    },
    /// A number of parts that a model cannot be written in.
    #[error("{tensors} tensors cannot be in {parts} parts; choose from 1 to {tensors}")]
    Parts {
        /// Tensors of the model.
        tensors: usize,
        /// Parts that were asked for.
        parts: usize,
    },
    /// More parts than a file can count.
    #[error(
        "the file would have {parts} parts, and at most {MAX_PARTS} can be counted; let parts be larger (--split-max-size)"
    )]
    TooManyParts {
        /// Parts that there would be.
        parts: usize,
    },
}

/// See [`Error`].
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// A rank that no tensor has use for.
    #[error("`low_rank` is {found}, and {most} is the most")]
    Rank {
        /// The rank.
        found: usize,
        /// The most.
        most: usize,
    },
    /// A group that is no number of blocks.
    #[error("`group` is {found}; give a multiple of {block}, the weights of a block, up to {most}")]
    Group {
        /// The group.
        found: usize,
        /// Weights of a block.
        block: usize,
        /// The most.
        most: usize,
    },
    /// More outliers than there are slots.
    #[error("`outliers` is {found}, and the blocks of its types have {slots} slots at most")]
    Outliers {
        /// The outliers.
        found: usize,
        /// Slots of a block.
        slots: usize,
    },
    /// No type that a key means something to.
    #[error("`{key}`: it says how blocks of {known} are made, and none of these is among its `types`")]
    NoMaking {
        /// The key.
        key: &'static str,
        /// Types that have use for it.
        known: String,
    },
    /// A share of blocks that is none.
    #[error("`least_sensitive` is {0}; give a share of the blocks between 0 and 1, such as 0.25")]
    Share(f64),
    /// It is not known what depends on the matrices of a rule.
    #[error(
        "`least_sensitive`: nothing says how much depends on `{tensor}`; give --calibration a file of `tenpak-gguf calibrate` (an          imatrix does not say it), or --calibration-text for it to be measured"
    )]
    NoSensitivity {
        /// A matrix.
        tensor: String,
    },
    /// A power that is none.
    #[error(
        "`activation_scaling` is {0}; give a power of the inputs' sizes above 0 and up to 1, such as 0.5"
    )]
    Scaling(f64),
    /// llama.cpp may leave corrections out.
    #[error(
        "`low_rank`: it is not known whether llama.cpp's graph of `{architecture}` uses adapters for all matrices; leave corrections \
         of low rank away"
    )]
    NotCorrected {
        /// The architecture.
        architecture: String,
    },
    /// A type that does not exist.
    #[error("there is no type `{found}`; give one of {known}")]
    Type {
        /// What was given.
        found: String,
        /// All that there are.
        known: String,
    },
    /// A rule without types.
    #[error("`types` is empty; give at least one type, such as \"t3\" or \"stored\"")]
    NoTypes,
    /// A file type that is no float.
    #[error("`file_type` is `{0}`; give f16, bf16 or f32")]
    FileType(String),
    /// A parameter that the recipe does not declare.
    #[error("there is no parameter `{found}`; declare it in [parameters], or use one of {known}")]
    Parameter {
        /// What was used.
        found: String,
        /// Those that there are.
        known: String,
    },
    /// A parameter that nothing uses.
    #[error(
        "no rule uses the parameter `{0}`; write \"${0}\" among the `types` of a rule, or delete the parameter"
    )]
    Unused(String),
    /// A role that does not exist.
    #[error("there is no role `{found}`; give one of {known}")]
    Role {
        /// What was given.
        found: String,
        /// All that there are.
        known: String,
    },
    /// A pattern of names that is none.
    #[error(
        "{0}; `*` stands for any characters, `?` for one, `{{a,b}}` for either, `[0-9]` for one of these"
    )]
    Pattern(globset::Error),
    /// Text among the blocks that is no range.
    #[error("`blocks` has \"{0}\"; give the number of a block, such as 0 or -1, or a range such as \"8-15\"")]
    BlockRange(String),
    /// A pattern of names that matches no matrix of the model.
    #[error(
        "the name \"{pattern}\" matches no matrix of the model, whose names are like `{example}`; correct it, or write \
         optional = true if the rule is for other models too"
    )]
    NoMatch {
        /// The pattern.
        pattern: String,
        /// The name of a matrix of the model.
        example: String,
    },
    /// A block that the model does not have.
    #[error(
        "the model has {blocks} blocks, counted from 0, and {found} is none of them; correct `blocks`, or write \
         optional = true if the rule is for other models too"
    )]
    NoBlock {
        /// What was given.
        found: String,
        /// Blocks of the model.
        blocks: u64,
    },
    /// A rule whose conditions hold for no matrix of the model.
    #[error(
        "no matrix of the model is what the rule is for; correct it, or write optional = true if the rule is for other \
         models too"
    )]
    MatchesNothing,
    /// A rule whose matrices earlier rules have taken.
    #[error(
        "it decides nothing, since rules before it decide about all that it matches; move it up, or write optional = true"
    )]
    Shadowed,
    /// None of the types of a rule can hold a tensor.
    #[error(
        "none of its types ({types}) can hold tensor `{tensor}`: {reason}; add a type that fits every matrix, such as \
         \"stored\" or \"f16\""
    )]
    NoFit {
        /// The types.
        types: String,
        /// The tensor.
        tensor: String,
        /// Why not.
        reason: String,
    },
    /// A tensor that no rule matches.
    #[error("no rule says what becomes of tensor `{tensor}` ({role}); add a last rule without conditions")]
    NoRule {
        /// The tensor.
        tensor: String,
        /// Its role.
        role: &'static str,
    },
}
