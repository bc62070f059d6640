//! What a model of a known architecture may lack or have too much of.

/// Why config.json or the keys of a GGUF file cannot be read as those of an architecture.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// A value of config.json is missing; its names.
    #[error("`{}` is not there", .0.join("` or `"))]
    Missing(Vec<String>),
    /// A value of config.json is no integer from zero on.
    #[error("`{name}` is {value}, no size")]
    NoSize {
        /// Its name.
        name: String,
        /// What it is.
        value: String,
    },
    /// A value of config.json is no number.
    #[error("`{name}` is {value}, no number")]
    NoNumber {
        /// Its name.
        name: String,
        /// What it is.
        value: String,
    },
    /// A size in config.json is larger than those of all models.
    #[error("`{name}` is {value}, more than any model has")]
    TooLarge {
        /// Its name.
        name: String,
        /// What it is.
        value: u64,
    },
    /// Numbers of heads, or their size, are zero or odd.
    #[error("attention cannot have the shape {0}")]
    Attention(String),
    /// A list of factors in config.json is missing or of another length.
    #[error("`{name}` is not {pairs} numbers")]
    Factors {
        /// Its name.
        name: &'static str,
        /// How long it should be.
        pairs: usize,
    },
    /// config.json has factors for long contexts or for short ones, and not both.
    #[error("one of `long_factor` and `short_factor` is not there")]
    OneFactor,
    /// config.json does not say the context length that the model was trained with at first.
    #[error("no original context length is said")]
    NoOriginalContext,
    /// A scaling of rotary positions that no key of llama.cpp says.
    #[error("rope scaling `{0}` is not supported yet")]
    Scaling(String),
    /// A scaling of rotary positions lacks a parameter.
    #[error("rope scaling `{scaling}` has no `{parameter}`")]
    ScalingLacks {
        /// The scaling.
        scaling: String,
        /// What it lacks.
        parameter: &'static str,
    },
    /// A scaling in a GGUF file that config.json has no word for.
    #[error("rope scaling `{0}` cannot be said in config.json")]
    ScalingNotSaid(String),
    /// Factors in a GGUF file that come from no known parameters.
    #[error("tensor `{0}` holds factors that no llama3 scaling with the usual thresholds has")]
    UnknownFactors(&'static str),
    /// A key of a GGUF file is missing.
    #[error("key `{0}` is not there")]
    MissingKey(String),
    /// A key of a GGUF file is of another kind.
    #[error("key `{key}` is no {kind}")]
    OtherKind {
        /// The key.
        key: String,
        /// What it should be.
        kind: &'static str,
    },
}
